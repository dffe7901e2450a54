"""Probe: a named identity module at every tensor worth looking at (the design of DESIGN.md section 3).

The idea of an identity module that listeners attach to is TransformerLens' HookPoint; here a plain attribute carries the
listener, so that torch.compile guards on it: attached before or after the first compiled call, it fires.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["Probe", "probe_points"]


class Probe(nn.Module):
    """Passes its input through; calls `tap` with it when one is attached. No parameters, no buffers, no state-dict keys.

    Args:
        channels: channels of the tensor that passes (dim 1), None where it is not fixed.
        role: one short word for what passes: "input", "output", "fused", "gate", "attention", "consistent", ...
        modality: "rgb", "x", "fused", or "" where neither fits.
        meaning: one sentence.
        low, high: closed range of the values, None where unbounded.
        sums_to_one: the dimension along which values sum to 1, None where they need not.
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
    ) -> None:
        super().__init__()
        self.channels = channels
        self.role = role
        self.modality = modality
        self.meaning = meaning
        self.low = low
        self.high = high
        self.sums_to_one = sums_to_one

    def forward(self, value: Tensor) -> Tensor:
        return value if self.tap is None else self.tap(value)

    def extra_repr(self) -> str:
        return ", ".join(str(p) for p in (self.modality, self.role, self.channels) if p)


def probe_points(model: nn.Module) -> dict[str, Probe]:
    """All probes of `model` by dotted name, in the order of `named_modules`."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Probe)}
