"""One transform set: what moves a pixel moves it in rgb, x and label alike; what changes colour changes rgb only.

rgb is resampled bilinearly with antialiasing (torchvision.transforms.v2), x and label by nearest, so no depth between
two objects and no class is ever invented. `as_tv` and `as_plain` carry a sample to any torchvision v2 transform and
back. Random numbers come from the `generator` given, else from torch's global one, which DataLoader seeds per worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision import tv_tensors

from fusionzoo.data.base import IGNORE, Sample
from fusionzoo.data.images import resize_nearest, resize_rgb
from fusionzoo.errors import InputError
from fusionzoo.schema import need
from fusionzoo.tasks import is_whole

__all__ = ["EvalTransform", "TrainTransform", "as_plain", "as_tv", "colour_jitter", "eval_transform", "train_transform"]

DRAWS = 8
"""Random numbers that one sample takes."""
MEAN_COLOUR = (124, 116, 104)
"""Fills rgb outside the image: the mean of ImageNet, so that it is 0 after the usual normalisation."""


def as_tv(sample: Sample) -> Sample:
    """The sample with rgb as tv_tensors.Image and x, label as Mask: ready for any torchvision.transforms.v2 transform.

    A Mask is resampled by nearest and never touched by a colour transform. Labels are moved up by one (255 becomes 0,
    k becomes k + 1), because 0 is what those transforms put where the image ends; `as_plain` moves them back.
    """
    out = dict(sample)
    out["rgb"] = tv_tensors.Image(sample["rgb"])
    out["x"] = tv_tensors.Mask(sample["x"])
    out["label"] = tv_tensors.Mask((sample["label"] + 1) % 256)
    return out


def as_plain(sample: Sample) -> Sample:
    """Inverse of `as_tv`: plain tensors, labels moved back, new pixels 255 (ignored) in them and 0 (missing) in x."""
    out = {k: v.as_subclass(Tensor) if isinstance(v, Tensor) else v for k, v in sample.items()}
    if isinstance(sample["label"], tv_tensors.Mask):
        out["label"] = (out["label"] - 1) % 256
    return out


@dataclass
class TrainTransform:
    """Random zoom, random crop, horizontal flip, colour jitter; a callable on samples whose label is as large as rgb,
    or (1, 1), one class of the whole image, which stays.

    Args:
        size: (H, W) of the result.
        base: (H0, W0) that the whole image has at zoom 1; None: `size`. The sample may be larger (or smaller), it is
            resampled once.
        scale: range of the zoom, drawn log-uniformly. Below 1 the image no longer fills the crop: rgb is padded with
            `MEAN_COLOUR`, x with 0 (missing), label with 255.
        flip: probability of a horizontal flip.
        jitter: strength of the colour jitter of rgb: brightness, contrast and saturation factors in 1 +- jitter, hue
            turned by up to jitter / 10 of a full turn. 0: none.
        depth_scale: divide x by the zoom (for metric depth: zooming in by 1.3 looks like coming 1.3 times nearer).
        extra: called on the sample as `as_tv` gives it, before the crop; any torchvision v2 transform.
        generator: source of the random numbers; None: torch's global generator.

    >>> sample = {"rgb": torch.zeros(3, 48, 64, dtype=torch.uint8), "x": torch.ones(1, 48, 64),
    ...           "label": torch.zeros(48, 64, dtype=torch.long), "id": "a"}
    >>> out = train_transform((24, 32))(sample)
    >>> out["rgb"].shape, out["x"].shape, out["label"].shape
    (torch.Size([3, 24, 32]), torch.Size([1, 24, 32]), torch.Size([24, 32]))
    """

    size: tuple[int, int]
    base: tuple[int, int] | None = None
    scale: tuple[float, float] = (1.0, 1.6)
    flip: float = 0.5
    jitter: float = 0.3
    depth_scale: bool = False
    extra: Callable[[Sample], Sample] | None = None
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        base = self.base or self.size
        self.size, self.base = (self.size[0], self.size[1]), (base[0], base[1])  # lists from JSON are welcome
        positive, share = min(*self.size, *self.base) >= 1, 0 <= self.flip <= 1 and 0 <= self.jitter < 1
        need(positive, f"size {self.size} and base {self.base}: give (height, width), both positive")
        low, high = self.scale
        need(0 < low <= high, f"scale is {self.scale}; give (lowest, highest) zoom, both positive, e.g. (1.0, 1.6)")
        need(share, f"flip is {self.flip} and jitter {self.jitter}; a probability and a strength below 1")

    def __call__(self, sample: Sample, draw: Sequence[float] | None = None) -> Sample:
        """The sample transformed. `draw`: `DRAWS` numbers in [0, 1) that decide all of it; None: drawn here."""
        rgb, x, label = sample["rgb"], sample["x"], sample["label"]
        if is_whole(label.shape[-2:], rgb.shape[-2:]):  # the class of the whole image, of whatever is left of it
            moved = self({**sample, "label": label.new_zeros(rgb.shape[-2:])}, draw)
            return {**moved, "label": label}
        if rgb.shape[-2:] != x.shape[-2:] or rgb.shape[-2:] != label.shape[-2:]:
            raise InputError(
                f"{sample.get('id', 'sample')}: rgb {tuple(rgb.shape)}, x {tuple(x.shape)} and label"
                f" {tuple(label.shape)} differ in size; train on a dataset with label_size='input'"
            )
        if self.extra is not None:
            sample = as_plain(self.extra(as_tv(sample)))
            rgb, x, label = sample["rgb"], sample["x"], sample["label"]
        if draw is None:
            draw = torch.rand(DRAWS, generator=self.generator).tolist()
        low, high = math.log(self.scale[0]), math.log(self.scale[1])
        zoom = math.exp(low + (high - low) * draw[0])
        base = self.base or self.size
        rows = _window(rgb.shape[-2], base[0] * zoom, self.size[0], draw[1])
        cols = _window(rgb.shape[-1], base[1] * zoom, self.size[1], draw[2])
        inner = (rows.inner, cols.inner)
        rgb, x, label = (t[..., rows.start : rows.stop, cols.start : cols.stop] for t in (rgb, x, label))
        rgb, x, label = resize_rgb(rgb, inner), resize_nearest(x, inner), resize_nearest(label, inner)
        if draw[3] < self.flip:
            rgb, x, label = rgb.flip(-1), x.flip(-1), label.flip(-1)
        if self.jitter > 0:
            brightness, contrast, saturation = (1 + self.jitter * (2 * d - 1) for d in draw[4:7])
            rgb = colour_jitter(rgb, brightness, contrast, saturation, self.jitter / 10 * (2 * draw[7] - 1))
        if self.depth_scale:
            x = x / zoom
        if inner != self.size:
            left, top = cols.before, rows.before
            rgb, x, label = (
                _pad(rgb, self.size, top, left, torch.tensor(MEAN_COLOUR, dtype=rgb.dtype).view(3, 1, 1)),
                _pad(x, self.size, top, left, 0),
                _pad(label, self.size, top, left, IGNORE),
            )
        return {**sample, "rgb": rgb.contiguous(), "x": x.contiguous(), "label": label.contiguous()}


train_transform = TrainTransform


@dataclass(frozen=True)
class _Window:
    start: int
    stop: int
    inner: int  # pixels of the result that the source window [start, stop) fills
    before: int  # pixels of padding before them


def _window(source: int, zoomed: float, wanted: int, where: float) -> _Window:
    """One axis: which of the `source` pixels fill `wanted` ones when the whole axis is `zoomed` pixels long."""
    if zoomed >= wanted:
        length = min(source, max(1, round(source * wanted / zoomed)))
        start = int(where * (source - length + 1))
        return _Window(start, start + length, wanted, 0)
    inner = max(1, round(zoomed))
    return _Window(0, source, inner, int(where * (wanted - inner + 1)))


def _pad(image: Tensor, size: tuple[int, int], top: int, left: int, value: Tensor | int) -> Tensor:
    out = image.new_empty((*image.shape[:-2], *size))
    out[...] = value
    out[..., top : top + image.shape[-2], left : left + image.shape[-1]] = image
    return out


# YIQ (NTSC 1953): luma Y, chroma I and Q. Turning (I, Q) turns the hue and leaves the luma.
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)
_YIQ_INVERSE = torch.linalg.inv(_YIQ)


def colour_jitter(rgb: Tensor, brightness: float, contrast: float, saturation: float, hue: float) -> Tensor:
    """Brightness, contrast, saturation (factors, 1 = unchanged), hue (in turns, 0 = unchanged) in one linear map.

    Each step is linear in the pixel, so the four are one 3x3 matrix and an offset: with Y the luma, brightness b v,
    contrast c v + (1 - c) mean(Y), saturation s v + (1 - s) Y, hue a rotation in the IQ plane. Values are clamped once,
    at the end.

    Args:
        rgb: (3, H, W), uint8 in 0..255 or float in 0..1.

    Returns:
        Same shape and dtype.
    """
    angle = 2 * math.pi * hue
    turn = torch.eye(3, dtype=torch.float64)
    turn[1, 1] = turn[2, 2] = math.cos(angle)
    turn[1, 2], turn[2, 1] = -math.sin(angle), math.sin(angle)
    chroma = torch.diag(torch.tensor([1.0, saturation, saturation], dtype=torch.float64))
    matrix = (_YIQ_INVERSE @ turn @ chroma @ _YIQ * (brightness * contrast)).float()
    pixels = rgb.reshape(3, -1).float()
    luma = _YIQ[0].float() @ pixels.mean(1)  # of the input; the grey offset is unchanged by saturation and hue
    out = torch.addmm((brightness * (1 - contrast) * luma).expand(3, 1), matrix, pixels)
    if rgb.dtype == torch.uint8:
        return out.round_().clamp_(0, 255).to(torch.uint8).view(rgb.shape)
    return out.clamp_(0, 1).to(rgb.dtype).view(rgb.shape)


@dataclass
class EvalTransform:
    """Resizes rgb (bilinear, antialias) and x (nearest) to `size`; the label keeps full resolution.

    Args:
        size: (H, W).
        label: "native", or "input" to resize the label too (nearest).
    """

    size: tuple[int, int]
    label: str = "native"

    def __post_init__(self) -> None:
        need(self.label in ("native", "input"), f"label is {self.label!r}; give 'native' or 'input'")
        fits = len(self.size) == 2 and min(self.size) >= 1
        need(fits, f"size is {self.size!r}; give (height, width), both positive")
        self.size = (self.size[0], self.size[1])

    def __call__(self, sample: Sample) -> Sample:
        out = {**sample, "rgb": resize_rgb(sample["rgb"], self.size), "x": resize_nearest(sample["x"], self.size)}
        if self.label == "input" and not is_whole(sample["label"].shape[-2:], sample["rgb"].shape[-2:]):
            out["label"] = resize_nearest(sample["label"], self.size)
        return out


eval_transform = EvalTransform
