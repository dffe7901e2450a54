"""More than two modalities: conditions, contribution against every order of four, each against rgb, report."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.data.planted_multi import PlantedMulti
from fusionzoo.dissect import dissect
from fusionzoo.dissect.conditions import POLICIES, Condition, Reader, others, subsets
from fusionzoo.dissect.findings import findings
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.robustness import robustness
from fusionzoo.dissect.trace import trace
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.models.base import FusionModel
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes import Probe, probe
from fusionzoo.report import html, terminal
from tests.dissect.toy import Toy, ToyData

KIND, NAMES = "depth+thermal+event", ("rgb", "depth", "thermal", "event")
CHANNELS = {"depth": slice(0, 1), "thermal": slice(1, 2), "event": slice(2, 5)}
SIZE, N = (48, 64), 16
DATA = PlantedMulti("test", n=N, size=SIZE)
WALL, BALL, WARM, FLICKER = (DATA.class_names.index(name) for name in ("wall", "ball", "warm", "flicker"))


class Oracle(FusionModel):
    """Reads one sensor for one class: warm from thermal (brighter than about it), flicker from the events; ball where
    colour is yellow and depth was measured, that is from both together; wall elsewhere. Its inputs are raw, so an
    absent one (0) shows nothing."""

    stride = 1

    def __init__(self) -> None:
        raw = Preprocess(x_kind=KIND, x_mean=(0,) * 5, x_std=(1,) * 5, rgb_mean=(0, 0, 0), rgb_std=(1, 1, 1))
        super().__init__(DATA.num_classes, 5, raw)
        self.set_classes(DATA.class_names)
        self.stage1 = nn.Module()
        for name, channels in {"rgb": 3, "x": 5, "depth": 1, "thermal": 1, "event": 3, "fused": 8}.items():
            of = name if name in ("rgb", "fused") else "x"
            setattr(self.stage1, name, Probe(channels, role="feature", modality=of, meaning=name))
        self.anchor = nn.Parameter(torch.zeros(1))

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        return {1: {name: f"stage1.{name}" for name in ("rgb", "x", "fused", *CHANNELS)}}

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        s: Any = self.stage1
        rgb, x = s.rgb(rgb), s.x(x)
        depth, thermal, event = (getattr(s, name)(x[:, at]) for name, at in CHANNELS.items())
        fused = s.fused(torch.cat([rgb, depth, thermal, event], 1))
        rgb, depth, thermal, event = fused[:, :3], fused[:, 3:4], fused[:, 4:5], fused[:, 5:]
        out = fused.new_zeros(len(fused), self.num_classes, *fused.shape[2:])
        out[:, WALL] = 1
        out[:, WARM] = 2 * ((mean(thermal, 3) - mean(thermal, 21))[:, 0] > 12)
        out[:, FLICKER] = 3 * (mean((event.amax(1, keepdim=True) > 0).float(), 5)[:, 0] > 0.2)
        out[:, BALL] = 4 * ((rgb[:, :2].amin(1) - rgb[:, 2] > 0.2) & (depth[:, 0] > 0))
        return out


def mean(value: Tensor, width: int) -> Tensor:
    """Of the pixels about each, as far as there are any."""
    return F.avg_pool2d(value, width, 1, width // 2, count_include_pad=False)


def mean_by_hand(value: np.ndarray, width: int) -> np.ndarray:
    """The same of (H, W), by sums over windows."""
    ends = [(np.maximum(np.arange(n) - width // 2, 0), np.minimum(np.arange(n) + width // 2 + 1, n)) for n in SIZE]
    (a, b), (c, d) = ends
    total = np.pad(value.astype(float).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[np.ix_(b, d)] - total[np.ix_(a, d)] - total[np.ix_(b, c)] + total[np.ix_(a, c)]
    return sums / np.outer(b - a, d - c)


def by_hand(sample: dict[str, Any], there: Iterable[str]) -> np.ndarray:
    """The oracle's prediction in NumPy with some modalities, all others being 0."""
    there = set(there)
    rgb = sample["rgb"].numpy() / 255.0 * ("rgb" in there)
    parts = {name: sample["x"].numpy()[at] * (name in there) for name, at in CHANNELS.items()}
    thermal = parts["thermal"][0]
    label = np.full(SIZE, WALL)
    label[mean_by_hand(thermal, 3) - mean_by_hand(thermal, 21) > 12] = WARM
    label[mean_by_hand(parts["event"].max(0) > 0, 5) > 0.2 + 1e-9] = FLICKER  # exactly 5 of 25 is no more than a fifth
    label[(rgb[:2].min(0) - rgb[2] > 0.2) & (parts["depth"][0] > 0)] = BALL
    return label


def iou(samples: list[dict[str, Any]], there: Iterable[str]) -> np.ndarray:
    """(K,) IoU over all images, NaN where a class is nowhere."""
    truth = np.stack([s["label"].numpy() for s in samples])
    found = np.stack([by_hand(s, there) for s in samples])
    both = [((truth == k) & (found == k)).sum() for k in range(DATA.num_classes)]
    either = [((truth == k) | (found == k)).sum() for k in range(DATA.num_classes)]
    return np.array([b / e if e else math.nan for b, e in zip(both, either, strict=True)])


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Any]]:
    return [DATA[i] for i in range(N)]


