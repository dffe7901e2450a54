"""Pictures as arrays: x in a colour map, classes over an image, errors, the modality map and its legend; and as <img>.

All are uint8 (h, w, 3) and opaque, so that they look alike on a light page, on a dark one and on paper.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fusionzoo.report.shapes import escape
from fusionzoo.report.style import LIGHT

__all__ = [
    "Picture", "encoded", "harm_legend", "image_tag", "key_entry", "mistakes", "modality_legend", "modality_picture",
    "over", "painted", "pale", "resized", "scale_of", "seen", "striped", "tinted",
]  # fmt: skip

Picture = NDArray[np.uint8]

_VIRIDIS = "440154 482475 414487 355f8d 2a788e 21918c 22a884 44bf70 7ad151 bddf26 fde725"
_HATCH = ((90, 90, 90), (190, 190, 190))
_LINES = ((0, 0, 0), (255, 255, 255))
_ALPHA = 0.6  # weight of a class's colour over the image
_QUALITY = 88


def _colour(word: str) -> NDArray[np.float64]:
    return np.array(list(bytes.fromhex(word.removeprefix("#"))), np.float64)


def painted(x: NDArray[np.float32], missing: NDArray[np.bool_], scale: Sequence[float]) -> Picture:
    """x of one channel (h, w) in the colour map viridis, missing pixels hatched grey.

    `scale`: rising values that stand at equal steps of the map, the first dark, the last bright.
    """
    stops = np.array([_colour(word) for word in _VIRIDIS.split()])
    place = np.interp(np.where(missing, scale[0], x), scale, np.linspace(0, len(stops) - 1, len(scale)))  # (h, w)
    under = np.minimum(place.astype(np.int64), len(stops) - 2)
    part = (place - under)[..., None]
    colour = stops[under] * (1 - part) + stops[under + 1] * part
    hatch = np.array(_HATCH)[_stripes(x.shape) % 2]  # (h, w, 3)
    return np.where(missing[..., None], hatch, np.rint(colour)).astype(np.uint8)


def _stripes(shape: tuple[int, ...], falling: bool = False, width: int = 3) -> NDArray[np.int64]:
    """Number of the diagonal stripe (h, w) that a pixel lies in. `width`: of a stripe, in pixels of a picture of 320
    across or less; a larger one, which will be shown smaller, has broader ones."""
    rows, columns = np.indices(shape[:2])
    width = max(width, round(width * shape[1] / 320))
    made: NDArray[np.int64] = (columns - rows if falling else columns + rows) // width
    return made


def seen(x: NDArray[np.float32], missing: NDArray[np.bool_], scale: Sequence[float]) -> Picture:
    """x (C, h, w) as a picture: one channel painted, three or more as the colours that they are."""
    if x.shape[0] < 3:
        return painted(x[0], missing, scale)
    return np.where(missing[..., None], 0, np.clip(x[:3], 0, 255).transpose(1, 2, 0)).astype(np.uint8)  # (h, w, 3)


def scale_of(parts: Iterable[NDArray[np.float32]]) -> tuple[float, ...]:
    """One scale for several pictures of x: the lowest, the quartiles and the highest of their values, all valid.

    >>> scale_of([np.arange(101, dtype=np.float32)])
    (1.0, 25.0, 50.0, 75.0, 99.0)
    """
    values = [part.ravel()[:: max(1, part.size // 4096)] for part in parts if part.size]
    if not values:
        return (0.0, 1.0)
    found = np.quantile(np.concatenate(values).astype(np.float64), (0.01, 0.25, 0.5, 0.75, 0.99))
    return tuple(float(v) for v in np.maximum.accumulate(found))


def over(rgb: Picture, classes: NDArray[np.integer[Any]], colours: Sequence[Any]) -> Picture:
    """The classes' colours over the image; pixels of no class, and a class shown in black, stay bare."""
    paint = np.zeros((len(colours) + 1, 3))
    paint[:-1] = colours
    weight = np.zeros((len(colours) + 1, 1))
    weight[:-1] = _ALPHA * (paint[:-1].max(axis=1, keepdims=True) > 0)
    at = np.where((classes >= 0) & (classes < len(colours)), classes, len(colours))
    blended: Picture = np.rint(rgb * (1 - weight[at]) + paint[at] * weight[at]).astype(np.uint8)
    return blended


def pale(rgb: Picture) -> NDArray[np.float64]:
    """The image in light greys (h, w, 3), on which colours stand out."""
    grey = rgb @ np.array([0.299, 0.587, 0.114])
    return np.repeat((150 + 0.4 * grey)[..., None], 3, axis=2)


def mistakes(rgb: Picture, wrong: NDArray[np.bool_], unknown: NDArray[np.bool_]) -> Picture:
    """Wrong pixels red over the pale image; pixels without a label, of which nobody knows, hatched."""
    bare = pale(rgb) * np.where(unknown & (_stripes(wrong.shape) % 2 == 0), 0.75, 1)[..., None]
    return np.rint(np.where(wrong[..., None], _colour(LIGHT["bad"]), bare)).astype(np.uint8)


