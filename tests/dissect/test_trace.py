"""Causal tracing: a model whose answer is known, plain loops, processes, kills, bad input, and the planted truth."""

from __future__ import annotations

import functools
import math
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fusionzoo.dissect import run
from fusionzoo.dissect.effects import Trace
from fusionzoo.dissect.intervention import erase, interventions
from fusionzoo.dissect.results.trace import rests_on
from fusionzoo.dissect.trace import trace
from fusionzoo.errors import CheckFailed, InputError, UnknownNameError
from fusionzoo.metrics import ConceptStatistics
from fusionzoo.metrics.health import ChannelMean
from fusionzoo.metrics.segmentation.confusion import iou_from_confusion
from fusionzoo.models import create_model
from fusionzoo.models.base import FusionModel
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes import Probe, Reuse, assert_untapped, intervene, probe_points
from tests.dissect.toy import CELL, CLASSES, Toy, ToyData

PAINT, DENT = 1, 2
SIDE = 0.04
"""Largest change of a class that is not hit: it wins or loses the pixels where its cells touch those of one that is."""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rgb_in, self.x_in = Probe(2, modality="rgb"), Probe(2, modality="x")
        self.fused = Probe(4, modality="fused")

    def forward(self, rgb, x):
        return self.fused(torch.cat([self.rgb_in(rgb), self.x_in(x)], 1))


class Ladder(FusionModel):
    """Two levels whose second is computed from the first, in each stream: (value, constant). The paint logit reads red
    from the fused level 2, the dent logit reads depth from the fused level 1; nothing else is read."""

    stride = 4
    architecture = "ladder"

    def __init__(self) -> None:
        super().__init__(3, 1, Preprocess((0.5,) * 3, (0.25,) * 3, x_mean=(2.0,), x_std=(1.0,)))
        self.model_args = {}
        self.set_classes(list(CLASSES))
        for i in (1, 2):
            level = nn.Module()
            level.rgb, level.x, level.block = Probe(2, modality="rgb"), Probe(2, modality="x"), Block()
            setattr(self, f"level{i}", level)
        self.scale = nn.Parameter(torch.tensor(4.0))

    @property
    def levels(self):
        return {i: {"rgb": f"level{i}.rgb", "x": f"level{i}.x", "fused": f"level{i}.block.fused"} for i in (1, 2)}

    def scores(self, rgb, x):
        one = torch.ones_like(F.avg_pool2d(x, CELL))
        r = self.level1.rgb(torch.cat([F.avg_pool2d(rgb[:, :1], CELL), one], 1))
        d = self.level1.x(torch.cat([F.avg_pool2d(x, CELL), one], 1))
        first = self.level1.block(r, d)
        r, d = self.level2.rgb(2 * r), self.level2.x(2 * d)
        second = self.level2.block(r, d)
        return self.scale * torch.stack([0.1 * one[:, 0], second[:, 0] / 2, first[:, 2]], 1)


def plain(found):
    values = found.to_dict()
    values["setting"].pop("seconds")
    return values


@pytest.fixture(scope="module")
def traced():
    edits = ("mean", "zero", "swap", "restore", "channels", "concept")
    return trace(Ladder(), ToyData(16), edits=edits, channel_groups=2, progress=False)


def row(found, edit, point, **wanted):
    (one,) = [
        r
        for r in found.rows
        if r.edit == edit and r.point == point and all(getattr(r, k) == v for k, v in wanted.items())
    ]
    return one


KILLS = {  # what replacing the value at each point by a constant does, known from how the model is made
    "level1.rgb": PAINT,  # level 2 is computed from it
    "level1.x": DENT,
    "level2.rgb": PAINT,
    "level2.x": None,  # nothing reads depth at level 2
    "level1.block.rgb_in": None,  # nothing reads red at level 1; the stream itself goes on unharmed
    "level1.block.x_in": DENT,
    "level2.block.rgb_in": PAINT,
    "level2.block.x_in": None,
}
REACH = {"block": "fusion", "rgb": "onward", "x": "onward"}


