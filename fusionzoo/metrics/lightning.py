"""Accumulators as `torchmetrics.Metric`, for people who train with Lightning or torchmetrics.

    from fusionzoo.metrics import ConfusionMatrix
    from fusionzoo.metrics.lightning import StreamingMetric

    self.miou = StreamingMetric(ConfusionMatrix(40), value="miou")     # in __init__ of the LightningModule
    self.miou.update(logits.argmax(1), label)                          # in validation_step
    self.log("miou", self.miou)

`ConfusionMatrixMetric(40, value="miou")` is the same: every accumulator of `fusionzoo.metrics` has such a class here.
They are made on first use; torchmetrics is needed only then.

Accumulators that are plain sums keep one torchmetrics state for each of theirs, reduced by "sum". The others keep one
state that holds all of theirs and is merged by their own `merge`, in the order of the processes. States stay float64
and int64 whatever the precision of the module; no state is a list.

A distributed sampler that pads counts some images twice. For numbers that equal a single process's, give Lightning a
sampler that does not pad (`use_distributed_sampler=False` with your own), as for any metric.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from fusionzoo import metrics
from fusionzoo.errors import InputError, unknown
from fusionzoo.metrics.base import Accumulator

if TYPE_CHECKING:
    StreamingMetric: type[Any]

__all__ = ["StreamingMetric", "is_additive", "pack", "unpack"]

OPTIONS = (
    "compute_on_cpu",
    "compute_with_cache",
    "dist_sync_fn",
    "dist_sync_on_step",
    "distributed_available_fn",
    "process_group",
    "sync_on_compute",
)
"""Arguments of torchmetrics.Metric, told apart from the accumulator's."""


def is_additive(accumulator: Accumulator) -> bool:
    """Whether its states are sums of one fixed shape, so that adding two states is merging.

    >>> is_additive(metrics.ConfusionMatrix(3)), is_additive(metrics.LinearCKA())
    (True, False)
    """
    kind = type(accumulator)
    return kind._merge is Accumulator._merge and kind._check_state is Accumulator._check_state


def pack(state: dict[str, Tensor]) -> Tensor:
    """States of 64-bit numbers as one int64 vector, bit for bit: the words of their safetensors file."""
    for name, value in state.items():
        if value.dtype not in (torch.int64, torch.float64):
            raise InputError(f"state {name!r} is {value.dtype}; int64 and float64 can be packed")
    device = next(iter(state.values())).device
    file = save({name: value.detach().cpu().contiguous() for name, value in state.items()})
    return torch.frombuffer(bytearray(file), dtype=torch.int64).to(device)


