"""Which images a dissection chooses, and what is made of each: against plain loops on the toy, whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionzoo.dissect import Dissection, dissect
from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.images import RULES, choose
from fusionzoo.dissect.pictures.examples import chosen_examples
from fusionzoo.dissect.split import Split
from tests.dissect.test_absence import followers, stand_in
from tests.dissect.toy import Toy, ToyData

ABSENT = {"both": (False, False), "without_rgb": (True, False), "without_x": (False, True), "neither": (True, True)}


def logits(model, data, place, policy="mean"):
    """Condition -> (3, 24, 32), by hand."""
    one, follower, found = data[place], followers(len(data)), {}
    for condition, absent in ABSENT.items():
        given = [(one["rgb"] - 0.5) / 0.25, one["x"] - 2.0]
        for i, stream in enumerate(("rgb", "x")):
            given[i] = stand_in(policy, stream, data, place, follower) if absent[i] else given[i]
        with torch.no_grad():
            found[condition] = model(given[0][None], given[1][None])[0]
    return found


def accuracy(model, data, place, policy="mean"):
    """Condition -> share of the labelled pixels of one image that are right."""
    label = data[place]["label"]
    known = label != 255
    return {
        c: float((value.argmax(0) == label)[known].float().mean())
        for c, value in logits(model, data, place, policy).items()
        if c != "neither"
    }


@pytest.mark.parametrize("policy", ["mean", "permute"])
def test_the_choice_equals_plain_loops(policy):
    data, model = ToyData(24), Toy().eval()
    found = dissect(model, data, metrics=["segmentation"], absence=policy, batch_size=5, progress=False)
    split = Split.of(24)
    held = [i for i in range(24) if split.role(i) == "held"]
    every = {i: accuracy(model, data, i, policy) for i in held}
    lost = {s: {i: a["both"] - a[f"without_{s}"] for i, a in every.items()} for s in ("rgb", "x")}
    ranked = sorted(held, key=lambda i: every[i]["both"])
    by_rule = {rule: c for c in found.images for rule in c.why}
    assert list(by_rule) == [rule for c in found.images for rule in c.why] and set(by_rule) <= set(RULES)
    assert by_rule["worst"].accuracy["both"] == pytest.approx(every[ranked[0]]["both"])
    assert by_rule["typical"].accuracy["both"] == pytest.approx(every[ranked[(len(held) - 1) // 2]]["both"])
    for stream in ("rgb", "x"):
        best = by_rule[f"{stream} helps most"]
        assert lost[stream][best.index] == pytest.approx(max(lost[stream].values())) and best.index in held
        assert (f"{stream} harms most" in by_rule) == (min(lost[stream].values()) < 0)
    for chosen in found.images:
        assert chosen.accuracy == pytest.approx(every[chosen.index])


def given(both, no_rgb, no_x):
    values = (torch.tensor(v, dtype=torch.float64) for v in (both, no_rgb, no_x))
    return dict(zip((Condition.BOTH, Condition.WITHOUT_RGB, Condition.WITHOUT_X), values, strict=True))


def test_rules():
    #             0    1    2    3    4
    both, no_rgb, no_x = [0.9, 0.5, 0.7, 0.6, 0.8], [0.1, 0.7, 0.7, 0.5, 0.7], [0.8, 0.4, 0.1, 0.7, 0.7]
    found = choose(given(both, no_rgb, no_x), range(5))
    assert found == {2: ["typical", "x helps most"], 0: ["rgb helps most"], 3: ["x harms most"],
                     1: ["rgb harms most", "worst"]}  # fmt: skip
    assert choose(given(both, no_rgb, no_x), [0, 4]) == {4: ["typical", "x helps most", "worst"], 0: ["rgb helps most"]}
    assert choose(given([0.5] * 3, [0.5] * 3, [0.5] * 3), range(3)) == {1: ["typical"], 0: ["worst"]}, "nothing helps"
    nan = float("nan")
    assert choose(given([nan, 0.4], [nan, 0.4], [nan, 0.4]), range(2)) == {1: ["typical", "worst"]}
    assert choose(given([nan], [nan], [nan]), [0]) == {}


@pytest.mark.parametrize("policy", ["mean", "permute", "noise"])
def test_an_example_shows_what_was_scored(policy):
    data, model = ToyData(9, label_scale=2), Toy().eval()
    for i in range(9):
        label = data[i]["label"]
        label[8:16, 8:24] = data.ignore_index
        data.edits[i] = {"label": label}
    found = dissect(model, data, metrics=["segmentation"], absence=policy, progress=False)
    for e in chosen_examples(model, data, found):
        sample = data[e.chosen.index]
        assert e.id == sample["id"] and e.absence == policy and e.modalities == ("rgb", "depth")
        np.testing.assert_array_equal(e.rgb, (sample["rgb"] * 255).round().byte().permute(1, 2, 0))
        np.testing.assert_array_equal(e.x, sample["x"])
        np.testing.assert_array_equal(e.label, sample["label"][1::2, 1::2])
        known = e.label != 255
        for condition in ("both", "without_rgb", "without_x"):
            right = (e.predicted[condition] == e.label)[known].mean()
            assert right == pytest.approx(e.chosen.accuracy[condition], abs=0.03)  # sampled from twice the size
        if policy == "noise":
            continue
        p = {c: v.softmax(0).double() for c, v in logits(model, data, e.chosen.index, policy).items()}
        top = p["both"].argmax(0)
        for shares, classes in ((e.predicted_class, top), (e.true_class, torch.from_numpy(e.label))):
            q = {c: v.gather(0, classes.where(classes < 3, 0)[None])[0] for c, v in p.items()}
            rgb = (q["both"] - q["without_rgb"] + q["without_x"] - q["neither"]) / 2
            x = (q["both"] - q["without_x"] + q["without_rgb"] - q["neither"]) / 2
            there = np.isfinite(shares.rgb)
            assert (there == (classes < 3).numpy()).all()
            np.testing.assert_allclose(shares.rgb[there], rgb.numpy()[there], atol=1e-5)
            np.testing.assert_allclose(shares.x[there], x.numpy()[there], atol=1e-5)
            np.testing.assert_allclose(
                shares.balance[there], (q["without_x"] - q["without_rgb"]).numpy()[there], atol=1e-5
            )


def test_the_map_finds_the_toys_truth():
    """Paint is in colour alone and dents are in depth alone, and the map says so but where cells meet."""
    data, model = ToyData(24), Toy().eval()
    found = dissect(model, data, metrics=["segmentation"], progress=False)
    e = chosen_examples(model, data, found)[0]
    right = e.predicted["both"] == e.label
    paint, dent = right & (e.label == 1), right & (e.label == 2)
    assert paint.sum() > 20 and dent.sum() > 20
    assert (e.true_class.balance[paint] > 0.05).mean() > 0.95 and (e.true_class.balance[dent] < -0.05).mean() > 0.95
    assert not np.isfinite(e.true_class.balance[e.label == 255]).any()


def test_large_images_are_kept_small(monkeypatch):
    monkeypatch.setattr("fusionzoo.dissect.pictures.examples.SIDE", 16)
    data, model = ToyData(4), Toy().eval()
    e = chosen_examples(model, data, dissect(model, data, metrics=["segmentation"], progress=False))[0]
    arrays = [e.rgb[..., 0], e.x[0], e.missing, e.label, e.predicted_class.rgb, e.true_class.x, *e.predicted.values()]
    assert {a.shape for a in arrays} == {(12, 16)}


def test_it_is_stored_resumed_and_left_out(tmp_path):
    data, model = ToyData(16), Toy().eval()
    found = dissect(model, data, metrics=["contribution"], progress=False, state=tmp_path / "s")
    again = dissect(model, data, metrics=["contribution"], progress=False, state=tmp_path / "s")
    assert found.images and again.images == found.images
    found.save(tmp_path / "d.json")
    assert Dissection.load(tmp_path / "d.json").images == found.images
    assert dissect(model, data, metrics=["cka"], progress=False).images == []
    blank = [{**data[i], "label": torch.full((24, 32), 255)} for i in range(4)]
    assert dissect(model, blank, metrics=["segmentation"], progress=False).images == []
    assert [c.index for c in dissect(model, data, metrics=["segmentation"], limit=1, progress=False).images] == [0]
