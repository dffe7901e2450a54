"""Concepts that are not the labels: masks that samples carry, geometry of data without labels."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from fusionzoo.data import Planted, WithGeometry
from fusionzoo.data.geometry import GEOMETRY, camera_of_view
from fusionzoo.dissect import dissect
from fusionzoo.dissect.masks import Source
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.metrics import concept_masks
from tests.compare import close
from tests.dissect.test_engine import plain
from tests.dissect.toy import CLASSES, Toy, ToyData


class Masked(ToyData):
    """Its labels as masks beside an empty label map."""

    mask_names = ["is wall", "is paint", "is dent"]

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        label = sample["label"]
        masks = torch.stack([label == k for k in range(3)])
        return {**sample, "label": torch.full_like(label, 255), "masks": masks, "masks_valid": label != 255}


def test_masks_of_the_labels_give_what_the_labels_give():
    labelled = dissect(Toy(), ToyData(), tau=None, metrics=["concepts"], progress=False)
    masked = dissect(Toy(), Masked(), tau=None, metrics=["concepts"], concepts="masks", progress=False)
    for a, b in zip(labelled.rows, masked.rows, strict=True):
        assert close(b.concepts.iou, a.concepts.iou, 1e-6) and close(b.concepts.floor, a.concepts.floor, 1e-6)
        assert close(asdict(b.concepts)["variance"], asdict(a.concepts)["variance"], 1e-6)
        assert b.specificity.rgb == ["is paint"] and b.specificity.x == ["is dent"]
    assert masked.concept_names == Masked.mask_names and masked.protocol.concepts == "masks"
    assert labelled.concept_names == list(CLASSES) and labelled.protocol.concepts == "labels" and masked.planted is None


def test_data_without_labels_are_dissected_whole():
    found = dissect(Toy(), Masked(16), concepts="masks", progress=False)
    both = found.segmentation["both"]
    assert both.miou is None and both.iou == [None] * 3 and found.contribution.shapley["rgb"].miou is None
    assert found.rows[0].specificity is not None and found.rows[0].similarity.pairs["rgb_x"]["gap"].n == 16
    assert type(found).from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_overlapping_masks_on_a_grid():
    g = torch.Generator().manual_seed(0)
    masks, valid = torch.rand(2, 4, 12, 16, generator=g) > 0.5, torch.rand(2, 12, 16, generator=g) > 0.2
    batch = {"label": torch.zeros(2, 12, 16).long(), "masks": list(masks), "masks_valid": list(valid), "id": ["a", "b"]}
    source = Source(batch, torch.device("cpu"), 3, concepts=4)
    shares, known = source.on("area", (3, 4))
    for b, k, i, j in ((0, 1, 2, 3), (1, 3, 0, 0), (1, 0, 1, 2)):
        cell = (slice(4 * i, 4 * i + 4), slice(4 * j, 4 * j + 4))
        assert shares[b, k, i, j] == pytest.approx(float((masks[b, k] & valid[b])[cell].float().mean()))
        assert known[b, i, j] == pytest.approx(float(valid[b][cell].float().mean()))
    crisp, there = source.on("nearest", (6, 8))
    assert torch.equal(crisp, (masks & valid[:, None])[..., 1::2, 1::2]) and torch.equal(there, valid[..., 1::2, 1::2])
    label = torch.randint(0, 3, (1, 12, 16), generator=g)
    alone = Source({"label": label, "id": ["a"]}, torch.device("cpu"), 3)
    for mode in ("area", "nearest"):
        assert all(
            torch.equal(a, b)
            for a, b in zip(alone.on(mode, (3, 4)), concept_masks(label, 3, (3, 4), mode=mode), strict=True)
        )


class Padded(Toy):
    """The same maps, but an image of 24x32 is padded to 32x32 before."""

    stride = 16


def test_masks_lie_where_the_image_lies_in_padded_maps():
    for concepts, data in (("labels", ToyData(24)), ("masks", Masked(24))):
        plain, padded = (
            dissect(model, data, tau=None, metrics=["concepts"], concepts=concepts, progress=False).rows[0].concepts.iou
            for model in (Toy(), Padded())
        )
        assert plain["fused"] == pytest.approx([1.0] * len(plain["fused"]), abs=1e-6)
        assert all(padded[stream] == pytest.approx(plain[stream], abs=0.01) for stream in plain), concepts


def test_similarity_health_and_information_leave_padding_out():
    """The same figures as without padding: moments of channel means and positions, dead channels, ranks."""
    plain, padded = (
        dissect(model, ToyData(24), metrics=["similarity", "health", "concepts"], progress=False)
        for model in (Toy(), Padded())
    )
    (a,), (b,) = plain.rows, padded.rows
    for view in ("gap", "pix"):
        one, other = (row.similarity.pairs["rgb_x"][view] for row in (a, b))
        assert one.n == other.n == (24 if view == "gap" else 24 * 6 * 8)
        assert other.cka.value == pytest.approx(one.cka.value, abs=1e-6) and 0 < one.cka.value < 1
    for one, other in zip(plain.health, padded.health, strict=True):
        assert (other.dead, other.channels) == (one.dead, one.channels)
        for a, b in ((one.std, other.std), (one.effective_rank, other.effective_rank)):
            assert (a is None) == (b is None) and (a is None or b == pytest.approx(a, rel=1e-5))
    one, other = (d.results["information"].stages[0].concepts for d in (plain, padded))
    assert one.n == other.n and one.information.value > 0.1
    for kind in ("unique_rgb", "unique_x", "redundant", "synergistic"):
        assert getattr(other.nats, kind).value == pytest.approx(getattr(one.nats, kind).value, abs=1e-4)


class Counted(WithGeometry):
    made = 0

    def __getitem__(self, index):
        Counted.made += 1
        return super().__getitem__(index)


def test_geometry_needs_no_labels_and_is_made_only_where_concepts_are_measured():
    data = ToyData(16)
    for i in range(16):
        data.edits[i] = {"label": torch.full((24, 32), 255)}
    camera = camera_of_view((24, 32), 60)
    Counted.made = 0
    found = dissect(Toy(), Counted(data, camera, down=(0, 1, 0)), concepts="geometry", progress=False)
    assert found.concept_names == list(GEOMETRY) and Counted.made == 8 + 16  # passes 2 and 3
    assert len(found.rows[0].concepts.iou["rgb"]) == len(GEOMETRY)
    edges = dissect(Toy(), data, concepts="geometry", metrics=["concepts"], progress=False)
    assert edges.concept_names == ["depth_edge", "colour_edge", "texture_edge", "shape_edge"]
    k = GEOMETRY.index("depth_edge")
    assert found.rows[0].concepts.iou["x"][k] == edges.rows[0].concepts.iou["x"][0]
    alike = dissect(
        Toy(), WithGeometry(data, None, ["depth_edge"]), concepts="geometry", metrics=["concepts"], progress=False
    )
    assert alike.rows[0].concepts.iou["x"] == edges.rows[0].concepts.iou["x"][:1]


def test_without_concepts_the_data_are_read_plain():
    Counted.made = 0
    found = dissect(
        Toy(), Counted(ToyData(6), None, ["depth_edge"]), concepts="geometry", metrics=["cka"], progress=False
    )
    assert Counted.made == 0 and found.rows[0].similarity.cka.gap.n == 6


def test_states_know_their_concepts(tmp_path):
    options = {"metrics": ["concepts"], "progress": False, "state": tmp_path / "s"}
    one = dissect(Toy(), Masked(8), concepts="masks", **options)
    assert plain(dissect(Toy(), Masked(8), concepts="masks", **options)) == plain(one)
    with pytest.raises(InputError, match=r"another run \(concepts differ\)"):
        dissect(Toy(), Masked(8), **options)


def test_refusals():
    with pytest.raises(UnknownNameError, match="unknown source of concepts 'label'; did you mean 'labels'"):
        dissect(Toy(), ToyData(4), concepts="label", progress=False)
    with pytest.raises(InputError, match='toy carries no masks: concepts "masks" needs samples with masks'):
        dissect(Toy(), ToyData(4), concepts="masks", progress=False)

    class Wrong(Masked):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {**sample, "masks": sample["masks"][:2]}

    with pytest.raises(InputError, match=r"masks of toy-0 are torch.bool \(2, 24, 32\), wanted bool \(3, H, W\)"):
        dissect(Toy(), Wrong(4), concepts="masks", progress=False)


@pytest.mark.slow
def test_geometry_of_planted_scenes_without_their_labels():
    from fusionzoo import from_pretrained

    model = from_pretrained("hybrid_mobilenetv1-025_fpn.planted")
    data = WithGeometry(Planted("test", n=40), camera_of_view((120, 160), 90), down=(0, 1, 0))
    found = dissect(model, data, concepts="geometry", metrics=["concepts"], progress=False)
    iou = {s: [max(level.concepts.iou[s][k] for level in found.rows) for k in range(7)] for s in ("rgb", "x")}
    better = {name: iou["rgb"][k] - iou["x"][k] for k, name in enumerate(GEOMETRY)}
    assert better["texture_edge"] > 0.05 and better["colour_edge"] > 0.05  # for colour to see
    assert better["depth_edge"] < -0.03 and better["shape_edge"] < -0.02 and better["horizontal"] < 0
