"""Reading one file as x: depth, or a picture such as HHA or thermal; what marks missing depth, and which units can be.

One reader for every command and data set: `XFormat` says how x is stored, `XFormat.read` gives it in its unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.decode import Pixels, read_pixels
from fusionzoo.errors import InputError, check_known
from fusionzoo.modalities import METRIC as DEPTH_KINDS
from fusionzoo.modalities import X_CHANNELS, X_KINDS
from fusionzoo.schema import need

__all__ = ["DEPTH_KINDS", "ENCODINGS", "X_CHANNELS", "XFormat", "read_x", "without_holes"]

ENCODINGS = ("plain", "sunrgbd", "swapped")
"""How 16-bit depth is packed: as it is; the bits rotated left by 3 (SUN RGB-D); the two bytes swapped."""

FARTHEST = 200.0
"""Float depth whose median is above that many metres is taken for another unit."""

MEDIANS = {"integer": (0.02, 40.0), "float": (0.01, FARTHEST), "given": (0.01, 500.0)}
"""Metres between which half of the depths of an image must begin: unit told from 16-bit steps, of floats, or given."""

_SCALE_IS = "x_scale in dataset.toml; predict, hha: --x-scale"
_FAR_ROOM = 10.0  # metres; only beyond are the patterns of rotated and swapped bits looked for
_UNITS = "0.0002 for 1/5000 m as TUM RGB-D, 0.00390625 for 1/256 m as KITTI"


@dataclass(frozen=True)
class XFormat:
    """How x is stored in its files. The value in the unit of `kind` is `stored * scale + offset`.

    Attributes:
        kind: as of `Preprocess`: depth in metres; all others 0..255.
        scale: None: what the file settles: 16-bit depth is millimetres (0.001), float depth metres, all else 1.
        offset: in the unit.
        encoding: of 16-bit depth, one of `ENCODINGS`; None: plain, and refused where it looks like another one.
        disparity: None, or the focal length (pixels) times the baseline (metres) of a stereo camera: the value is a
            disparity in pixels, and the depth is this over it.
        missing: further stored values that mark missing depth. 0, NaN, infinities, one and the same negative value,
            and the highest value of a wide integer type standing apart from all others are missing anyhow.
    """

    kind: str = "depth"
    scale: float | None = None
    offset: float = 0.0
    encoding: str | None = None
    disparity: float | None = None
    missing: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        need(self.kind in X_KINDS, f"x_kind {self.kind!r} is not one of {', '.join(X_KINDS)}")
        need(self.scale is None or 0 < self.scale < math.inf, f"x_scale is {self.scale}; give a positive number")
        need(math.isfinite(self.offset), f"x_offset is {self.offset}; give a number")
        if self.encoding is not None:
            check_known("x_encoding", self.encoding, ENCODINGS)
        given = self.disparity is None or 0 < self.disparity < math.inf
        need(given, f"x_disparity is {self.disparity}; give focal length in pixels times baseline in metres")
        only = {"x_encoding": self.encoding, "x_disparity": self.disparity, "missing": self.missing}
        wrong = next((name for name, value in only.items() if value), None)
        fits = wrong is None or self.kind in DEPTH_KINDS
        need(fits, f"{wrong} is for depth, but x is {self.kind}; leave it out")

    def read(self, path: str | Path) -> tuple[np.ndarray, float]:
        """(array (Cx, H, W), factor): array times factor is x in its unit, missing depth 0. Integers where they do.

        Raises:
            InputError: see `read_pixels`; also channels that do not fit, a unit that cannot be told or cannot be meant.
        """
        return self.convert(read_pixels(path, colours=True), path)

    def convert(self, pixels: Pixels, path: str | Path) -> tuple[np.ndarray, float]:
        """`read` of pixels that are at hand; `path` names them in errors."""
        raw = _channels(pixels, self.kind, path)
        if self.kind not in DEPTH_KINDS:
            scale = self._picture_scale(raw, path)
            if self.offset == 0:
                return raw, scale
            return raw.astype(np.float32) * np.float32(scale) + np.float32(self.offset), 1.0
        raw = without_holes(raw, self.missing)
        if self.encoding in ("sunrgbd", "swapped"):
            if raw.dtype != np.uint16:
                raise InputError(f"{path} is {raw.dtype}; x_encoding = {self.encoding!r} is for 16-bit depth")
            raw = raw >> 3 | raw << 13 if self.encoding == "sunrgbd" else raw.byteswap()
        scale = self._depth_scale(raw, path)
        if self.offset or self.disparity is not None:
            value = raw.astype(np.float64) * scale + self.offset
            if self.disparity is not None:
                value = np.divide(self.disparity, value, out=np.zeros_like(value), where=value > 0)
            raw, scale = np.where(raw == 0, 0, value).astype(np.float32), 1.0
        self._check_unit(raw, scale, path)
        return raw, scale

    def _picture_scale(self, raw: np.ndarray, path: str | Path) -> float:
        if self.scale is not None:
            return self.scale
        if raw.dtype.kind == "f":
            known = raw[np.isfinite(raw)]  # the rest is missing
            low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
            if 0 <= low and 1 < high <= 255 or low == high == 0:
                return 1.0
            found = f"has values {low:g} to {high:g}"
        elif raw.dtype == np.uint8:
            return 1.0
        else:
            found = f"is {raw.dtype}"
        raise InputError(
            f"{path} {found}; {self.kind} is fed as 0..255, so give the scale that turns its values into that"
            f" ({_SCALE_IS}, with x_offset)"
        )

    def _depth_scale(self, raw: np.ndarray, path: str | Path) -> float:
        if self.scale is not None:
            return self.scale
        if raw.dtype.kind == "f":
            return 1.0
        if self.disparity is not None:
            if raw.dtype.itemsize == 1:
                return 1.0
            raise InputError(f"{path} is {raw.dtype} disparity; give x_scale, pixels for one step (1/256 as KITTI)")
        if raw.dtype.itemsize >= 2:
            return 0.001
        hint = f"give the scale, metres for one step ({_SCALE_IS})"
        raise InputError(f"{path} is 8-bit, so its depth unit is unknown; {hint}")

    def _check_unit(self, raw: np.ndarray, scale: float, path: str | Path) -> None:
        """Refuses depth that no camera measures in that unit."""
        told = self.scale is not None or self.disparity is not None
        kind = "given" if told else "float" if raw.dtype.kind == "f" else "integer"
        near, far = MEDIANS[kind]
        middle = median_depth(raw) * scale
        if middle > _FAR_ROOM and self.encoding is None and raw.dtype == np.uint16:
            _check_packing(raw[0], middle, path)
        if kind == "float" and _shown(raw):
            raise InputError(
                f"{path}: its depths fill 0..1 to the very 1, as depth normalised to be shown does; give metres,"
                f" or the scale, metres for 1 ({_SCALE_IS}; 1 where they are metres)"
            )
        if not middle > far and not middle < near:
            return
        if kind == "float" and middle > far:
            raise InputError(
                f"{path}: half of its depths are above {FARTHEST:g}, which are no metres; for millimetres give the"
                f" scale 0.001 ({_SCALE_IS})"
            )
        beyond = f"above {far:g} m" if middle > far else f"nearer than {100 * near:g} cm"
        step = "" if kind == "float" else f", one step being {scale:g} m"
        way = "correct the scale" if told else f"give the scale, metres for one step ({_SCALE_IS}): {_UNITS}"
        raise InputError(f"{path}: half of its depths are {beyond}{step}: the median is {middle:.4g} m; {way}")


def read_x(
    path: str | Path,
    x_kind: str = "depth",
    scale: float | None = None,
    *,
    offset: float = 0.0,
    encoding: str | None = None,
    missing: tuple[float, ...] = (),
) -> Tensor:
    """float32 (Cx, H, W) in the unit of `x_kind`: depth in metres, 0 = missing; all else 0..255. See `XFormat`."""
    raw, factor = XFormat(x_kind, scale, offset, encoding, None, missing).read(path)
    return torch.from_numpy(raw.astype(np.float32) * np.float32(factor))


def without_holes(raw: np.ndarray, missing: tuple[float, ...] = ()) -> np.ndarray:
    """Stored depth with 0 for every value that marks a missing pixel; see `XFormat.missing`. A copy where needed."""
    hole = np.zeros(raw.shape, bool)
    tops: tuple[int, ...] = ()
    if raw.dtype.kind == "f":
        hole |= ~np.isfinite(raw)
    elif raw.dtype.itemsize > 1:
        tops = tuple(top for top in (65535, int(np.iinfo(raw.dtype).max)) if int(raw.max()) == top)
    for value in missing:
        hole |= np.isclose(raw, value) if raw.dtype.kind == "f" else raw == value
    for top in tops:
        below = raw[(raw != top) & ~hole]
        if not below.size or int(below.max()) < 0.9 * top:
            hole |= raw == top
    if raw.dtype.kind == "f":
        hole |= _float_marks(np.where(hole, 0, raw))
    if raw.dtype.kind in "if" and (negative := raw[(raw < 0) & ~hole]).size:
        if (negative == negative[0]).all() and bool((raw[~hole] > 0).any()):
            hole |= raw == negative[0]  # -1 and the like; different negative values are left to be refused
    return np.where(hole, np.zeros((), raw.dtype), raw) if hole.any() else raw


def _float_marks(values: np.ndarray) -> np.ndarray:
    """Where float depth has a highest value that several pixels share, far above all others, and that is no depth."""
    high = values.max()
    at = values == high
    others = values[~at]
    beyond = high > FARTHEST or math.isclose(float(high), 65.535, rel_tol=1e-5)
    alone = others.size > 0 and float(others.max()) > 0 and float(high) > 4 * float(others.max())
    return at if beyond and alone and int(at.sum()) > 1 else np.zeros(values.shape, bool)


def median_depth(raw: np.ndarray) -> float:
    """Of the measured values of stored depth, seen at up to about 100000 pixels; NaN when there is none."""
    step = max(1, math.isqrt(raw.size // 100_000))
    seen = raw[..., ::step, ::step]
    known = seen[seen > 0]
    return float(np.median(known)) if known.size else math.nan


def _shown(raw: np.ndarray) -> bool:
    """Whether float depth was brought to 0..1: its largest value is 1 itself, and most values are less."""
    return float(raw.max()) == 1.0 and len(np.unique(raw[raw > 0])) > 16 and float((raw == 1.0).mean()) < 0.5


def _check_packing(raw: np.ndarray, middle: float, path: str | Path) -> None:
    """Refuses (H, W) uint16 depth that shows the traces of rotated bits or swapped bytes."""
    known = raw[raw > 0]
    if len(np.unique(known)) < 16:
        return
    far = f"{path}: half of its depths are above {middle:.3g} m"
    way = "in dataset.toml; predict, hha: --x-encoding), or 'plain' where the depth is right as it is"
    if float((known & 7 == 0).mean()) > 0.9:
        raise InputError(
            f"{far} and its values are multiples of 8, as SUN RGB-D stores millimetres, bits rotated by 3; give"
            f" x_encoding = 'sunrgbd' ({way}"
        )
    if 4 * _rough(raw.byteswap()) < _rough(raw):
        raise InputError(f"{far}, and it is smooth only with its bytes swapped; give x_encoding = 'swapped' ({way}")


def _rough(raw: np.ndarray) -> float:
    """The mean step between measured neighbours in rows and columns."""
    wide, steps = raw.astype(np.int32), []
    for axis in (0, 1):
        near, far = (np.delete(wide, at, axis) for at in (-1, 0))
        steps.append(np.abs(far - near)[(near > 0) & (far > 0)])
    every = np.concatenate(steps)
    return float(every.mean()) if every.size else 0.0


def _channels(pixels: Pixels, kind: str, path: str | Path) -> np.ndarray:
    """(Cx, H, W) in the stored dtype, float32 for floats.

    HHA, event and LiDAR pictures have three channels (the latter two may be saved as one, which counts as each), all
    other kinds one. Three equal channels are one; so are three that differ by up to 1/32 of the range (thermal, grey;
    depth of 8 bits: by 2), of which the middle value of each pixel counts. Four channels of which the last varies are,
    for thermal, red, green, blue and thermal (the layout of the MFNet set).
    """
    values, wanted = pixels.array, X_CHANNELS[kind]
    if values.dtype == np.bool_:
        values = values * np.uint8(255)
    count = values.shape[2]
    if count == 4 and kind == "thermal" and (values[..., 3] != values[0, 0, 3]).any():
        values = values[..., 3:]
    elif pixels.alpha or (count == 4 and (values[..., 3] == values[0, 0, 3]).all()):
        opaque = values[..., -1:] != 0
        values = values[..., :-1]
        if kind in DEPTH_KINDS:
            values = values * opaque.astype(values.dtype)
    if wanted == 1 and values.shape[2] == 3:
        low, high = values.min(axis=2), values.max(axis=2)
        apart = float((high - low).max()) if high.dtype.kind != "f" else float(np.nan_to_num(high - low, nan=0).max())
        if apart <= _grey_tolerance(values, kind):
            values = np.sort(values, axis=2)[..., 1:2]
        else:
            raise InputError(
                f"{path} has 3 channels; {kind} needs 1. Is it colour, or painted with a colour map? Save the values"
            )
    if values.shape[2] == 1 and kind in ("event", "lidar"):
        values = np.repeat(values, 3, axis=2)
    if values.shape[2] != wanted:
        hint = "; make it from depth with: fusionzoo hha" if kind == "hha" else ""
        raise InputError(f"{path} has {values.shape[2]} channels; {kind} needs {wanted}{hint}")
    if pixels.cut:
        raise InputError(f"{path} is a 16-bit TIFF of several channels, of which 8 bits can be read; save one channel")
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is missing
            values = values.astype(np.float32, copy=False)
    return np.ascontiguousarray(values.transpose(2, 0, 1))  # (H, W, C) -> (C, H, W)


def _grey_tolerance(values: np.ndarray, kind: str) -> float:
    """How much the three channels of a grey picture may differ."""
    if kind in DEPTH_KINDS:
        return 2.0 if values.dtype == np.uint8 else 0.0
    if values.dtype.kind == "f":
        return float(np.nan_to_num(values).max()) / 32
    return float(np.iinfo(values.dtype).max) / 32
