"""What every accumulator must do: merge to the one-pass value, store and resume, refuse strangers, keep its size."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fusionzoo import metrics
from fusionzoo.errors import InputError
from fusionzoo.metrics import (
    Accumulator,
    ChannelHealth,
    ConceptCurve,
    ConceptStatistics,
    ConfusionMatrix,
    LinearCKA,
    MetricInfo,
    MinibatchCKA,
    Moments,
    Quantiles,
    RowSample,
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
    }


Case = tuple[Callable[[], Accumulator], Callable[[Any, dict[str, Tensor]], None]]

CASES: dict[str, Case] = {
    "confusion": (lambda: ConfusionMatrix(K), lambda m, d: m.update(d["pred"], d["label"])),
    "cka_gap": (lambda: LinearCKA("gap"), lambda m, d: m.update(d["a"], d["b"])),
    "cka_pix": (lambda: LinearCKA("pix"), lambda m, d: m.update(d["a"], d["b"])),
    "quantiles": (lambda: Quantiles(C, tau=0.1, bins=64), lambda m, d: m.update(d["a"])),
    "health": (lambda: ChannelHealth(C, low=0, high=1), lambda m, d: m.update(d["a"])),
    "statistics": (lambda: ConceptStatistics(C, K), lambda m, d: m.update(d["a"], d["masks"], d["valid"])),
    "binary_statistics": (
        lambda: ConceptStatistics(C, K, torch.full((C,), 38.0)),
        lambda m, d: m.update(d["a"], d["masks"], d["valid"]),
    ),
    "curve": (
        lambda: ConceptCurve(K, groups=4),
        lambda m, d: m.update(d["a"][:, :K], d["masks"], d["valid"], train=d["train"], group=d["group"]),
    ),
}


def _feed(case: str, *parts: slice) -> Accumulator:
    make, update = CASES[case]
    metric, data = make(), _batch()
    for part in parts:
        update(metric, {name: value[part] for name, value in data.items()})
    return metric


def _numbers(metric: Accumulator) -> Tensor:
    """All that `compute` or `solve` gives, as one vector."""
    result = metric.solve() if isinstance(metric, ConceptStatistics) else metric.compute()  # type: ignore[attr-defined]
    if isinstance(result, Tensor):
        return result.double().flatten()
    values = [v for v in vars(result).values() if v is not None and not isinstance(v, str | tuple)]
    return torch.cat([torch.as_tensor(v).double().flatten() for v in values])


@pytest.mark.parametrize("case", CASES)
def test_batches_and_shards_merge_to_the_one_pass_value(case: str) -> None:
    whole = _numbers(_feed(case, slice(None)))
    batches = _feed(case, slice(0, 5), slice(5, 6), slice(6, 20), slice(20, None))
    shards = _feed(case, slice(0, 7)).merge(_feed(case, slice(7, 13), slice(13, None)))
    backwards = _feed(case, slice(13, None)).merge(_feed(case, slice(7, 13))).merge(_feed(case, slice(0, 7)))
    for value in (batches, shards, backwards):
        torch.testing.assert_close(_numbers(value), whole, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_an_empty_batch_adds_nothing(case: str) -> None:
    want, metric = _numbers(_feed(case, slice(None))), _feed(case, slice(0, 0), slice(None), slice(0, 0))
    torch.testing.assert_close(_numbers(metric), want, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_merging_with_nothing_changes_nothing(case: str) -> None:
    full, empty = _feed(case, slice(None)), _feed(case)
    want = _numbers(full)
    torch.testing.assert_close(_numbers(empty.merge(full)), want, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(_numbers(full.merge(_feed(case))), want, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_a_stored_state_goes_on_as_if_unbroken(case: str) -> None:
    unbroken = _feed(case, slice(0, 10), slice(10, None))
    half = _feed(case, slice(0, 10))
    resumed = CASES[case][0]()
    resumed.load_state_dict(half.state_dict())
    CASES[case][1](resumed, {name: value[10:] for name, value in _batch().items()})
    torch.testing.assert_close(_numbers(resumed), _numbers(unbroken), rtol=0, atol=0, equal_nan=True)
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


def test_every_metric_describes_itself() -> None:
    infos = [type(make()).info for make, _ in CASES.values()]
    infos += [kind.info for kind in (Moments, MinibatchCKA, RowSample)]
    for path in sorted(Path(metrics.__file__).parent.glob("*.py")):
        module = importlib.import_module(f"fusionzoo.metrics.{path.stem}") if path.stem != "__init__" else None
        given = getattr(module, "INFO", {})
        infos += list(given.values()) if isinstance(given, dict) else [given]
    assert len(infos) > 20 and len({info.name for info in infos}) > 15
    for info in infos:
        assert isinstance(info, MetricInfo) and info.name and info.cost and info.source
        assert info.low is None or info.high is None or info.low < info.high
