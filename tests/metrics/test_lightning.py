"""Accumulators as torchmetrics metrics, by torchmetrics' own rules: sync, merge, forward, reset, pickle."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

torchmetrics = pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")

from fusionzoo import metrics  # noqa: E402
from fusionzoo.errors import InputError, UnknownNameError  # noqa: E402
from fusionzoo.metrics import Accumulator, ConfusionMatrix, LinearCKA, Moments, lightning  # noqa: E402
from fusionzoo.metrics.lightning import StreamingMetric, is_additive, pack, unpack  # noqa: E402
from tests.metrics.test_accumulators import BATCHWISE, CASES, _batch, _feed, _numbers  # noqa: E402

CUTS = [slice(0, 5), slice(5, 12), slice(12, 18), slice(18, 24)]


def _metric(case: str, *parts: slice) -> Any:
    make, update = CASES[case]
    metric = StreamingMetric(make(), value=_numbers)
    for part in parts:
        update(metric, {name: value[part] for name, value in _batch().items()})
    return metric


def _sync(metric: Any, others: list[Any]) -> None:
    """torchmetrics' sync with the other processes' states handed over in place of a gather."""
    order = iter(list(metric._defaults))

    def gather(value: Tensor, group: Any = None) -> list[Tensor]:
        name = next(order)
        assert value is getattr(metric, name)
        return [value, *(getattr(other, name) for other in others)]

    metric.sync(dist_sync_fn=gather, distributed_available=lambda: True)


@pytest.mark.parametrize("case", CASES)
def test_processes_sync_to_the_value_of_one(case: str) -> None:
    want = _numbers(_feed(case, *CUTS))
    one, two, idle = _metric(case, CUTS[0], CUTS[1]), _metric(case, CUTS[2], CUTS[3]), _metric(case)
    alone = one.compute()
    torch.testing.assert_close(alone, _numbers(_feed(case, CUTS[0], CUTS[1])), rtol=1e-12, atol=1e-12, equal_nan=True)
    _sync(one, [two, idle])
    torch.testing.assert_close(_numbers(one.accumulator), want, rtol=1e-9, atol=1e-9, equal_nan=True)
    one.unsync()
    one._computed = None
    torch.testing.assert_close(one.compute(), alone, rtol=1e-12, atol=1e-12, equal_nan=True)
    _sync(idle, [one, two])  # a process that saw nothing
    torch.testing.assert_close(_numbers(idle.accumulator), want, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_sums_are_reduced_by_sum(case: str) -> None:
    metric = _metric(case)
    if is_additive(CASES[case][0]()):
        assert set(metric._reductions.values()) == {torchmetrics.utilities.dim_zero_sum}
        assert set(metric._defaults) == set(CASES[case][0]().state_dict())
    else:
        assert list(metric._defaults) == ["packed"]
    assert all(isinstance(state, Tensor) for state in metric.metric_state.values())  # no list states


@pytest.mark.parametrize("case", CASES)
def test_forward_gives_the_batch_and_accumulates(case: str) -> None:
    make, update = CASES[case]
    metric, values = StreamingMetric(make(), value=_numbers), []

    class Forward:
        def update(self, *args: Any, **kwargs: Any) -> None:
            values.append(metric(*args, **kwargs))

    for part in CUTS:
        update(Forward(), {name: value[part] for name, value in _batch().items()})
    for value, part in zip(values, CUTS, strict=True):
        torch.testing.assert_close(value, _numbers(_feed(case, part)), rtol=1e-9, atol=1e-9, equal_nan=True)
    torch.testing.assert_close(metric.compute(), _numbers(_feed(case, *CUTS)), rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_merge_reset_clone_pickle_and_state_dict(case: str) -> None:
    want = _numbers(_feed(case, *CUTS))
    close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)  # noqa: E731
    one, two = _metric(case, CUTS[0], CUTS[1]), _metric(case, CUTS[2], CUTS[3])
    one.merge_state(two)
    close(one.compute(), want)
    close(pickle.loads(pickle.dumps(one)).compute(), want)  # noqa: S301
    copy = one.clone()
    one.reset()
    close(copy.compute(), want)
    CASES[case][1](one, _batch())
    close(one.compute(), _numbers(_feed(case, slice(None))))
    copy.persistent(True)
    fresh = _metric(case)
    fresh.persistent(True)
    fresh.load_state_dict(copy.state_dict())
    close(_numbers(fresh.accumulator), want)
    assert {v.dtype for v in copy.half().metric_state.values()} <= {torch.float64, torch.int64}
    assert {v.dtype for v in copy.set_dtype(torch.float16).metric_state.values()} <= {torch.float64, torch.int64}


@pytest.mark.parametrize("case", ["confusion", "moments", "health"])
def test_within_inference_mode_as_validation_runs(case: str) -> None:
    metric = _metric(case)
    with torch.inference_mode():
        for _ in range(2):
            metric.reset()
            for part in CUTS:
                CASES[case][1](metric, {name: value[part] for name, value in _batch().items()})
            value = metric.compute()
    torch.testing.assert_close(value, _numbers(_feed(case, *CUTS)), rtol=1e-9, atol=1e-9, equal_nan=True)
    assert BATCHWISE <= set(CASES)


def test_equals_torchmetrics_own_mean_iou_and_accuracy() -> None:
    data = _batch()
    ours = lightning.ConfusionMatrixMetric(3, value=lambda m: m.compute().iou)
    theirs = torchmetrics.JaccardIndex(task="multiclass", num_classes=3, average="none")
    accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=3, average="micro")
    pixel = StreamingMetric(ConfusionMatrix(3), value="pixel_accuracy")
    for part in CUTS:
        for metric in (ours, theirs, accuracy, pixel):
            metric.update(data["pred"][part], data["label"][part])
    torch.testing.assert_close(ours.compute().float(), theirs.compute())
    assert float(pixel.compute()) == pytest.approx(float(accuracy.compute()))


def test_values_are_tensors_and_fields() -> None:
    data = _batch()
    whole = StreamingMetric(ConfusionMatrix(3))
    whole.update(data["pred"], data["label"])
    result = whole.compute()
    assert set(result) == set(vars(ConfusionMatrix(3).compute()))
    assert all(isinstance(v, Tensor) for v in result.values()) and result["iou"].shape == (3,)
    assert StreamingMetric(ConfusionMatrix(3)).higher_is_better is True
    assert StreamingMetric(Moments(2)).higher_is_better is None
    wrong = StreamingMetric(ConfusionMatrix(3), value="mioo")
    wrong.update(data["pred"], data["label"])
    with pytest.raises(UnknownNameError, match="did you mean 'miou'"):
        wrong.compute()


def test_in_a_collection_that_shares_states() -> None:
    data = _batch()
    group = torchmetrics.MetricCollection(
        {
            "miou": StreamingMetric(ConfusionMatrix(3), value="miou"),
            "accuracy": StreamingMetric(ConfusionMatrix(3), value="pixel_accuracy"),
        },
        compute_groups=True,
    )
    for part in CUTS:
        group.update(data["pred"][part], data["label"][part])
    want = ConfusionMatrix(3)
    want.update(data["pred"], data["label"])
    assert len(group.compute_groups) == 1
    assert float(group.compute()["miou"]) == pytest.approx(want.compute().miou)
    assert float(group.compute()["accuracy"]) == pytest.approx(want.compute().pixel_accuracy)


def test_every_accumulator_has_a_class_of_its_own() -> None:
    for name, kind in vars(metrics).items():
        if isinstance(kind, type) and issubclass(kind, Accumulator) and kind is not Accumulator:
            made = getattr(lightning, f"{name}Metric")
            assert issubclass(made, torchmetrics.Metric) and made is getattr(lightning, f"{name}Metric")
    metric = lightning.LinearCKAMetric("pix", value="unbiased", sync_on_compute=False)
    assert metric.empty.view == "pix" and metric.sync_on_compute is False
    assert isinstance(pickle.loads(pickle.dumps(metric)), lightning.LinearCKAMetric)  # noqa: S301
    with pytest.raises(AttributeError):
        _ = lightning.SomethingMetric


def test_packing_is_exact() -> None:
    g = torch.Generator().manual_seed(0)
    state = {
        "empty": torch.zeros(0, 3).double(),
        "big": torch.tensor([2**62 + 1, -(2**61) - 3]),
        "odd": torch.tensor([float("nan"), float("-inf"), 1e-300, 0.1]).double(),
        "scalar": torch.tensor(7),
        "matrix": torch.randn(3, 4, generator=g).double().T,
    }
    back = unpack(pack(state))
    assert set(back) == set(state)
    for name, value in state.items():
        assert back[name].dtype == value.dtype and back[name].shape == value.shape
        assert torch.equal(back[name].contiguous().view(torch.int64), value.contiguous().view(torch.int64))
    with pytest.raises(InputError, match="can be packed"):
        pack({"half": torch.zeros(2).half()})


def test_wrong_use() -> None:
    used = LinearCKA()
    used.update(torch.randn(5, 2), torch.randn(5, 3))
    with pytest.raises(InputError, match="has seen data already"):
        StreamingMetric(used)
    with pytest.raises(InputError, match="expected an accumulator"):
        StreamingMetric(torch.nn.Identity())


def test_without_torchmetrics_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(InputError, match=r"not installed; run: pip install 'fusionzoo\[lightning\]'"):
        lightning._streaming.__wrapped__()


WORKER = """
import sys, torch, torch.distributed as dist
from fusionzoo.metrics.lightning import StreamingMetric
from tests.metrics.test_accumulators import CASES, _batch, _feed, _numbers
dist.init_process_group("gloo")
rank, cuts = dist.get_rank(), [slice(0, 5), slice(5, 12), slice(12, 18), slice(18, 24)]
mine = cuts[:3] if rank == 0 else cuts[3:]
for case, (make, update) in CASES.items():
    metric = StreamingMetric(make(), value=_numbers)
    for part in mine:
        update(metric, {name: value[part] for name, value in _batch().items()})
    want = _numbers(_feed(case, *cuts))
    torch.testing.assert_close(metric.compute(), want, rtol=1e-9, atol=1e-9, equal_nan=True)
dist.barrier()
dist.destroy_process_group()
print("rank", rank, "done", len(CASES))
"""


@pytest.mark.slow
def test_two_processes_on_gloo(tmp_path: Any) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count(f"done {len(CASES)}") == 2


def _environment() -> dict[str, str]:
    import os
    from pathlib import Path

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
