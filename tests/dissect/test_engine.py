"""The engine against planted truth, plain loops, kills, merges and bad input."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel

import fusionzoo
from fusionzoo.dissect import dissect, run
from fusionzoo.dissect.capture import Capture, lend
from fusionzoo.dissect.conditions import Reader
from fusionzoo.dissect.dissection import plan
from fusionzoo.dissect.measures import METRICS
from fusionzoo.dissect.measures.base import Done, PointInfo, Setup
from fusionzoo.dissect.split import ROLES, Split
from fusionzoo.errors import CheckFailed, FusionZooWarning, InputError, UnknownNameError
from fusionzoo.metrics import ConceptCurve, ConceptStatistics, concept_masks
from fusionzoo.models import create_model
from fusionzoo.probes import probe, probe_points
from fusionzoo.schema import encode
from tests.compare import close
from tests.dissect.toy import CELL, Toy, ToyData


def plain(dissection):
    """to_dict without what differs from run to run."""
    values = dissection.to_dict()
    values["protocol"].pop("seconds")
    return values


@pytest.fixture(scope="module")
def toy():
    return dissect(Toy(), ToyData(), tau=None, progress=False)


def loop_scores(model, data, condition):
    """mIoU and pixel accuracy by plain loops over pixels of every image."""
    hit, union, right, n = [0] * 3, [0] * 3, 0, 0
    for i in range(len(data)):
        sample = data[i]
        rgb = (sample["rgb"] - 0.5) / 0.25
        x = (sample["x"] - 2.0) / 1.0
        if condition == "without_rgb":
            rgb = torch.zeros_like(rgb)
        if condition == "without_x":
            x = torch.zeros_like(x)
        with torch.no_grad():
            logits = model(rgb[None], x[None])
        up = F.interpolate(logits, sample["label"].shape, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        for scores, target in zip(up.reshape(-1, 3).tolist(), sample["label"].flatten().tolist(), strict=True):
            if target == 255:
                continue
            guess = scores.index(max(scores))
            n += 1
            right += guess == target
            for k in range(3):
                hit[k] += guess == k == target
                union[k] += guess == k or target == k
    iou = [h / u if u else None for h, u in zip(hit, union, strict=True)]
    there = [v for v in iou if v is not None]
    return sum(there) / len(there), right / n, iou


@pytest.mark.parametrize("scale", [1, 2])
def test_scores_of_every_condition_equal_plain_loops(scale):
    data = ToyData(5, label_scale=scale)
    model = Toy()
    found = dissect(model, data, metrics=["segmentation"], progress=False, batch_size=2)
    for condition in ("both", "without_rgb", "without_x"):
        miou, accuracy, iou = loop_scores(model, data, condition)
        part = found.segmentation[condition]
        assert part.miou == pytest.approx(miou, abs=1e-12) and part.pixel_accuracy == pytest.approx(accuracy, abs=1e-12)
        assert part.iou == pytest.approx(iou, abs=1e-12)
    both, without = found.segmentation["both"], found.segmentation["without_x"]
    assert without.drop.miou == pytest.approx(both.miou - without.miou, abs=1e-12)
    assert without.drop.iou[2] == pytest.approx(both.iou[2] - without.iou[2], abs=1e-12) and without.drop.iou[2] > 0.5
    assert found.protocol.passes == 1 and found.rows[0].concepts.iou == {} and found.health == []


def test_drop_error_is_the_jackknife_over_image_groups():
    data = ToyData(12)
    model = Toy()
    found = dissect(model, data, metrics=["segmentation"], progress=False)
    split = Split.of(12)
    members = {}
    for i in range(12):
        members.setdefault(split.group(i, 16), []).append(i)

    class Part:
        def __init__(self, kept):
            self.kept = kept

        def __len__(self):
            return len(self.kept)

        def __getitem__(self, i):
            return data[self.kept[i]]

    drops = []
    for left_out in members.values():
        part = Part([i for i in range(12) if i not in left_out])
        drops.append(loop_scores(model, part, "both")[0] - loop_scores(model, part, "without_x")[0])
    g = len(drops)
    mean = sum(drops) / g
    error = math.sqrt((g - 1) / g * sum((d - mean) ** 2 for d in drops))
    assert g > 2 and found.segmentation["without_x"].drop.miou_error == pytest.approx(error, rel=1e-9)


def test_planted_truth_is_found(toy):
    (level,) = toy.rows
    rgb, x, fused = (level.concepts.iou[s] for s in ("rgb", "x", "fused"))
    assert rgb[1] == 1.0 and x[2] == 1.0  # red alone marks paint exactly, depth alone dents
    assert fused[1] == 1.0 and fused[2] == 1.0
    # colour knows of dents only that they are not paint: marking all that is not paint is its best, and the reverse
    assert rgb[2] == pytest.approx(share(2, among=(0, 2)), abs=0.01)
    assert x[1] == pytest.approx(share(1, among=(0, 1)), abs=0.01)
    assert level.concepts.variance["rgb_x"].signal
    assert level.concepts.variance["rgb_x"].value == pytest.approx(
        sum(abs(a - b) for a, b in zip(rgb, x, strict=True)) / 3, abs=1e-12
    )
    assert toy.planted.found and [r.found for r in toy.planted.rows] == [True] * 3
    assert [r.stage for r in toy.planted.rows] == [1, 1, 1]


def share(cls, among):
    """Share of class `cls` in the grid cells of classes `among`, over held-out images that contain it."""
    data, split = ToyData(), Split.of(24)
    inside = total = 0
    for i in split.indices(["held"]):
        label = data[i]["label"][CELL // 2 :: CELL, CELL // 2 :: CELL]
        if bool((label == cls).any()):
            inside += int((label == cls).sum())
            total += sum(int((label == k).sum()) for k in among)
    return inside / total


def test_swapped_streams_are_not_found():
    model = Toy()
    levels = {1: {"rgb": "x_at", "x": "rgb_at", "fused": "fused_at"}}
    model.__class__ = type("Swapped", (Toy,), {"levels": property(lambda self: levels)})
    found = dissect(model, ToyData(), tau=None, progress=False, metrics=["concepts"])
    assert not found.planted.found and [r.found for r in found.planted.rows][1:] == [False, False]


def test_the_same_representation_shows_no_signal():
    found = dissect(Toy(same=True), ToyData(), tau=None, progress=False)
    variance = found.rows[0].concepts.variance["rgb_x"]
    assert variance.value == 0.0 and variance.floor >= 0 and not variance.signal
    assert found.rows[0].similarity.cka.pix.unbiased == pytest.approx(1.0, abs=1e-9)
    assert not found.planted.found


def features(model, data):
    """Probe name -> all images' features, held at once; and all labels."""
    with torch.no_grad(), probe(model, keep="all") as tape:
        for i in range(len(data)):
            rgb, x = model.preprocess(data[i]["rgb"], data[i]["x"])
            model(rgb[None], x[None])
    return {name: torch.cat(tape.all(name)) for name in tape}, torch.stack([data[i]["label"] for i in range(len(data))])


