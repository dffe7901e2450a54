"""What every accumulator must do: merge to the one-pass value, store and resume, refuse strangers, keep its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fusionzoo import metrics
from fusionzoo.errors import InputError
from fusionzoo.metrics import (
    Accumulator,
    ChannelHealth,
    ConceptAgreement,
    ConceptCurve,
    ConceptStatistics,
    ConfusionMatrix,
    ExchangeRatio,
    GateStatistics,
    Grouped,
    LinearCKA,
    LogisticStep,
    MinibatchCKA,
    MixtureStatistics,
    Moments,
    Quantiles,
    RowSample,
    SaliencyMeasures,
    UnitDissection,
)

N, C, K, H, W = 24, 5, 3, 6, 7


def _batch(seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    drift = torch.linspace(-3, 40, N)[:, None, None, None]  # later images lie elsewhere: shifts and ranges must follow
    return {
        "a": torch.randn(N, C, H, W, generator=g) + drift,
        "b": torch.randn(N, C + 1, H, W, generator=g) * 3 + drift,
        "masks": torch.rand(N, K, H, W, generator=g) > 0.7,
        "valid": torch.rand(N, H, W, generator=g) > 0.1,
        "pred": torch.randint(0, K, (N, H, W), generator=g),
        "label": torch.randint(0, K, (N, H, W), generator=g),
        "train": torch.rand(N, generator=g) > 0.5,
        "group": torch.randint(0, 4, (N,), generator=g),
        "gate": torch.rand(N, C, H, W, generator=g),
        "key": torch.arange(N) * 7,
    }


Case = tuple[Callable[[], Accumulator], Callable[[Any, dict[str, Tensor]], None]]

CLOSE = {"rtol": 1e-12, "atol": 1e-12, "equal_nan": True}
"""Numbers computed twice from the same sums in float64."""

CASES: dict[str, Case] = {
    "confusion": (lambda: ConfusionMatrix(K), lambda m, d: m.update(d["pred"], d["label"])),
    "saliency": (lambda: SaliencyMeasures(), lambda m, d: m.update(d["gate"][:, 0], d["masks"][:, 0])),
    "cka_gap": (lambda: LinearCKA("gap"), lambda m, d: m.update(d["a"], d["b"])),
    "cka_pix": (lambda: LinearCKA("pix"), lambda m, d: m.update(d["a"], d["b"])),
    "moments": (lambda: Moments(("a", "b", "c")), lambda m, d: m.update(d["a"], d["b"], d["b"][:, :2])),
    "minibatch": (lambda: MinibatchCKA(2), lambda m, d: m.update(d["a"], d["b"])),
    "minibatch_rbf": (lambda: MinibatchCKA(2, kernel="rbf"), lambda m, d: m.update(d["a"], d["b"])),
    "minibatch_null": (lambda: MinibatchCKA(2, permutations=3), lambda m, d: m.update(d["a"], d["b"])),
    "rows": (lambda: RowSample(2, limit=4), lambda m, d: m.update(d["key"], d["a"], d["b"])),
    "quantiles": (lambda: Quantiles(C, tau=0.1, bins=64), lambda m, d: m.update(d["a"])),
    "health": (lambda: ChannelHealth(C, low=0, high=1), lambda m, d: m.update(d["a"])),
    "gate": (lambda: GateStatistics(C), lambda m, d: m.update(d["gate"])),
    "mixture": (lambda: MixtureStatistics(2), lambda m, d: m.update(d["gate"], 1 - d["gate"])),
    "exchange": (
        lambda: ExchangeRatio(C, below=0.4),
        lambda m, d: m.update(d["gate"].detach(), d["gate"].detach().flip(1)),
    ),
    "statistics": (lambda: ConceptStatistics(C, K), lambda m, d: m.update(d["a"], d["masks"], d["valid"])),
    "binary_statistics": (
        lambda: ConceptStatistics(C, K, torch.full((C,), 38.0)),
        lambda m, d: m.update(d["a"], d["masks"], d["valid"]),
    ),
    "logistic": (
        lambda: LogisticStep(C, K, torch.full((K, C + 1), 0.1)),
        lambda m, d: m.update(d["a"], d["masks"], d["valid"]),
    ),
    "curve": (
        lambda: ConceptCurve(K, groups=4),
        lambda m, d: m.update(d["a"][:, :K], d["masks"], d["valid"], train=d["train"], group=d["group"]),
    ),
    "units": (
        lambda: UnitDissection(C, K, torch.full((C,), 20.0), groups=4),
        lambda m, d: m.update(d["a"], d["masks"], d["valid"], group=d["group"]),
    ),
    "agreement": (
        lambda: ConceptAgreement(2, K),
        lambda m, d: m.update(d["b"][:, :K], d["b"][:, 1 : K + 1], valid=d["valid"]),
    ),
}

BATCHWISE = {"minibatch", "minibatch_null", "minibatch_rbf"}
"""Their value depends on how samples are batched, so the same batches are compared."""


def _feed(case: str, *parts: slice) -> Accumulator:
    make, update = CASES[case]
    metric, data = make(), _batch()
    for part in parts:
        update(metric, {name: value[part] for name, value in data.items()})
    return metric


def _numbers(metric: Accumulator) -> Tensor:
    """All that `compute`, `solve` or `newton` gives, as one vector."""
    if isinstance(metric, LogisticStep):
        return torch.cat([metric.newton().flatten(), metric.losses()])
    result = metric.solve() if isinstance(metric, ConceptStatistics) else metric.compute()  # type: ignore[attr-defined]
    if isinstance(result, Tensor):
        return result.double().flatten()
    named = result if isinstance(result, dict) else vars(result)
    values = [v for v in named.values() if v is not None and not isinstance(v, str | tuple)]
    return torch.cat([torch.as_tensor(v).double().flatten() for v in values])


def test_every_accumulator_is_tested_here() -> None:
    public = {v for v in vars(metrics).values() if isinstance(v, type) and issubclass(v, Accumulator)}
    assert {type(make()) for make, _ in CASES.values()} == public - {Accumulator}


@pytest.mark.parametrize("case", CASES)
def test_batches_and_shards_merge_to_the_one_pass_value(case: str) -> None:
    cuts = [slice(0, 5), slice(5, 12), slice(12, 18), slice(18, 24)]
    whole = _numbers(_feed(case, *(cuts if case in BATCHWISE else [slice(None)])))
    batches = _feed(case, *cuts)
    shards = _feed(case, cuts[0], cuts[2]).merge(_feed(case, cuts[3], cuts[1]))
    backwards = _feed(case, cuts[3]).merge(_feed(case, cuts[2], cuts[1])).merge(_feed(case, cuts[0]))
    nested = _feed(case).merge(_feed(case, cuts[1]).merge(_feed(case, cuts[0])))
    nested.merge(_feed(case, cuts[2]).merge(_feed(case).merge(_feed(case, cuts[3]))))
    for value in (batches, shards, backwards, nested):
        torch.testing.assert_close(_numbers(value), whole, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_errors_are_those_of_leaving_out_and_redrawing_groups_by_hand(case: str) -> None:
    cuts = [slice(0, 5), slice(5, 12), slice(12, 18), slice(18, 24)]
    make, update = CASES[case]
    grouped: Grouped[Accumulator] = Grouped(make, 4)
    for group, cut in enumerate(cuts):
        update(_Group(grouped, group), {name: value[cut] for name, value in _batch().items()})
    got = grouped.jackknife(_numbers)
    without = torch.stack([_numbers(_feed(case, *(c for j, c in enumerate(cuts) if j != i))) for i in range(4)])
    want = (3 / 4 * (without - without.mean(0)).square().sum(0)).sqrt()
    torch.testing.assert_close(got.value, _numbers(_feed(case, *cuts)), rtol=1e-9, atol=1e-9, equal_nan=True)
    torch.testing.assert_close(got.se, want, rtol=1e-6, atol=1e-7, equal_nan=True)
    drawn = grouped.bootstrap(_numbers, times=6, seed=2)
    draws = torch.randint(4, (6, 4), generator=torch.Generator().manual_seed(2)).tolist()
    again = torch.stack([_numbers(_feed(case, *(cuts[i] for i in draw))) for draw in draws])
    torch.testing.assert_close(drawn.se, again.std(0), rtol=1e-6, atol=1e-7, equal_nan=True)
    torch.testing.assert_close(drawn.low, again.nanquantile(0.025, dim=0), rtol=1e-6, atol=1e-7, equal_nan=True)
    assert got.groups == drawn.groups == 4


class _Group:
    """`update` of one group of a `Grouped`; the accumulators' own groups pass through it."""

    def __init__(self, grouped: Grouped[Accumulator], group: int) -> None:
        self.grouped, self.group = grouped, group

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.grouped.parts[self.group].update(*args, **kwargs)  # type: ignore[attr-defined]
        self.grouped._used[self.group] = True


