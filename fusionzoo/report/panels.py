"""One image under every subset of modalities -> its pictures side by side, each with a title and with words.

The words stand in for a picture where it is not seen, so they say what it shows: shares of classes, mistakes, and for
which classes the modality map points to which modality. `sheet` lays the pictures out on one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.base import some
from fusionzoo.dissect.results.examples import LEAST, Example, Shares
from fusionzoo.report.overlay import palette
from fusionzoo.report.pictures import (
    Picture,
    harm_legend,
    mistakes,
    modality_legend,
    modality_picture,
    over,
    resized,
    scale_of,
    seen,
)
from fusionzoo.report.table import clean

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "GAP", "LINE", "Panel", "colours_of", "harm_words", "laid_out", "legend_words", "panels", "present", "sheet",
    "sheet_width", "x_scale",
]  # fmt: skip

_MOST = 4  # classes that words name


@dataclass(frozen=True)
class Panel:
    """One picture. `name`: for a file. `title`: beside it. `words`: instead of it. `smooth`: how to enlarge it."""

    name: str
    title: str
    words: str
    picture: Picture
    smooth: bool = True


def colours_of(e: Example) -> list[Any]:
    """K colours of the classes: the data's own, or those of `palette`."""
    own = e.palette if len(e.palette) >= len(e.class_names) else palette(len(e.class_names)).tolist()
    return [tuple(int(v) for v in colour) for colour in own[: len(e.class_names)]]


def present(e: Example) -> list[int]:
    """The classes that the label or a prediction shows, the largest first."""
    maps = [*e.predicted.values(), *([] if e.label is None else [e.label])]
    counts = np.bincount(np.concatenate([_known(m, e).ravel() for m in maps]), minlength=len(e.class_names))
    return [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]


def x_scale(examples: Sequence[Example]) -> tuple[float, ...]:
    """One scale of x for all of them."""
    return scale_of(e.x[:1][~e.missing[None]] for e in examples)


def legend_words(e: Example) -> str:
    """How to read a modality map."""
    x = clean(e.modalities[1])
    return (
        f"Modality map: orange where rgb speaks more for the class than {x}, blue where {x} does, dark grey where both"
        f" do alike, pale where neither matters (Shapley values; absence: {clean(e.absence)})."
    )


def harm_words(e: Example) -> str:
    """How to read the marked pixels of a modality map."""
    x, percent = clean(e.modalities[1]), round(100 * LEAST)
    return (
        f"Striped: a modality does harm (without it the probability would be {percent} points or more higher): rgb in"
        f" blue, {x} in orange."
    )


def panels(e: Example, scale: Sequence[float]) -> list[Panel]:
    """The pictures of one image, in their order.

    Args:
        scale: of x, see `x_scale`.
    """
    x, name, colours = clean(e.modalities[1]), clean(e.id), colours_of(e)
    holes = f"; {100 * e.missing.mean():.1f} % of the pixels have no value, hatched" if e.missing.any() else ""
    made = [
        Panel("rgb", "rgb", f"rgb of {name}", e.rgb),
        Panel("x", x, f"{x} of {name}{holes}", seen(e.x, e.missing, scale)),
    ]
    if e.label is not None:
        words = f"label of {name}: {_classes(e, e.label)}"
        made.append(Panel("label", "label", words, over(e.rgb, _known(e.label, e, -1), colours), False))
    for condition, title in (
        (Condition.BOTH, "prediction"),
        (Condition.WITHOUT_X, f"prediction without {x}"),
        (Condition.WITHOUT_RGB, "prediction without rgb"),
    ):
        classes = e.predicted[condition]
        right = "" if e.label is None else f"; {100 * _right(e, classes):.1f} % right"
        words = f"{title} of {name}: {_classes(e, classes)}{right}"
        made.append(Panel(f"predicted_{condition}", title, words, over(e.rgb, classes, colours), False))
    if e.label is not None:
        made.append(_errors(e, name))
    maps = [("predicted", e.predicted_class, e.predicted[Condition.BOTH])]
    if e.label is not None and e.true_class is not None:
        maps.append(("true", e.true_class, e.label))
    for which, shares, classes in maps:
        drawn = modality_picture(e.rgb, shares.balance, shares.strength, shares.harmed)
        title = f"modality map, {which} class"
        made.append(Panel(f"modality_map_{which}", title, f"{title}, of {name}: {_drives(e, shares, classes)}", drawn))
    return made


def _known(classes: NDArray[np.int64], e: Example, instead: int | None = None) -> NDArray[np.int64]:
    """The classes that have a name; the others left out, or put as `instead`."""
    known = (classes >= 0) & (classes < len(e.class_names)) & (classes != e.ignore)
    return classes[known] if instead is None else np.where(known, classes, instead)


def _classes(e: Example, classes: NDArray[np.int64]) -> str:
    """The largest classes of a map and their shares of its known pixels."""
    counts = Counter(_known(classes, e).ravel().tolist())
    total = max(1, sum(counts.values()))
    return some([f"{clean(e.class_names[k])} {100 * n / total:.0f} %" for k, n in counts.most_common()], _MOST)


def _right(e: Example, classes: NDArray[np.int64]) -> float:
    assert e.label is not None
    known = e.label != e.ignore
    return float((classes == e.label)[known].mean()) if known.any() else 0.0


def _errors(e: Example, name: str) -> Panel:
    assert e.label is not None
    found, unknown = e.predicted[Condition.BOTH], e.label == e.ignore
    wrong = (found != e.label) & ~unknown
    pairs = Counter(zip(e.label[wrong].tolist(), found[wrong].tolist(), strict=True)).most_common(1)
    most = "".join(
        f"; most often {clean(e.class_names[true])} taken for {clean(e.class_names[guess])}"
        for (true, guess), _ in pairs
    )
    share = 100 * wrong.sum() / max(1, (~unknown).sum())
    return Panel(
        "errors", "errors", f"wrong pixels of {name}, red: {share:.1f} %{most}", mistakes(e.rgb, wrong, unknown), False
    )