@pytest.fixture(scope="module")
def wanted(samples: list[dict[str, Any]]) -> dict[frozenset[str], np.ndarray]:
    """Modalities that are there -> IoU of each class, by hand."""
    every = (kept for size in range(5) for kept in itertools.combinations(NAMES, size))
    return {frozenset(kept): iou(samples, kept) for kept in every}


@pytest.fixture(scope="module")
def found() -> Dissection:
    return dissect(Oracle(), DATA, progress=False, batch_size=8)


def test_scores_under_every_subset(found: Dissection, wanted: dict[frozenset[str], np.ndarray]) -> None:
    assert list(found.segmentation) == [str(c) for c in subsets(NAMES)] and len(found.segmentation) == 16
    for condition in subsets(NAMES):
        by_class = wanted[frozenset(name for name in NAMES if not condition.lacks(name))]
        got = np.array([math.nan if v is None else v for v in found.segmentation[condition].iou])
        assert got == pytest.approx(by_class, abs=2e-3, nan_ok=True), condition  # a pixel at a threshold may differ
        assert found.segmentation[condition].miou == pytest.approx(np.nanmean(by_class), abs=1e-3)


def test_contribution_is_the_mean_over_all_orders(found: Dissection, wanted: dict[frozenset[str], np.ndarray]) -> None:
    value = {kept: float(np.nanmean(by_class)) for kept, by_class in wanted.items()}
    made = found.contribution
    assert made is not None and made.interaction is None
    orders = list(itertools.permutations(NAMES))
    for name in NAMES:
        gains = [value[frozenset(o[: o.index(name) + 1])] - value[frozenset(o[: o.index(name)])] for o in orders]
        assert made.shapley[name].miou == pytest.approx(float(np.mean(gains)), abs=1e-3)
        assert made.shapley[name].miou_error is not None
    total = sum(made.shapley[name].miou or 0 for name in NAMES)
    assert total == pytest.approx((made.values["both"].miou or 0) - (made.values["neither"].miou or 0), abs=1e-12)


def test_each_class_comes_from_what_the_oracle_reads(found: Dissection) -> None:
    made = found.contribution
    assert made is not None
    whole = {k: found.segmentation["both"].iou[k] or 0.0 for k in (BALL, WARM, FLICKER)}
    assert all(v > 0.5 for v in whole.values()), whole
    share = {name: made.shapley[name].iou for name in NAMES}
    ball = whole[BALL]  # a conjunction: half and half, and synergy of all of it
    assert [share[name][BALL] for name in NAMES] == pytest.approx([ball / 2, ball / 2, 0, 0], abs=1e-12)
    pairs = [f"{a}+{b}" for a, b in itertools.combinations(NAMES, 2)]
    wanted = {pair: ball if pair == "rgb+depth" else 0 for pair in pairs}
    assert {pair: e.iou[BALL] for pair, e in made.interactions.items()} == pytest.approx(wanted, abs=1e-12)
    for k, name in ((WARM, "thermal"), (FLICKER, "event")):
        assert share[name][k] == pytest.approx(whole[k], abs=0.02)
        assert all(abs(share[other][k] or 0) < 0.02 for other in NAMES if other != name)
    lost = {name: made.perceptual[name].iou[WARM] or 0 for name in ("thermal", "depth")}
    assert lost["thermal"] > 0.5 and abs(lost["depth"]) < 0.02