def unpack(packed: Tensor) -> dict[str, Tensor]:
    """The states back from `pack`, as copies.

    >>> state = {"n": torch.tensor(3), "gram": torch.eye(2, dtype=torch.float64)}
    >>> unpack(pack(state))["gram"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    state = load(packed.cpu().numpy().tobytes())
    return {name: value.to(packed.device) for name, value in state.items()}


def _has_seen(accumulator: Accumulator) -> bool:
    state = accumulator._state
    if is_additive(accumulator):
        return any(bool(value.ne(0).any()) for value in state.values())
    return any(int(state[name]) > 0 for name in ("n", "seen", "skipped") if name in state)


def _result(accumulator: Accumulator, value: str | Callable[[Any], Any] | None) -> Any:
    result = value(accumulator) if callable(value) else accumulator.compute()  # type: ignore[attr-defined]
    if isinstance(value, str):
        if not hasattr(result, value):
            raise unknown(f"value of {type(accumulator).__name__}", value, vars(result))
        result = getattr(result, value)
    return _tensors(result)


def _tensors(result: Any) -> Any:
    """Numbers as tensors; a result with fields as a dict of those that are numbers or tensors."""
    if isinstance(result, Tensor):
        return result
    if isinstance(result, int | float):
        return torch.tensor(result, dtype=torch.float64)
    named = result if isinstance(result, dict) else vars(result)
    return {k: _tensors(v) for k, v in named.items() if isinstance(v, Tensor | int | float)}


@functools.cache
def _streaming() -> type[Any]:
    try:
        import torchmetrics
    except ImportError as error:
        raise InputError("torchmetrics is not installed; run: pip install 'fusionzoo[lightning]'") from error

    class StreamingMetric(torchmetrics.Metric):
        """An accumulator as a torchmetrics metric.

        Args:
            accumulator: a new one, with the choices wanted.
            value: field of its result to return from `compute`, or a function of the accumulator (for
                `ConceptStatistics`, that has no `compute`: `lambda s: s.solve().r2`); a dict of all fields that are
                numbers or tensors when None.
            options: of torchmetrics.Metric, `sync_on_compute` and so on.
        """

        is_differentiable = False
        full_state_update = False

        def __init__(
            self, accumulator: Accumulator, value: str | Callable[[Any], Any] | None = None, **options: Any
        ) -> None:
            super().__init__(**options)
            if not isinstance(accumulator, Accumulator):
                raise InputError(f"expected an accumulator of fusionzoo.metrics, got {type(accumulator).__name__}")
            if _has_seen(accumulator):
                raise InputError(f"this {type(accumulator).__name__} has seen data already; give a new one")
            self.empty = copy.deepcopy(accumulator)
            self.value = value
            self.additive = is_additive(accumulator)
            if self.additive:
                for name, state in self.empty._state.items():
                    self.add_state(name, state.clone(), dist_reduce_fx="sum")
            else:
                self.add_state("packed", pack(self.empty._state), dist_reduce_fx=None)

        @property
        def higher_is_better(self) -> bool | None:  # type: ignore[override]
            return {"more different": False, "": None}.get(self.empty.info.larger_is, True)

        @property
        def accumulator(self) -> Any:
            """The accumulator with everything seen so far (by this process, unless the metric is synced)."""
            return self._holding({name: getattr(self, name) for name in self._defaults})

        def _holding(self, states: dict[str, Any]) -> Accumulator:
            made = copy.copy(self.empty)
            with torch.inference_mode(False):  # a reset within inference mode leaves tensors that cannot be added to
                own = {name: v.clone() if v.is_inference() else v for name, v in states.items()}
                made._state = own if self.additive else unpack(own["packed"])
            return made

        def _keep(self, accumulator: Accumulator) -> None:
            held = accumulator._state if self.additive else {"packed": pack(accumulator._state)}
            for name, state in held.items():
                setattr(self, name, state)

        def update(self, *args: Any, **kwargs: Any) -> None:
            """Adds a batch, as the accumulator's own `update`."""
            accumulator = self.accumulator
            accumulator.update(*args, **kwargs)
            with torch.inference_mode(False):
                self._keep(accumulator)

        def compute(self) -> Any:
            """The value, of all processes together."""
            return _result(self.accumulator, self.value)

        def _merged(self, states: list[dict[str, Any]]) -> Accumulator:
            whole = self._holding(states[0])
            for state in states[1:]:
                whole.merge(self._holding(state))
            return whole

        def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
            if self.additive:
                super()._reduce_states(incoming_state)
            else:
                self._keep(self._merged([incoming_state, {"packed": self.packed}]))

        def _sync_dist(self, dist_sync_fn: Any = None, process_group: Any = None) -> None:
            from torchmetrics.utilities.distributed import gather_all_tensors

            gather = dist_sync_fn or gather_all_tensors
            if self.additive:
                super()._sync_dist(gather, process_group)
            else:  # vectors of the processes may differ in length
                mine: Any = self.metric_state["packed"]
                parts = gather(mine, group=process_group or self.process_group)
                self._keep(self._merged([{"packed": part} for part in parts]))

        def set_dtype(self, dst_type: Any) -> Any:
            """Nothing: sums stay exact in float64 and int64."""
            return self

    StreamingMetric.__module__, StreamingMetric.__qualname__ = __name__, "StreamingMetric"  # for pickle
    return StreamingMetric


@functools.cache
def _named(name: str) -> type[Any]:
    kind: type[Any] = getattr(metrics, name.removesuffix("Metric"))

    class Named(_streaming()):  # type: ignore[misc]
        def __init__(self, *args: Any, value: str | Callable[[Any], Any] | None = None, **choices: Any) -> None:
            options = {key: choices.pop(key) for key in OPTIONS if key in choices}
            super().__init__(kind(*args, **choices), value, **options)

    Named.__module__, Named.__qualname__, Named.__name__ = __name__, name, name
    Named.__doc__ = (
        f"`{kind.__name__}` as a torchmetrics metric; its arguments, then `value` and options of `StreamingMetric`."
    )
    return Named


def __getattr__(name: str) -> Any:
    if name == "StreamingMetric":
        return _streaming()
    if name.endswith("Metric") and not name.startswith("_"):
        kind = getattr(metrics, name.removesuffix("Metric"), None)
        if isinstance(kind, type) and issubclass(kind, Accumulator) and kind is not Accumulator:
            return _named(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