def _drives(e: Example, shares: Shares, classes: NDArray[np.int64]) -> str:
    """Which modality speaks for which classes, and against: shares of the pixels that have a class."""
    known, x = np.isfinite(shares.balance), clean(e.modalities[1])
    matters = known & (shares.strength >= LEAST)
    kinds = [
        ("rgb speaks more in", matters & (shares.balance > LEAST), True),
        (f"{x} in", matters & (shares.balance < -LEAST), True),
        ("both alike in", matters & (np.abs(shares.balance) <= LEAST), False),
        ("neither matters in", known & ~matters, False),
        ("rgb does harm in", known & (shares.rgb <= -LEAST), True),
        (f"{x} does harm in", known & (shares.x <= -LEAST), True),
    ]
    said = []
    for words, where, named in kinds:
        if "harm" in words and not where.any():
            continue
        counts = Counter(_known(classes[where], e).tolist()).most_common(2) if named else []
        top = [clean(e.class_names[k]) for k, _ in counts]
        share = 100 * where.sum() / max(1, known.sum())
        said.append(f"{words} {share:.0f} % of the pixels" + (f" (mostly {' and '.join(top)})" if top else ""))
    return ", ".join(said)


# --------------------------------------------------------------------------------------------------------- on one sheet

COLUMNS, GAP, LINE, LEAST_WIDTH = 3, 10, 20, 320
"""Pictures in a row; pixels between two, of a line of words, and across a picture at least."""


def sheet_width(e: Example) -> int:
    """Pixels across a sheet."""
    return COLUMNS * max(LEAST_WIDTH, e.rgb.shape[1]) + (COLUMNS + 1) * GAP


def laid_out(e: Example, shown: Sequence[Panel], foot: int) -> tuple[Image, int]:
    """Pictures of an image in rows, each under its title, on white; and where the `foot` pixels below them begin."""
    from PIL import Image as Make
    from PIL import ImageDraw, ImageFont

    height, width = e.rgb.shape[:2]
    wide = max(LEAST_WIDTH, width)
    tall = max(1, round(height * wide / width))
    top = -(-len(shown) // COLUMNS) * (tall + LINE + GAP) + GAP
    canvas = Make.new("RGB", (sheet_width(e), top + foot), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    for i, panel in enumerate(shown):
        left, above = GAP + i % COLUMNS * (wide + GAP), i // COLUMNS * (tall + LINE + GAP)
        draw.text((left, above + 3), panel.title, fill="black", font=font)
        picture = Make.fromarray(resized(panel.picture, wide, panel.smooth)).resize((wide, tall))
        canvas.paste(picture, (left, above + LINE))
    return canvas, top


def sheet(e: Example, scale: Sequence[float] | None = None) -> Image:
    """All pictures of one image on one, with titles, the legend of the modality map and that of the classes."""
    from PIL import Image as Make
    from PIL import ImageDraw, ImageFont

    shown = panels(e, x_scale([e]) if scale is None else scale)
    whole = sheet_width(e)
    font = ImageFont.load_default(size=13)
    fits: Callable[[str], bool] = lambda words: font.getlength(words) <= whole - 2 * GAP  # noqa: E731
    told = _wrapped(f"{legend_words(e)} {harm_words(e)}", fits)
    keys = _key_rows([clean(e.class_names[k]) for k in present(e)], [colours_of(e)[k] for k in present(e)],
                     font.getlength, whole - 2 * GAP)  # fmt: skip
    legend = modality_legend()
    canvas, top = laid_out(e, shown, legend.shape[0] + LINE * (1 + len(told) + len(keys)) + GAP)
    draw = ImageDraw.Draw(canvas)
    canvas.paste(Make.fromarray(legend), (GAP, top))
    harm = harm_legend()
    canvas.paste(Make.fromarray(harm), (whole - GAP - harm.shape[1], top))
    draw.text((whole - 2 * GAP - harm.shape[1], top), "striped: does harm", fill="black", font=font, anchor="ra")
    x = clean(e.modalities[1])
    end = GAP + legend.shape[1]
    draw.text((end + GAP, top), "pale: matters little", fill="black", font=font)
    draw.text((end + GAP, top + LINE), "strong: matters much", fill="black", font=font)
    top += legend.shape[0] + 2
    draw.text((GAP, top), x, fill="black", font=font)
    draw.text((end, top), "rgb", fill="black", font=font, anchor="ra")
    for line in told:
        top += LINE
        draw.text((GAP, top), line, fill="black", font=font)
    for row in keys:
        top += LINE
        for left, name, colour in row:
            draw.rectangle((GAP + left, top + 2, GAP + left + 12, top + 14), fill=colour, outline="black")
            draw.text((GAP + left + 18, top), name, fill="black", font=font)
    return canvas


def _wrapped(words: str, fits: Callable[[str], bool]) -> list[str]:
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and fits(longer):
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _key_rows(
    names: Sequence[str], colours: Sequence[Any], length: Callable[[str], float], room: float
) -> list[list[tuple[int, str, Any]]]:
    """(left, name, colour) of the entries of each row."""
    rows: list[list[tuple[int, str, Any]]] = []
    left = room + 1.0
    for name, colour in zip(names, colours, strict=True):
        need = 18 + length(name)
        if left + need > room:
            rows.append([])
            left = 0.0
        rows[-1].append((int(left), name, colour))
        left += need + 16
    return rows
