"""A predicted class map laid over its image, with a legend of the classes that occur. NumPy and Pillow only."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fusionzoo.errors import InputError
from fusionzoo.report.table import clean

__all__ = ["areas", "overlay", "palette"]

IGNORE = 255
STRIPE = 1 << 21
"""Pixels that are blended at a time."""
_ROW = 20  # height of a legend row in pixels


def palette(n: int) -> NDArray[np.uint8]:
    """`n` RGB colours, the first the same for every `n`: each next one is the farthest, in OKLab, from those before it.

    >>> palette(3).shape, bool((palette(40)[:3] == palette(3)).all())
    ((3, 3), True)
    """
    lab, srgb = _candidates()
    chosen = [int(np.abs(srgb - np.array([31, 119, 180])).sum(1).argmin())]
    nearest = np.full(len(lab), np.inf)
    while len(chosen) < n:
        nearest = np.minimum(nearest, ((lab - lab[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    return srgb[chosen[:n]].astype(np.uint8)


@functools.cache
def _candidates() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """OKLab and sRGB (0..255) of a grid of colours that a screen can show, neither near black nor near white.

    Conversion: Ottosson, "A perceptual color space for image processing" (2020).
    """
    light, chroma, turn = np.meshgrid(
        np.linspace(0.38, 0.9, 9), np.linspace(0, 0.3, 11), np.arange(36) / 36, indexing="ij"
    )
    angle = 2 * np.pi * turn
    lab = np.stack([light, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1).reshape(-1, 3)
    to_lms = [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    to_rgb = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    linear = (lab @ np.array(to_lms).T) ** 3 @ np.array(to_rgb).T
    shown = ((linear >= 0) & (linear <= 1)).all(axis=1)
    lab, linear = lab[shown], linear[shown]
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return lab, np.rint(255 * srgb)


def areas(classes: NDArray[np.integer], names: Sequence[str]) -> list[tuple[int, str, float]]:
    """(class, name, fraction of the labelled pixels) of the classes that occur, largest first.

    255 means unlabelled where there are at most 255 classes.
    """
    counts = np.zeros(max(len(names), IGNORE + 1), dtype=np.int64)
    for rows in _stripes(*classes.shape):
        found = np.bincount(classes[rows].ravel())
        if len(found) > len(counts):
            counts = np.pad(counts, (0, len(found) - len(counts)))
        counts[: len(found)] += found
    if len(names) <= IGNORE:
        counts[IGNORE] = 0
    highest = int(counts.nonzero()[0].max(initial=0))
    if highest >= len(names):
        raise InputError(f"class map holds {highest}, but there are {len(names)} class names")
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda k: (-counts[k], k))
    return [(k, clean(names[k]), float(counts[k] / counts.sum())) for k in order]


def overlay(
    rgb: NDArray[np.uint8], classes: NDArray[np.integer], names: Sequence[str], *, alpha: float = 0.55
) -> Image.Image:
    """The picture: image and class colours blended, dark lines between classes, a legend at the right.

    Args:
        rgb: (H, W, 3) uint8.
        classes: (H, W) integers 0..K-1; 255 leaves the image bare where there are at most 255 classes.
        names: K class names.
        alpha: weight of the class colour, 0..1.

    Raises:
        InputError: sizes differ, or a class has no name.
    """
    if rgb.shape[:2] != classes.shape or rgb.ndim != 3:
        raise InputError(f"overlay: image is {rgb.shape}, class map {classes.shape}")
    rows = areas(classes, names)
    colours = palette(len(names))
    font = ImageFont.load_default(size=13)
    wide = 90 + max((int(font.getlength(name)) for _, name, _ in rows), default=0)
    height, width = classes.shape
    canvas = Image.new("RGB", (width + wide, max(height, _ROW * len(rows) + 12)), "white")
    for part in _stripes(height, width):
        canvas.paste(Image.fromarray(_blended(rgb, classes, part, colours, alpha)), (0, part.start))
    draw = ImageDraw.Draw(canvas)
    for i, (k, name, share) in enumerate(rows):
        x, y = width + 10, 6 + _ROW * i
        red, green, blue = map(int, colours[k])
        draw.rectangle((x, y + 2, x + 14, y + 16), fill=(red, green, blue), outline="black")
        draw.text((x + 21, y + 1), name, fill="black", font=font)
        draw.text((width + wide - 8, y + 1), f"{100 * share:.1f} %", fill="black", font=font, anchor="ra")
    return canvas


def _stripes(height: int, width: int) -> Iterator[slice]:
    """Rows of about `STRIPE` pixels at a time: a large picture needs no more memory than a small one beside itself."""
    step = max(1, STRIPE // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _blended(
    rgb: NDArray[np.uint8],
    classes: NDArray[np.integer],
    rows: slice,
    colours: NDArray[np.uint8],
    alpha: float,
) -> NDArray[np.uint8]:
    """Some rows of the picture: (h, W, 3) uint8."""
    here = classes[rows]
    weights = np.full(max(len(colours), IGNORE + 1), alpha, dtype=np.float32)  # of each class number's colour
    if len(colours) <= IGNORE:
        weights[IGNORE] = 0
    paint = np.zeros((len(weights), 3), dtype=np.float32)
    paint[: len(colours)] = colours
    blended = rgb[rows] * (1 - weights)[here][..., None]
    blended += (paint * weights[:, None])[here]
    edge = np.zeros(here.shape, dtype=bool)
    edge[:, 1:] |= here[:, 1:] != here[:, :-1]
    edge[1:] |= here[1:] != here[:-1]
    if rows.start > 0:
        edge[0] |= here[0] != classes[rows.start - 1]
    blended[edge] *= 0.35
    return np.rint(blended).astype(np.uint8)