def test_similarity_of_each_modality_with_rgb(found: Dissection, samples: list[dict[str, Any]]) -> None:
    """Unbiased CKA of channel means, by the formula of Song et al. 2012 over the images."""
    stage = found.rows[0]
    assert set(stage.points) == {"rgb", "x", "fused", *CHANNELS}
    means = {"rgb": np.stack([s["rgb"].numpy().mean((1, 2)) / 255 for s in samples])}
    x = np.stack([s["x"].numpy().mean((1, 2)) for s in samples])
    means |= {name: x[:, at] for name, at in CHANNELS.items()}

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        k, m = (v @ v.T for v in (a, b))
        for gram in (k, m):
            np.fill_diagonal(gram, 0)
        n = len(k)
        return float((k * m).sum() + k.sum() * m.sum() / (n - 1) / (n - 2) - 2 * (k @ m).sum() / (n - 2))

    for name in CHANNELS:
        a, b = (means[s].astype(np.float64) for s in ("rgb", name))
        wanted = hsic(a, b) / math.sqrt(hsic(a, a) * hsic(b, b))
        assert stage.similarity.pairs[f"rgb_{name}"]["gap"].cka.value == pytest.approx(wanted, abs=1e-3)
        assert f"rgb_{name}" in stage.concepts.variance and name in stage.concepts.iou
    assert stage.specificity is not None and set(stage.specificity.modalities) == set(CHANNELS)
    warm = {name: (stage.concepts.iou[name] or [])[WARM] or 0 for name in ("rgb", *CHANNELS)}
    assert max(warm, key=lambda name: warm[name]) == "thermal"
    assert {r.concept: r.found for r in found.planted.rows}["warm"]  # type: ignore[union-attr]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_modality_is_replaced_in_its_condition_only(policy: str, samples: list[dict[str, Any]]) -> None:
    reader = Reader(Oracle().eval(), DATA, policy, seed=3, others=True)
    (images,) = reader.images(samples[:4], [0, 1, 2])
    here = [v.clone() for v in images.here]
    assert images.there is not None
    for condition in (*subsets(NAMES), *others(NAMES)):
        given = reader.inputs(condition, images)
        rgb, x = (torch.zeros_like(h) if v is None else v for v, h in zip(given, here, strict=True))
        parts = {"rgb": (rgb, here[0], images.there[0])}
        parts |= {name: (x[:, at], here[1][:, at], images.there[1][:, at]) for name, at in CHANNELS.items()}
        for name, (value, own, lent) in parts.items():
            if condition == Condition.other(name):
                assert torch.equal(value, lent)
            elif not condition.lacks(name):
                assert torch.equal(value, own), (condition, name)
            elif policy in ("mean", "zero"):
                assert not value.any()
            elif policy == "permute":
                assert torch.equal(value, lent)
            else:
                assert not torch.equal(value, own) and float(value.abs().max()) > 0
    if policy == "noise":
        only = reader.inputs(Condition.NEITHER, images)[1]
        assert only is not None and not torch.equal(only[:, 0], only[:, 1])  # depth and thermal: noise of their own
    assert all(torch.equal(a, b) for a, b in zip(here, images.here, strict=True))


def test_the_names_of_conditions() -> None:
    assert list(subsets(("rgb", "x"))) == ["both", "without_rgb", "without_x", "neither"]
    three = subsets(("rgb", "depth", "thermal"))
    assert len(three) == 8 and three[4] == "without_rgb+depth" and not three[4].lacks("thermal")
    assert len(subsets(tuple("abcde"))) == 7  # all, each of five gone, none


def test_report_names_every_modality(found: Dissection) -> None:
    said = findings(found)
    text = " ".join(terminal(found, None, said, width=110, colour=False).split())
    page = html(found, None, said)
    for name in NAMES:
        assert f"without {name}" in text and f"only {name}" in text and name in page
    assert "'warm' (thermal)" in text and "rgb and depth" in text
    assert "Pictures of images and modality maps are for two modalities" in text
    assert "Each modality against rgb" in text and "Each modality against rgb" in page
    assert Dissection.from_dict(found.to_dict()) == found and not found.images


def test_two_modalities_keep_their_keys() -> None:
    values = dissect(Toy(), ToyData(8), progress=False).to_dict()["results"]
    assert list(values["segmentation"]) == ["both", "without_rgb", "without_x", "neither"]
    assert set(values["contribution"]) == {"absence", "values", "shapley", "interaction", "perceptual", "concepts"}
    assert "modalities" not in values["specificity"]["stages"][0] and "streams" not in values["planted"]["rows"][0]


def test_probes_of_the_oracle_show_their_sensor(samples: list[dict[str, Any]]) -> None:
    model = Oracle().eval()
    with probe(model, "stage1.thermal") as tape, torch.no_grad():
        model(samples[0]["rgb"][None].float() / 255, samples[0]["x"][None])
        assert torch.equal(tape["stage1.thermal"][0, 0], samples[0]["x"][1])


def test_robustness_of_each_modality(found: Dissection) -> None:
    wanted = {"missing_thermal": None, "noise_thermal": [80], "holes_depth": [0.75], "noise_event": [5]}
    made = robustness(Oracle(), DATA, corruptions=wanted, batch_size=8, progress=False)
    curves = {c.corruption: c for c in made.curves}
    assert {name: c.modality for name, c in curves.items()} == {n: n.rpartition("_")[2] for n in wanted}
    assert not made.failures and curves["missing_thermal"].iou[-1] == found.segmentation["without_thermal"].iou
    for name, hurt, safe in (("noise_thermal", WARM, BALL), ("holes_depth", BALL, WARM)):
        one = curves[name]
        clean, damaged = one.iou[0], one.iou[1]
        assert (clean[hurt] or 0) - (damaged[hurt] or 0) > 0.05 and clean[safe] == damaged[safe]
    with pytest.raises(InputError, match="corruption 'noise_x': x is depth.* say which: noise_depth, noise_thermal"):
        robustness(Oracle(), DATA, corruptions=["noise_x"], progress=False)
    with pytest.raises(UnknownNameError, match="unknown corruption 'noise_termal'; did you mean 'noise_thermal'"):
        robustness(Oracle(), DATA, corruptions=["noise_termal"], progress=False)


def test_trace_takes_all_beside_rgb_together(found: Dissection) -> None:
    made = trace(Oracle(), DATA, edits=("mean",), limit=N, batch_size=8, progress=False)
    rest = found.segmentation["without_depth+thermal+event"]
    assert made.absent["x"].iou == rest.iou and made.absent["rgb"].iou == found.segmentation["without_rgb"].iou