@pytest.mark.parametrize("edit", ["mean", "zero"])
def test_ablation_reaches_what_is_computed_from_the_point_and_nothing_else(traced, edit):
    clean = traced.clean.iou
    assert clean[PAINT] > 0.5 and clean[DENT] > 0.5
    for point, victim in KILLS.items():
        one = row(traced, edit, point)
        assert one.stage == int(point[5]) and one.reach == REACH[point.split(".")[1]] and one.stream in point
        for k in (PAINT, DENT):
            if k == victim:
                assert one.class_effect[k] == pytest.approx(clean[k], abs=1e-12), point
            else:
                assert abs(one.class_effect[k]) < SIDE, point
        if victim is None:
            assert set(one.class_effect) == {0.0} and one.effect == one.effect_error == one.share == 0.0
            assert not one.signal
            assert one.miou == traced.clean.miou
        else:
            assert one.effect > 0.2 and one.signal and one.share == pytest.approx(one.effect / traced.clean.miou)
            assert one.miou == pytest.approx(traced.clean.miou - one.effect)
    assert abs(row(traced, edit, "level1.block.fused", reach="decoder").class_effect[PAINT]) < SIDE
    assert row(traced, edit, "level2.block.fused").class_effect[PAINT] == pytest.approx(clean[PAINT])
    for stream, victim in (("rgb", PAINT), ("x", DENT)):
        whole = row(traced, edit, "", stream=stream)
        assert whole.reach == "stream" and whole.stage is None
        assert whole.class_effect[victim] == pytest.approx(clean[victim])
        assert abs(whole.class_effect[PAINT + DENT - victim]) < SIDE


def test_restoring_brings_back_what_the_point_carries(traced):
    shares = {
        "rgb": {"level1.rgb": 1, "level2.rgb": 1, "level1.block.rgb_in": 0, "level2.block.rgb_in": 1,
                "level1.block.fused": 0, "level2.block.fused": 1},
        "x": {"level1.x": 1, "level2.x": 0, "level1.block.x_in": 1, "level2.block.x_in": 0,
              "level1.block.fused": 1, "level2.block.fused": 0},
    }  # fmt: skip
    for missing, wanted in shares.items():
        lost = traced.clean.miou - traced.absent[missing].miou
        assert lost > 0.2
        for point, share in wanted.items():
            one = row(traced, "restore", point, absent=missing)
            assert one.effect == pytest.approx(share * lost, abs=1e-12) and one.share == pytest.approx(share, abs=1e-12)
            assert one.miou == pytest.approx(traced.absent[missing].miou + share * lost)
    restored = [r for r in traced.rows if r.edit == "restore"]
    assert len(restored) == sum(map(len, shares.values()))


def test_the_answer(traced):
    assert [(r.stream, r.stage) for r in traced.ranking[:2]] in ([("rgb", 2), ("x", 1)], [("x", 1), ("rgb", 2)])
    assert [r.effect for r in traced.ranking[2:]] == [0.0, 0.0]  # rgb of level 1, x of level 2
    assert all(r.point.endswith("_in") for r in traced.ranking)  # levels by themselves
    assert {(r.stream, r.stage) for r in traced.restored if r.effect > 0} == {("rgb", 2), ("x", 1)}
    wall, paint, dent = traced.classes
    assert (paint.rests_on, paint.point, paint.stage, paint.kind) == ("rgb", "level2.block.rgb_in", 2, "rgb")
    assert (dent.rests_on, dent.point, dent.stage, dent.kind) == ("x", "level1.block.x_in", 1, "x")
    assert (
        paint.rgb == pytest.approx(traced.clean.iou[PAINT])
        and abs(paint.x) < SIDE
        and paint.iou == traced.clean.iou[PAINT]
    )
    assert wall.kind == "both" and wall.rgb > 0 and wall.x > 0
    assert traced.found is True


def test_a_wrong_truth_is_not_found():
    data = ToyData(8)
    data.concepts = {"wall": "both", "paint": "x", "dent": "rgb"}
    found = trace(Ladder(), data, edits=("mean",), progress=False)
    assert found.found is False and [c.rests_on for c in found.classes[1:]] == ["rgb", "x"]
    data.concepts = {}
    assert trace(Ladder(), data, edits=("mean",), progress=False).found is None


