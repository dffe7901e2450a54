"""Every metric keeps what its description declares: range and invariances, on random data; and claims nothing less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import fusionzoo.metrics
from fusionzoo.metrics import (
    ChannelHealth,
    ConceptAgreement,
    ConceptCurve,
    ConceptStatistics,
    ConfusionMatrix,
    ExchangeRatio,
    GateStatistics,
    LinearCKA,
    LogisticStep,
    MinibatchCKA,
    MixtureStatistics,
    Moments,
    Quantiles,
    RowSample,
    SaliencyMeasures,
    UnitDissection,
    catalogue,
    commonality,
    concept_roles,
    contribution,
    interactions,
    modality_map,
    net2vec_2018,
    semantic_variance,
    shapley,
)
from fusionzoo.metrics.concepts import shared_dictionary
from fusionzoo.metrics.cooperation import expected_score, gaussian_pid, perceptual_score, retention
from fusionzoo.metrics.health import ChannelMean
from fusionzoo.metrics.saliency import e_measure, f_measure, mae, s_measure
from fusionzoo.metrics.segmentation import ImageAccuracy
from fusionzoo.metrics.similarity import MEASURES, row_similarity
from fusionzoo.metrics.similarity.null import moments_of

Data = dict[str, Tensor]
N, C, K = 24, 5, 3


INFOS = catalogue()


# --- data ------------------------------------------------------------------------------------------------------------


def _rows(seed: int) -> Data:
    """Three sets of one width, related, off the origin, of different scales."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(N, C, generator=g).double()
    b = a @ torch.randn(C, C, generator=g).double() + torch.randn(N, C, generator=g).double()
    c = a + b @ torch.randn(C, C, generator=g).double()
    return {"a": a * torch.logspace(-0.5, 0.5, C) + 1, "b": 3 * b - 2, "c": c + 0.5}


def _sparse(seed: int) -> Data:
    """Two sets of sparse sources, of which they share two."""
    g = torch.Generator().manual_seed(seed)
    hidden = (torch.rand(1000, 4, generator=g) < 0.1).double() * (1 + torch.rand(1000, 4, generator=g))
    ways = torch.randn(2, 3, C, generator=g).double()
    return {"a": hidden[:, :3] @ ways[0] + 1, "b": hidden[:, 1:] @ ways[1] - 2}


def _maps(seed: int) -> Data:
    g = torch.Generator().manual_seed(seed)
    masks = torch.rand(N, K, 6, 7, generator=g) < 0.3
    maps = torch.randn(N, C, 6, 7, generator=g)
    maps[:, :K] += 2 * masks
    label = torch.randint(0, K, (N, 6, 7), generator=g)
    flip = torch.rand(N, 6, 7, generator=g) < 0.4
    return {
        "maps": maps,
        "masks": masks,
        "label": label,
        "pred": torch.where(flip, torch.randint(0, K, (N, 6, 7), generator=g), label),
        "poor": torch.where(torch.rand(N, 6, 7, generator=g) < 0.7, torch.zeros_like(label), label),
        "gate": torch.rand(N, C, 6, 7, generator=g),
        "mask": torch.rand(N, C, 1, 1, generator=g) < 0.3,
        "scores": maps[:, :K],
        "more": maps[:, 1 : K + 1],
        "keys": torch.arange(N),
    }


def _numbers(seed: int) -> Data:
    g = torch.Generator().manual_seed(seed)
    table = {name: torch.rand(K, generator=g).double() for name in ("none", "rgb", "x", "both")}
    return table | {"u": torch.rand(12, generator=g).double(), "v": torch.rand(12, generator=g).double()}


# --- transformations -------------------------------------------------------------------------------------------------


def _each(*names: str) -> Callable[[Callable[[Tensor, torch.Generator], Tensor]], Callable[..., Data]]:
    return lambda fn: lambda data, g: {k: fn(v, g) if k in names else v for k, v in data.items()}


def _turn(rows: Tensor, g: torch.Generator) -> Tensor:
    return rows @ torch.linalg.qr(torch.randn(rows.shape[1], rows.shape[1], generator=g).double()).Q


def _shuffle(rows: Tensor, g: torch.Generator) -> Tensor:
    return rows[:, torch.randperm(rows.shape[1], generator=g)]


def _order(data: Data, g: torch.Generator) -> Data:
    order = torch.randperm(N, generator=g)
    return {k: v[order] for k, v in data.items()}


