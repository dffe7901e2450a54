"""What turns raw rgb and x into model input. Part of a checkpoint's config: preprocessing belongs to the weights.

Raw rgb: uint8 in [0, 255] or float in [0, 1], (3, H, W) or (B, 3, H, W). Raw x: float, in the unit that `x_kind` names
(`depth`: metres, 0 = missing), (Cx, H, W) or (B, Cx, H, W). Output: float32, normalised, same shapes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from fusionzoo.errors import InputError, closest

__all__ = ["X_KINDS", "Preprocess", "validate_pair", "validate_x"]

X_KINDS = ("depth", "inverse_depth", "grey", "hha", "thermal")
"""`depth` metres; `inverse_depth` given metres, fed as 1/metres; `hha` and `thermal` 0..255; `grey` depth as a picture,
0..255, stretched from the nearest to the farthest pixel."""


def validate_pair(rgb: Tensor, x: Tensor, x_kind: str = "depth", where: str = "input") -> None:
    """Refuses what cannot be a pair of aligned images; silent otherwise.

    Args:
        rgb: (..., 3, H, W), uint8 or float.
        x: (..., Cx, H, W), float or integer; 0 marks missing depth.
        where: named in the message (a file, a sample id).

    Raises:
        InputError: wrong channels or size, NaN or infinite values, negative depth, depth that is zero everywhere.
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
    _validate_finite(rgb, "rgb", where)
    validate_x(x, x_kind, where)


def validate_x(x: Tensor, x_kind: str = "depth", where: str = "input") -> None:
    """The part of `validate_pair` that looks at x, (Cx, H, W) or (B, Cx, H, W), alone."""
    _validate_finite(x, "x", where)
    if x_kind in ("depth", "inverse_depth"):
        if bool((x < 0).any()):
            raise InputError(f"{where}: depth has negative values; give metres, 0 for missing")
        # per image: (B, C, H, W) -> (B, CHW)
        flat = x.reshape(x.shape[0], -1) if x.ndim == 4 else x.reshape(1, -1)
        if not bool((flat > 0).any(dim=1).all()):
            raise InputError(f"{where}: depth is zero everywhere: no pixel was measured")


def _validate_finite(image: Tensor, name: str, where: str) -> None:
    if image.is_floating_point() and not bool(torch.isfinite(image).all()):
        count = int((~torch.isfinite(image)).sum())
        raise InputError(f"{where}: {name} has {count} NaN or infinite values; mark missing depth with 0")


@dataclass(frozen=True)
class Preprocess:
    """Normalisation of both inputs: `(rgb / 255 - rgb_mean) / rgb_std` and `(x * x_scale - x_mean) / x_std`.

    Missing depth (raw 0) becomes 0 after normalisation, that is the mean. The same value stands for a whole modality
    that is absent, so "missing" means one thing everywhere.

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

    def __post_init__(self) -> None:
        for name in ("rgb_mean", "rgb_std", "x_mean", "x_std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        if self.x_kind not in X_KINDS:
            raise InputError(f"x_kind {self.x_kind!r} is not one of {', '.join(X_KINDS)}")
        if len(self.rgb_mean) != 3 or len(self.rgb_std) != 3 or len(self.x_mean) != len(self.x_std):
            raise InputError("rgb_mean and rgb_std need 3 numbers, x_mean and x_std one for each x channel")
        if min(self.rgb_std + self.x_std) <= 0:
            raise InputError("a standard deviation of the preprocessing is not positive")

    @property
    def x_channels(self) -> int:
        return len(self.x_mean)

    def __call__(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised (rgb, x), float32. Does no validation: see `validate_pair`."""
        return self.rgb(rgb), self.x(x)

    def rgb(self, rgb: Tensor) -> Tensor:
        """uint8 [0, 255] or float [0, 1] (..., 3, H, W) -> normalised float32, same shape."""
        scaled = rgb.float() / 255 if rgb.dtype == torch.uint8 else rgb.float()
        return (scaled - _column(self.rgb_mean, scaled)) / _column(self.rgb_std, scaled)

    def x(self, x: Tensor) -> Tensor:
        """Raw x (..., Cx, H, W) -> normalised float32, same shape; missing depth becomes 0."""
        raw = x.float() * self.x_scale
        missing = raw <= 0
        if self.x_kind == "inverse_depth":
            raw = torch.where(missing, raw, 1 / raw.clamp(min=1e-6))
        out = (raw - _column(self.x_mean, raw)) / _column(self.x_std, raw)
        return out.masked_fill(missing, 0.0) if self.x_kind in ("depth", "inverse_depth") else out

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """Inverse of `to_dict`. InputError names an unknown key and the closest known one."""
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                near = closest(key, known, 1)
                raise InputError(f"unknown preprocess key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return cls(**values)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)  # (C, 1, 1)