def test_channel_groups_and_concepts(traced):
    clean = traced.clean.iou
    one = row(traced, "channels", "level2.block.rgb_in", part="0:1")
    assert one.class_effect[PAINT] == pytest.approx(clean[PAINT]) and abs(one.class_effect[DENT]) < SIDE
    assert row(traced, "channels", "level2.block.rgb_in", part="1:2").effect == 0.0  # the constant
    assert row(traced, "channels", "level1.block.rgb_in", part="0:1").effect == 0.0
    gone = row(traced, "concept", "level2.block.rgb_in", part="paint")
    assert gone.class_effect[PAINT] == pytest.approx(clean[PAINT], abs=1e-12) and abs(gone.class_effect[DENT]) < SIDE
    assert row(traced, "concept", "level1.block.rgb_in", part="paint").effect == 0.0
    assert row(traced, "concept", "level1.block.x_in", part="dent").class_effect[DENT] == pytest.approx(clean[DENT])
    parts = {r.part for r in traced.rows if r.edit == "concept"}
    assert parts == set(CLASSES)


def loop(model, data, red_of, depth_of):
    """(n, 3, 3) confusion counts when image i is labelled as itself but seen with the red and depth of other images."""
    counts = torch.zeros(len(data), 3, 3, dtype=torch.int64)
    for i in range(len(data)):
        rgb = (data[red_of(i)]["rgb"] - 0.5) / 0.25
        x = data[depth_of(i)]["x"] - 2.0
        label = data[i]["label"]
        with torch.no_grad():
            logits = F.interpolate(model(rgb[None], x[None]), label.shape, mode="bilinear", align_corners=False)
        for target, guess in zip(label.flatten().tolist(), logits.argmax(1).flatten().tolist(), strict=True):
            if target != 255:
                counts[i, target, guess] += 1
    return counts


def test_swap_is_with_the_image_half_the_run_away_whatever_the_batch():
    data, model = ToyData(9), Ladder()
    results = [trace(model, data, edits=("swap",), batch_size=b, progress=False) for b in (1, 4, 9)]
    assert plain(results[0]) == plain(results[1]) == plain(results[2])
    swapped = loop(model, data, lambda i: (i + 4) % 9, lambda i: i)
    iou = iou_from_confusion(swapped.sum(0))
    clean = iou_from_confusion(loop(model, data, lambda i: i, lambda i: i).sum(0))
    one = row(results[0], "swap", "level1.rgb")
    assert one.class_effect == pytest.approx((clean - iou).tolist(), abs=1e-12)
    assert one.effect == pytest.approx(float(clean.mean() - iou.mean()), abs=1e-12)
    assert results[0].clean.iou == pytest.approx(clean.tolist(), abs=1e-12)
    assert row(results[0], "swap", "", stream="x").class_effect == pytest.approx(
        (clean - iou_from_confusion(loop(model, data, lambda i: i, lambda i: (i + 4) % 9).sum(0))).tolist(), abs=1e-12
    )


