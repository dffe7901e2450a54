"""Probe: a named identity module at every tensor worth looking at (the design of DESIGN.md section 3).

The idea of an identity module that listeners attach to is TransformerLens' HookPoint; here a plain attribute carries
the listener, so that torch.compile guards on it: attached before or after the first compiled call, it fires.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from fusionzoo.errors import InputError, unknown

__all__ = ["Probe", "assert_untapped", "bare", "probe_points", "select"]


class Probe(nn.Module):
    """Passes its input through; calls `tap` with it when one is attached. Adds no state-dict keys.

    Attach with `fusionzoo.probe`, `listen` or `intervene`, not by hand: they compose and clean up. A copy
    (`copy.deepcopy`, pickle) starts with nothing attached, so that it never writes into the original's listeners.

    Args:
        channels: channels of the tensor that passes (dim 1), None where it is not fixed.
        role: one short word for what passes: "input", "output", "fused", "gate", "attention", "consistent", ...
        modality: "rgb", "x", "fused", or "" where neither fits.
        meaning: one sentence.
        low, high: closed range of the values, None where unbounded.
        sums_to_one: the dimension along which values sum to 1, None where they need not.
        replaced_below: of the mask of an exchange between streams: where it is lower, the stream takes the other's
            value. None for all others, and for masks with role "exchange", which are 1 there and else 0.
        axes: one word a dimension: B samples, C `channels`, H and W the map's sides, HW their product, a number for a
            fixed size, any other word (`heads`) for a size that the layer decides.
    """

    tap: Callable[[Tensor], Tensor] | None = None

    def __init__(
        self,
        channels: int | None = None,
        *,
        role: str = "",
        modality: str = "",
        meaning: str = "",
        low: float | None = None,
        high: float | None = None,
        sums_to_one: int | None = None,
        replaced_below: float | None = None,
        axes: str = "B C H W",
    ) -> None:
        super().__init__()
        self.channels = channels
        self.role = role
        self.modality = modality
        self.meaning = meaning
        self.low = low
        self.high = high
        self.sums_to_one = sums_to_one
        self.replaced_below = replaced_below
        self.axes = axes

    def forward(self, value: Tensor) -> Tensor:
        return value if self.tap is None else self.tap(value)

    def extra_repr(self) -> str:
        return ", ".join(str(p) for p in (self.modality, self.role, self.channels) if p)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "tap"}


def probe_points(model: nn.Module) -> dict[str, Probe]:
    """All probes of `model` by dotted name, in the order of `named_modules`.

    What `torch.compile(model)` and DistributedDataParallel wrap is looked at itself, so names do not change.

    >>> list(probe_points(nn.Sequential(nn.ReLU(), Probe())))
    ['1']
    """
    return {name: module for name, module in bare(model).named_modules() if isinstance(module, Probe)}


WRAPPERS = (nn.parallel.DistributedDataParallel, nn.DataParallel, AveragedModel)


def bare(model: nn.Module) -> nn.Module:
    """What `torch.compile(model)`, DistributedDataParallel, DataParallel or AveragedModel (its averaged weights) wraps;
    any other model itself."""
    inner: nn.Module = getattr(model, "_orig_mod", model)
    return inner.module if isinstance(inner, WRAPPERS) else inner


def select(model: nn.Module, patterns: Sequence[str] = ("*",)) -> dict[str, Probe]:
    """The probes of `model` whose name matches any of the fnmatch `patterns` (`*` also matches dots), in model order.

    Raises:
        InputError: `model` has no probes.
        UnknownNameError: a pattern matches none; the text names the closest probes.
    """
    points = probe_points(model)
    if not points:
        raise InputError(f"{type(model).__name__} has no probes; take a model of fusionzoo.create_model, or add Probes")
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise InputError(f"a probe's name or pattern is a text, not {pattern!r}; give several one by one")
        if not any(fnmatch.fnmatchcase(name, pattern) for name in points):
            raise unknown("probe", pattern, points, "model.probe_points()")
    return {n: p for n, p in points.items() if any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns)}


def assert_untapped(model: nn.Module) -> None:
    """Raises InputError when something is attached to a probe of `model`; call it before export or tracing.

    An export with a tap attached would bake the tap into the graph, or hand fake tensors to whoever listens.

    >>> assert_untapped(nn.Sequential(Probe()))
    """
    tapped = [name for name, point in probe_points(model).items() if point.tap is not None]
    if tapped:
        raise InputError(
            f"{len(tapped)} probes have something attached ({', '.join(tapped[:3] + ['...'] * (len(tapped) > 3))});"
            " leave the probe(), listen() or intervene() context before exporting"
        )
