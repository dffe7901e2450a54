"""Corruptions of raw image pairs, as sensors fail: noise, low light, holes, misalignment, coarse depth.

Pure functions on raw tensors, before any preprocessing: rgb uint8 (3, H, W) or float in [0, 1], x float (Cx, H, W) in
the unit of its kind (metres for depth, 0 = missing). Severities are in stated units, never "level 1 to 5" (as those of
Hendrycks and Dietterich 2019, ImageNet-C): a curve can be compared with a sensor's data sheet.

`corrupt(sample, name, severity)` draws its random numbers from (seed, corruption, sample id) alone, so a corrupted
sample depends on no batch, order or process; a corruption's severities share one draw, so that curves are smooth and
the holes of a mild case lie within those of a severe one. Severity 0 changes nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.data.base import Sample
from fusionzoo.data.transforms import MEAN_COLOUR
from fusionzoo.errors import InputError, unknown
from fusionzoo.modalities import Part, names_of, parts_of

__all__ = ["CORRUPTIONS", "Corruption", "corrupt", "corruption_names", "hole_mask", "levels", "low_light", "noise_rgb",
           "noise_x", "quantise", "severities", "shift"]  # fmt: skip

DEPTH = ("depth", "inverse_depth")
"""Kinds of x whose raw value is metres with 0 = missing. (`inverse_depth` is inverted by the preprocessing.)"""
PHOTONS = 1000.0
"""Electrons that a white pixel holds in `low_light`: a small sensor (a few thousand at most) at moderate gain."""
NEAREST = 1e-3
"""Metres; a measured depth never falls below it, so that it does not turn into 0, which means missing."""


def noise_rgb(rgb: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise of standard deviation `std`, in grey levels of 255, clipped to the range (uint8: rounded)."""
    noise = torch.randn(rgb.shape, generator=generator) * std
    return _like(rgb, _grey(rgb) + noise)


def noise_x(x: Tensor, std: float, generator: torch.Generator, depth: bool = True) -> Tensor:
    """Gaussian noise of standard deviation `std`, in the unit of x.

    Depth: metres, on measured pixels only, which stay measured. Others (`depth=False`): grey levels, clipped to 0..255.
    """
    noisy = x + torch.randn(x.shape, generator=generator).to(x.dtype) * std
    return torch.where(x > 0, noisy.clamp(min=NEAREST), x) if depth else noisy.clamp(0, 255)


def low_light(rgb: Tensor, stops: float, generator: torch.Generator) -> Tensor:
    """Less light: 2^-stops of it, with the shot noise of the photons that are left.

    The sRGB curve (IEC 61966-2-1) is undone; n ~ Poisson(PHOTONS 2^-stops linear) electrons arrive; n / PHOTONS goes
    back through the curve, so the image is dark as well as noisy: no exposure or gain makes up for it.
    """
    grey = _grey(rgb) / 255
    linear = torch.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)
    linear = torch.poisson(linear * (PHOTONS * 2.0**-stops), generator=generator) / PHOTONS
    dark = torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
    return _like(rgb, dark * 255)


def hole_mask(size: tuple[int, int], share: float, generator: torch.Generator) -> Tensor:
    """(H, W) bool with exactly round(share H W) true pixels: random rectangles laid until they cover that much.

    Sides are uniform between a twentieth and a third of the image's; of the last rectangle only as many pixels are
    taken as are wanted, in raster order. A larger share from an equal generator contains a smaller one.
    """
    height, width = size
    wanted = round(share * height * width)
    mask = torch.zeros(height, width, dtype=torch.bool)
    covered = 0
    while covered < wanted:
        u = torch.rand(4, generator=generator).tolist()
        h, w = (max(1, round(side * (1 / 20 + (1 / 3 - 1 / 20) * v))) for side, v in zip(size, u[:2], strict=True))
        top, left = int(u[2] * (height + h)) - h, int(u[3] * (width + w)) - w  # a rectangle may stick out
        part = mask[max(top, 0) : max(top + h, 0), max(left, 0) : max(left + w, 0)]
        free = (~part).nonzero()[: wanted - covered]
        part[free[:, 0], free[:, 1]] = True
        covered += len(free)
    return mask


