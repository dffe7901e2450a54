"""HHA: depth as horizontal disparity, height above ground and angle with gravity, each in 0..255.

After Gupta, Girshick, Arbelaez and Malik, "Learning Rich Features from RGB-D Images for Object Detection and
Segmentation", ECCV 2014 (arXiv 1407.5736), with the constants of the authors' published encoder, so that weights
trained on its images fit: with Z in cm, h the height in cm and a the angle in degrees,

    H1 = 31000 / max(Z, 100)        H2 = h - lowest        H3 = a + 38

rounded and clamped to 0..255. `lowest` is the lowest point of the image; where that is less than 90 cm below the camera
no ground is in sight, and the ground is taken to be 130 cm below. `a` lies between the direction of gravity and the
surface normal that points away from the camera: 0 on a floor (38), 90 on a wall (128), 180 on a ceiling (218).

Camera axes: x right, y down, z forward. Pixel coordinates are 0-based.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionzoo.data.base import Sample, Wrapper
from fusionzoo.errors import InputError

__all__ = ["NYU_CAMERA", "Intrinsics", "WithHHA", "gravity", "hha", "point_cloud", "read_rotations", "surface_normals",
           "vertical"]  # fmt: skip


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera in pixels of an image of `size` (H, W)."""

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int]

    def at(self, size: tuple[int, int]) -> Intrinsics:
        """The same camera with its whole image resized to `size` (H, W)."""
        sy, sx = size[0] / self.size[0], size[1] / self.size[1]
        return Intrinsics(self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5, size)


NYU_CAMERA = Intrinsics(518.857901, 519.469611, 324.582449, 252.736166, (480, 640))
"""The colour camera of NYU Depth v2 (its toolbox counts pixels from 1: cx, cy are 1 less here)."""


POSSIBLE = (0.1, 30.0)
"""Metres between which the median depth of a room lies; of other images no HHA is made."""


def point_cloud(depth: Tensor, camera: Intrinsics) -> Tensor:
    """(H, W) metres -> float64 (3, H, W) metres in camera axes; missing depth gives the origin."""
    x, y = _rays(depth, camera)
    z = _measured(depth)[0].double()
    return torch.stack([x * z, y * z, z])


def surface_normals(depth: Tensor, camera: Intrinsics, radius: int = 3) -> Tensor:
    """Unit normals that point away from the camera, float64 (3, H, W); NaN where there is no plane to fit.

    A plane seen by a pinhole has inverse depth 1/z = m . (X/z, Y/z, 1) with m along its normal; m is the least-squares
    fit over the valid pixels of the (2 radius + 1)^2 window.

    Args:
        depth: (H, W) metres; 0, NaN and infinity = missing.
        radius: pixels; more for noisy or coarsely quantised depth.
    """
    depth, measured = _measured(depth)
    valid = measured.double()
    inverse = valid / depth.double().clamp(min=1e-6)
    x, y = (ray.expand(depth.shape) for ray in _rays(depth, camera))
    parts = [x * x, x * y, x, y * y, y, torch.ones_like(x), inverse * x, inverse * y, inverse]
    xx, xy, x1, yy, y1, n, bx, by, b1 = _window_sum(torch.stack(parts) * valid, radius)
    rows = [torch.stack(row) for row in ((xx, xy, x1), (xy, yy, y1), (x1, y1, n))]
    # Cramer: the solution is along adj(A) b, and the columns of adj(A) are cross products of the rows of A (symmetric)
    adjugate = [torch.linalg.cross(rows[(i + 1) % 3], rows[(i + 2) % 3], dim=0) for i in range(3)]
    m = adjugate[0] * bx + adjugate[1] * by + adjugate[2] * b1
    determinant = (adjugate[0] * rows[0]).sum(0)
    flat = (n < 3) | (determinant <= 1e-12 * (xx * yy * n).clamp(min=1e-300)) | (valid == 0)
    away = torch.sign((m * torch.stack([x, y, torch.ones_like(x)])).sum(0))
    normal = m / m.norm(dim=0).clamp(min=1e-300) * away
    return normal.masked_fill(flat, math.nan)


