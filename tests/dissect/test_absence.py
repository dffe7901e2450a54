"""Absence policies and what is made of the scores: against plain loops, SciPy and the toy's known truth."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from fusionzoo.dissect import dissect
from fusionzoo.dissect.conditions import POLICIES, blurred, substitute
from fusionzoo.dissect.split import Split
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.preprocess import Preprocess
from tests.dissect.toy import Toy, ToyData

TOY = Preprocess((0.5,) * 3, (0.25,) * 3, x_mean=(2.0,), x_std=(1.0,))


def stand_in(policy, stream, data, place, follower):
    """What stands for a modality of one image, by hand."""
    one = data[place]
    value = (one["rgb"] - 0.5) / 0.25 if stream == "rgb" else one["x"] - 2.0
    if policy == "mean":
        return torch.zeros_like(value)
    if policy == "zero":
        return torch.full_like(value, -2.0) if stream == "rgb" else torch.zeros_like(value)
    if policy == "permute":
        other = data[follower[place]]
        return (other["rgb"] - 0.5) / 0.25 if stream == "rgb" else other["x"] - 2.0
    return substitute(policy, stream, value[None], [place], TOY)[0]


def loop(model, data, places, policy, rgb_absent, x_absent, follower):
    """(4,) tensor: mIoU and the IoU of each class, by plain loops over pixels."""
    hit, union = [0] * 3, [0] * 3
    for i in places:
        one = data[i]
        rgb, x = (one["rgb"] - 0.5) / 0.25, one["x"] - 2.0
        rgb = stand_in(policy, "rgb", data, i, follower) if rgb_absent else rgb
        x = stand_in(policy, "x", data, i, follower) if x_absent else x
        with torch.no_grad():
            guess = model(rgb[None], x[None])[0].argmax(0)
        for k in range(3):
            known = one["label"] != 255
            hit[k] += int(((guess == k) & (one["label"] == k) & known).sum())
            union[k] += int((((guess == k) | (one["label"] == k)) & known).sum())
    iou = [h / u if u else math.nan for h, u in zip(hit, union, strict=True)]
    there = [v for v in iou if not math.isnan(v)]
    return torch.tensor([sum(there) / len(there), *iou], dtype=torch.float64)


def followers(n, seed=0):
    order = Split.of(n).cycle(seed)
    return dict(zip(order, order[1:] + order[:1], strict=True))


def row(estimate):
    return torch.tensor([estimate.miou, *estimate.iou], dtype=torch.float64)


@pytest.mark.parametrize("policy", POLICIES)
def test_contribution_equals_plain_loops(policy):
    data, model, n = ToyData(7), Toy().eval(), 7
    follower = followers(n)
    found = dissect(model, data, metrics=["contribution"], absence=policy, batch_size=3, progress=False)
    v = {
        name: loop(model, data, range(n), policy, *absent, follower)
        for name, absent in {"both": (0, 0), "rgb": (0, 1), "x": (1, 0), "none": (1, 1)}.items()
    }
    got = found.contribution
    assert found.protocol.absence == got.absence == policy and found.protocol.passes == 1
    conditions = {"both": "both", "rgb": "without_x", "x": "without_rgb", "none": "neither"}
    for name, value in v.items():
        assert torch.allclose(row(got.values[conditions[name]]), value, atol=1e-12), name
    assert {c: found.segmentation[c].miou for c in got.values} == {c: e.miou for c, e in got.values.items()}
    rgb = (v["rgb"] - v["none"] + v["both"] - v["x"]) / 2
    x = (v["x"] - v["none"] + v["both"] - v["rgb"]) / 2
    assert torch.allclose(row(got.shapley["rgb"]), rgb, atol=1e-12)
    assert torch.allclose(row(got.shapley["x"]), x, atol=1e-12)
    assert torch.allclose(row(got.interaction), v["both"] - v["rgb"] - v["x"] + v["none"], atol=1e-12)
    for stream, absent in (("rgb", (1, 0)), ("x", (0, 1))):
        lost = (v["both"] - loop(model, data, range(n), "permute", *absent, follower)) / v["both"]
        assert torch.allclose(row(got.perceptual[stream]), lost, atol=1e-9), stream


def test_contribution_finds_the_toys_truth():
    got = dissect(Toy(), ToyData(), metrics=["contribution"], progress=False).contribution
    paint, dent = 1, 2
    assert got.shapley["rgb"].iou[paint] > 0.7 and abs(got.shapley["x"].iou[paint]) < 0.1
    assert got.shapley["x"].iou[dent] > 0.7 and abs(got.shapley["rgb"].iou[dent]) < 0.1
    assert got.perceptual["rgb"].iou[paint] > 0.7 and got.perceptual["rgb"].iou[dent] < 0.3
    assert got.perceptual["x"].iou[dent] > 0.7 and got.perceptual["x"].iou[paint] < 0.3
    total = got.values["both"].miou - got.values["neither"].miou
    assert got.shapley["rgb"].miou + got.shapley["x"].miou == pytest.approx(total, abs=1e-12)


def test_errors_leave_the_same_images_out_of_every_score():
    data, model, n = ToyData(12), Toy().eval(), 12
    got = dissect(model, data, metrics=["contribution"], progress=False).contribution
    split, follower = Split.of(n), followers(n)
    members = {}
    for i in range(n):
        members.setdefault(split.group(i, 16), []).append(i)
    interaction, perceptual = [], []
    for left_out in members.values():
        kept = [i for i in range(n) if i not in left_out]
        v = [loop(model, data, kept, "mean", a, b, follower) for a, b in ((0, 0), (0, 1), (1, 0), (1, 1))]
        interaction.append(v[0] - v[1] - v[2] + v[3])
        perceptual.append((v[0] - loop(model, data, kept, "permute", 0, 1, follower)) / v[0])
    for values, estimate in ((interaction, got.interaction), (perceptual, got.perceptual["x"])):
        values, g = torch.stack(values), len(values)
        error = ((g - 1) / g * (values - values.mean(0)).square().sum(0)).sqrt()
        assert torch.allclose(torch.tensor([estimate.miou_error, *estimate.iou_error]).double(), error, atol=1e-9)
        assert error[0] > 0


@pytest.mark.parametrize("policy", ["permute", "noise"])
def test_batches_do_not_matter(policy):
    whole = dissect(Toy(), ToyData(11), metrics=["contribution"], absence=policy, batch_size=11, progress=False)
    for size in (1, 4):
        other = dissect(Toy(), ToyData(11), metrics=["contribution"], absence=policy, batch_size=size, progress=False)
        assert other.contribution == whole.contribution


def test_another_seed_lends_from_others():
    one, two, same = (dissect(Toy(), ToyData(11), metrics=["contribution"], seed=s, progress=False) for s in (1, 2, 1))
    assert one.contribution.values == two.contribution.values and one.contribution == same.contribution
    assert one.contribution.perceptual != two.contribution.perceptual
    assert one.protocol.seed == 1


def test_images_of_other_sizes_are_resized_to_lend():
    class Mixed(ToyData):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            step = 1 + index % 2
            return {**sample, **{k: sample[k][..., ::step, ::step] for k in ("rgb", "x", "label")}}

    data, model = Mixed(5), Toy().eval()
    got = dissect(model, data, metrics=["contribution"], progress=False).contribution
    follower, hit, union = followers(5), torch.zeros(3), torch.zeros(3)
    for i in range(5):
        one, other = data[i], data[follower[i]]["x"] - 2.0
        size = one["x"].shape[-2:]
        if other.shape[-2:] != size:
            other = F.interpolate(other[None], size, mode="bilinear", align_corners=False)[0]
        with torch.no_grad():
            guess = model((one["rgb"] - 0.5)[None] / 0.25, other[None])[0].argmax(0)
        for k in range(3):
            known = one["label"] != 255
            hit[k] += ((guess == k) & (one["label"] == k) & known).sum()
            union[k] += (((guess == k) | (one["label"] == k)) & known).sum()
    lost = 1 - float((hit / union).mean()) / got.values["both"].miou
    assert got.perceptual["x"].miou == pytest.approx(lost, abs=1e-6) and lost > 0.1


def test_blur_is_three_box_blurs():
    from scipy.ndimage import uniform_filter

    value = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(0)).double()
    want = value.numpy()
    for _ in range(3):
        want = uniform_filter(want, size=(1, 1, 5, 5), mode="nearest")
    assert torch.allclose(blurred(value), torch.from_numpy(want), atol=1e-12)
    assert torch.equal(blurred(value[..., :6, :6]), value[..., :6, :6])  # nothing to blur over


def test_noise_is_each_images_own():
    value = torch.zeros(2, 3, 60, 80)
    both = substitute("noise", "rgb", value, [4, 9], TOY)
    assert torch.equal(both[1:], substitute("noise", "rgb", value[:1], [9], TOY))
    assert abs(float(both.mean())) < 0.02 and float(both.std()) == pytest.approx(1, abs=0.02)
    for other in (
        substitute("noise", "rgb", value, [5, 9], TOY),
        substitute("noise", "rgb", value, [4, 9], TOY, seed=1),
    ):
        assert not torch.equal(both[0], other[0])
    assert not torch.equal(substitute("noise", "x", value, [4, 9], TOY), both)


def test_refusals():
    with pytest.raises(UnknownNameError, match="unknown absence policy 'permutation'; did you mean 'permute'"):
        dissect(Toy(), ToyData(4), absence="permutation", progress=False)
    with pytest.raises(InputError, match="takes a modality from another image, here is one image only"):
        dissect(Toy(), ToyData(1), absence="permute", metrics=["segmentation"], progress=False)
    alone = dissect(Toy(), ToyData(1), metrics=["contribution"], progress=False).contribution
    assert alone.perceptual == {} and alone.shapley["rgb"].miou_error is None