def _order_of_concepts(data: Data, g: torch.Generator) -> Data:
    order = torch.randperm(12, generator=g)
    return data | {"u": data["u"][order], "v": data["v"][order]}


def _spatial(data: Data, g: torch.Generator) -> Data:
    order = torch.randperm(42, generator=g)
    return data | {"maps": data["maps"].flatten(2)[:, :, order].view(data["maps"].shape)}


def _classes(data: Data, g: torch.Generator) -> Data:
    order = torch.randperm(K, generator=g)
    return data | {"label": order[data["label"]], "pred": order[data["pred"]]}


def _factor(g: torch.Generator) -> Tensor:
    return 0.1 + 5 * torch.rand((), generator=g)


both = _each("a", "b")
MOVES: dict[str, Callable[[Data, torch.Generator], Data]] = {
    "rotation": both(_turn),
    "rotation of either set": both(_turn),
    "rotation of any set": both(_turn),
    "rotation of the second set": _each("b")(_turn),
    "rotation of the fused feature": _each("c")(_turn),
    "isotropic scaling": both(lambda v, g: _factor(g) * v),
    "translation": both(lambda v, g: v + torch.randn(v.shape[1], generator=g)),
    "permutation of channels": _each("a", "b", "maps", "gate", "mask")(_shuffle),
    "permutation of classes": _classes,
    "order of samples": _order,
    "order of images": _order,
    "order of concepts": _order_of_concepts,
    "spatial permutation": _spatial,
    "positive scaling and shift of scores": _each("scores", "more")(lambda v, g: _factor(g) * v + _factor(g)),
    "isotropic scaling of all weights": _each("gate")(lambda v, g: _factor(g) * v),
    "adding a constant to all logits of a pixel": _each("maps", "gate")(
        lambda v, g: v + 3 * torch.randn(N, 1, *v.shape[2:], generator=g)
    ),
    "adding a constant to all scores": lambda data, g: {k: v + 0.3 for k, v in data.items()},
    "isotropic scaling of all scores": lambda data, g: {k: 0.5 * v for k, v in data.items()},
}


# --- values ----------------------------------------------------------------------------------------------------------


def _fed(metric: Any, *args: Tensor, **kwargs: Any) -> Any:
    metric.update(*args, **kwargs)
    return metric


def _measure(name: str) -> Callable[[Data], Tensor]:
    options = {"k": 5} if name == "mutual_knn" else {}
    return lambda d: row_similarity(name, [d["a"], d["b"]], **options)[0, 1]


def _games(d: Data) -> dict[tuple[str, ...], Tensor]:
    return {(): d["none"], ("rgb",): d["rgb"], ("x",): d["x"], ("rgb", "x"): d["both"]}


def _contribution(d: Data) -> Tensor:
    preds = {(): d["poor"] * 0, ("rgb",): d["poor"], ("x",): d["pred"], ("rgb", "x"): d["label"]}
    result = contribution({s: _fed(ConfusionMatrix(K), p, d["label"]) for s, p in preds.items()})
    return torch.tensor([result.shapley["rgb"].mean, result.shapley["x"].mean])


def _shares(d: Data) -> Tensor:
    shares = commonality(moments_of([d["a"], d["b"], d["c"]]), "0", "1", "2", adjusted=False)
    return torch.tensor([shares.unique_rgb, shares.unique_x, shares.redundant, shares.rest])


def _pid(d: Data) -> Tensor:
    moments = moments_of([d["a"], d["b"], d["c"]])
    with pytest.warns(UserWarning, match="24 samples for 15 dimensions"):
        return torch.tensor(gaussian_pid(moments, "0", "1", "2", components=(5, 5)).parts)


def _roles(d: Data) -> Tensor:
    train = d["keys"] % 2 == 0
    rgb, x = (_fed(ConceptCurve(K), d[name], d["masks"], train=train) for name in ("scores", "more"))
    return concept_roles(rgb, x, [torch.zeros(K)] * 2).difference


def _halves(d: Data) -> Tensor:
    train = d["keys"] % 2 == 0
    return _fed(ConceptCurve(K), d["scores"], d["masks"], train=train).compute().iou


def _net2vec(d: Data) -> Tensor:
    return net2vec_2018(d["maps"], d["masks"], d["keys"] % 2 == 0, tau=0.1, epochs=2).iou


