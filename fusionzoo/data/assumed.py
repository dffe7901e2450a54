"""Settings for a data set folder without `dataset.toml`, where its files leave no choice; else a draft of that file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fusionzoo.data.auxiliary import XFormat
from fusionzoo.data.base import IGNORE, spread
from fusionzoo.data.decode import read_pixels
from fusionzoo.data.images import read_label
from fusionzoo.data.layout import Layout
from fusionzoo.data.settings import Settings
from fusionzoo.errors import FusionZooWarning, InputError

__all__ = ["Draft", "assume", "draft"]

_LOOKED_AT = 200  # label files
_COLOURS = 64  # a painted label with more is taken for a picture


@dataclass
class Draft:
    """What the files of a folder say of its `dataset.toml`.

    Attributes:
        lines: of the file; where something is undecided, an example stands there.
        undecided: what the files do not say, one sentence each; with none, the folder is read as the lines say.
        kind, names, ignore: x_kind, class names and ignored label values, as far as they are known.
    """

    root: Path
    lines: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    kind: str | None = None
    names: list[str] = field(default_factory=list)
    ignore: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The file, with what is undecided as comments. Valid TOML."""
        head = ["# A draft; fusionzoo/data/folder.py says what each key means."]
        head += [f"# To decide: {' '.join(why.split())}" for why in self.undecided]
        return "\n".join([*head, *self.lines]) + "\n"

    @property
    def command(self) -> str:
        """A shell command that writes the lines."""
        lines = " ".join(f"'{line}'" for line in self.lines)
        return f"printf '%s\\n' {lines} > '{self.root / 'dataset.toml'}'"


def assume(layout: Layout, num_classes: int | None = None, labels: bool = True) -> Settings:
    """What the files of a folder without `dataset.toml` say; one warning tells what was taken for granted.

    Args:
        num_classes: where it is known; None: one more than the highest label of up to 200 files, 255 being ignored.
        labels: False: there are none.

    Raises:
        InputError: the kind or unit of x or the classes cannot be told; it ends with a command that writes a draft.
    """
    found = draft(layout, num_classes, labels)
    if found.undecided:
        raise InputError(
            f"{layout.root} has no dataset.toml, and {found.undecided[0]}; write this draft and correct it:"
            f" {found.command}"
        )
    said = [f"x ({layout.words['x'].strip('*')}) is {found.kind}"]
    if labels:
        given = "as asked for" if num_classes is not None else "numbered from 0"
        said += [f"{len(found.names)} classes, {given}" + (", 255 ignored" if found.ignore else "")]
    if layout.splits():
        said.append(f"splits {', '.join(layout.splits())}")
    warnings.warn(
        f"{layout.root} has no dataset.toml: assumed that {'; '.join(said)}. Write it to say otherwise:"
        f" {found.command}",
        FusionZooWarning,
        stacklevel=3,
    )
    return Settings(layout.root.resolve().name, found.names, found.ignore, x_kind=found.kind)


def draft(layout: Layout, num_classes: int | None = None, labels: bool = True) -> Draft:
    """A draft of `dataset.toml` from the files of a folder. Arguments as of `assume`."""
    found = Draft(layout.root, kind=layout.kind or _kind(layout))
    found.lines.append(f'x_kind = "{found.kind or "depth"}"')
    if found.kind is None:
        found.undecided.append("nothing says what x is (8-bit grey: depth, thermal?)")
    else:
        try:
            XFormat(found.kind).read(layout.files["x"][min(layout.files["x"])])
        except InputError as error:
            found.undecided.append(str(error))
    if found.undecided:
        found.lines.append("x_scale = 0.001")
    if labels:
        _labels(layout, num_classes, found)
    return found


def _kind(layout: Layout) -> str | None:
    """What the first file of x can only be."""
    pixels = read_pixels(layout.files["x"][min(layout.files["x"])], colours=True)
    values = pixels.values
    if values.shape[2] == 3 and (values != values[..., :1]).any():
        return "hha" if values.dtype == np.uint8 else None
    return "depth" if values.dtype.itemsize > 1 else None


def _labels(layout: Layout, num_classes: int | None, found: Draft) -> None:
    """Adds what the labels say: the number of classes, what is ignored, painted colours."""
    top, odd = 0, None
    paths = [layout.files["label"][stem] for stem in spread(sorted(layout.files["label"]), _LOOKED_AT)]
    for path in paths:
        try:
            values = np.unique(read_label(path))
        except InputError as error:
            found.undecided.append(str(error))
            found.lines.append(f"label_colours = {{{', '.join(_painted(paths))}}}")
            return
        if IGNORE in values:
            found.ignore, values = [IGNORE], values[values != IGNORE]
        if odd is None and values.size and not 0 <= int(values[0]) <= int(values[-1]) < IGNORE - 1:
            odd = int(values[0]) if values[0] < 0 else int(values[-1])
            found.undecided.append(f"{path} has the value {odd}")
            found.lines += ["num_classes = 2", f"ignore = [{odd}]"]
            return
        top = max([top, *map(int, values[-1:])])
    count = top + 1 if num_classes is None else num_classes
    found.names = [f"class {i}" for i in range(count)]
    found.lines += [f"num_classes = {count}", f"ignore = {found.ignore}"]


def _painted(paths: list[Path]) -> list[str]:
    """`"class 0" = [r, g, b]` for each colour of painted labels, the commonest first; an example where that fails."""
    counts: dict[tuple[int, int, int], int] = {}
    for path in paths:
        try:
            values = read_pixels(path, colours=True).values
        except InputError:
            continue  # named when the folder is read
        if values.dtype != np.uint8 or values.shape[2] != 3:
            continue
        colours, times = np.unique(values.reshape(-1, 3), axis=0, return_counts=True)  # (H, W, 3) -> (HW, 3)
        for (red, green, blue), n in zip(colours.tolist(), times.tolist(), strict=True):
            counts[red, green, blue] = counts.get((red, green, blue), 0) + n
        if len(counts) > _COLOURS:
            break
    if not 0 < len(counts) <= _COLOURS:
        return ["wall = [0, 0, 0]", "floor = [128, 0, 0]"]
    order = sorted(counts, key=lambda colour: (-counts[colour], colour))
    return [f'"class {i}" = {list(colour)}' for i, colour in enumerate(order)]
