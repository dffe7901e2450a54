"""Concepts computed from a sample itself, so that RGB-D data without labels can be dissected.

From depth Z in metres, with the camera's rays and gravity g (`hha.surface_normals`, `hha.gravity`):

* horizontal, vertical: the normal lies within `tolerance` degrees of g or its opposite; of a right angle with g.
* slanted: a normal that is neither.
* depth_edge: the second difference of inverse depth along rows or columns, as a share of the largest inverse depth of
  the three pixels, exceeds `depth_step`. Inverse depth of a plane is linear in pixels whatever its slant, so receding
  floors make no edges, and a crease makes next to none; a step from Z1 to Z2 > Z1 scores 1 - Z1 / Z2.

From colour, 0 to 1:

* colour_edge: the Prewitt gradient of the strongest channel exceeds `colour_step`; a straight step of s scores s.

From both: texture_edge, a colour edge away from every depth edge (for colour alone to see), and shape_edge, a depth
edge away from every colour edge (for depth alone to see). Edges are `width` pixels wide. A pixel whose window for the
normal reaches a depth edge has no orientation. Definitions and defaults are ours.

How far to trust them: on 40 test images of NYU Depth v2 (480 x 640, filled-in depth), of the labelled pixels that have
an orientation, 88 % of the floor are horizontal and 89 % of the walls vertical, but only 34 % of the ceilings are
horizontal. With a radius of 3 pixels in place of 8 the floor's share falls to 66 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.data.base import Sample, Wrapper
from fusionzoo.data.hha import Intrinsics, surface_normals, vertical
from fusionzoo.errors import InputError, unknown

__all__ = ["GEOMETRY", "WithGeometry", "camera_of_view", "colour_edges", "depth_edges", "geometry_concepts",
           "orientations"]  # fmt: skip

GEOMETRY = ("horizontal", "vertical", "slanted", "depth_edge", "colour_edge", "texture_edge", "shape_edge")
"""Names of the concepts, in the order of `geometry_concepts`'s masks."""

_ORIENTATION = ("horizontal", "vertical", "slanted")


def camera_of_view(size: tuple[int, int], degrees: float) -> Intrinsics:
    """A camera that sees `degrees` across the width of an image of `size` (H, W), square pixels, centred.

    >>> round(camera_of_view((480, 640), 63.3).fx)
    519
    """
    if not 0 < degrees < 180:
        raise InputError(f"a field of view lies between 0 and 180 degrees, got {degrees}")
    focal = size[1] / 2 / math.tan(math.radians(degrees) / 2)
    return Intrinsics(focal, focal, (size[1] - 1) / 2, (size[0] - 1) / 2, (int(size[0]), int(size[1])))


