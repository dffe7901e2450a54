"""What each pixel of both inputs gives to the score of a class, drawn beside the image: signed maps on one scale."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.dissect.results.examples import Example
from fusionzoo.report.panels import Panel, panels, x_scale
from fusionzoo.report.pictures import Picture, resized
from fusionzoo.report.table import clean

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["attribution_sheet", "scale_of_maps", "signed"]

FOR, AGAINST = (27, 120, 55), (118, 42, 131)
"""Green and purple, which colour-blind readers tell apart; neither stands for a modality elsewhere."""
BRIGHT = 0.99
"""The colours are full from this quantile of all maps' absolute values on: few pixels are far larger."""
_COLUMNS, _GAP, _LINE, _LEAST_WIDTH, _LETTER = 3, 10, 20, 320, 7


def scale_of_maps(maps: Mapping[str, NDArray[np.floating[Any]]]) -> float:
    """The absolute value from which on a colour is full, the same for all maps.

    >>> scale_of_maps({"rgb": np.array([[-2.0, 2.0]]), "x": np.zeros((1, 2))}) > 1
    True
    """
    sizes = np.abs(np.concatenate([np.asarray(m, np.float64).ravel() for m in maps.values()]))
    return float(np.quantile(sizes, BRIGHT)) or float(sizes.max()) or 1.0


def signed(rgb: Picture, values: NDArray[np.floating[Any]], scale: float) -> Picture:
    """A map (h, w) over the image in light greys: green where it is above 0, purple below, full from `scale` on.

    >>> signed(np.full((1, 3, 3), 255, np.uint8), np.array([[-1.0, 0.0, 2.0]]), 1.0)[0].tolist()
    [[118, 42, 131], [252, 252, 252], [27, 120, 55]]
    """
    grey = 150 + 0.4 * (rgb @ np.array([0.299, 0.587, 0.114]))[..., None]
    alpha = np.clip(np.abs(values) / scale, 0, 1)[..., None]
    colour = np.where(values[..., None] > 0, np.array(FOR, np.float64), np.array(AGAINST, np.float64))
    drawn: Picture = np.rint(grey * (1 - alpha) + colour * alpha).astype(np.uint8)
    return drawn


def attribution_sheet(
    e: Example, maps: Mapping[str, NDArray[np.floating[Any]]], target: str, words: Sequence[str]
) -> Image:
    """Inputs, prediction and maps of one image on one picture, with their scale and what they are in words.

    Args:
        e: the image.
        maps: title -> (H, W), above 0 where the pixel speaks for the class.
        target: name of the class. words: sentences, one a line where they fit.
    """
    from PIL import Image as Make
    from PIL import ImageDraw, ImageFont

    scale, shape = scale_of_maps(maps), next(iter(maps.values())).shape
    under = np.asarray(Make.fromarray(e.rgb).resize((shape[1], shape[0])))
    shown = [p for p in panels(e, x_scale([e])) if p.name in ("rgb", "x", "predicted_both")]
    shown += [
        Panel(title, f"attribution: {clean(title)}", "", signed(under, values, scale)) for title, values in maps.items()
    ]
    height, width = e.rgb.shape[:2]
    wide = max(_LEAST_WIDTH, width)
    tall = max(1, round(height * wide / width))
    whole = _COLUMNS * wide + (_COLUMNS + 1) * _GAP
    told = [line for sentence in words for line in textwrap.wrap(clean(sentence), (whole - 2 * _GAP) // _LETTER)]
    rows = -(-len(shown) // _COLUMNS)
    top = rows * (tall + _LINE + _GAP) + _GAP
    canvas = Make.new("RGB", (whole, top + _LINE * (2 + len(told)) + _GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    for i, panel in enumerate(shown):
        left, above = _GAP + i % _COLUMNS * (wide + _GAP), i // _COLUMNS * (tall + _LINE + _GAP)
        draw.text((left, above + 3), panel.title, fill="black", font=font)
        picture = Make.fromarray(resized(panel.picture, wide, panel.smooth)).resize((wide, tall))
        canvas.paste(picture, (left, above + _LINE))
    bar = np.tile(np.linspace(-scale, scale, _LEAST_WIDTH), (_LINE - 4, 1))
    canvas.paste(Make.fromarray(signed(np.full((*bar.shape, 3), 128, np.uint8), bar, scale)), (_GAP, top))
    draw.text((2 * _GAP + _LEAST_WIDTH, top), f"on one scale, -{scale:.2g} to {scale:.2g}", fill="black", font=font)
    draw.text((_GAP, top + _LINE), "against", fill="black", font=font)
    draw.text((_GAP + _LEAST_WIDTH, top + _LINE), f"for {clean(target)!r}", fill="black", font=font, anchor="ra")
    for i, line in enumerate(told):
        draw.text((_GAP, top + _LINE * (2 + i)), line, fill="black", font=font)
    return canvas