def shift(x: Tensor, down: int, right: int, depth: bool = True) -> Tensor:
    """x moved by whole pixels against rgb and labels. Uncovered pixels: missing (0) in depth, else the nearest edge.

    >>> shift(torch.tensor([[[1.0, 2.0, 3.0]]]), 0, 1)
    tensor([[[0., 1., 2.]]])
    """
    height, width = x.shape[-2:]
    if abs(down) >= height or abs(right) >= width:
        raise InputError(f"a shift by {max(abs(down), abs(right))} pixels leaves nothing of a {width}x{height} image")
    rows, cols = torch.arange(height) - down, torch.arange(width) - right
    moved = x[..., rows.clamp(0, height - 1)[:, None], cols.clamp(0, width - 1)]
    if depth:
        inside = ((rows >= 0) & (rows < height))[:, None] & ((cols >= 0) & (cols < width))
        moved = torch.where(inside, moved, torch.zeros((), dtype=x.dtype))
    return moved


def quantise(x: Tensor, step: float, depth: bool = True) -> Tensor:
    """x in whole steps (nearest, halves up); `step` in the unit of x. Measured depth stays at least one step.

    >>> quantise(torch.tensor([0.0, 0.1, 1.3]), 0.5)
    tensor([0.0000, 0.5000, 1.5000])
    """
    coarse = torch.floor(x / step + 0.5) * step
    return torch.where(x > 0, coarse.clamp(min=step), x) if depth else coarse.clamp(0, 255)


def levels(x: Tensor, count: int, depth: bool = True) -> Tensor:
    """x in `count` evenly spaced values between its own smallest and largest (of measured depth), nearest one.

    >>> levels(torch.tensor([0.0, 1.0, 1.4, 3.0]), 3)
    tensor([0., 1., 1., 3.])
    """
    if count < 2:
        raise InputError(f"{count} levels; give 2 or more")
    known = x[x > 0] if depth else x
    if not known.numel():
        return x
    low, high = float(known.min()), float(known.max())
    step = (high - low) / (count - 1)
    if step == 0:
        return x
    coarse = low + torch.floor((x - low) / step + 0.5) * step
    return torch.where(x > 0, coarse.clamp(min=NEAREST), x) if depth else coarse


Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Corruption:
    """A corruption by name.

    Args:
        name: key in CORRUPTIONS.
        modality: what it changes, "rgb" or "x".
        meaning: one sentence.
        apply: (rgb, x, severity, generator, x is depth) -> (rgb, x).
        unit, defaults: of the severities, for depth, from none (0) to severe.
        other_unit, other_defaults: for x that is not depth; "" where the corruption makes no sense for it.
    """

    name: str
    modality: str
    meaning: str
    apply: Callable[[Tensor, Tensor, float, torch.Generator, bool], Pair]
    unit: str
    defaults: tuple[float, ...]
    other_unit: str = ""
    other_defaults: tuple[float, ...] = ()


def _shift_pair(rgb: Tensor, x: Tensor, pixels: float, generator: torch.Generator, depth: bool) -> Pair:
    """Up, down, left or right, drawn for the image."""
    k, way = int(pixels), int(torch.randint(4, (1,), generator=generator))
    return rgb, shift(x, *((k, 0), (-k, 0), (0, k), (0, -k))[way], depth)


def _holes_rgb(rgb: Tensor, x: Tensor, share: float, generator: torch.Generator, depth: bool) -> Pair:
    mean = torch.tensor(MEAN_COLOUR, dtype=torch.float32)[:, None, None]
    mask = hole_mask((rgb.shape[-2], rgb.shape[-1]), share, generator)
    return _like(rgb, torch.where(mask, mean, _grey(rgb))), x