def _dilate(mask: Tensor, width: int) -> Tensor:
    if width == 1:
        return mask
    return functional.max_pool2d(mask.float()[None, None], width, 1, width // 2)[0, 0] > 0


def depth_edges(depth: Tensor, step: float = 0.05) -> tuple[Tensor, Tensor]:
    """Pixels beside a jump of depth.

    Args:
        depth: (H, W) metres; 0, NaN and infinity = missing.
        step: share of the nearer pixel's inverse depth that a jump must exceed.

    Returns:
        (H, W) bool, and (H, W) bool where this is known: the pixel and its four neighbours were measured, those outside
        the image excepted.

    >>> edge, known = depth_edges(torch.tensor([[2.0, 2.0, 2.0, 3.0, 3.0, 3.0]]))
    >>> edge[0].int().tolist()
    [0, 0, 1, 1, 0, 0]
    """
    measured = (depth > 0) & torch.isfinite(depth)
    inverse = torch.where(measured, 1 / depth.double().clamp(min=1e-6), 0.0)
    edge, known = torch.zeros_like(measured), measured.clone()
    for axis in (0, 1):
        n = depth.shape[axis]
        if n < 3:
            continue
        before, here, after = (inverse.narrow(axis, i, n - 2) for i in range(3))
        seen = measured.narrow(axis, 0, n - 2) & measured.narrow(axis, 1, n - 2) & measured.narrow(axis, 2, n - 2)
        largest = torch.maximum(torch.maximum(before, here), after).clamp(min=1e-12)
        jump = seen & ((before - 2 * here + after).abs() > step * largest)
        edge.narrow(axis, 1, n - 2).logical_or_(jump)
        known.narrow(axis, 1, n - 2).logical_and_(seen)
        # a pixel at the border has one neighbour: it is known where that was measured
        known.narrow(axis, 0, 1).logical_and_(measured.narrow(axis, 1, 1))
        known.narrow(axis, n - 1, 1).logical_and_(measured.narrow(axis, n - 2, 1))
    return edge, known


def colour_edges(rgb: Tensor, step: float = 0.15) -> Tensor:
    """(H, W) bool, pixels beside a jump of colour.

    Args:
        rgb: (3, H, W), uint8 or float 0 to 1.
        step: height of the step, 0 to 1, that must be exceeded.

    >>> colour_edges(torch.tensor([0.2, 0.2, 0.2, 0.6, 0.6, 0.6]).expand(3, 4, 6))[1].int().tolist()
    [0, 0, 1, 1, 0, 0]
    """
    image = rgb.double() / 255 if not rgb.is_floating_point() else rgb.double()
    padded = functional.pad(image[None], (1, 1, 1, 1), mode="replicate")
    across = functional.avg_pool2d(padded, (3, 1), 1)  # mean of three rows: (1, C, H, W + 2)
    down = functional.avg_pool2d(padded, (1, 3), 1)
    gx, gy = across[..., 2:] - across[..., :-2], down[..., 2:, :] - down[..., :-2, :]
    return torch.hypot(gx, gy)[0].amax(0) > step


def _radius(depth: Tensor) -> int:
    return max(2, round(depth.shape[-2] / 60))


def orientations(
    depth: Tensor,
    camera: Intrinsics,
    down: Tensor | Sequence[float] | None = None,
    *,
    radius: int | None = None,
    tolerance: float = 20.0,
) -> Tensor:
    """(3, H, W) bool: horizontal, vertical, slanted; none where no plane fits.

    Args:
        depth: (H, W) metres, 0 = missing.
        camera: of that very image.
        down: direction of gravity in camera axes; estimated from the normals when None.
        radius: of the window of a normal, in pixels; None: a sixtieth of the height, at least 2 (depth is noisy).
        tolerance: degrees, up to 45.
    """
    if not 0 < tolerance <= 45:
        raise InputError(f"tolerance must lie above 0 and up to 45 degrees, got {tolerance}")
    normals = surface_normals(depth, camera, _radius(depth) if radius is None else radius)
    axis = vertical(depth, camera, down)
    cosine = torch.einsum("c,chw->hw", axis, normals).abs()  # NaN, that is neither, where no plane fits
    flat = cosine >= math.cos(math.radians(tolerance))
    upright = cosine <= math.sin(math.radians(tolerance))
    return torch.stack([flat, upright, ~flat & ~upright & ~cosine.isnan()])


def geometry_concepts(
    sample: Sample,
    camera: Intrinsics | None = None,
    concepts: Sequence[str] = GEOMETRY,
    *,
    down: Tensor | Sequence[float] | None = None,
    radius: int | None = None,
    tolerance: float = 20.0,
    depth_step: float = 0.05,
    colour_step: float = 0.15,
    width: int = 3,
) -> tuple[Tensor, Tensor]:
    """Concept masks of a sample, at its own size.

    Args:
        sample: `rgb` (3, H, W) and `x` (1, H, W), depth in metres, 0 = missing.
        camera: of the image, at any size of it: needed for orientations. `NYU_CAMERA`, or `camera_of_view`.
        concepts: names of GEOMETRY, in the order wanted.
        down, radius, tolerance: of the normals, see `orientations`; down is (0, 1, 0) for a level camera.
        depth_step, colour_step: see `depth_edges` and `colour_edges`.
        width: of the edges in pixels, odd: 1 marks only the pixels beside the jump.

    Returns:
        masks (K, H, W) bool, and valid (H, W) bool: where all chosen concepts are known. Everywhere for colour edges
        alone; where depth and its neighbours were measured for all others.

    Raises:
        InputError: no camera for orientations, x is not depth of the size of rgb, or choices out of range.
        UnknownNameError: an unknown concept.

    >>> sample = {"rgb": torch.zeros(3, 40, 60), "x": torch.full((1, 40, 60), 2.0)}
    >>> camera, concepts = camera_of_view((40, 60), 60), ("vertical", "depth_edge")
    >>> masks, valid = geometry_concepts(sample, camera, concepts, down=(0, 1, 0))
    >>> masks.flatten(1).float().mean(1).tolist(), bool(valid.all())
    ([1.0, 0.0], True)
    """
    wrong = next((c for c in concepts if c not in GEOMETRY), None)
    if wrong is not None or not concepts:
        raise unknown("geometry concept", str(wrong), GEOMETRY)
    rgb, x = sample["rgb"], sample["x"]
    if rgb.ndim != 3 or x.ndim != 3 or len(x) != 1 or rgb.shape[1:] != x.shape[1:]:
        raise InputError(
            f"geometry needs rgb (3, H, W) and depth (1, H, W) of one size, got {tuple(rgb.shape)} and {tuple(x.shape)}"
        )
    if width < 1 or width % 2 == 0:
        raise InputError(f"width must be odd, got {width}")
    made: dict[str, Tensor] = {}
    depth, size = x[0], (int(x.shape[1]), int(x.shape[2]))
    valid = torch.ones(size, dtype=torch.bool)
    if set(concepts) & {"colour_edge", "texture_edge", "shape_edge"}:
        made["colour_edge"] = _dilate(colour_edges(rgb, colour_step), width)
    if set(concepts) - {"colour_edge"}:
        thin, valid = depth_edges(depth, depth_step)
        made["depth_edge"] = _dilate(thin, width)
        if "colour_edge" in made:
            made["texture_edge"] = made["colour_edge"] & ~_dilate(thin, width + 2)
            made["shape_edge"] = made["depth_edge"] & ~_dilate(made["colour_edge"], 3)
    if set(concepts) & set(_ORIENTATION):
        if camera is None:
            names = ", ".join(_ORIENTATION)
            raise InputError(f"{names} need the camera: camera=NYU_CAMERA, or camera=camera_of_view((H, W), degrees)")
        radius = _radius(depth) if radius is None else radius
        planes = orientations(depth, camera.at(size), down, radius=radius, tolerance=tolerance)
        made |= dict(zip(_ORIENTATION, planes & ~_dilate(thin, 2 * radius + 1), strict=True))
    return torch.stack([made[c] for c in concepts]), valid


class WithGeometry(Wrapper):
    """`dataset` (of kind depth) whose samples also carry geometric concepts.

    A sample gains `masks`, bool (K, H, W), and `masks_valid`, bool (H, W); `mask_names` lists the concepts.

    Args:
        camera: of the whole image; samples may be resized, not cropped. None for edges alone.
        concepts: names of GEOMETRY.
        options: as for `geometry_concepts`.
    """

    def __init__(
        self, dataset: Any, camera: Intrinsics | None, concepts: Sequence[str] = GEOMETRY, **options: Any
    ) -> None:
        if dataset.x_kind != "depth":
            raise InputError(f"geometry is made from depth in metres, but x of {dataset.name} is {dataset.x_kind}")
        self.dataset, self.camera, self.mask_names, self.options = dataset, camera, list(concepts), options

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        masks, valid = geometry_concepts(sample, self.camera, self.mask_names, **self.options)
        return {**sample, "masks": masks, "masks_valid": valid}

    def describe(self) -> dict[str, Any]:
        return {**self.dataset.describe(), "mask_names": list(self.mask_names)}
