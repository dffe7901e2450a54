"""Selective scan in plain PyTorch: the state-space recurrence of Mamba, on any device, without a compiled kernel.

Paper: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, arXiv 2312.00752.

    h_t = exp(D_t A) h_{t-1} + D_t B_t u_t,   y_t = C_t . h_t + D u_t        D_t > 0 the step, A < 0; states of size N

Time is cut into segments; only one segment's states exist at a time, and with gradients a segment is computed again on
the way back, so memory grows with T by the size of inputs and outputs alone, not of the states. Inside a segment the
recurrence runs 16 steps long for all spans of 16 at once, then over the spans' ends in the same way: about 16 log_16(T)
sequential operations and 3 passes of arithmetic, 1 for a single span. No division by decays, so long products cannot
overflow. Half precision is computed in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fusionzoo.errors import InputError

__all__ = ["linear_scan", "selective_scan"]

SPAN = 16
"""Steps that run one after the other before the spans are joined."""
LONGEST = 1024
"""Steps of a segment on a GPU."""
CACHED = 1 << 17
"""Numbers of a segment's states on a CPU."""


def _scan(decay: Tensor, drive: Tensor) -> Tensor:
    """h_t = decay_t h_{t-1} + drive_t with h_{-1} = 0, along dim 0; same shape as both."""
    length = decay.shape[0]
    if length <= SPAN:
        states = [drive[0]]
        for t in range(1, length):
            states.append(torch.addcmul(drive[t], decay[t], states[-1]))
        return torch.stack(states)
    missing = -length % SPAN
    if missing:  # steps that neither forget nor write
        decay = torch.cat([decay, decay.new_ones(missing, *decay.shape[1:])])
        drive = torch.cat([drive, drive.new_zeros(missing, *drive.shape[1:])])
    a = decay.unflatten(0, (-1, SPAN))  # (spans, SPAN, ...)
    b = drive.unflatten(0, (-1, SPAN))
    states, kept = [b[:, 0]], [a[:, 0]]
    for t in range(1, SPAN):
        states.append(torch.addcmul(b[:, t], a[:, t], states[-1]))
        kept.append(a[:, t] * kept[-1])
    ends = _scan(kept[-1], states[-1])  # the state at the end of each span
    before = torch.cat([torch.zeros_like(ends[:1]), ends[:-1]]).unsqueeze(1)
    joined = torch.addcmul(torch.stack(states, dim=1), torch.stack(kept, dim=1), before)
    return joined.flatten(0, 1)[:length]


class _LinearScan(torch.autograd.Function):
    """`linear_scan` with a gradient that is a scan in the other direction: only decays and states are kept."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor, start: Tensor) -> Tensor:
        first = torch.addcmul(drive[:1], decay[:1], start.unsqueeze(0))
        states = _scan(decay, torch.cat([first, drive[1:]]))
        ctx.save_for_backward(decay, states, start)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, states, start = ctx.saved_tensors
        # G_t = grad_t + decay_{t+1} G_{t+1}
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
        total = _scan(later.flip(0), grad.flip(0)).flip(0)
        before = torch.cat([start.unsqueeze(0), states[:-1]])
        return total * before, total, decay[0] * total[0]


def linear_scan(decay: Tensor, drive: Tensor, start: Tensor | None = None) -> Tensor:
    """h_t = decay_t h_{t-1} + drive_t along the first dimension.

    Args:
        decay, drive: (T, ...).
        start: h_{-1}, (...); zeros where None.

    >>> linear_scan(torch.full((3, 1), 0.5), torch.ones(3, 1)).flatten().tolist()
    [1.0, 1.5, 1.75]
    """
    if start is None:
        start = torch.zeros_like(drive[0])
    return _LinearScan.apply(decay, drive, start)


def _segment(u: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """One segment, time first: u, step (T, ..., D), a (..., D, N), b, c (T, ..., N), start (..., D, N).

    Returns y (T, ..., D) and the last state."""
    decay = torch.exp(step.unsqueeze(-1) * a)
    drive = (step * u).unsqueeze(-1) * b.unsqueeze(-2)
    states = linear_scan(decay, drive, start)  # (T, ..., D, N)
    return (states * c.unsqueeze(-2)).sum(-1), states[-1].clone()  # a view would keep all states alive


def segment_length(states: int, on_cpu: bool) -> int:
    """Steps of a segment where the caller names none, for a step of `states` numbers.

    A GPU wants few and large operations, and so does a compiled graph, which holds every segment: 1024. A CPU is two to
    four times faster while a segment stays in its cache: as many spans as make 2^17 numbers, at least one.

    >>> segment_length(4 * 192 * 16, on_cpu=True), segment_length(64, on_cpu=True), segment_length(64, on_cpu=False)
    (16, 1024, 1024)
    """
    if not on_cpu or torch.compiler.is_compiling():
        return LONGEST
    return max(SPAN, min(LONGEST, CACHED // states // SPAN * SPAN))


def selective_scan(
    u: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, skip: Tensor | None = None, *, segment: int | None = None
) -> Tensor:
    """The recurrence above, along dim 1; y of the shape and dtype of u.

    Args:
        u: (B, T, ..., D) input; the dots are groups with weights of their own, if any.
        step: (B, T, ..., D), positive.
        a: (..., D, N), negative.
        b, c: (B, T, ..., N).
        skip: (..., D) or None.
        segment: steps whose states are held at once; `segment_length` where None. It changes rounding alone.

    Raises:
        InputError: shapes that do not go together.

    >>> one = torch.ones(1, 3, 1)
    >>> selective_scan(one, one, torch.full((1, 1), -0.6931472), one, one).flatten()
    tensor([1.0000, 1.5000, 1.7500])
    """
    if u.shape != step.shape or b.shape != c.shape or u.shape[:-1] != b.shape[:-1] or a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"selective scan: u {tuple(u.shape)}, step {tuple(step.shape)}, a {tuple(a.shape)}, b {tuple(b.shape)} and"
            f" c {tuple(c.shape)} do not go together; wanted (B, T, ..., D) twice, (..., D, N), (B, T, ..., N) twice"
        )
    dtype = u.dtype
    if dtype in (torch.float16, torch.bfloat16) or step.dtype != dtype:
        work = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
        u, step, a, b, c = (t.to(work) for t in (u, step, a, b, c))
    timed = [t.transpose(0, 1) for t in (u, step, b, c)]  # (T, B, ...)
    state = u.new_zeros(u.shape[0], *u.shape[2:], a.shape[-1])
    segment = segment or segment_length(state.numel(), u.device.type == "cpu")
    many = u.shape[1] > segment and torch.is_grad_enabled()
    outs = []
    for u_t, step_t, b_t, c_t in zip(*(t.split(segment) for t in timed), strict=True):
        arguments = (u_t, step_t, a, b_t, c_t, state)
        if many:
            y, state = checkpoint(_segment, *arguments, use_reentrant=False, preserve_rng_state=False)
        else:
            y, state = _segment(*arguments)
        outs.append(y)
    y = torch.cat(outs).transpose(0, 1)
    if skip is not None:
        y = y + u * skip.to(u.dtype)
    return y.to(dtype)
