"""What turns raw rgb and x into model input. Part of a checkpoint's config: preprocessing belongs to the weights.

Raw rgb: uint8 in [0, 255] or float in [0, 1], (3, H, W) or (B, 3, H, W). Raw x: float, in the unit that `x_kind` names
(`depth`: metres; 0, NaN and infinity = missing), (Cx, H, W) or (B, Cx, H, W). Output: float32, normalised, same shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.modalities import METRIC, X_KINDS, check_kind, parts_of, split
from fusionzoo.schema import decode, encode

__all__ = ["QUANTILES", "X_KINDS", "Preprocess", "missing_x", "validate_pair", "validate_x"]

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
"""Which quantiles of valid raw x `Preprocess.x_quantiles` holds."""

_POSSIBLE_METRES = (0.01, 500.0)  # the median of an image in metres; outside, the unit is another one


def missing_x(x: Tensor, x_kind: str = "depth") -> Tensor:
    """Which values of raw x were not measured: NaN and infinite in every kind, and 0 or less in depth. Bool, like x;
    of several modalities x must be (..., Cx, H, W).

    >>> missing_x(torch.tensor([2.0, 0.0, math.nan, math.inf])).tolist()
    [False, True, True, True]
    """
    x = x if x.is_floating_point() else x.float()
    if "+" in x_kind:
        return torch.cat([missing_x(own, part.kind) for part, own in split(x, x_kind)], dim=-3)
    measured = (x > 0) & (x < math.inf) if x_kind in METRIC else x.isfinite()  # NaN compares as False
    return ~measured


def validate_pair(rgb: Tensor, x: Tensor, x_kind: str = "depth", where: str = "input") -> None:
    """Refuses what cannot be a pair of aligned images; silent otherwise.

    Args:
        rgb: (..., 3, H, W), uint8 or float.
        x: (..., Cx, H, W), float or integer; NaN and infinity mark missing values, 0 missing depth.
        where: named in the message (a file, a sample id).

    Raises:
        InputError: wrong channels or size, NaN in rgb, and what `validate_x` refuses.
    """
    if rgb.ndim not in (3, 4) or rgb.shape[-3] != 3:
        raise InputError(f"{where}: rgb has shape {tuple(rgb.shape)}, wanted (3, H, W) or (B, 3, H, W)")
    if x.ndim != rgb.ndim:
        raise InputError(
            f"{where}: x has shape {tuple(x.shape)} beside rgb {tuple(rgb.shape)}; both or none are batches"
        )
    if x.ndim == 4 and x.shape[0] != rgb.shape[0]:
        raise InputError(f"{where}: {x.shape[0]} images of x beside {rgb.shape[0]} of rgb")
    if x.shape[-2:] != rgb.shape[-2:]:
        raise InputError(
            f"{where}: x is {x.shape[-1]}x{x.shape[-2]} but rgb is {rgb.shape[-1]}x{rgb.shape[-2]} (width x height);"
            " align and resize them to one size first"
        )
    if rgb.is_floating_point() and not bool(rgb.isfinite().all()):
        raise InputError(f"{where}: rgb has {int((~rgb.isfinite()).sum())} NaN or infinite values; replace them first")
    validate_x(x, x_kind, where)


def validate_x(x: Tensor, x_kind: str = "depth", where: str = "input") -> None:
    """The part of `validate_pair` that looks at x, (Cx, H, W) or (B, Cx, H, W), alone.

    Raises:
        InputError: an image without any measured value, negative depth, depth that cannot be in metres (the median of
            an image is under 1 cm or over 500 m). Of several modalities each is looked at by itself.
    """
    if "+" in x_kind:
        for part, own in split(x, x_kind):
            validate_x(own, part.kind, f"{where}, {part.name}")
        return
    x = x if x.is_floating_point() else x.float()
    if x_kind in METRIC and bool((x < 0).any()):  # minus infinity too
        raise InputError(f"{where}: depth has negative values; give metres, and 0 or NaN for missing")
    missing = missing_x(x, x_kind)
    if not bool(missing.any()) and x_kind not in METRIC:
        return
    images = x[None] if x.ndim == 3 else x
    for image, hole in zip(images, missing[None] if x.ndim == 3 else missing, strict=True):
        if bool(hole.all()):
            what = "depth is zero everywhere (or NaN)" if x_kind in METRIC else "x is NaN or infinite everywhere"
            raise InputError(
                f"{where}: {what}: no pixel was measured; leave the image out, or let the model do without x"
            )
        if x_kind in METRIC:
            low, high = _POSSIBLE_METRES
            if not low <= (middle := _median(image, hole)) <= high:
                raise InputError(
                    f"{where}: depth has the median {middle:.4g}, which cannot be metres; give metres (millimetres:"
                    " scale 0.001)"
                )


@dataclass(frozen=True)
class Preprocess:
    """Normalisation of both inputs: `(rgb / 255 - rgb_mean) / rgb_std` and `(x * x_scale - x_mean) / x_std`.

    Missing x (`missing_x`: NaN, infinity, and 0 in depth) becomes 0 after normalisation, that is the mean. The same
    value stands for a whole modality that is absent, so "missing" means one thing everywhere.

    `x_quantiles` and `x_missing` say what the weights saw: the QUANTILES of valid raw x over the training images (all
    channels together), and the mean and the largest share of missing values an image. Empty: not known. See `unlike`.

    x of several modalities has their kinds joined, `x_kind="depth+thermal"`, and their channels one behind the other;
    `x_quantiles` and `x_missing` then hold the numbers of the first modality, of the second, ...

    >>> p = Preprocess()
    >>> rgb, x = p(torch.zeros(3, 4, 4, dtype=torch.uint8), torch.full((1, 4, 4), 2.0))
    >>> rgb.shape, x.shape
    (torch.Size([3, 4, 4]), torch.Size([1, 4, 4]))
    """

    rgb_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    rgb_std: tuple[float, ...] = (0.229, 0.224, 0.225)
    x_kind: str = "depth"
    x_scale: float = 1.0
    x_mean: tuple[float, ...] = (2.8424,)
    x_std: tuple[float, ...] = (1.4172,)
    x_quantiles: tuple[float, ...] = ()
    x_missing: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rgb_mean", "rgb_std", "x_mean", "x_std", "x_quantiles", "x_missing"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        check_kind(self.x_kind)
        if len(self.rgb_mean) != 3 or len(self.rgb_std) != 3 or len(self.x_mean) != len(self.x_std):
            raise InputError("rgb_mean and rgb_std need 3 numbers, x_mean and x_std one for each x channel")
        if not all(v > 0 for v in self.rgb_std + self.x_std):
            raise InputError("a standard deviation of the preprocessing is not positive")
        count = len(parts_of(self.x_kind, len(self.x_mean)))
        q, m, each = self.x_quantiles, self.x_missing, " for each modality" if count > 1 else ""
        rising = all(list(own) == sorted(own) for own in _cut(q, count))
        if q and (len(q) != count * len(QUANTILES) or not rising or not all(map(math.isfinite, q))):
            raise InputError(f"x_quantiles are {len(QUANTILES)} rising numbers ({_percents()}){each}, not {list(q)}")
        if m and (len(m) != 2 * count or not all(0 <= low <= high <= 1 for low, high in _cut(m, count))):
            raise InputError(
                f"x_missing is the mean and the largest share of missing pixels (0..1){each}, not {list(m)}"
            )

    @property
    def x_channels(self) -> int:
        return len(self.x_mean)

    @classmethod
    def of(cls, x_kind: str) -> Preprocess:
        """For x of a kind, or of several, before data is known: metres as in indoor rooms, all else 0..255 about 127.5.

        >>> Preprocess.of("depth+thermal").x_mean
        (2.8424, 127.5)
        """
        check_kind(x_kind)
        given = {"depth": (2.8424, 1.4172), "inverse_depth": (0.5, 0.3)}
        each = [(given.get(p.kind, (127.5, 63.75)), p.stop - p.start) for p in parts_of(x_kind)]
        mean, std = (tuple(pair[i] for pair, channels in each for _ in range(channels)) for i in (0, 1))
        return cls(x_kind=x_kind, x_mean=mean, x_std=std)

    def parts(self) -> dict[str, Preprocess]:
        """Name of each modality beside rgb -> the preprocessing of rgb and of it alone."""
        parts = parts_of(self.x_kind, self.x_channels)
        seen = [_cut(v, len(parts)) or [()] * len(parts) for v in (self.x_quantiles, self.x_missing)]
        return {
            p.name: replace(self, x_kind=p.kind, x_mean=self.x_mean[p.start : p.stop],
                            x_std=self.x_std[p.start : p.stop], x_quantiles=q, x_missing=m)
            for p, q, m in zip(parts, *seen, strict=True)
        }  # fmt: skip

    def __call__(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised (rgb, x), float32. Does not compare the two: see `validate_pair`.

        Raises:
            InputError: as of `rgb` and `x`, or one is a batch and the other is not.
        """
        if isinstance(rgb, Tensor) and isinstance(x, Tensor) and rgb.ndim != x.ndim:
            raise InputError(f"rgb is {_shape(rgb)} and x {_shape(x)}; give both as (C, H, W), or both as (B, C, H, W)")
        return self.rgb(rgb), self.x(x)

    def rgb(self, rgb: Tensor) -> Tensor:
        """uint8 [0, 255] or float [0, 1] (..., 3, H, W) -> normalised float32, same shape.

        Raises:
            InputError: NaN, values that are not in [0, 1] (with some room for interpolation), integers but uint8; no
                tensor, another number of channels.
        """
        _check_shape(rgb, 3, "rgb")
        if rgb.dtype == torch.uint8:
            scaled = rgb.float() / 255
        elif rgb.is_floating_point():
            scaled = rgb.float()
            if not torch.compiler.is_compiling() and scaled.numel():
                _check_colour(scaled)
        else:
            raise InputError(f"rgb is {_name(rgb)}; give uint8 in 0..255 (rgb.to(torch.uint8)) or float in 0..1")
        return (scaled - _column(self.rgb_mean, scaled)) / _column(self.rgb_std, scaled)

    def x(self, x: Tensor) -> Tensor:
        """Raw x (..., Cx, H, W) -> normalised float32, same shape; missing values become 0.

        Raises:
            InputError: integers where metres are meant (with an `x_scale` that makes metres of them, they are fine);
                depth whose median cannot be metres, as of millimetres; no tensor, another number of channels.
        """
        _check_shape(x, self.x_channels, "x")
        metric = any(kind in METRIC for kind in self.x_kind.split("+"))
        if metric and self.x_scale == 1 and not x.is_floating_point():
            raise InputError(f"depth is {_name(x)}; give float metres (of millimetres: x.float() / 1000)")
        raw = x.float() * self.x_scale
        missing = missing_x(raw, self.x_kind)
        if metric and not torch.compiler.is_compiling():
            for part in parts_of(self.x_kind, self.x_channels):
                if part.kind in METRIC:
                    _check_metres(part.of(raw), part.of(missing))
        if "inverse_depth" in self.x_kind:
            parts = split(raw, self.x_kind)
            fed = [1 / own.clamp(min=1e-6) if part.kind == "inverse_depth" else own for part, own in parts]
            raw = torch.where(missing, raw, torch.cat(fed, dim=-3))
        out = (raw - _column(self.x_mean, raw)) / _column(self.x_std, raw)
        return out.masked_fill(missing, 0.0)

    def unlike(self, x: Tensor) -> str | None:
        """One sentence when raw x is far from what the weights saw, in range or in share of missing values; else None.

        An image is far when its median lies beyond the training data's 1 and 99 % (and half as far again as their
        median), when all of it lies tenfold below their lower quartile, when 5 % of it lies fourfold beyond their 99 %,
        or when clearly more of it is missing than of any training image. Silent where the record does not say
        what the weights saw.

        Args:
            x: raw, (Cx, H, W) or (B, Cx, H, W); of a batch each image is looked at, the first far one is named.

        >>> p = Preprocess(x_quantiles=(0.8, 1.8, 2.5, 3.4, 7.5), x_missing=(0.0, 0.1))
        >>> p.unlike(torch.full((1, 4, 4), 3.0))
        >>> print(p.unlike(torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])))
        75 % of the depth is missing, far from what the weights saw: 0 % on average, 10 % at most
        """
        if "+" in self.x_kind:
            parts = zip(self.parts().values(), split(x, self.x_kind), strict=True)
            there = (
                (p, own) for p, (_, own) in parts if bool(own.isfinite().any())
            )  # one that is absent is not unlike
            return next((found for p, own in there if (found := p.unlike(own)) is not None), None)
        for image in x[None] if x.ndim == 3 else x:
            values = image.flatten().float()  # (Cx, H, W) -> (CxHW,)
            missing = missing_x(values, self.x_kind)
            if (found := self._unlike_range(values[~missing]) or self._unlike_holes(missing)) is not None:
                return found
        return None

    def _unlike_range(self, values: Tensor) -> str | None:
        if not self.x_quantiles or values.numel() == 0:
            return None
        values = _thinned(values)
        here = [float(v) for v in values.quantile(torch.tensor(QUANTILES, device=values.device))]
        saw = self.x_quantiles
        off = not min(saw[0] / 1.05, saw[2] / 1.5) <= here[2] <= max(saw[4] * 1.05, saw[2] * 1.5)
        low = here[4] < saw[1] / 10
        high = float((values > 4 * saw[4]).float().mean()) > 0.05
        if not (off or low or high):
            return None
        name, unit = ("depth", " metres") if self.x_kind in METRIC else (self.x_kind, "")
        hint = "do its largest values mean missing (give 0)?" if high and not off else "check its unit and scale"
        return (
            f"{name} of {here[0]:.3g} to {here[4]:.4g} (median {here[2]:.4g}) is far from what the weights saw,"
            f" {saw[0]:.3g} to {saw[4]:.4g} (median {saw[2]:.4g}){unit}: {hint}"
        )

    def _unlike_holes(self, missing: Tensor) -> str | None:
        if not self.x_missing:
            return None
        share, (mean, most) = float(missing.float().mean()), self.x_missing
        if share <= most + (1 - most) / 4:
            return None
        name = "depth" if self.x_kind in METRIC else self.x_kind
        return (
            f"{100 * share:.0f} % of the {name} is missing, far from what the weights saw:"
            f" {100 * mean:.0f} % on average, {100 * most:.0f} % at most"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what the weights saw stands in it only where it is known."""
        values: dict[str, Any] = encode(self, drop_empty=True)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """Inverse of `to_dict`, strictly. InputError names an unknown field and the closest known one."""
        return decode(cls, values, "preprocess")


def _check_shape(value: Tensor, channels: int, name: str) -> None:
    """InputError unless `value` is a tensor (..., channels, H, W)."""
    if not isinstance(value, Tensor):
        raise InputError(f"{name} is a {type(value).__name__}; give a tensor (torch.from_numpy)")
    if value.ndim < 3 or value.shape[-3] != channels:
        raise InputError(f"{name} is {_shape(value)}; give (..., {channels}, H, W)")


def _check_metres(depth: Tensor, missing: Tensor) -> None:
    """InputError where the median of some thousand valid values, spread over all images, cannot be metres."""
    step = -(-depth.numel() // 4096) if depth.numel() else 1
    seen = depth.flatten()[::step][~missing.flatten()[::step]]
    low, high = _POSSIBLE_METRES
    if seen.numel() and not low <= (middle := float(seen.median())) <= high:
        raise InputError(
            f"depth has the median {middle:.4g}, which cannot be metres; give metres (of millimetres: x / 1000)"
        )


def _shape(value: Tensor) -> str:
    return "(" + ", ".join(map(str, value.shape)) + ")"


def _check_colour(rgb: Tensor) -> None:
    """InputError unless float colour can be 0..1; one pass over the pixels."""
    low, high = (float(v) for v in rgb.aminmax())
    if -0.5 <= low and high <= 1.5:  # False for NaN
        return
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("rgb has NaN or infinite values; replace them first")
    if low < -0.5:
        raise InputError(f"rgb reaches down to {low:.3g}; give raw colour (uint8, or float in 0..1), not normalised")
    raise InputError(f"float rgb reaches up to {high:.4g} where 0..1 is meant; divide by 255, or give uint8")


def _thinned(values: Tensor, most: int = 65536) -> Tensor:
    """(n,) -> every so-manieth value, at most `most` of them, float32: enough for a quantile."""
    return values[:: -(-values.numel() // most)].float()


def _median(image: Tensor, hole: Tensor) -> float:
    """The median of what is not `hole`, of a large picture seen at a million places (masks of all cost much memory)."""
    step = -(-image.numel() // (1 << 20))
    values = image.flatten()[::step][~hole.flatten()[::step]]
    return float(_thinned(values if values.numel() else image[~hole]).median())


def _cut(values: tuple[float, ...], count: int) -> list[tuple[float, ...]]:
    """Numbers of `count` modalities, as many of each; none where there are none."""
    size = len(values) // count
    return [values[i * size : (i + 1) * size] for i in range(count)] if values else []


def _percents() -> str:
    return ", ".join(f"{100 * q:.0f}" for q in QUANTILES) + " %"


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)  # (C, 1, 1)