def blurred(n=20):
    """Data whose colours tell paint only roughly, so that weights depend on the images they are solved on."""
    data = ToyData(n)
    for i in range(n):
        sample = data[i]
        noise = torch.randn(6, 8, generator=torch.Generator().manual_seed(i)) * 0.5
        grown = noise.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
        rgb = 0.5 + (sample["rgb"] + grown - 0.5) / 4  # within 0..1
        data.edits[i] = {"rgb": rgb, "x": (sample["x"] + 2 * grown[None].roll(4, -1)).clamp(min=0.1)}
    return data


def test_cka_is_that_of_the_two_streams():
    data, model = blurred(), Toy().eval()
    seen, _ = features(model, data)
    found = dissect(model, data, metrics=["cka"], progress=False).rows[0].similarity.cka
    for view, value in (("gap", found.gap), ("pix", found.pix)):
        rows = [v.double().mean((2, 3)) if view == "gap" else v.double().permute(0, 2, 3, 1).flatten(0, 2)
                for v in (seen["rgb_at"], seen["x_at"])]  # fmt: skip
        x, y = (r - r.mean(0) for r in rows)
        biased = (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
        assert value.biased == pytest.approx(float(biased), abs=1e-9) and value.n == len(x)
        assert value.biased < 0.9


def test_concepts_and_floors_equal_all_features_held_at_once():
    data, model = blurred(), Toy().eval()
    seen, labels = features(model, data)
    found = dissect(model, data, tau=None, metrics=["concepts"], progress=False).rows[0]
    half0, half1 = list(range(0, 20, 4)), list(range(2, 20, 4))
    held = [i for i in range(20) if i % 2]
    iou = {}
    for stream in ("rgb", "x", "fused"):
        maps = seen[f"{stream}_at"]
        area, share = concept_masks(labels, 3, (6, 8))
        crisp, valid = concept_masks(labels, 3, (6, 8), mode="nearest")
        for name, train in (("full", half0 + half1), ("half0", half0), ("half1", half1)):
            statistics, curve = ConceptStatistics(maps.shape[1], 3), ConceptCurve(3)
            statistics.update(maps[train], area[train], share[train])
            weights = statistics.solve(1e-2)
            for images, fitted in ((train, True), (held, False)):
                curve.update(weights.score(maps[images]), crisp[images], valid[images], train=fitted)
            iou[stream, name] = curve.compute().iou.tolist()
        assert found.concepts.iou[stream] == pytest.approx(iou[stream, "full"], abs=1e-9)
        floor = [abs(a - b) for a, b in zip(iou[stream, "half0"], iou[stream, "half1"], strict=True)]
        assert found.concepts.floor[stream] == pytest.approx(floor, abs=1e-9) and sum(floor) > 0
    for a, b in (("rgb", "x"), ("rgb", "fused"), ("x", "fused")):
        variance = found.concepts.variance[f"{a}_{b}"]
        gaps = [abs(u - v) for u, v in zip(iou[a, "full"], iou[b, "full"], strict=True)]
        floors = [sum(found.concepts.floor[s]) / 3 for s in (a, b)]
        assert variance.value == pytest.approx(sum(gaps) / 3, abs=1e-9)
        assert variance.floor == pytest.approx(max(floors), abs=1e-9)


def test_binarised_concepts_take_one_pass_more_and_find_the_truth_too():
    found = dissect(Toy(), ToyData(), tau=0.2, progress=False, metrics=["concepts"])
    assert found.protocol.passes == 3 and found.planted.found
    assert found.rows[0].concepts.iou["rgb"][1] > 0.7


def test_health(toy):
    rows = {p.name: p for p in toy.health}
    assert list(rows) == list(probe_points(Toy()))
    assert rows["rgb_at"].dead == 1 and rows["rgb_at"].channels == 2  # the constant channel
    assert rows["gate"].dead == 2 and rows["gate"].saturated == 0.5 and rows["gate"].effective_rank is None
    gate = rows["gate"].gate  # one channel always 1, the other always a half
    assert (gate.shut, gate.open, gate.entropy) == (0.0, 0.5, 0.5)
    assert gate.by_channel == pytest.approx(1) and gate.by_image == gate.by_position == pytest.approx(0)
    assert rows["rgb_at"].gate is None
    assert rows["gate"].mean == pytest.approx(0.75) and rows["x_at"].saturated is None


def test_data_is_read_once_for_each_pass_and_held_images_not_when_solving():
    data = ToyData(16)
    dissect(Toy(), data, progress=False)
    # one image to learn shapes, then passes 1 (one image more for each batch), 2 (training images only), 3
    assert data.read == 1 + (16 + 2) + 8 + 16


def test_solving_passes_end_the_forward_pass_at_the_last_probe():
    model, calls = Toy(), []
    model.register_forward_hook(lambda *_: calls.append(1))  # fires on completed forward passes
    dissect(model, ToyData(16), progress=False, batch_size=8)
    # no modality: once for all; each of the two batches: both, either absent, either of another image
    assert len(calls) == 1 + 1 + 5 * 2


def test_nothing_stays_behind():
    model = Toy()
    model.train()
    model.rgb_at.eval()
    dissect(model, ToyData(4), progress=False)
    assert model.training and not model.rgb_at.training
    assert all(p.tap is None for p in probe_points(model).values())


def test_points_keep_to_a_part_of_the_model():
    found = dissect(Toy(), ToyData(8), points="x_*", progress=False)
    assert found.rows[0].points == {"x": "x_at"} and list(found.rows[0].concepts.iou) == ["x"]
    assert (
        [p.name for p in found.health] == ["x_at"]
        and found.planted is None
        and found.rows[0].similarity.cka.gap is None
    )
    with pytest.raises(UnknownNameError, match="unknown probe 'y_at'; did you mean"):
        dissect(Toy(), ToyData(8), points="y_at", progress=False)


def test_batch_size_does_not_change_the_numbers(toy):
    for batch_size in (1, 5):
        other = dissect(Toy(), ToyData(), tau=None, progress=False, batch_size=batch_size)
        assert close(plain(toy), plain(other), 1e-6)


# ------------------------------------------------------------------------------------------------- resume and merge


class Killed(BaseException):
    pass


class Dying(ToyData):
    """Dies when the `last`-th sample is read."""

    last = 0

    def __getitem__(self, index):
        if self.read == self.last:
            raise Killed
        return super().__getitem__(index)


@pytest.mark.parametrize("last", [12, 37, 50])  # in passes 1, 2, 3
def test_a_killed_run_goes_on_to_equal_numbers(tmp_path, monkeypatch, last):
    monkeypatch.setattr(run, "SAVE_EVERY", 2)
    whole = dissect(Toy(), ToyData(20), progress=False, batch_size=2)
    state = tmp_path / "state"
    data = Dying(20)
    data.last = last
    with pytest.raises(Killed):
        dissect(Toy(), data, progress=False, batch_size=2, state=state)
    rest = ToyData(20)
    again = dissect(Toy(), rest, progress=False, batch_size=2, state=state)
    assert plain(again) == plain(whole)
    assert rest.read <= 1 + 30 + 10 + 20 - (last - 8)  # at most two batches are done again
    done = ToyData(20)
    assert plain(dissect(Toy(), done, progress=False, batch_size=2, state=state)) == plain(whole) and done.read == 1


def test_states_of_other_runs_are_refused(tmp_path):
    state = tmp_path / "state"
    dissect(Toy(), ToyData(8), progress=False, state=state)
    with pytest.raises(InputError, match=r"state of another run \(tau differ\)"):
        dissect(Toy(), ToyData(8), progress=False, state=state, tau=0.1)
    other = Toy()
    with torch.no_grad():
        other.scale += 1
    with pytest.raises(InputError, match=r"state of another run \(model differ\)"):
        dissect(other, ToyData(8), progress=False, state=state)
    with pytest.raises(InputError, match=r"state of another run \(data, images differ\)"):
        dissect(Toy(), ToyData(9), progress=False, state=state)
    state.write_bytes(state.read_bytes()[:-7])
    with pytest.raises(InputError, match="is no saved state of a run"):
        dissect(Toy(), ToyData(8), progress=False, state=state)


def begun():
    """The passes of everything, and sums that are still empty."""
    points = {p: PointInfo(c) for p, c in {"rgb_at": 2, "x_at": 2, "fused_at": 4}.items()}
    setup = Setup(3, points | {"gate": PointInfo(2, 0.0, 1.0)}, Toy().levels)
    return plan(setup), Done(setup)


def fill(done, measures, batches, data, split):
    others = lend([m.condition for m in measures], "mean")
    order = split.cycle()
    for places in batches:
        last = order[(order.index(places[-1]) + 1) % len(order)]
        reader = Reader(Toy().eval(), data, others=others)
        with Capture(reader, done, measures, split, (6, 8)).listening() as feed:
            feed([data[i] for i in ([*places, last] if others else places)], places)


def test_merged_halves_equal_one_run():
    data, split = ToyData(22), Split.of(22)
    passes, one = begun()
    left, right = begun()[1], begun()[1]
    with torch.no_grad():
        for number, measures in enumerate(passes):
            empty = copy.deepcopy(left.begin(measures))
            one.begin(measures), right.begin(measures)
            roles = frozenset().union(*(m.roles for m in measures))
            places = split.cycle() if number == 0 else split.indices(roles)
            assert roles == (ROLES if number != 1 else {"half0", "half1"})
            batches = [places[i : i + 3] for i in range(0, len(places), 3)]
            fill(one, measures, batches, data, split)
            fill(left, measures, batches[0::2], data, split)
            fill(right, measures, batches[1::2], data, split)
            for key in empty:  # both go on from the joined sums, one way or the other
                mine, theirs = left.sums[key], right.sums[key]
                whole = run.joined(empty[key], [mine.state_dict(), theirs.state_dict()])
                mine.merge(theirs)
                theirs.load_state_dict(whole.state_dict())
                assert same_bits(mine, theirs)
    for key in one.sums:
        values, others = one.sums[key].state_dict(), left.sums[key].state_dict()
        for name, value in values.items():
            # the shift is the first batch's mean, and sums about it are moved when shifts differ
            same = torch.allclose(value.double(), others[name].double(), rtol=1e-9, atol=1e-9, equal_nan=True)
            assert same or key.startswith(("moments", "matrix", "health", "information")), key
    for metric in METRICS:
        found: list = [metric.compute(done, {}) for done in (one, left, right)]
        assert repr(found[1]) == repr(found[2])
        absent = ("images", "planted", "exchange", "saliency", "dictionary")  # none in the toy, or not asked for
        assert found[0] is not None or metric.name in absent
        assert close(encode(found[0]), encode(found[1]))
    assert METRICS[0].compute(one, {}) == METRICS[0].compute(left, {})
    similarity = next(m for m in METRICS if m.name == "similarity").compute(left, {})
    assert similarity.stages[0].cka.gap.n == 22


def same_bits(a, b):
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"label": torch.full((24, 32), 3)}, "toy toy-2: label 3 is out of range; wanted 0..2 or 255"),
        ({"label": torch.full((24, 32), -1)}, "toy toy-2: label -1 is out of range"),
        ({"x": torch.full((1, 24, 32), math.nan)}, "toy toy-2: depth is zero everywhere .or NaN"),
        ({"x": torch.zeros(1, 24, 32)}, "toy toy-2: depth is zero everywhere"),
        ({"x": torch.ones(1, 12, 32)}, "toy toy-2: x is 32x12 but rgb is 32x24"),
    ],
)
def test_unusable_samples_are_named(edit, message):
    data = ToyData(6)
    data.edits[2] = edit
    with pytest.raises(InputError, match=message):
        dissect(Toy(), data, progress=False)