def _exchange(d: Data) -> Tensor:
    scores = _fed(ExchangeRatio(C), d["mask"], ~d["mask"]).compute()
    return torch.cat([scores.ratio, scores.std, scores.both.flatten()])


def _health(d: Data) -> Tensor:
    scores = _fed(ChannelHealth(C), d["maps"]).compute()
    return torch.tensor([scores.effective_rank, scores.mean, scores.std, scores.low, scores.high])


def _gates(d: Data) -> Tensor:
    s = _fed(GateStatistics(C), d["gate"]).compute()
    return torch.tensor([s.mean, s.std, s.entropy, s.shut, s.open, s.by_channel, s.by_image, s.by_position])


def _mixture(d: Data) -> Tensor:
    scores = _fed(MixtureStatistics(2), d["gate"], d["gate"].flip(1)).compute()
    return torch.cat([scores.share, torch.tensor([scores.entropy]).double(), scores.largest])


def _saliency(measure: Callable[..., Any]) -> Callable[[Data], Tensor]:
    def value(d: Data) -> Tensor:
        found = [measure(values, mask) for values, mask in zip(d["gate"][:, 0], d["masks"][:, 0], strict=True)]
        return torch.cat([part.reshape(-1) for v in found for part in (v if isinstance(v, tuple) else (v,))])

    return value


def _all_saliency(d: Data) -> Tensor:
    scores = _fed(SaliencyMeasures(), d["gate"][:, 0], d["masks"][:, 0]).compute()
    return torch.tensor(list(scores.numbers().values()))


def _map(d: Data) -> Tensor:
    maps, gate = d["maps"].double(), d["gate"].double()
    given = {("rgb", "x"): maps, ("rgb",): gate - maps, ("x",): 2 * gate - maps, (): -gate}
    found = modality_map(given, d["label"])
    return torch.stack([*found.shapley.values(), *found.marginal.values()])


VALUES: dict[str, tuple[Callable[[int], Data], Callable[[Data], Tensor]]] = {
    **{next(key for key in INFOS if INFOS[key] is info): (_rows, _measure(name)) for name, info in MEASURES.items()},
    "LinearCKA": (_rows, lambda d: torch.tensor(_fed(LinearCKA(), d["a"], d["b"]).compute().unbiased)),
    "MinibatchCKA": (_rows, lambda d: _fed(MinibatchCKA(2), d["a"], d["b"]).compute().cka[0, 1]),
    "Moments": (_rows, lambda d: _fed(Moments(2), d["a"], d["b"]).compute().gram),
    "cooperation.commonality": (_rows, _shares),
    "cooperation.pid": (_rows, _pid),
    "RowSample": (_maps, lambda d: _fed(RowSample(1, 9), d["keys"], d["maps"]).compute()["0"]),
    "ConfusionMatrix": (_maps, lambda d: torch.tensor(_fed(ConfusionMatrix(K), d["pred"], d["label"]).compute().miou)),
    "ImageAccuracy": (_maps, lambda d: _fed(ImageAccuracy(N), d["pred"], d["label"], range(N)).compute()),
    "SaliencyMeasures": (_maps, _all_saliency),
    "saliency.s_measure": (_maps, _saliency(s_measure)),
    "saliency.e_measure": (_maps, _saliency(e_measure)),
    "saliency.f_measure": (_maps, _saliency(f_measure)),
    "saliency.mae": (_maps, _saliency(mae)),
    "Quantiles": (_maps, lambda d: _fed(Quantiles(C, 0.1), d["maps"]).compute()),
    "ChannelHealth": (_maps, _health),
    "ChannelMean": (_maps, lambda d: _fed(ChannelMean(C), d["maps"]).compute()),
    "ConceptStatistics": (_maps, lambda d: _fed(ConceptStatistics(C, K), d["maps"], d["masks"]).solve().weight),
    "LogisticStep": (_maps, lambda d: _fed(LogisticStep(C, K), d["maps"], d["masks"]).newton()),
    "ConceptCurve": (_maps, _halves),
    "concepts.net2vec": (_maps, _net2vec),
    "UnitDissection": (
        _maps,
        lambda d: _fed(UnitDissection(C, K, torch.ones(C)), d["maps"], d["masks"]).compute().iou.sort(0).values,
    ),
    "ConceptAgreement": (
        _maps,
        lambda d: _fed(ConceptAgreement(2, K), d["scores"], d["more"]).compute().correlation,
    ),
    "GateStatistics": (_maps, _gates),
    "MixtureStatistics": (_maps, _mixture),
    "ExchangeRatio": (_maps, _exchange),
    "cooperation.contribution": (_maps, _contribution),
    "cooperation.modality_map": (_maps, _map),
    "cooperation.shapley": (_numbers, lambda d: torch.cat(list(shapley(_games(d)).values()))),
    "cooperation.interaction": (_numbers, lambda d: torch.cat(list(interactions(_games(d)).values()))),
    "cooperation.perceptual_score": (_numbers, lambda d: perceptual_score(d["both"], d["x"])),
    "cooperation.expected_score": (_numbers, lambda d: expected_score(_games(d), 0.1)),
    "cooperation.retention": (_numbers, lambda d: torch.tensor(retention(d["u"].tolist())[1])),
    "concepts.semantic_variance": (_numbers, lambda d: torch.tensor(semantic_variance(d["u"], d["v"]))),
    "concepts.specificity": (_maps, _roles),
    "concepts.dictionary": (_sparse, lambda d: shared_dictionary(d["a"], d["b"], 4).shared.sort().values),
}