def _holes_x(rgb: Tensor, x: Tensor, share: float, generator: torch.Generator, depth: bool) -> Pair:
    mask = hole_mask((x.shape[-2], x.shape[-1]), share, generator)
    return rgb, x.masked_fill(mask, 0.0)


_GREY = "grey levels of 255"
_LEVELS = (0, 5, 10, 20, 40, 80)
_SHARES = (0, 0.1, 0.25, 0.5, 0.75)

CORRUPTIONS: dict[str, Corruption] = {
    c.name: c
    for c in (
        Corruption(
            "noise_rgb", "rgb", "Gaussian noise on the colours",
            lambda rgb, x, s, g, d: (noise_rgb(rgb, s, g), x),
            f"standard deviation, {_GREY}", _LEVELS, f"standard deviation, {_GREY}", _LEVELS,
        ),
        Corruption(
            "low_light", "rgb", "less light, with photon noise",
            lambda rgb, x, s, g, d: (low_light(rgb, s, g), x),
            "stops (halvings of the light)", (0, 1, 2, 3, 4, 5), "stops (halvings of the light)", (0, 1, 2, 3, 4, 5),
        ),
        Corruption(
            "holes_rgb", "rgb", "random rectangles of the mean colour", _holes_rgb,
            "share of the area", _SHARES, "share of the area", _SHARES,
        ),
        Corruption(
            "noise_x", "x", "Gaussian noise on x",
            lambda rgb, x, s, g, d: (rgb, noise_x(x, s, g, d)),
            "standard deviation, metres", (0, 0.02, 0.05, 0.1, 0.2, 0.5), f"standard deviation, {_GREY}", _LEVELS,
        ),
        Corruption(
            "holes_x", "x", "random rectangles of missing depth", _holes_x,
            "share of the area", _SHARES,
        ),
        Corruption(
            "quantise_x", "x", "x in whole steps",
            lambda rgb, x, s, g, d: (rgb, quantise(x, s / 1000 if d else s, d)),
            "step, millimetres", (0, 10, 50, 100, 250, 500), f"step, {_GREY}", (0, 4, 8, 16, 32, 64),
        ),
        Corruption(
            "levels_x", "x", "x in few values between the image's own smallest and largest",
            lambda rgb, x, s, g, d: (rgb, levels(x, int(s), d)),
            "values", (0, 64, 32, 16, 8, 4), "values", (0, 64, 32, 16, 8, 4),
        ),
        Corruption(
            "shift_x", "x", "x moved against rgb, up, down, left or right", _shift_pair,
            "pixels of the model's input", (0, 1, 2, 4, 8, 16), "pixels of the model's input", (0, 1, 2, 4, 8, 16),
        ),
    )
}  # fmt: skip
"""Name -> Corruption. A severity of 0 is the clean pair."""


def severities(name: str, x_kind: str) -> tuple[str, tuple[float, ...]] | None:
    """(unit, default severities) of a corruption for one kind of x; None where it makes no sense for that kind, or
    where x is of several modalities and the name does not say of which ("noise_depth").

    >>> severities("holes_x", "depth"), severities("holes_x", "hha")
    (('share of the area', (0, 0.1, 0.25, 0.5, 0.75)), None)
    """
    chosen, part = _get(name, x_kind)
    if chosen.modality == "x" and part is None and "+" in x_kind:
        return None
    if (x_kind if part is None else part.kind) in DEPTH:
        return chosen.unit, chosen.defaults
    return (chosen.other_unit, chosen.other_defaults) if chosen.other_unit else None


def corruption_names(x_kind: str) -> list[str]:
    """The names for one kind of x; of several modalities each has its own.

    >>> [name for name in corruption_names("depth+event") if "holes" in name or "noise" in name]
    ['noise_rgb', 'holes_rgb', 'noise_depth', 'noise_event', 'holes_depth']
    """
    if "+" not in x_kind:
        return [name for name in CORRUPTIONS if severities(name, x_kind) is not None]
    own = [
        [name] if chosen.modality == "rgb" else [f"{name.removesuffix('x')}{part}" for part in names_of(x_kind)]
        for name, chosen in CORRUPTIONS.items()
    ]
    return [name for names in own for name in names if severities(name, x_kind) is not None]


