"""Saliency measures against pysodmetrics (where it is installed, and its stored values), pixel by pixel definitions,
and cases that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics import SaliencyMeasures
from fusionzoo.metrics.saliency import SaliencyScores, e_measure, f_measure, mae, s_measure, stretched

H, W = 24, 31
N = H * W
NAMES = ("s_measure", "e_adaptive", "e_mean", "e_max", "f_adaptive", "f_mean", "f_max", "mae")


def blob(top: int, left: int, height: int, width: int) -> Tensor:
    mask = torch.zeros(H, W, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def drawn(seed: int, mask: Tensor) -> Tensor:
    """A map of multiples of 1/255 that prefers the mask, without a random number generator."""
    rows, columns = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    noise = (rows * 37 + columns * 101 + seed * 59 + rows * columns * 7) % 150
    return (noise + 90 * mask + 5).double() / 255


MASKS = {
    "inside": blob(5, 8, 9, 12), "corner": blob(0, 0, 6, 7), "one_pixel": blob(11, 17, 1, 1), "empty": blob(0, 0, 0, 0),
    "full": blob(0, 0, H, W), "most": ~blob(9, 9, 3, 5),
}  # fmt: skip
# of pysodmetrics 1.6.2: the measures in the order of NAMES, of drawn(i, mask), stretched
STORED = {
    "inside": (0.6108495668576, 0.8228743160647, 0.5046489434708, 0.9411395128321,
        0.8441558441558, 0.465969339825, 0.9078212290503, 0.3008840599271),
    "corner": (0.4611265481017, 0.8196908077702, 0.427297986296, 0.969590584523,
        0.8265895953757, 0.3329712296414, 0.8524590163934, 0.3068307140888),
    "one_pixel": (0.3796377627311, 1.001345894959, 0.4157392353273, 1.001345894959,
        1.0, 0.2285762659101, 1.0, 0.3986728030175),
    "empty": (0.4844663347045, 0.9973082099596, 0.4851373233513, 0.9973082099596,
        0.0, 0.0, 0.0, 0.5155336652955),
    "full": (0.4906906256766, 0.02018842530283, 0.4915986709287, 1.00134589502,
        0.08186397984887, 0.7201148852379, 1.0, 0.5093093743234),
    "most": (0.4823993150503, 0.01193288601026, 0.4334826481609, 0.9897097031663,
        0.05138339920949, 0.8239570375068, 0.994751758161, 0.3128517501716),
}  # fmt: skip


def scores(saliency: Tensor, mask: Tensor, stretch: bool = True) -> SaliencyScores:
    measures = SaliencyMeasures(stretch)
    measures.update(saliency[None], mask[None])
    return measures.compute()


def oracle(pairs: list[tuple[Tensor, Tensor]], stretch: bool) -> list[float]:
    sod = pytest.importorskip("py_sod_metrics")
    made = sod.Smeasure(), sod.Emeasure(), sod.FmeasureV2({"fm": _f(sod, False)}), sod.MAE()
    adaptive = sod.FmeasureV2({"fm": _f(sod, True)})
    for saliency, mask in pairs:
        values = (saliency * 255).round().to(torch.uint8).numpy() if stretch else saliency.numpy()
        truth = (mask * 255).to(torch.uint8).numpy() if stretch else mask.numpy()
        for metric in (*made, adaptive):
            metric.step(values, truth, normalize=stretch)
    s, e, f, error = (metric.get_results() for metric in made)
    e, curve = e["em"], f["fm"]["dynamic"]
    return [s["sm"], e["adp"], e["curve"].mean(), e["curve"].max(), adaptive.get_results()["fm"]["adaptive"],
            curve.mean(), curve.max(), error["mae"]]  # fmt: skip


def _f(sod: object, adaptive: bool) -> object:
    return sod.FmeasureHandler(beta=0.3, with_adaptive=adaptive, with_dynamic=not adaptive)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MASKS)
def test_equals_stored_values_of_pysodmetrics(name: str) -> None:
    mask = MASKS[name]
    got = scores(drawn(list(MASKS).index(name), mask), mask)
    assert [getattr(got, n) for n in NAMES] == pytest.approx(STORED[name], abs=1e-10)


@pytest.mark.parametrize("stretch", [True, False])
def test_equals_pysodmetrics_over_images(stretch: bool) -> None:
    """Curves are averaged over images before their mean and maximum are taken."""
    pairs = [(drawn(i, mask), mask) for i, mask in enumerate(MASKS.values())]
    g = torch.Generator().manual_seed(0)
    for _ in range(6):
        mask = torch.rand(H, W, generator=g) < 0.3
        saliency = torch.randint(0, 256, (H, W), generator=g).double() / 255
        pairs.append((saliency if stretch else torch.rand(H, W, generator=g).double(), mask))
    want = oracle(pairs, stretch)
    measures = SaliencyMeasures(stretch)
    for saliency, mask in pairs:
        measures.update(saliency[None], mask[None].long())
    assert [getattr(measures.compute(), n) for n in NAMES] == pytest.approx(want, abs=1e-10)


@pytest.mark.parametrize("name", ["inside", "corner", "most"])
def test_curves_are_the_definitions_pixel_by_pixel(name: str) -> None:
    """At single thresholds: precision and recall, and the alignment of demeaned maps, of the cut map itself."""
    mask = MASKS[name]
    saliency = drawn(3, mask)
    (e_adaptive, e_curve), (f_adaptive, f_curve) = e_measure(saliency, mask), f_measure(saliency, mask)
    level = (saliency.numpy() * 255).astype(np.uint8)
    cuts = {t: level >= t for t in (0, 1, 60, 128, 200, 255)}
    cuts[-1] = saliency.numpy() >= 2 * saliency.numpy().mean()
    truth = mask.numpy()
    for threshold, cut in cuts.items():
        a, b = cut - cut.mean(), truth - truth.mean()
        phi = ((2 * a * b / (a**2 + b**2 + 2.0**-52) + 1) ** 2 / 4).sum() / (N - 1)
        got = e_adaptive if threshold < 0 else e_curve[threshold]
        assert float(got) == pytest.approx(phi, abs=1e-12), threshold
        precision, recall = (cut & truth).sum() / max(cut.sum(), 1), (cut & truth).sum() / truth.sum()
        want = 1.3 * precision * recall / (0.3 * precision + recall) if precision else 0.0
        got = f_adaptive if threshold < 0 else f_curve[threshold]
        assert float(got) == pytest.approx(want, abs=1e-12), threshold
    assert 0 < f_curve[128] < 1 and f_curve[255] == 0, "no pixel reaches 255"


def test_perfect_and_inverted_maps() -> None:
    mask = MASKS["inside"]
    best = scores(mask.double(), mask)
    assert (best.s_measure, best.f_adaptive, best.f_max, best.mae) == pytest.approx((1, 1, 1, 0), abs=1e-12)
    assert (best.e_adaptive, best.e_max) == pytest.approx((N / (N - 1), N / (N - 1)), abs=1e-12)
    share = float(mask.double().mean())
    everything = 1.3 * share / (0.3 * share + 1)  # at threshold 0 all pixels are marked
    assert best.f_mean == pytest.approx((255 + everything) / 256) and best.f_curve[0] == pytest.approx(everything)
    worst = scores(1 - mask.double(), mask)
    assert (worst.s_measure, worst.e_adaptive, worst.f_adaptive, worst.mae) == pytest.approx((0, 0, 0, 1), abs=1e-12)
    assert worst.f_max == pytest.approx(everything), "by marking everything"


def test_constant_maps_and_masks_without_background_or_object() -> None:
    half, empty, full = torch.full((H, W), 0.5).double(), MASKS["empty"], MASKS["full"]
    assert torch.equal(stretched(half), half)
    of_empty, of_full = scores(half, empty), scores(half, full)
    assert (of_empty.s_measure, of_empty.mae, of_full.s_measure, of_full.mae) == pytest.approx((0.5,) * 4)
    # 2 x 0.5 is 1, which no pixel reaches; of 256 thresholds 128 lie at or below floor(127.5)
    assert of_empty.e_adaptive == pytest.approx(N / (N - 1)) and of_full.e_adaptive == 0
    assert (of_empty.e_mean, of_full.e_mean) == pytest.approx((N / (N - 1) / 2,) * 2)
    assert of_empty.f_max == of_empty.f_adaptive == 0 and of_full.f_max == pytest.approx(1)
    nothing = scores(torch.zeros(H, W).double(), empty)
    assert nothing.s_measure == 1 and nothing.mae == 0 and nothing.e_adaptive == 0, "threshold 0 marks everything"
    middle = scores(half, MASKS["inside"])
    assert middle.s_measure == pytest.approx(0.5 * 0.8), "the object's part is 2 x 0.5 / (0.25 + 1), the blocks' 0"
    one = scores(torch.full((H, W), 1.0).double(), full)
    assert (one.s_measure, one.f_adaptive, one.mae) == (1, 1, 0) and one.e_mean == pytest.approx(N / (N - 1))


def test_an_object_at_the_edge_leaves_blocks_without_pixels() -> None:
    """There the original code divides 0 by 0."""
    mask = blob(0, W - 1, H, 1)
    assert float(s_measure(mask.double(), mask)) == pytest.approx(1)
    single = torch.tensor([[True, False]])
    assert float(s_measure(single.double(), single)) == pytest.approx(1)
    assert float(s_measure(torch.tensor([[0.0]]), torch.tensor([[True]]))) == 0


def test_stretching_is_an_option() -> None:
    mask = MASKS["inside"]
    faint = 0.3 * mask.double() + 0.2
    assert scores(faint, mask).mae == 0 and scores(faint, mask, stretch=False).mae == pytest.approx(
        0.2 + 0.3 * float(mask.double().mean())
    )
    with pytest.raises(InputError, match="stretch is True here and False there"):
        SaliencyMeasures().merge(SaliencyMeasures(stretch=False))
    assert np.isnan(SaliencyMeasures().compute().s_measure) and SaliencyMeasures().compute().n_images == 0


@pytest.mark.parametrize(("saliency", "mask", "said"), [
    (torch.full((1, 2, 2), 1.5), torch.ones(1, 2, 2), "values 1.5 to 1.5; they are probabilities"),
    (torch.full((1, 2, 2), torch.nan), torch.ones(1, 2, 2), "not finite"),
    (torch.ones(1, 2, 2).long(), torch.ones(1, 2, 2), "must be floating point of 0..1, got torch.int64"),
    (torch.ones(1, 2, 2), torch.full((1, 2, 2), 255), "has the value 255 in 4 pixels"),
    (torch.ones(1, 2, 2), torch.ones(1, 2, 3), r"\(1, 2, 2\) and masks \(1, 2, 3\) must be"),
    (torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), r"must be \(B, H, W\)"),
])  # fmt: skip
def test_what_is_no_saliency_is_refused(saliency: Tensor, mask: Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said):
        SaliencyMeasures().update(saliency, mask)
    with pytest.raises(InputError, match="one size"):
        mae(torch.ones(2, 2), torch.ones(2, 3))