def test_errors_are_the_jackknife_over_image_groups():
    data, model = ToyData(12), Ladder()
    one = row(trace(model, data, edits=("swap",), progress=False), "swap", "level1.rgb")
    clean = loop(model, data, lambda i: i, lambda i: i)
    swapped = loop(model, data, lambda i: (i + 6) % 12, lambda i: i)
    groups = {}
    for i in range(12):  # blocks of one image; neighbouring pairs share a group
        groups.setdefault(i // 2, []).append(i)
    drops = []
    for out in groups.values():
        kept = [i for i in range(12) if i not in out]
        a, b = (iou_from_confusion(c[kept].sum(0)) for c in (clean, swapped))
        drops.append(torch.cat([(a.mean() - b.mean())[None], a - b]))
    drops = torch.stack(drops)
    error = ((len(drops) - 1) / len(drops) * (drops - drops.mean(0)).square().sum(0)).sqrt()
    assert float(error[0]) > 0
    assert [one.effect_error, *one.class_effect_error] == pytest.approx(error.tolist(), rel=1e-9)


def test_nothing_depends_on_batches_nor_stays_behind(traced):
    model = Ladder().train()
    again = trace(model, ToyData(16), edits=traced.edits, channel_groups=2, batch_size=3, progress=False)
    assert plain(again) == plain(traced)
    assert model.training
    assert_untapped(model)
    assert plain(Trace.from_dict(traced.to_dict())) == plain(traced)


@pytest.mark.parametrize("limit", [0, 20_000, 60_000])
def test_too_little_memory_to_keep_a_pass_changes_no_number(traced, limit, monkeypatch):
    monkeypatch.setattr(sys.modules[trace.__module__], "Reuse", functools.partial(Reuse, limit=limit))
    again = trace(Ladder(), ToyData(16), edits=traced.edits, channel_groups=2, batch_size=6, progress=False)
    assert plain(again) == plain(traced)


def test_chosen_points_only():
    found = trace(Ladder(), ToyData(4), edits=("mean",), points="level2.*", progress=False)
    assert {r.point for r in found.rows if r.edit == "mean"} == {
        p for p in probe_points(Ladder()) if p.startswith("level2")
    }
    gate = trace(Toy(), ToyData(4), edits=("mean", "zero"), points=["gate"], progress=False)
    assert [(r.edit, r.point, r.reach, r.stage) for r in gate.rows if r.edit != "absent"] == [
        ("mean", "gate", "after", None), ("zero", "gate", "after", None),
    ]  # fmt: skip
    assert gate.ranking == [] and all(r.effect == 0.0 for r in gate.rows if r.point == "gate")


def test_one_level_models_rank_by_onward_points():
    found = trace(Toy(), ToyData(12), edits=("mean", "restore"), progress=False)
    assert {r.point for r in found.ranking} == {"rgb_at", "x_at"} and found.found is True
    assert all(r.share == pytest.approx(1.0) for r in found.restored)


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("late_mobilenetv1-025_fpn", {"rgb", "x"}),
        ("x_only_mobilenetv1-025_fpn", {"x"}),
        ("early_mobilenetv1-025_fpn", set()),
    ],
)
def test_models_without_fusion_blocks(name, streams):
    torch.manual_seed(0)
    found = trace(create_model(name, num_classes=3), ToyData(4), edits=("mean", "swap", "restore"), progress=False)
    assert {r.stream for r in found.ranking} == streams
    assert found.rows and Trace.from_dict(found.to_dict()) == found


def test_the_plan_names_every_level_of_a_two_stream_model():
    plan = interventions(create_model("hybrid_mobilenetv1-025_fpn"), ["mean", "restore"])
    assert len({one.key for one in plan}) == len(plan)
    fusion = [one for one in plan if one.edit == "mean" and one.reach == "fusion"]
    assert [(one.stage, one.stream, one.points[0]) for one in fusion] == [
        (i, s, f"stage{i}.fusion.{s}_in") for i in (2, 3, 4, 5) for s in ("rgb", "x")
    ]
    assert [one.points for one in plan if one.reach == "stream"] == [
        tuple(f"stage{i}.{s}" for i in (2, 3, 4, 5)) for s in ("rgb", "x")
    ]