@pytest.mark.parametrize("case", CASES)
def test_an_empty_batch_adds_nothing(case: str) -> None:
    want, metric = _numbers(_feed(case, slice(None))), _feed(case, slice(0, 0), slice(None), slice(0, 0))
    torch.testing.assert_close(_numbers(metric), want, **CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_merging_with_nothing_changes_nothing(case: str) -> None:
    full, empty = _feed(case, slice(None)), _feed(case)
    want = _numbers(full)
    torch.testing.assert_close(_numbers(empty.merge(full)), want, **CLOSE)
    torch.testing.assert_close(_numbers(full.merge(_feed(case))), want, **CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_a_stored_state_goes_on_as_if_unbroken(case: str) -> None:
    unbroken = _feed(case, slice(0, 10), slice(10, None))
    half = _feed(case, slice(0, 10))
    resumed = CASES[case][0]()
    resumed.load_state_dict(half.state_dict())
    CASES[case][1](resumed, {name: value[10:] for name, value in _batch().items()})
    torch.testing.assert_close(_numbers(resumed), _numbers(unbroken), **CLOSE)
    broken = half.state_dict()
    broken["stranger"] = torch.zeros(())
    with pytest.raises(InputError, match="needs"):
        resumed.load_state_dict(broken)


@pytest.mark.parametrize("case", CASES)
def test_states_are_fixed_in_size_exact_in_type_and_separate(case: str) -> None:
    once, often = _feed(case, slice(None)), _feed(case, *[slice(None)] * 5)
    assert once.nbytes() == often.nbytes() > 0
    assert {value.dtype for value in once.state_dict().values()} <= {torch.float64, torch.int64}
    copy = once.state_dict()
    CASES[case][1](once, _batch())
    assert any(not torch.equal(copy[name], value) for name, value in once.state_dict().items())


@pytest.mark.parametrize("case", CASES)
def test_works_under_autocast_inference_mode_and_with_gradients(case: str) -> None:
    want = _numbers(_feed(case, slice(None), slice(None)))
    make, update = CASES[case]
    metric, data = make(), _batch()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        update(metric, {name: value.clone() for name, value in data.items()})
    data = {name: value.clone().requires_grad_(value.is_floating_point()) for name, value in data.items()}
    update(metric, data)
    torch.testing.assert_close(_numbers(metric), want, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert not any(value.requires_grad for value in metric.state_dict().values())


def test_strangers_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="cannot merge Quantiles into ConfusionMatrix"):
        ConfusionMatrix(3).merge(Quantiles(3))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="num_classes is 3 here and 4 there"):
        ConfusionMatrix(3).merge(ConfusionMatrix(4))
    with pytest.raises(InputError, match="view is 'gap' here and 'pix' there"):
        LinearCKA("gap").merge(LinearCKA("pix"))
    wide, narrow = LinearCKA(), LinearCKA()
    wide.update(torch.randn(4, 3), torch.randn(4, 3))
    narrow.update(torch.randn(4, 3), torch.randn(4, 2))
    with pytest.raises(InputError, match="channels are"):
        wide.merge(narrow)
    state = ConfusionMatrix(3).state_dict()
    with pytest.raises(InputError, match="needed torch.int64"):
        ConfusionMatrix(4).load_state_dict(state)