def test_models_that_compute_nonsense_fail_the_check():
    model = Toy()
    with torch.no_grad():
        model.scale.fill_(math.nan)
    with pytest.raises(CheckFailed, match=r"output \(both\) is not finite for toy-0, toy-1, toy-2 and 3 more"):
        dissect(model, ToyData(6), progress=False, metrics=["segmentation"])
    with pytest.raises(CheckFailed, match="rgb_at, images toy-0.*not finite"):
        bad = Toy()
        bad.rgb_at.register_forward_pre_hook(lambda _m, args: (args[0] * math.inf,))
        dissect(bad, ToyData(6), progress=False, metrics=["health"])


def test_data_and_model_must_fit():
    data = ToyData(6)
    data.num_classes = 13
    with pytest.raises(InputError, match="the model predicts 3 classes, toy has 13"):
        dissect(Toy(), data, progress=False)
    data = ToyData(6)
    data.x_kind, data.x_channels = "hha", 3
    with pytest.raises(InputError, match="takes 1-channel depth, toy gives 3-channel hha"):
        dissect(Toy(), data, progress=False)
    with pytest.raises(InputError, match="concepts need at least 4 images, here are 3"):
        dissect(Toy(), ToyData(3), metrics=["concepts"], progress=False)
    with pytest.raises(InputError, match="Linear is no FusionModel: .* README.md .*'Dissecting a network of your own'"):
        dissect(torch.nn.Linear(1, 1), ToyData(6), progress=False)
    with pytest.raises(InputError, match=r"^'mine' is a name; .*: fusionzoo.from_pretrained\('mine'\)$"):
        dissect("mine", ToyData(6), progress=False)
    with pytest.raises(InputError, match=r"^'planted-2' is a name; .*: fusionzoo.data.parse_spec\('planted-2'\)$"):
        dissect(Toy(), "planted-2", progress=False)
    with pytest.raises(UnknownNameError, match="unknown absence policy 'men'; did you mean 'mean'"):
        dissect(Toy(), ToyData(6), absence="men", progress=False)
    with pytest.raises(UnknownNameError, match="reducer 'mean_bas'; did you mean 'mean_abs'"):
        dissect(Toy(), ToyData(6), reducer="mean_bas", progress=False)
    with pytest.raises(InputError, match="limit is 0"):
        dissect(Toy(), ToyData(6), limit=0, progress=False)