def modality_picture(
    rgb: Picture,
    balance: NDArray[np.float32],
    strength: NDArray[np.float32],
    harmed: NDArray[np.bool_] | None = None,
) -> Picture:
    """The modality map over the pale image: orange where rgb speaks more for the class, blue where x does, dark grey
    where both do alike; the less they matter, the paler. Where a value is NaN the image stays bare.

    Args:
        balance: (h, w) phi_rgb - phi_x, -1..1. strength: (h, w) |phi_rgb| + |phi_x|; 1 and more is opaque.
        harmed: (h, w) where a modality lowers the probability: striped.
    """
    known = np.isfinite(balance)
    lean = np.where(known, np.clip(balance, -1, 1), 0)[..., None]
    rgb_end, middle, x_end = (_colour(LIGHT[name]) for name in ("rgb", "both", "x"))
    colour = middle + np.where(lean > 0, rgb_end - middle, x_end - middle) * np.abs(lean)
    alpha = np.where(known, np.clip(strength, 0, 1), 0)[..., None]
    made = pale(rgb) * (1 - alpha) + colour * alpha
    drawn: Picture = np.rint(made).astype(np.uint8)
    return drawn if harmed is None else striped(drawn, harmed)


def striped(picture: Picture, where: NDArray[np.bool_]) -> Picture:
    """The picture with thin lines across the marked pixels, dark and light side by side: seen on every colour."""
    made, stripe = picture.copy(), _stripes(where.shape, falling=True, width=1) % 6
    for number, line in enumerate(_LINES):
        made[where & (stripe == number)] = line
    return made


def tinted(
    rgb: Picture, share: NDArray[np.floating[Any]], colour: str, outline: NDArray[np.bool_] | None = None
) -> Picture:
    """One colour over the pale image: a map of where something is, or of how much.

    Args:
        share: (h, w) weight of the colour, 0..1. colour: "#rrggbb".
        outline: (h, w) a region whose border is drawn in black.

    >>> tinted(np.full((1, 2, 3), 255, np.uint8), np.array([[0.0, 1.0]]), "#0066aa")[0].tolist()
    [[252, 252, 252], [0, 102, 170]]
    """
    alpha = np.clip(share, 0, 1)[..., None]
    made: Picture = np.rint(pale(rgb) * (1 - alpha) + _colour(colour) * alpha).astype(np.uint8)
    if outline is not None:
        made[_border(outline, max(1, round(outline.shape[1] / 320)))] = 0
    return made


def _border(region: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The pixels of a region within `width` of its outside; the edge of the picture is none."""
    kept, padded = region.copy(), np.pad(region, width, mode="edge")
    height, across = region.shape
    for i in range(2 * width + 1):
        kept &= padded[i : i + height, width : width + across] & padded[width : width + height, i : i + across]
    border: NDArray[np.bool_] = region & ~kept
    return border


def harm_legend(width: int = 200, height: int = 40) -> Picture:
    """What is marked in a modality map: under x (left), where rgb lowers the probability, and under rgb (right)."""
    balance = np.where(np.arange(width) < width // 2, -1, 1).astype(np.float32) * np.ones((height, 1), np.float32)
    grey = np.full((height, width, 3), 128, np.uint8)
    return modality_picture(grey, balance, np.full_like(balance, 0.7), np.full(balance.shape, True))


def modality_legend(width: int = 200, height: int = 40) -> Picture:
    """All that the modality map can show: from x (left) to rgb (right), from no matter (top) to all (bottom)."""
    balance = np.tile(np.linspace(-1, 1, width, dtype=np.float32), (height, 1))
    strength = np.tile(np.linspace(0, 1, height, dtype=np.float32)[:, None], (1, width))
    return modality_picture(np.full((height, width, 3), 128, np.uint8), balance, strength)


def resized(picture: Picture, width: int, smooth: bool) -> Picture:
    """The picture at another width, its shape kept; `smooth` for photographs, else the nearest pixel (classes)."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), kind))


def encoded(picture: NDArray[Any] | Image.Image, kind: str = "JPEG") -> bytes:
    """The picture as a file: "JPEG", colours at full resolution so that thin patches keep theirs, or "PNG"."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": _QUALITY, "subsampling": 0} if kind == "JPEG" else {}
    made = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    made.save(buffer, format=kind, **options)
    return buffer.getvalue()


def image_tag(picture: Picture, words: str, *, raw: bool = False) -> str:
    """An <img> that holds its picture; `words` say what it shows; `raw`: lossless, enlarged pixel by pixel."""
    height, width = picture.shape[:2]
    kind = "PNG" if raw else "JPEG"
    held = base64.b64encode(encoded(picture, kind)).decode()
    source = f"data:image/{kind.lower()};base64,{held}"
    class_ = ' class="raw"' if raw else ""
    return f'<img src="{source}" alt="{escape(words)}" width="{width}" height="{height}"{class_}>'


def key_entry(name: str, colour: Sequence[int]) -> str:
    """The entry of a class in a picture's key: a patch of its colour, and its name."""
    return f'<span><i style="background:#{bytes(colour).hex()}"></i>{escape(name)}</span>'