def gravity(normals: Tensor, start: Sequence[float] = (0.0, 1.0, 0.0)) -> Tensor:
    """The direction of gravity in camera axes, float64 (3,), from the normals of an indoor scene (3, H, W).

    Gupta, Arbelaez and Malik, "Perceptual Organization and Recognition of Indoor Scenes", CVPR 2013: beginning with
    `start`, take the normals within t degrees of the axis (or its opposite) as parallel, those within t of a right
    angle as perpendicular; the new axis has the smallest sum of squared cosines with the perpendicular less that with
    the parallel ones, an eigenvector. Five rounds with t = 45, five with t = 15.
    """
    flat = normals.reshape(3, -1).double()
    flat = flat[:, torch.isfinite(flat).all(0)]
    axis = torch.tensor(tuple(start), dtype=torch.float64)
    axis = axis / axis.norm()
    first = axis
    for degrees in [45.0] * 5 + [15.0] * 5:
        cosine = (axis @ flat).abs()
        parallel = flat[:, cosine > math.cos(math.radians(degrees))]
        upright = flat[:, cosine < math.sin(math.radians(degrees))]
        if parallel.shape[1] + upright.shape[1] == 0:
            break
        axis = torch.linalg.eigh(upright @ upright.T - parallel @ parallel.T).eigenvectors[:, 0]
        axis = axis if axis @ first >= 0 else -axis
    return axis


def vertical(depth: Tensor, camera: Intrinsics, down: Tensor | Sequence[float] | None) -> Tensor:
    """Unit vector of gravity in camera axes, float64 (3,): that of `down`, or estimated over windows of radius 10."""
    if down is None:
        return gravity(surface_normals(depth, camera, 10))
    axis = torch.as_tensor(down, dtype=torch.float64)
    return axis / axis.norm()


def hha(depth: Tensor, camera: Intrinsics, down: Tensor | Sequence[float] | None = None, radius: int = 3) -> Tensor:
    """The three channels, uint8 (3, H, W); 0 in all where depth is missing, 0 in the third where no plane fits.

    Args:
        depth: (H, W) or (1, H, W) metres; 0, NaN and infinity = missing.
        camera: of that very image; `NYU_CAMERA.at((H, W))` for a resized one.
        down: the direction of gravity in camera axes; (0, 1, 0) for a level camera; row 1 of a rotation that turns the
            camera upright; None: estimated by `gravity` from normals over windows of radius 10.
        radius: of the windows of the normals, in pixels.

    Raises:
        InputError: another shape, no valid depth, or depth that is in other units (median outside `POSSIBLE`).

    >>> wall = hha(torch.full((60, 80), 2.0), NYU_CAMERA.at((60, 80)), down=(0, 1, 0))
    >>> wall[:, 30, 40].tolist()  # 31000 / 200; 4 cm above the camera, that is 134 above ground; upright
    [155, 134, 128]
    """
    depth = depth[0] if depth.ndim == 3 and depth.shape[0] == 1 else depth
    if depth.ndim != 2:
        raise InputError(f"hha needs depth of shape (H, W) or (1, H, W), got {tuple(depth.shape)}")
    depth, valid = _measured(depth)
    if not bool(valid.any()):
        raise InputError("hha: depth is zero everywhere: no pixel was measured")
    middle, (near, far) = float(depth[valid].double().median()), POSSIBLE
    if not near <= middle <= far:
        raise InputError(
            f"hha: half of the depths are {'below' if middle < near else 'above'} {middle:.4g}, and no room is that"
            f" {'near' if middle < near else 'far'}; give metres ({near:g} to {far:g})"
        )
    axis = vertical(depth, camera, down)
    points = point_cloud(depth, camera) * 100  # cm
    height = -torch.einsum("c,chw->hw", axis, points)
    lowest = float(height[valid].min())
    height = height - (lowest if lowest <= -90 else -130.0)
    cosine = torch.einsum("c,chw->hw", axis, surface_normals(depth, camera, radius)).clamp(-1, 1)
    angle = torch.rad2deg(torch.arccos(cosine)) + 38
    channels = torch.stack([31000 / points[2].clamp(min=100), height, torch.nan_to_num(angle, nan=0.0)])
    return (channels.round().clamp(0, 255) * valid).to(torch.uint8)