def two_stream(name, data):
    """An untrained model of the zoo whose predictions vary: statistics of the data, each class's logits with mean 0."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=3)
    nn.init.normal_(model.head.weight, std=1.0)
    batch = model.preprocess(*(torch.stack([data[i][key] for i in range(len(data))]) for key in ("rgb", "x")))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()(*batch)
        model.head.bias -= model.eval()(*batch).mean(dim=(0, 2, 3))
    return model


def test_edits_in_a_two_stream_model_equal_other_inputs():
    """Where streams do not interact, all of a stream passes its first fused level: with it goes the whole input."""
    data = ToyData(4)
    model = two_stream("hybrid_mobilenetv1-025_fpn", data)
    found = trace(model, data, edits=("swap", "restore"), progress=False)

    def scores(red_of, depth_of):
        counts = torch.zeros(3, 3, dtype=torch.int64)
        for i in range(4):
            inputs = model.preprocess(data[red_of(i)]["rgb"][None], data[depth_of(i)]["x"][None])
            with torch.no_grad():
                guess = model(*inputs).argmax(1).flatten()
            label = data[i]["label"].flatten()
            counts += torch.bincount(3 * label[label < 3] + guess[label < 3], minlength=9).view(3, 3)
        return iou_from_confusion(counts)

    clean = scores(lambda i: i, lambda i: i)
    assert found.clean.iou == pytest.approx(clean.tolist(), abs=1e-12)
    others = {"rgb": scores(lambda i: (i + 2) % 4, lambda i: i), "x": scores(lambda i: i, lambda i: (i + 2) % 4)}
    for stream, other in others.items():
        wanted = pytest.approx((clean - other).tolist(), abs=1e-12)
        assert row(found, "swap", f"stage2.{stream}").class_effect == wanted
        assert row(found, "swap", "", stream=stream).class_effect == wanted
        assert float((clean - other).abs().max()) > 0.01
        assert row(found, "restore", f"stage2.{stream}").share == pytest.approx(1.0)
        for level in (2, 3, 4, 5):  # a fused value is made of this level's two inputs, and one of them is clean anyway
            alone = row(found, "restore", f"stage{level}.fusion.{stream}_in")
            fused = row(found, "restore", f"stage{level}.fusion.fused", absent=stream)
            assert alone.class_effect == fused.class_effect and alone.miou == fused.miou
        last = [row(found, "restore", f"stage5.{p}") for p in (stream, f"fusion.{stream}_in")]
        assert last[0].class_effect == last[1].class_effect  # no level follows


def test_where_streams_exchange_a_fusion_block_reaches_the_later_levels():
    data = ToyData(4)
    found = trace(two_stream("channel_exchange_mobilenetv1-025_fpn", data), data, edits=("swap",), progress=False)
    clean = found.clean.iou
    pair = [row(found, "swap", f"stage2.{p}") for p in ("rgb", "fusion.rgb_in")]
    assert pair[0].class_effect == pair[1].class_effect  # the stream goes on with what the block gives back
    assert any(abs(e) > 0.01 for e in pair[0].class_effect) and len(clean) == 3


def test_channel_mean_merges_to_the_mean_of_all():
    g = torch.Generator().manual_seed(0)
    values = [torch.randn(3, 4, 5, 6, generator=g) + 7, torch.randn(2, 4, 2, 2, generator=g)]
    parts = [ChannelMean(4), ChannelMean(4)]
    for part, value in zip(parts, values, strict=True):
        part.update(value)
    flat = torch.cat([v.double().transpose(0, 1).flatten(1) for v in values], 1)
    torch.testing.assert_close(parts[0].merge(parts[1]).compute(), flat.mean(1))


def test_erasing_leaves_no_covariance_with_the_concept():
    g = torch.Generator().manual_seed(3)
    mask = torch.rand(6, 2, 8, 8, generator=g)
    maps = torch.randn(6, 5, 8, 8, generator=g) + 3
    maps[:, 1] += 2 * mask[:, 0]
    maps[:, 3] -= mask[:, 0] + mask[:, 1]
    valid = (torch.rand(6, 8, 8, generator=g) > 0.2).float()

    def covariance(values):
        t, v = torch.minimum(mask, valid[:, None])[:, 0].flatten().double(), valid.flatten().double()
        x = values.permute(0, 2, 3, 1).reshape(-1, 5).double()
        return (x.T @ t) / v.sum() - (x.T @ v) / v.sum() * (t.sum() / v.sum())

    statistics = ConceptStatistics(5, 2)
    statistics.update(maps, mask, valid)
    net = nn.Sequential(Probe())
    with intervene(net, {"0": erase(statistics, 0)}):
        after = net(maps)
    assert float(covariance(maps).abs().max()) > 0.05
    torch.testing.assert_close(covariance(after), torch.zeros(5).double(), atol=1e-6, rtol=0)
    assert float((after - maps).abs().max()) > 0.1
    empty = ConceptStatistics(5, 2)
    empty.update(maps, torch.zeros_like(mask), valid)
    with intervene(net, {"0": erase(empty, 0)}):
        assert torch.equal(net(maps), maps)


@pytest.mark.parametrize(
    ("rgb", "x", "between", "verdict"),
    [
        ((0.5, 0.01), (0.0, 0.01), (0.5, 0.01), "rgb"),
        ((0.1, 0.01), (0.5, 0.01), (-0.4, 0.01), "x"),
        ((0.5, 0.1), (0.45, 0.1), (0.05, 0.1), "both"),
        ((0.4, 0.1), (0.31, 0.1), (0.09, 0.02), "rgb"),
        ((0.4, 0.1), (0.31, 0.1), (0.09, 0.04), "both"),
        ((0.4, 0.1), (0.1, 0.1), (0.3, 0.2), "unclear"),  # rgb costs it, but perhaps no more than x
        ((0.5, 0.4), (0.4, 0.3), (0.1, 0.5), "unclear"),
        ((0.05, 0.01), (0.0, 0.01), (0.05, 0.02), "unclear"),
        ((0.02, 0.01), (0.0, 0.01), (0.02, 0.01), "neither"),
        ((-0.1, 0.01), (-0.5, 0.01), (0.4, 0.01), "neither"),
        ((0.5, None), (0.0, None), (0.5, math.nan), ""),
    ],
)
def test_what_a_classrests_on(rgb, x, between, verdict):
    assert rests_on(0.6, {"rgb": rgb, "x": x}, between) == verdict


def test_what_a_class_of_a_one_stream_modelrests_on():
    assert rests_on(0.6, {"x": (0.5, 0.1)}, None) == "x"
    assert rests_on(0.6, {"x": (0.02, 0.01)}, None) == "neither"


# ------------------------------------------------------------------------------------------------- kills and processes


class Killed(Exception):
    pass


class Dies(ToyData):
    def __init__(self, n, reads):
        super().__init__(n)
        self.left = reads

    def __getitem__(self, index):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().__getitem__(index)


@pytest.mark.parametrize("reads", [9, 20, 27])  # in the pass for means, between, in the interventions
def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path, reads, monkeypatch):
    monkeypatch.setattr("fusionzoo.dissect.run.SAVE_EVERY", 1)
    options = {"edits": ("mean", "restore"), "progress": False, "batch_size": 4}
    path = tmp_path / "state"
    with pytest.raises(Killed):
        trace(Ladder(), Dies(18, reads), state=path, **options)
    assert path.exists()
    rest = ToyData(18)
    found = trace(Ladder(), rest, state=path, **options)
    assert plain(found) == plain(trace(Ladder(), ToyData(18), **options))
    assert rest.read < 2 * 18
    with pytest.raises(InputError, match=r"state of another run \(edits differ\)"):
        trace(Ladder(), ToyData(18), state=path, progress=False, batch_size=4, edits=("zero",))
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="no saved state"):
        trace(Ladder(), ToyData(18), state=path, **options)


class Suicidal(ToyData):
    def __getitem__(self, index):
        if self.read == 28:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def doomed(_rank, path):
    torch.set_num_threads(1)
    run.SAVE_EVERY = 1
    trace(Ladder(), Suicidal(18), state=path, edits=("mean", "restore"), progress=False, batch_size=4)


@pytest.mark.slow
def test_a_run_killed_by_the_system_goes_on(tmp_path):
    import torch.multiprocessing as mp

    path = tmp_path / "state"
    with pytest.raises(mp.ProcessExitedException, match="SIGKILL"):
        mp.spawn(doomed, (str(path),), nprocs=1)
    options = {"edits": ("mean", "restore"), "progress": False, "batch_size": 4}
    rest = ToyData(18)
    found = trace(Ladder(), rest, state=path, **options)
    assert plain(found) == plain(trace(Ladder(), ToyData(18), **options))
    assert rest.read < 18  # the pass for means was complete


def work(rank, world, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    edits, data = ("mean", "swap", "restore", "concept"), ToyData(37)
    trace(Ladder(), data, edits=edits, progress=False, batch_size=4).save(f"{folder}/{rank}.json")
    Path(f"{folder}/{rank}.read").write_text(str(data.read))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_count_every_image_once(tmp_path):
    import torch.multiprocessing as mp

    mp.spawn(work, (2, str(tmp_path)), nprocs=2)
    first, second = (plain(Trace.load(tmp_path / f"{r}.json")) for r in (0, 1))
    edits = ("mean", "swap", "restore", "concept")
    whole = plain(trace(Ladder(), ToyData(37), edits=edits, progress=False, batch_size=4))
    assert first == second == whole and first["setting"]["n"] == 37
    read = [int((tmp_path / f"{r}.read").read_text()) for r in (0, 1)]
    assert sum(read) == 2 + 3 * 37  # one look ahead each; means, interventions and swap partners shared


# ------------------------------------------------------------------------------------------------------------ bad input


def test_bad_input_is_named():
    data = ToyData(4)
    with pytest.raises(UnknownNameError, match="unknown edit 'men'; did you mean 'mean'"):
        trace(Ladder(), data, edits=("men",), progress=False)
    with pytest.raises(UnknownNameError, match="unknown class 'pant'; did you mean 'paint'"):
        trace(Ladder(), data, edits=("concept",), concepts=["pant"], progress=False)
    with pytest.raises(UnknownNameError, match="level2.x"):
        trace(Ladder(), data, points="level2.xx", progress=False)
    with pytest.raises(InputError, match="no edit to trace with"):
        trace(Ladder(), data, edits=(), progress=False)
    with pytest.raises(InputError, match="at least 2"):
        trace(Ladder(), ToyData(1), edits=("swap",), progress=False)
    with pytest.raises(
        InputError, match="^concepts are what the edit \"concept\" removes; add it: edits=.'mean', 'swap'"
    ):
        trace(Ladder(), data, concepts="paint", progress=False)
    with pytest.raises(UnknownNameError, match="unknown class 'pant'; did you mean 'paint'"):
        trace(Ladder(), data, edits=("concept",), concepts="pant", progress=False)
    with pytest.raises(InputError, match="is no FusionModel"):
        trace(nn.Linear(1, 1), data, progress=False)
    with pytest.raises(InputError, match="nothing to trace"):
        trace(create_model("early_mobilenetv1-025_fpn", num_classes=3), data, edits=("channels",), progress=False)
    with pytest.raises(InputError, match="start at 1"):
        trace(Ladder(), data, batch_size=0, progress=False)
    data.edits[2] = {"x": torch.zeros(1, 24, 32)}
    with pytest.raises(InputError, match="toy toy-2: depth is zero everywhere"):
        trace(Ladder(), data, progress=False)
    broken = Ladder()
    with torch.no_grad():
        broken.scale.fill_(math.inf)
    with pytest.raises(CheckFailed, match=r"output \(clean/-/-/-\) is not finite for toy-0, toy-1, toy-2 and 1 more"):
        trace(broken, ToyData(4), progress=False)


def test_images_of_two_sizes_cannot_be_swapped():
    class Mixed(ToyData):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            if index >= 2:
                sample = {**sample, **{k: sample[k].repeat_interleave(2, -1) for k in ("rgb", "x", "label")}}
            return sample

    with pytest.raises(InputError, match="toy-2 and toy-0 differ in size"):
        trace(Ladder(), Mixed(4), progress=False)
    assert trace(Ladder(), Mixed(4), edits=("mean", "restore"), progress=False).rows


@pytest.mark.slow
def test_the_planted_truth_is_found_in_a_bundled_checkpoint():
    from fusionzoo.data import Cached, Planted
    from fusionzoo.hub import from_pretrained

    model = from_pretrained("hybrid_mobilenetv1-025_fpn.planted")
    found = trace(model, Cached(Planted("test", n=24)), edits=("mean", "restore"), progress=False)
    judged = {c.name: c.rests_on for c in found.classes if c.kind in ("rgb", "x") and c.rests_on}
    kinds = {c.name: c.kind for c in found.classes}
    assert len(judged) >= 3 and judged == {name: kinds[name] for name in judged}
    assert found.found is True
