"""Settings for a data set folder without `dataset.toml`, where its files leave no choice; else a draft of that file."""

from __future__ import annotations

import warnings

import numpy as np

from fusionzoo.data.auxiliary import XFormat
from fusionzoo.data.base import IGNORE, spread
from fusionzoo.data.decode import read_pixels
from fusionzoo.data.images import read_label
from fusionzoo.data.layout import Layout
from fusionzoo.data.settings import Settings
from fusionzoo.errors import FusionZooWarning, InputError

__all__ = ["assume"]

_LOOKED_AT = 200  # label files


def assume(layout: Layout, num_classes: int | None = None, labels: bool = True) -> Settings:
    """What the files of a folder without `dataset.toml` say; one warning tells what was taken for granted.

    Args:
        num_classes: where it is known; None: one more than the highest label of up to 200 files, 255 being ignored.
        labels: False: there are none.

    Raises:
        InputError: the kind or unit of x or the classes cannot be told; it ends with a command that writes a draft.
    """
    kind = layout.kind or _kind(layout)
    draft = [f'x_kind = "{kind or "depth"}"']
    if kind is None:
        raise _undecided(layout, "nothing says what x is (8-bit grey: depth, thermal?)", [*draft, "x_scale = 0.001"])
    some = layout.files["x"][min(layout.files["x"])]
    try:
        XFormat(kind).read(some)
    except InputError as error:
        raise _undecided(layout, str(error), [*draft, "x_scale = 0.001"]) from error
    said = [f"x ({layout.words['x'].strip('*')}) is {kind}"]
    names: list[str] = []
    ignore: list[int] = []
    if labels:
        top, ignore = _labels(layout, draft)
        count = top + 1 if num_classes is None else num_classes
        names = [f"class {i}" for i in range(count)]
        given = "as asked for" if num_classes is not None else "numbered from 0"
        said += [f"{count} classes, {given}" + (", 255 ignored" if ignore else "")]
        draft += [f"num_classes = {count}", f"ignore = {ignore}"]
    if layout.splits():
        said.append(f"splits {', '.join(layout.splits())}")
    warnings.warn(
        f"{layout.root} has no dataset.toml: assumed that {'; '.join(said)}. Write it to say otherwise:"
        f" {_command(layout, draft)}",
        FusionZooWarning,
        stacklevel=3,
    )
    return Settings(layout.root.resolve().name, names, ignore, x_kind=kind)


def _kind(layout: Layout) -> str | None:
    """What the first file of x can only be."""
    pixels = read_pixels(layout.files["x"][min(layout.files["x"])], colours=True)
    values = pixels.values
    if values.shape[2] == 3 and (values != values[..., :1]).any():
        return "hha" if values.dtype == np.uint8 else None
    return "depth" if values.dtype.itemsize > 1 else None


def _labels(layout: Layout, draft: list[str]) -> tuple[int, list[int]]:
    """(highest class, values to ignore)."""
    top, ignore = 0, []
    for stem in spread(sorted(layout.files["label"]), _LOOKED_AT):
        path = layout.files["label"][stem]
        try:
            values = np.unique(read_label(path))
        except InputError as error:
            table = "label_colours = {wall = [0, 0, 0], floor = [128, 0, 0]}"
            raise _undecided(layout, str(error), [*draft, table]) from error
        if IGNORE in values:
            ignore, values = [IGNORE], values[values != IGNORE]
        if values.size and not 0 <= int(values[0]) <= int(values[-1]) < IGNORE - 1:
            odd = int(values[0]) if values[0] < 0 else int(values[-1])
            raise _undecided(layout, f"{path} has the value {odd}", [*draft, "num_classes = 2", f"ignore = [{odd}]"])
        top = max([top, *map(int, values[-1:])])
    return top, ignore


def _undecided(layout: Layout, why: str, draft: list[str]) -> InputError:
    if not any(line.startswith(("num_classes", "label_colours")) for line in draft):
        draft = [*draft, "num_classes = 2"]
    return InputError(
        f"{layout.root} has no dataset.toml, and {why}; write this draft and correct it: {_command(layout, draft)}"
    )


def _command(layout: Layout, draft: list[str]) -> str:
    lines = " ".join(f"'{line}'" for line in draft)
    return f"printf '%s\\n' {lines} > '{layout.root / 'dataset.toml'}'"
