"""What each pixel of both inputs gives to the score of a class, drawn beside the image: signed maps on one scale."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.dissect.results.examples import Example
from fusionzoo.report.panels import GAP, LINE, Panel, laid_out, panels, sheet_width, x_scale
from fusionzoo.report.pictures import Picture, pale
from fusionzoo.report.table import clean

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["attribution_sheet", "scale_of_maps", "signed"]

FOR, AGAINST = (27, 120, 55), (118, 42, 131)
"""Green and purple, which colour-blind readers tell apart; neither stands for a modality elsewhere."""
BRIGHT = 0.99
"""The colours are full from this quantile of all maps' absolute values on: few pixels are far larger."""
_BAR, _LETTER = 320, 7  # pixels across the scale, and of a letter


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
    alpha = np.clip(np.abs(values) / scale, 0, 1)[..., None]
    colour = np.where(values[..., None] > 0, np.array(FOR, np.float64), np.array(AGAINST, np.float64))
    drawn: Picture = np.rint(pale(rgb) * (1 - alpha) + colour * alpha).astype(np.uint8)
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
    letters = (sheet_width(e) - 2 * GAP) // _LETTER
    told = [line for sentence in words for line in textwrap.wrap(clean(sentence), letters)]
    canvas, top = laid_out(e, shown, LINE * (2 + len(told)) + GAP)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    bar = np.tile(np.linspace(-scale, scale, _BAR), (LINE - 4, 1))
    canvas.paste(Make.fromarray(signed(np.full((*bar.shape, 3), 128, np.uint8), bar, scale)), (GAP, top))
    draw.text((2 * GAP + _BAR, top), f"on one scale, -{scale:.2g} to {scale:.2g}", fill="black", font=font)
    draw.text((GAP, top + LINE), "against", fill="black", font=font)
    draw.text((GAP + _BAR, top + LINE), f"for {clean(target)!r}", fill="black", font=font, anchor="ra")
    for i, line in enumerate(told):
        draw.text((GAP, top + LINE * (2 + i)), line, fill="black", font=font)
    return canvas