def corrupt(sample: Sample, name: str, severity: float, *, x_kind: str = "depth", seed: int = 0) -> Sample:
    """The sample with rgb or x corrupted; everything else, and the sample itself, stay as they are.

    Args:
        sample: {"rgb", "x", "id", ...}, raw, as a dataset gives it.
        name: a key of CORRUPTIONS; of several modalities those of `corruption_names`, for example "noise_thermal".
        severity: in that corruption's unit; 0 gives the sample back.
        x_kind: "depth", "inverse_depth" (both metres), "hha" or "thermal".
        seed: other seeds, other noise.

    Raises:
        UnknownNameError: no such corruption. InputError: a severity that cannot be, or no corruption for this kind.

    >>> sample = {"rgb": torch.zeros(3, 8, 8, dtype=torch.uint8), "x": torch.ones(1, 8, 8), "id": "a"}
    >>> int((corrupt(sample, "holes_x", 0.25)["x"] == 0).sum())
    16
    """
    chosen, part = _get(name, x_kind)
    check_severity(name, severity, x_kind)
    if severity == 0:
        return sample
    digest = hashlib.sha256(f"{seed}/{name}/{sample['id']}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    x, kind = (sample["x"], x_kind) if part is None else (part.of(sample["x"]), part.kind)
    rgb, x = chosen.apply(sample["rgb"], x, float(severity), generator, kind in DEPTH)
    if part is not None:
        whole = sample["x"].clone()
        part.of(whole).copy_(x)
        x = whole
    elif chosen.modality == "rgb":
        x = sample["x"]
    return {**sample, "rgb": rgb, "x": x}


def check_severity(name: str, severity: float, x_kind: str) -> None:
    """InputError unless the corruption exists for this kind of x and the severity can be."""
    found = severities(name, x_kind)
    if found is None and "+" in x_kind and name in CORRUPTIONS:
        own = [f"{name.removesuffix('x')}{part}" for part in names_of(x_kind)]
        told = ", ".join(n for n in own if n in corruption_names(x_kind)) or "it is for depth, and there is none"
        raise InputError(f"corruption {name!r}: x is {x_kind} here; say which: {told}")
    if found is None:
        raise InputError(f"corruption {name!r} is for depth, not for {x_kind}: there 0 does not mean missing")
    share = found[0].startswith("share")
    if not math.isfinite(severity) or severity < 0 or (share and severity > 1):
        raise InputError(f"{name}: severity {severity:g} is not {'0 to 1' if share else '0 or more'} ({found[0]})")
    if found[0].startswith(("pixels", "values")) and severity != int(severity):
        raise InputError(f"{name}: severity {severity:g} is not a whole number ({found[0]})")


def _get(name: str, x_kind: str) -> tuple[Corruption, Part | None]:
    """The corruption, and the one of several modalities that its name says."""
    if name in CORRUPTIONS:
        return CORRUPTIONS[name], None
    for part in parts_of(x_kind) if "+" in x_kind else ():
        base = f"{name.removesuffix(part.name)}x"
        if name.endswith(f"_{part.name}") and base in CORRUPTIONS:
            return CORRUPTIONS[base], part
    raise unknown("corruption", name, corruption_names(x_kind) if "+" in x_kind else CORRUPTIONS)


def _grey(rgb: Tensor) -> Tensor:
    """uint8 or float [0, 1] -> float grey levels 0..255."""
    return rgb.float() if rgb.dtype == torch.uint8 else rgb.float() * 255


def _like(rgb: Tensor, grey: Tensor) -> Tensor:
    """Grey levels -> what `rgb` is: rounded uint8, or float [0, 1]."""
    grey = grey.clamp(0, 255)
    return grey.round().to(torch.uint8) if rgb.dtype == torch.uint8 else (grey / 255).to(rgb.dtype)