def test_depth_in_another_unit_than_the_weights_saw_is_said():
    """In one's own loop as on the command line: the figures would be of a model that sees no depth."""
    model, data = Toy(), ToyData(12)
    model.preprocess = replace(model.preprocess, x_quantiles=(0.5, 1.0, 2.0, 3.0, 4.0), x_missing=(0.0, 0.1))
    saw = [float(data[i]["x"].median()) for i in range(12)]
    assert 0.5 < min(saw) and max(saw) < 4, "metres"
    measures = (
        lambda m, d: dissect(m, d, metrics=["segmentation"], progress=False),
        lambda m, d: fusionzoo.trace(m, d, edits=["mean"], progress=False),
        lambda m, d: fusionzoo.robustness(m, d, corruptions=["noise_x"], failures=False, progress=False),
    )
    far = [s | {"x": 100 * s["x"]} for s in (ToyData(12)[i] for i in range(12))]
    for measure in measures:
        measure(model, data)  # a warning is an error here
        with pytest.warns(
            FusionZooWarning, match="of 8 images looked at, 8 are unlike the training data: depth of .* unit"
        ):
            measure(model, far)


def test_averaged_weights_are_dissected_as_they_are():
    model = Toy()
    averaged = AveragedModel(model)
    with torch.no_grad():
        model.scale.mul_(0)
    found = dissect(averaged, ToyData(8), metrics=["segmentation"], progress=False)
    assert found.segmentation["both"].miou == pytest.approx(
        dissect(Toy(), ToyData(8), metrics=["segmentation"], progress=False).segmentation["both"].miou
    )


