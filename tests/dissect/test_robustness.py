"""Robustness curves: plain loops, every pattern of failure counted out, processes, kills, bad input, planted truth."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fusionzoo.data.corrupt import corrupt
from fusionzoo.dissect.effects import Effects, Robustness
from fusionzoo.dissect.robustness import DEFAULT, MISSING, robustness
from fusionzoo.errors import CheckFailed, InputError, UnknownNameError
from fusionzoo.metrics.segmentation.confusion import iou_from_confusion
from tests.dissect.test_trace import Dies, Killed
from tests.dissect.toy import Toy, ToyData

PAINT, DENT = 1, 2


def plain(found):
    values = found.to_dict()
    values["setting"].pop("seconds")
    return values


def loop(model, data, change=lambda sample: sample, without=()):
    """(n, 3, 3) confusion counts, image by image and pixel by pixel."""
    counts = torch.zeros(len(data), 3, 3, dtype=torch.int64)
    for i in range(len(data)):
        sample = change(data[i])
        rgb, x = (sample["rgb"] - 0.5) / 0.25, sample["x"] - 2.0
        x = torch.where(sample["x"] > 0, x, 0.0)
        rgb, x = (0 * v if m in without else v for m, v in (("rgb", rgb), ("x", x)))
        with torch.no_grad():
            logits = F.interpolate(model(rgb[None], x[None]), (24, 32), mode="bilinear", align_corners=False)
        for target, guess in zip(sample["label"].flatten().tolist(), logits.argmax(1).flatten().tolist(), strict=True):
            if target != 255:
                counts[i, target, guess] += 1
    return counts


def miou(counts):
    return float(iou_from_confusion(counts).nanmean())


@pytest.fixture(scope="module")
def found():
    return robustness(Toy(), ToyData(12), progress=False)


def curve(found, name):
    (one,) = [c for c in found.curves if c.corruption == name]
    return one


@pytest.mark.parametrize("name", [n for n in DEFAULT if n not in MISSING])
def test_curves_equal_plain_loops_over_corrupted_samples(found, name):
    data, model, one = ToyData(12), Toy(), curve(found, name)
    assert one.severities[0] == 0 and one.miou[0] == found.clean.miou and one.drop[0] == 0.0 and one.unit
    at = 3
    counts = loop(model, data, lambda s: corrupt(s, name, one.severities[at]))
    iou = iou_from_confusion(counts.sum(0))
    assert one.iou[at] == pytest.approx(iou.tolist(), abs=1e-12)
    assert one.miou[at] == pytest.approx(float(iou.mean()), abs=1e-12)
    assert one.drop[at] == pytest.approx(found.clean.miou - float(iou.mean()), abs=1e-12)
    assert one.mean == pytest.approx(sum(one.miou[1:]) / len(one.miou[1:]))
    assert one.kept == pytest.approx(one.mean / found.clean.miou)


def test_errors_are_the_jackknife_of_paired_differences(found):
    data, model, one = ToyData(12), Toy(), curve(found, "noise_x")
    clean, noisy = loop(model, data), loop(model, data, lambda s: corrupt(s, "noise_x", one.severities[-1]))
    groups = [[i, i + 1] for i in range(0, 12, 2)]  # blocks of one image; neighbouring pairs share a group
    values, drops = [], []
    for out in groups:
        kept = [i for i in range(12) if i not in out]
        values.append(miou(noisy[kept].sum(0)))
        drops.append(miou(clean[kept].sum(0)) - values[-1])
    for seen, error in ((values, one.miou_error[-1]), (drops, one.drop_error[-1])):
        mean = sum(seen) / 6
        wanted = math.sqrt(5 / 6 * sum((v - mean) ** 2 for v in seen))
        assert wanted > 0 and error == pytest.approx(wanted, rel=1e-9)


def test_a_corruption_hurts_what_rests_on_its_modality(found):
    clean = found.clean.iou
    for part, hit, spared in (("x", DENT, PAINT), ("rgb", PAINT, DENT)):
        for name in (f"noise_{part}", f"holes_{part}", f"missing_{part}"):
            lost = [a - b for a, b in zip(clean, curve(found, name).iou[-1], strict=True)]
            assert lost[hit] > 0 and lost[hit] > 2 * abs(lost[spared]), (name, lost)
            assert name.startswith("noise") or lost[hit] > 0.4 * clean[hit], (name, lost)
    fine = curve(found, "quantise_x")
    assert fine.miou[1] == pytest.approx(found.clean.miou, abs=0.01)  # 1 cm steps; a dent is 2 m deep


@pytest.mark.parametrize("name", ["missing_rgb", "missing_x"])
def test_missing_with_probability_is_the_mean_over_every_pattern(name):
    n, data, model = 4, ToyData(4), Toy()
    one = curve(robustness(model, data, corruptions={name: [0.3]}, failures=False, progress=False), name)
    both, without = loop(model, data), loop(model, data, without=(MISSING[name],))
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for pattern in itertools.product((False, True), repeat=n):
        chance = math.prod(0.3 if missing else 0.7 for missing in pattern)
        for i, missing in enumerate(pattern):
            expected += chance * (without if missing else both)[i].double()
    assert one.severities == [0.0, 0.3] and one.unit == "probability" and one.modality == MISSING[name]
    assert one.iou[1] == pytest.approx(iou_from_confusion(expected).tolist(), abs=1e-12)
    whole = curve(robustness(model, data, corruptions=[name], failures=False, progress=False), name)
    assert whole.severities == [0, 0.25, 0.5, 0.75, 1]
    assert whole.miou[-1] == pytest.approx(miou(without.sum(0)), abs=1e-12)


def test_failure_protocols_by_hand(found):
    data, model = ToyData(12), Toy()
    damage = {
        "EMM": {m: loop(model, data, without=w) for m, w in (("rgb", ["rgb"]), ("x", ["x"]), ("both", ["rgb", "x"]))},
        "RMM": {
            "rgb": loop(model, data, lambda s: corrupt(s, "holes_rgb", 0.5)),
            "x": loop(model, data, lambda s: corrupt(s, "holes_x", 0.5)),
            "both": loop(model, data, lambda s: corrupt(corrupt(s, "holes_rgb", 0.5), "holes_x", 0.5)),
        },
        "NM": {
            "rgb": loop(model, data, lambda s: corrupt(s, "noise_rgb", 40)),
            "x": loop(model, data, lambda s: corrupt(s, "noise_x", 0.2)),
            "both": loop(model, data, lambda s: corrupt(corrupt(s, "noise_rgb", 40), "noise_x", 0.2)),
        },
    }
    assert [f.name for f in found.failures] == list(damage)
    for protocol in found.failures:
        v = {m: miou(c.sum(0)) for m, c in damage[protocol.name].items()} | {"none": found.clean.miou}
        assert protocol.conditions == pytest.approx(v, abs=1e-12)
        left = ("rgb", "x") if protocol.name == "EMM" else ("rgb", "x", "both")
        assert protocol.average == pytest.approx(sum(v[m] for m in left) / len(left), abs=1e-12)
        assert protocol.probability == [0.05, 0.1, 0.2] and protocol.average_error > 0 and protocol.note
        for p, expected in zip(protocol.probability, protocol.expected, strict=True):
            chances = [(1 - p) * (1 - p), p * (1 - p), (1 - p) * p, p * p]
            wanted = sum(c * v[m] for c, m in zip(chances, ("none", "rgb", "x", "both"), strict=True))
            assert sum(chances) == pytest.approx(1) and expected == pytest.approx(wanted, abs=1e-12)
        assert all(e > 0 for e in protocol.expected_error)


def test_nothing_depends_on_the_batch_and_everything_on_the_seed(found):
    again = robustness(Toy().train(), ToyData(12), batch_size=5, progress=False)
    assert plain(again) == plain(found)
    other = robustness(Toy(), ToyData(12), corruptions=["noise_x"], failures=False, seed=1, progress=False)
    assert other.setting.seed == 1 and curve(other, "noise_x").miou[1:] != curve(found, "noise_x").miou[1:]
    assert Robustness.from_dict(found.to_dict()) == found
    assert Effects.from_dict(Effects(robustness=found).to_dict()).robustness == found


def test_chosen_corruptions_and_severities():
    options = {"corruptions": {"shift_x": [0, 3, 3, 5], "levels_x": None}, "failures": False, "progress": False}
    found = robustness(Toy(), ToyData(3), **options)
    assert [(c.corruption, c.severities) for c in found.curves] == [
        ("shift_x", [0, 3, 5]), ("levels_x", [0, 64, 32, 16, 8, 4]),
    ]  # fmt: skip
    assert found.failures == []


def test_x_that_is_no_depth_has_no_holes():
    class Thermal(ToyData):
        x_kind = "thermal"

        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {**sample, "x": sample["x"] * 60}

    model = Toy()
    model.preprocess = type(model.preprocess)((0.5,) * 3, (0.25,) * 3, "thermal", 1 / 60, (2.0,), (1.0,))
    found = robustness(model, Thermal(4), progress=False)
    assert [c.corruption for c in found.curves] == [n for n in DEFAULT if n != "holes_x"]
    assert [f.name for f in found.failures] == ["EMM", "NM"]
    assert curve(found, "noise_x").unit == "standard deviation, grey levels of 255"
    with pytest.raises(InputError, match="'holes_x' is for depth, not for thermal"):
        robustness(model, Thermal(4), corruptions=["holes_x"], progress=False)


# ------------------------------------------------------------------------------------------------- kills and processes


def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("fusionzoo.dissect.run.SAVE_EVERY", 1)
    options = {"corruptions": ["noise_x", "missing_rgb"], "progress": False, "batch_size": 4}
    path = tmp_path / "state"
    with pytest.raises(Killed):
        robustness(Toy(), Dies(18, 10), state=path, **options)
    rest = ToyData(18)
    found = robustness(Toy(), rest, state=path, **options)
    assert plain(found) == plain(robustness(Toy(), ToyData(18), **options))
    assert rest.read < 18
    with pytest.raises(InputError, match=r"state of another run \(seed differ\)"):
        robustness(Toy(), ToyData(18), state=path, seed=3, **options)


def work(rank, world, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    data = ToyData(37)
    robustness(Toy(), data, batch_size=4, progress=False).save(f"{folder}/{rank}.json")
    Path(f"{folder}/{rank}.read").write_text(str(data.read))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_count_every_image_once(tmp_path):
    import torch.multiprocessing as mp

    mp.spawn(work, (2, str(tmp_path)), nprocs=2)
    first, second = (plain(Robustness.load(tmp_path / f"{r}.json")) for r in (0, 1))
    assert first == second == plain(robustness(Toy(), ToyData(37), batch_size=4, progress=False))
    assert first["setting"]["n"] == 37
    assert sum(int((tmp_path / f"{r}.read").read_text()) for r in (0, 1)) == 2 + 37  # one look ahead each


# ------------------------------------------------------------------------------------------------------------ bad input


def test_bad_input_is_named(tmp_path):
    data = ToyData(4)
    with pytest.raises(UnknownNameError, match="unknown corruption 'nois_x'; did you mean 'noise_x'"):
        robustness(Toy(), data, corruptions=["nois_x"], progress=False)
    with pytest.raises(InputError, match="missing_x: probability 2 is not 0 to 1"):
        robustness(Toy(), data, corruptions={"missing_x": [2]}, progress=False)
    with pytest.raises(InputError, match="noise_x: severity -1 is not 0 or more"):
        robustness(Toy(), data, corruptions={"noise_x": [-1]}, progress=False)
    with pytest.raises(InputError, match="noise_x: no severity above 0"):
        robustness(Toy(), data, corruptions={"noise_x": [0]}, progress=False)
    with pytest.raises(InputError, match="nothing to measure"):
        robustness(Toy(), data, corruptions=[], failures=False, progress=False)
    with pytest.raises(InputError, match="shift by 30 pixels leaves nothing of a 32x24 image"):
        robustness(Toy(), data, corruptions={"shift_x": [30]}, progress=False)
    with pytest.raises(InputError, match="batch_size is 0"):
        robustness(Toy(), data, batch_size=0, progress=False)
    data.edits[2] = {"label": torch.full((24, 32), 3)}
    with pytest.raises(InputError, match="toy toy-2: label 3 is out of range"):
        robustness(Toy(), data, progress=False)
    broken = Toy()
    with torch.no_grad():
        broken.scale.fill_(math.nan)
    with pytest.raises(CheckFailed, match=r"output \(clean\) is not finite for toy-0"):
        robustness(broken, ToyData(4), progress=False)
    with pytest.raises(InputError, match="robustness: format_version is None"):
        Robustness.from_dict({})
    with pytest.raises(InputError, match="is not JSON"):
        (tmp_path / "x.json").write_text("{")
        Robustness.load(tmp_path / "x.json")


@pytest.mark.slow
def test_planted_classes_fall_with_the_modality_that_shows_them():
    from fusionzoo.data import Cached, Planted
    from fusionzoo.hub import from_pretrained

    model = from_pretrained("hybrid_mobilenetv1-025_fpn.planted")
    options = {"corruptions": {"noise_rgb": [40], "missing_rgb": [1], "missing_x": [1]}, "failures": False}
    found = robustness(model, Cached(Planted("test", n=32)), progress=False, **options)
    names = found.setting.class_names
    for name, kind in (("poster", "rgb"), ("rug", "rgb"), ("bump", "x"), ("niche", "x")):
        clean = found.clean.iou[names.index(name)]
        lost = {c.corruption: clean - c.iou[1][names.index(name)] for c in found.curves}
        other = {"rgb": "x", "x": "rgb"}[kind]
        assert clean > 0.5 and lost[f"missing_{kind}"] > 0.7 * clean, (name, lost)
        assert lost[f"missing_{kind}"] > lost[f"missing_{other}"] + 0.2, (name, lost)