class WithHHA(Wrapper):
    """`dataset` (of kind depth) with x as HHA: float32 (3, H, W) of 0..255. About 0.1 s for 480 x 640: see `Cached`.

    Args:
        camera: of the whole image at `camera.size`; samples may be resized, not cropped.
        rotations: id -> (3, 3), from `read_rotations`; None: gravity is estimated in each image, which on NYU Depth v2
            fits the labelled floors better (within about 2 degrees; the published rotations within about 6).
        radius: as in `hha`.
    """

    x_kind = "hha"
    x_channels = 3

    def __init__(
        self, dataset: Any, camera: Intrinsics, rotations: Mapping[str, Tensor] | None = None, radius: int = 3
    ) -> None:
        if dataset.x_kind != "depth":
            raise InputError(f"HHA is made from depth, but x of {dataset.name} is {dataset.x_kind}")
        self.dataset, self.camera, self.rotations, self.radius = dataset, camera, rotations, radius

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        down = None
        if self.rotations is not None:
            if sample["id"] not in self.rotations:
                raise InputError(
                    f"there is no camera rotation for {sample['id']}; leave rotations out to estimate them"
                )
            down = self.rotations[sample["id"]][1]
        height, width = sample["x"].shape[-2:]
        if getattr(self.dataset, "empty_depth", "error") == "keep" and not bool(_measured(sample["x"])[1].any()):
            return {**sample, "x": torch.full((3, height, width), math.nan)}  # missing, which 0 is not in HHA
        return {**sample, "x": hha(sample["x"], self.camera.at((height, width)), down, self.radius).float()}

    def describe(self) -> dict[str, Any]:
        return {**self.dataset.describe(), "x_kind": self.x_kind, "x_channels": self.x_channels}


def read_rotations(path: str | Path) -> dict[str, Tensor]:
    """A text file of 3 x 3 matrices in the order of the ids -> {"0001": float64 (3, 3), ...}.

    Each matrix turns camera axes so that y is vertical (`camera_rotations.txt` of NYU Depth v2).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the file of camera rotations")
    try:
        values = torch.tensor([float(v) for v in path.read_text(encoding="utf-8").split()], dtype=torch.float64)
    except ValueError as error:
        raise InputError(f"{path} is not a list of 3 x 3 matrices ({error})") from error
    if values.numel() == 0 or values.numel() % 9:
        raise InputError(f"{path} has {values.numel()} numbers, not 9 for each image")
    matrices = values.view(-1, 3, 3)
    if float((matrices @ matrices.mT - torch.eye(3, dtype=torch.float64)).abs().max()) > 1e-2:
        raise InputError(f"{path} has a matrix that is no rotation")
    return {f"{i + 1:04d}": matrix for i, matrix in enumerate(matrices)}


def _measured(depth: Tensor) -> tuple[Tensor, Tensor]:
    """(depth with 0 for every missing pixel, where it was measured)."""
    valid = (depth > 0) & torch.isfinite(depth)
    return torch.where(valid, depth, torch.zeros_like(depth)), valid


def _rays(depth: Tensor, camera: Intrinsics) -> tuple[Tensor, Tensor]:
    """X/z (1, W) and Y/z (H, 1)."""
    if tuple(depth.shape) != tuple(camera.size):
        raise InputError(f"depth is {tuple(depth.shape)}, the camera is for {camera.size}; use camera.at(size)")
    cols = torch.arange(depth.shape[1], dtype=torch.float64)
    rows = torch.arange(depth.shape[0], dtype=torch.float64)
    return ((cols - camera.cx) / camera.fx)[None, :], ((rows - camera.cy) / camera.fy)[:, None]


def _window_sum(maps: Tensor, radius: int) -> Tensor:
    """(C, H, W) -> sums over the windows of (2 radius + 1)^2, cut at the border."""
    side = 2 * radius + 1
    for kernel in ((side, 1), (1, side)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        maps = torch.nn.functional.avg_pool2d(maps[None], kernel, 1, padding, divisor_override=1)[0]
    return maps
