"""Concepts from geometry against closed forms: rendered planes, steps, and the planted rooms' own labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fusionzoo.data import Planted
from fusionzoo.data.geometry import (
    GEOMETRY,
    WithGeometry,
    camera_of_view,
    colour_edges,
    depth_edges,
    geometry_concepts,
    orientations,
)
from fusionzoo.data.hha import NYU_CAMERA, Intrinsics
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.metrics import ConceptCurve, ConceptStatistics, concept_roles

SIZE = (60, 80)
CAMERA = camera_of_view(SIZE, 60)


def _plane(normal: tuple[float, float, float], distance: float, camera: Intrinsics = CAMERA) -> Tensor:
    """Depth of the plane normal . X = distance, by intersecting every ray; 0 where it lies behind."""
    rows, cols = torch.meshgrid(torch.arange(SIZE[0]).double(), torch.arange(SIZE[1]).double(), indexing="ij")
    rays = torch.stack([(cols - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, torch.ones_like(rows)])
    n = torch.tensor(normal, dtype=torch.float64)
    z = distance / torch.einsum("c,chw->hw", n / n.norm(), rays)
    return torch.where((z > 0) & (z < 50), z, 0.0)


class TestDepthEdges:
    @pytest.mark.parametrize("normal", [(0, 0, 1), (0, 1, 0.05), (1, 0, 0.3), (0.5, -0.7, 0.4), (0, 0.99, 0.02)])
    def test_no_plane_has_an_edge_however_slanted(self, normal: tuple[float, float, float]) -> None:
        depth = _plane(normal, 1.5)
        edge, known = depth_edges(depth)
        assert int((depth > 0).sum()) > 500 and not bool((edge & known).any()) and bool(known.any())

    @pytest.mark.parametrize("step", [0.04, 0.06, 0.5])
    def test_a_step_scores_its_closed_form(self, step: float) -> None:
        # from Z1 to Z2 the score is 1 - Z1 / Z2 = step
        depth = torch.full(SIZE, 2.0).double()
        depth[:, 40:] = 2.0 / (1 - step)
        edge, known = depth_edges(depth, 0.05)
        want = torch.zeros(SIZE, dtype=torch.bool)
        if step > 0.05:
            want[:, 39:41] = True
        assert torch.equal(edge, want) and bool(known.all())
        assert torch.equal(depth_edges(depth.T.contiguous(), 0.05)[0], want.T)
        assert torch.equal(depth_edges(10 * depth, 0.05)[0], want)  # a share: free of scale

    def test_a_step_between_slanted_planes_is_found_and_a_crease_is_not(self) -> None:
        floor, wall = _plane((0, 1, 0.0), 1.2), _plane((0, 0, 1), 3.0)
        room = torch.where(floor > 0, torch.minimum(floor.clamp(min=1e-9), wall), wall)
        assert not bool(depth_edges(room)[0].any())
        room[20:40, 30:50] = 1.5
        edge, _ = depth_edges(room)
        ring = torch.zeros(SIZE, dtype=torch.bool)
        ring[19:41, 29:51] = True
        ring[21:39, 31:49] = False
        ring[[19, 19, 40, 40], [29, 50, 29, 50]] = False  # the four corners touch the box diagonally only
        assert torch.equal(edge, ring)

    def test_missing_depth_makes_no_edge_and_is_not_known(self) -> None:
        depth = torch.full(SIZE, 2.0)
        depth[30, 40], depth[0, 0] = 0, 0
        edge, known = depth_edges(depth)
        want = torch.ones(SIZE, dtype=torch.bool)
        want[[30, 29, 31, 30, 30, 0, 1, 0], [40, 40, 40, 39, 41, 0, 0, 1]] = False
        assert not bool(edge.any()) and torch.equal(known, want)


class TestColourEdges:
    @pytest.mark.parametrize("height", [0.1, 0.2, 0.6])
    def test_a_straight_step_scores_its_height(self, height: float) -> None:
        rgb = torch.full((3, *SIZE), 0.3)
        rgb[1, :, 40:] += height
        want = torch.zeros(SIZE, dtype=torch.bool)
        if height > 0.15:
            want[:, 39:41] = True
        assert torch.equal(colour_edges(rgb), want)
        assert torch.equal(colour_edges(rgb.transpose(1, 2)), want.T)
        assert torch.equal(colour_edges((rgb * 255).round().to(torch.uint8)), want)

    def test_a_ramp_is_no_edge(self) -> None:
        assert not bool(colour_edges(torch.linspace(0, 1, SIZE[1]).expand(3, *SIZE)).any())


class TestOrientations:
    @pytest.mark.parametrize(
        ("normal", "want"),
        [
            ((0, 1, 0), "horizontal"),
            ((0, -1, 0), "horizontal"),
            ((0.1, 1, 0.1), "horizontal"),  # 8 degrees
            ((0, 0, 1), "vertical"),
            ((1, 0, 0.5), "vertical"),
            ((0.3, 0.1, 1), "vertical"),  # 5 degrees
            ((0, 1, 1), "slanted"),
            ((0, 0.4, 1), "slanted"),  # 22 degrees from upright
        ],
    )
    def test_a_plane_has_its_orientation(self, normal: tuple[float, float, float], want: str) -> None:
        depth = _plane(normal, 1.5 if normal[1] >= 0 else 1.0)
        planes = orientations(depth, CAMERA, down=(0, 1, 0))
        seen = depth > 0
        inside = ~(torch.nn.functional.max_pool2d((~seen).float()[None, None], 9, 1, 4)[0, 0] > 0)
        share = planes[:, inside].double().mean(1)
        assert int(inside.sum()) > 300
        assert share.tolist() == [float(n == want) for n in ("horizontal", "vertical", "slanted")]

    def test_tolerance_is_the_angle(self) -> None:
        for degrees, want in ((14.0, 0), (16.0, 2)):
            a = math.radians(degrees)
            planes = orientations(_plane((0, math.cos(a), math.sin(a)), 1.2), CAMERA, down=(0, 1, 0), tolerance=15)
            assert int(planes.flatten(1).sum(1).argmax()) == want

    def test_gravity_is_found_in_a_tilted_room(self) -> None:
        a = math.radians(20)  # the camera looks down by 20 degrees
        down = (0.0, math.cos(a), math.sin(a))
        floor = _plane(down, 1.3)
        wall = _plane((0.0, -math.sin(a), math.cos(a)), 3.0)
        side = _plane((1.0, 0.0, 0.0), 1.2)
        parts = torch.stack([torch.where(p > 0, p, 99.0) for p in (floor, wall, side)])
        depth, which = parts.min(0)
        planes = orientations(depth, CAMERA)
        for index, kind in ((0, 0), (1, 1), (2, 1)):
            inner = ~(torch.nn.functional.max_pool2d((which != index).float()[None, None], 9, 1, 4)[0, 0] > 0)
            assert int(inner.sum()) > 50 and float(planes[kind, inner].double().mean()) > 0.99


class TestConcepts:
    @staticmethod
    def _sample() -> dict[str, Tensor]:
        """Two fronto-parallel planes: depth jumps at column 20, colour at column 60, both at row 30."""
        depth, rgb = torch.full(SIZE, 2.0), torch.full((3, *SIZE), 0.3)
        depth[:, :20] = 3.0
        rgb[:, :, 60:] = 0.9
        depth[30:] *= 0.5
        rgb[:, 30:] *= 0.2
        return {"rgb": rgb, "x": depth[None]}

    def test_edges_of_one_modality_are_told_apart(self) -> None:
        masks, valid = geometry_concepts(self._sample(), CAMERA, width=1, down=(0, 1, 0))
        found = dict(zip(GEOMETRY, masks, strict=True))
        assert bool(valid.all())
        row = lambda name, y: found[name][y].nonzero().flatten().tolist()  # noqa: E731
        assert row("depth_edge", 10) == [19, 20] == row("shape_edge", 10)
        assert row("colour_edge", 10) == [60 - 1, 60] == row("texture_edge", 10)
        for y in (29, 30):
            assert bool(found["depth_edge"][y].all()) and bool(found["colour_edge"][y].all())
            assert not row("texture_edge", y) and not row("shape_edge", y)
        assert not bool((found["texture_edge"] & found["depth_edge"]).any())
        assert not bool((found["shape_edge"] & found["colour_edge"]).any())
        assert bool(found["vertical"][10, 35]) and not bool(found["vertical"][10, 18:22].any())

    def test_width_counts_pixels(self) -> None:
        for width in (1, 3, 5):
            masks, _ = geometry_concepts(self._sample(), None, ("depth_edge", "colour_edge"), width=width)
            assert masks[:, 10].sum(1).tolist() == [1 + width, 1 + width]

    def test_colour_alone_needs_no_depth(self) -> None:
        sample = self._sample()
        sample["x"][:, 5:9] = 0
        _, valid = geometry_concepts(sample, None, ("colour_edge",))
        assert bool(valid.all())
        _, valid = geometry_concepts(sample, None, ("colour_edge", "depth_edge"))
        assert not bool(valid[4:10].any()) and bool(valid[10:].all())

    def test_orientations_follow_the_labels_of_planted_rooms(self) -> None:
        data = Planted("test", n=4, size=(120, 160))
        horizontal = vertical = floor = wall = 0
        for i in range(4):
            sample = data[i]
            camera = camera_of_view((120, 160), 2 * 36.5)  # its field of view varies a little
            (flat, upright), valid = geometry_concepts(sample, camera, ("horizontal", "vertical"))
            on_floor = (sample["label"] == data.class_names.index("floor")) & valid & (flat | upright)
            on_wall = (sample["label"] == data.class_names.index("wall")) & valid & (flat | upright)
            floor, horizontal = floor + int(on_floor.sum()), horizontal + int((flat & on_floor).sum())
            wall, vertical = wall + int(on_wall.sum()), vertical + int((upright & on_wall).sum())
        assert floor > 1000 and wall > 1000
        assert horizontal / floor > 0.95 and vertical / wall > 0.95

    def test_a_dataset_with_concepts(self) -> None:
        data = WithGeometry(Planted("test", n=2, size=(60, 80)), camera_of_view((60, 80), 73), width=1)
        sample = data[1]
        assert sample["masks"].shape == (7, 60, 80) and sample["masks"].dtype == torch.bool
        assert sample["masks_valid"].shape == (60, 80) and data.mask_names == list(GEOMETRY)
        assert data.describe()["mask_names"] == list(GEOMETRY) and len(data) == 2 and data.x_kind == "depth"
        masks, _ = geometry_concepts(data.dataset[1], camera_of_view((60, 80), 73), width=1)
        assert torch.equal(masks, sample["masks"])

    def test_wrong_use(self) -> None:
        sample = self._sample()
        with pytest.raises(InputError, match="need the camera"):
            geometry_concepts(sample, None, ("vertical",))
        with pytest.raises(UnknownNameError, match="did you mean 'vertical'"):
            geometry_concepts(sample, None, ("vertcal",))
        with pytest.raises(InputError, match="width must be odd"):
            geometry_concepts(sample, None, ("colour_edge",), width=2)
        with pytest.raises(InputError, match="of one size"):
            geometry_concepts({"rgb": sample["rgb"], "x": sample["x"][:, 1:]}, CAMERA)
        with pytest.raises(InputError, match="tolerance"):
            geometry_concepts(sample, CAMERA, tolerance=60)
        with pytest.raises(InputError, match="field of view"):
            camera_of_view(SIZE, 180)
        data = Planted("test", n=1, size=(60, 80))
        data.x_kind = "hha"  # type: ignore[misc]
        with pytest.raises(InputError, match="made from depth"):
            WithGeometry(data, NYU_CAMERA)


def test_unlabelled_scenes_tell_what_each_modality_encodes() -> None:
    """From planted scenes without their labels: texture edges are specific to filters of colour, shape edges to filters
    of depth."""

    def filters(image: Tensor) -> Tensor:
        """(B, C, H, W) -> local contrasts along both axes, their magnitudes and the values."""
        dx, dy = torch.zeros_like(image), torch.zeros_like(image)
        dx[..., 1:-1] = (image[..., 2:] - image[..., :-2]).abs()
        dy[..., 1:-1, :] = (image[..., 2:, :] - image[..., :-2, :]).abs()
        wide = torch.nn.functional.max_pool2d(torch.maximum(dx, dy), 3, 1, 1)
        return torch.cat([image, dx, dy, wide], 1)

    n, concepts = 12, ("texture_edge", "shape_edge")
    data = WithGeometry(Planted("train", n=n, size=(60, 80)), None, concepts, width=1, depth_step=0.08)
    samples = [data[i] for i in range(n)]
    masks = torch.stack([s["masks"] for s in samples])
    valid = torch.stack([s["masks_valid"] for s in samples])
    rgb = torch.stack([s["rgb"] for s in samples]).float() / 255
    depth = torch.stack([s["x"] for s in samples])
    inverse = torch.where(depth > 0, 1 / depth.clamp(min=0.1), 0.0)
    train, group = torch.arange(n) % 2 == 0, torch.arange(n) // 2
    curves = {}
    for name, maps in (("rgb", filters(rgb)), ("x", filters(inverse))):
        statistics = ConceptStatistics(maps.shape[1], 2)
        statistics.update(maps[train], masks[train], valid[train])
        curves[name] = ConceptCurve(2, groups=6)
        curves[name].update(statistics.solve().score(maps), masks, valid, train=train, group=group)
    roles = concept_roles(curves["rgb"], curves["x"], [torch.zeros(2).double()] * 2)
    assert roles.roles == ("rgb", "x")
