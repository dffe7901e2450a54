"""Planes in closed form, a plain loop for the fit, and the camera rotations that come with NYU Depth v2."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from fusionzoo.data import NYUv2
from fusionzoo.data.base import Cached
from fusionzoo.data.hha import (
    NYU_CAMERA,
    Intrinsics,
    WithHHA,
    gravity,
    hha,
    point_cloud,
    read_rotations,
    surface_normals,
)
from fusionzoo.errors import InputError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nyuv2"
CAMERA = Intrinsics(60.0, 58.0, 39.0, 28.5, (60, 80))


def rays(camera: Intrinsics = CAMERA) -> torch.Tensor:
    """(3, H, W): the point at depth 1 under each pixel, by a plain loop."""
    out = torch.zeros(3, *camera.size, dtype=torch.float64)
    for v in range(camera.size[0]):
        for u in range(camera.size[1]):
            out[:, v, u] = torch.tensor([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0])
    return out


def plane(normal: list[float], distance: float) -> torch.Tensor:
    """Depth (H, W) of the plane normal . p = distance; 0 where it is behind the camera."""
    slope = torch.einsum("c,chw->hw", torch.tensor(normal, dtype=torch.float64), rays())
    depth = distance / slope
    return torch.where((slope > 1e-9) & (depth < 50), depth, torch.zeros(()).double())


def room(tilt: float = 0.0, roll: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """(depth of floor 1.3 m below, ceiling 1.2 m above, wall 4 m ahead, wall 2 m left; gravity) for a turned camera."""
    t, r = math.radians(tilt), math.radians(roll)
    pitch = torch.tensor([[1, 0, 0], [0, math.cos(t), -math.sin(t)], [0, math.sin(t), math.cos(t)]]).double()
    turn = pitch @ torch.tensor([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]]).double()
    walls = [([0, 1, 0], 1.3), ([0, -1, 0], 1.2), ([0, 0, 1], 4.0), ([-1, 0, 0], 2.0)]
    depths = torch.stack([plane((turn @ torch.tensor(n).double()).tolist(), d) for n, d in walls])
    return torch.where(depths > 0, depths, torch.inf).amin(0), turn[:, 1]


def test_points_are_where_the_rays_go() -> None:
    depth = torch.rand(60, 80).double() * 5 + 0.5
    assert torch.allclose(point_cloud(depth, CAMERA), rays() * depth, atol=1e-12)


@pytest.mark.parametrize("normal", [[0, 0, 1], [0.6, 0, 0.8], [0.2, -0.5, 0.7], [0, 1, 0], [-0.1, 0.9, 0.3]])
@pytest.mark.parametrize("radius", [1, 3, 10])
def test_normals_of_planes(normal: list[float], radius: int) -> None:
    depth = plane(normal, 2.0)
    depth[::7, ::5] = 0  # missing pixels must not matter
    found = surface_normals(depth, CAMERA, radius)
    unit = torch.tensor(normal, dtype=torch.float64) / torch.tensor(normal, dtype=torch.float64).norm()
    defined = torch.isfinite(found).all(0)
    assert defined.sum() > 0.9 * (depth > 0).sum() and not bool(defined[depth == 0].any())
    assert (found[:, defined] - unit[:, None]).abs().max() < 1e-5


def test_the_fit_is_least_squares_over_valid_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    depth = plane([0.1, 0.3, 0.9], 2.0) * (1 + 0.05 * torch.rand(60, 80, generator=generator).double())
    depth[torch.rand(60, 80, generator=generator) < 0.3] = 0
    found, ray = surface_normals(depth, CAMERA, 2), rays()
    for v, u in ((0, 0), (5, 7), (30, 41), (59, 79), (20, 0)):
        window = (slice(max(0, v - 2), v + 3), slice(max(0, u - 2), u + 3))
        some = depth[window] > 0
        if depth[v, u] == 0:
            continue
        m = torch.linalg.lstsq(ray[(slice(None), *window)][:, some].T, 1 / depth[window][some]).solution
        assert torch.allclose(found[:, v, u], m / m.norm(), atol=1e-6)


def test_no_plane_no_normal() -> None:
    lonely = torch.zeros(60, 80)
    lonely[30, 40] = 2.0
    line = torch.zeros(60, 80)
    line[30] = 2.0
    assert torch.isnan(surface_normals(lonely, CAMERA)).all() and torch.isnan(surface_normals(line, CAMERA)).all()
    encoded = hha(line, CAMERA, down=(0, 1, 0))
    assert encoded[0, 30, 40] == 155 and (encoded[2] == 0).all() and (encoded[:, 31] == 0).all()


@pytest.mark.parametrize(("tilt", "roll"), [(0, 0), (20, 0), (-25, 5), (10, -8)])
def test_gravity_of_a_room(tilt: float, roll: float) -> None:
    depth, down = room(tilt, roll)
    found = gravity(surface_normals(depth, CAMERA, 3))
    assert math.degrees(math.acos(min(1.0, float(found @ down)))) < 1.0


def test_channels_in_closed_form() -> None:
    depth, down = room(5)
    encoded = hha(depth, CAMERA, down).double()
    points = rays() * depth
    assert (encoded[0] - (310 / depth.clamp(min=1)).round()).abs().max() == 0
    height = -(down[:, None, None] * points).sum(0) * 100
    assert (encoded[1] - (height + 130).clamp(0, 255)).abs().max() <= 0.51  # the floor, 130 cm below, is the lowest
    floor, ceiling = height < -129, height > 119
    inside = lambda mask: -torch.nn.functional.max_pool2d(-mask.double()[None], 9, 1, 4)[0] > 0  # noqa: E731
    wall = ~floor & ~ceiling
    for part, value in ((floor, 38), (ceiling, 218), (wall & (points[0] > 0), 128)):
        inner = inside(part)
        assert inner.sum() > 50 and (encoded[2][inner] - value).abs().max() <= 1
    assert torch.equal(hha(depth[None], CAMERA, down), encoded.to(torch.uint8))
    estimated = hha(depth, CAMERA).int()
    assert (estimated - encoded.int()).abs().double().mean() < 1.5


def test_near_depth_and_ground_out_of_sight() -> None:
    table = plane([0, 1, 0], 0.5)  # 50 cm below the camera: no ground in sight, so the ground is 130 cm below
    encoded = hha(table, CAMERA, down=(0, 1, 0))
    seen = table > 0
    assert (encoded[1][seen] == 80).all() and (encoded[2][seen] == 38).all() and (encoded[:, ~seen] == 0).all()
    assert (hha(torch.full((60, 80), 0.4), CAMERA, down=(0, 1, 0))[0] == 255).all()


def test_a_resized_camera_sees_the_same_rays() -> None:
    half = CAMERA.at((30, 40))
    mean = torch.nn.functional.avg_pool2d(rays()[None], 2)[0]
    assert torch.allclose(rays(half), mean, atol=1e-12)
    assert NYU_CAMERA.at((480, 640)) == NYU_CAMERA


def test_misuse() -> None:
    with pytest.raises(InputError, match=r"use camera\.at\(size\)"):
        hha(torch.ones(30, 40), CAMERA, down=(0, 1, 0))
    with pytest.raises(InputError, match="zero everywhere"):
        hha(torch.zeros(60, 80), CAMERA)
    with pytest.raises(InputError, match=r"\(H, W\) or \(1, H, W\)"):
        hha(torch.zeros(3, 60, 80), CAMERA)


def test_rotations_file(tmp_path: Path) -> None:
    path = tmp_path / "rotations.txt"
    path.write_text("1 0 0\n0 1 0\n0 0 1\n\n0 1 0\n-1 0 0\n0 0 1\n")
    assert read_rotations(path)["0002"].tolist() == [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    for text, message in (("1 2 3", "3 numbers"), ("a", "not a list"), ("2 0 0 0 1 0 0 0 1", "no rotation")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_rotations(path)
    with pytest.raises(InputError, match="does not exist"):
        read_rotations(tmp_path / "gone.txt")


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/nyuv2 is not there")
def test_real_rooms() -> None:
    """Labelled floors and walls come out flat and upright; gravity fits a plane through each whole labelled floor."""
    rotations = read_rotations(REAL / "camera_rotations.txt")
    assert len(rotations) == 1449
    data = NYUv2(REAL, "trainval", size=(120, 160), label_size="input", limit=60)
    data.ids = data.ids[::4]
    encoded = Cached(WithHHA(data, NYU_CAMERA, radius=3))
    assert encoded.x_kind == "hha" and encoded.x_channels == 3 and encoded.describe()["x_kind"] == "hha"
    camera, floors, walls, off, far = NYU_CAMERA.at((120, 160)), [], [], [], []

    def between(a: torch.Tensor, b: torch.Tensor) -> float:
        return math.degrees(math.acos(min(1.0, abs(float(a @ b)))))

    for index in range(len(data)):
        sample, label = encoded[index], data[index]["label"]
        assert sample["x"].shape == (3, 120, 160) and torch.equal(sample["label"], label)
        floors.append(sample["x"][:, label == 1])
        walls.append(sample["x"][:, label == 0])
        depth = data[index]["x"][0]
        down = gravity(surface_normals(depth, camera, 4))
        far.append(between(down, rotations[sample["id"]][1]))
        if (label == 1).sum() > 1500:
            points = point_cloud(depth, camera)[:, label == 1]
            points = points - points.mean(1, keepdim=True)
            off.append(between(down, torch.linalg.svd(points, full_matrices=False)[0][:, 2]))
    floor, wall = torch.cat(floors, 1), torch.cat(walls, 1)
    assert abs(float(floor[2].median()) - 38) < 10 and abs(float(wall[2].median()) - 128) < 5
    assert floor[1].median() < 25 and wall[1].median() > 80
    assert len(off) >= 5 and sorted(off)[len(off) // 2] < 4 and sorted(far)[len(far) // 2] < 7
    turned = WithHHA(data, NYU_CAMERA, rotations)[0]["x"]
    assert (turned - WithHHA(data, NYU_CAMERA)[0]["x"]).abs().mean() < 15
    with pytest.raises(InputError, match="no camera rotation for 0003"):
        WithHHA(data, NYU_CAMERA, {})[0]