@pytest.mark.parametrize("block", [0, -5, 2.5])
def test_blocks_of_images_are_whole_numbers(block):
    with pytest.raises(InputError, match=f"block is {block}; give a whole number from 1"):
        dissect(Toy(), ToyData(6), block=block, progress=False)


def test_limit_takes_images_from_all_over():
    data = ToyData(40)
    found = dissect(Toy(), data, limit=10, metrics=["segmentation"], progress=False)
    assert found.data.n == 10

    class Sparse(ToyData):
        def __getitem__(self, index):
            return super().__getitem__(4 * index)

    every_fourth = dissect(Toy(), Sparse(10), metrics=["segmentation"], progress=False)
    assert found.segmentation == every_fourth.segmentation


def test_images_of_different_sizes_share_a_run():
    class Mixed(ToyData):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            if index % 2:
                sample["label"] = sample["label"].repeat_interleave(2, 0).repeat_interleave(2, 1)
            return sample

    model, mixed = Toy(), Mixed(6)
    found = dissect(model, mixed, progress=False)
    assert found.segmentation["both"].miou == pytest.approx(loop_scores(model, mixed, "both")[0], abs=1e-12)


# --------------------------------------------------------------------------------------------------- zoo's own models


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("rgb_only_mobilenetv1-025_fpn", {"rgb"}),
        ("x_only_mobilenetv1-025_fpn", {"x"}),
        ("early_mobilenetv1-025_fpn", {"fused"}),
        ("late_mobilenetv1-025_fpn", {"rgb", "x"}),
        ("concat_mobilenetv1-025_fpn", {"rgb", "x", "fused"}),
    ],
)
def test_every_kind_of_model(name, streams):
    torch.manual_seed(0)
    model = create_model(name, num_classes=3)
    found = dissect(model, ToyData(4), progress=False, tau=None)
    assert all(set(level.concepts.iou) == streams for level in found.rows)
    assert (found.planted is not None) == ({"rgb", "x"} <= streams)
    pairs = {f"{a}_{b}" for a, b in (("rgb", "x"), ("rgb", "fused"), ("x", "fused")) if {a, b} <= streams}
    assert all(set(level.concepts.variance) == pairs for level in found.rows)
    if name.startswith("rgb_only"):
        assert found.segmentation["without_x"].drop.miou == 0.0
    if name.startswith("x_only"):
        assert found.segmentation["without_rgb"].drop.miou == 0.0
    assert found.model.architecture == name and found.model.modalities == ["rgb", "depth"]
    type(found).from_dict(found.to_dict())