CLOSE = {"similarity.r2": 2e-3, "cooperation.commonality": 1e-4, "concepts.dictionary": 1e-3}
"""Ridge acts on standardised channels: these are invariant up to what its trace of a ridge does.
A dictionary is turned until it hardly moves."""


def test_every_description_is_checked_here() -> None:
    """The catalogue holds every INFO and every accumulator there is in the room's files."""
    files = Path(fusionzoo.metrics.__file__).parent.rglob("*.py")
    assert len(INFOS) == sum(p.read_text(encoding="utf-8").count("MetricInfo(") for p in files)
    assert set(VALUES) == set(INFOS)
    declared = {name for info in INFOS.values() for name in info.invariant_to}
    assert declared == set(MOVES), "a transformation is declared that is not tested, or the reverse"


@pytest.mark.parametrize("name", INFOS)
def test_describes_itself(name: str) -> None:
    info = INFOS[name]
    assert info.name and info.cost and info.source
    assert info.low is None or info.high is None or info.low < info.high


@pytest.mark.parametrize("name", [n for n in INFOS if INFOS[n].invariant_to])
def test_declared_invariances_hold(name: str) -> None:
    make, value = VALUES[name]
    for seed in (0, 1):
        data = make(seed)
        want = value(data).double()
        assert bool(torch.isfinite(want).any())
        for move in INFOS[name].invariant_to:
            moved = MOVES[move](data, torch.Generator().manual_seed(seed + 10))
            assert any(not torch.equal(moved[k], data[k]) for k in data), "nothing was moved"
            tolerance = CLOSE.get(name, 1e-6)
            got = value(moved).double()
            close = torch.allclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)
            assert close, f"not invariant to {move}: {want.flatten()[:3]} became {got.flatten()[:3]}"


@pytest.mark.parametrize("name", INFOS)
def test_values_stay_within_the_declared_range(name: str) -> None:
    make, value = VALUES[name]
    low, high = INFOS[name].low, INFOS[name].high
    for seed in range(4):
        got = value(make(seed)).double()
        got = got[~got.isnan()]
        assert low is None or bool((got >= low - 1e-9).all())
        assert high is None or bool((got <= high + 1e-9).all())


STRONG = ("rotation", "isotropic scaling", "translation", "permutation of channels")
OF_THREE = ("Moments", "cooperation.commonality", "cooperation.pid")
IMPLIED = {
    "rotation": {"permutation of channels"},
    "rotation of either set": {"rotation", "permutation of channels"},
    "rotation of any set": {"rotation", "permutation of channels"},
}


@pytest.mark.parametrize("name", [n for n, (make, _) in VALUES.items() if make is _rows and n not in OF_THREE])
def test_what_is_not_declared_does_change_the_value(name: str) -> None:
    """So a description leaves out nothing that a reader could rely on, and the test above can fail."""
    declared = set(INFOS[name].invariant_to)
    for move in list(declared):
        declared |= IMPLIED.get(move, set())
    make, value = VALUES[name]
    data = make(0)
    for move in STRONG:
        if move not in declared:
            moved = MOVES[move](data, torch.Generator().manual_seed(3))
            assert float((value(moved).double() - value(data).double()).abs().max()) > 5e-3, move
