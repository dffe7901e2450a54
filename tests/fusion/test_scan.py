"""The selective scan against its plain recurrence: values, gradients, memory, precision."""

from __future__ import annotations

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fusionzoo.errors import InputError
from fusionzoo.fusion.scan import linear_scan, selective_scan


def slow_scan(u: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, skip: Tensor) -> Tensor:
    """The recurrence, one number at a time over time and states, in float64."""
    u, step, a, b, c, skip = (t.double() for t in (u, step, a, b, c, skip))
    out = torch.zeros_like(u)
    for i in range(u.shape[0]):
        state = torch.zeros(u.shape[2], a.shape[1], dtype=torch.float64)
        for t in range(u.shape[1]):
            for n in range(a.shape[1]):
                decay = torch.exp(step[i, t] * a[:, n])
                state[:, n] = decay * state[:, n] + step[i, t] * b[i, t, n] * u[i, t]
            out[i, t] = state @ c[i, t] + skip * u[i, t]
    return out


def scan_inputs(length: int, width: int = 3, states: int = 2) -> list[Tensor]:
    u, step = torch.randn(2, length, width), F.softplus(torch.randn(2, length, width))
    a, skip = -torch.rand(width, states) - 0.1, torch.randn(width)
    return [u, step, a, torch.randn(2, length, states), torch.randn(2, length, states), skip]


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 33, 300])
@pytest.mark.parametrize("segment", [7, 64, 1024, None])
def test_scan_equals_the_plain_recurrence(length: int, segment: int | None) -> None:
    arguments = scan_inputs(length)
    got = selective_scan(*arguments, segment=segment)
    torch.testing.assert_close(got.double(), slow_scan(*arguments), rtol=1e-5, atol=1e-5)


def test_scan_gradients() -> None:
    decay = torch.rand(19, 2, dtype=torch.float64, requires_grad=True)
    drive = torch.randn(19, 2, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(linear_scan, (decay, drive, start))


@pytest.mark.parametrize("segment", [5, 1024])
def test_gradients_of_the_selective_scan(segment: int) -> None:
    """All six arguments in float64, with segments that are computed again and without, against finite differences."""
    arguments = [t.double().requires_grad_() for t in scan_inputs(11)]
    assert torch.autograd.gradcheck(lambda *a: selective_scan(*a, segment=segment), arguments)


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made inside held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if not isinstance(tensor, Tensor) or (storage := tensor.untyped_storage()).data_ptr() in self.alive:
                continue  # a view
            place, size = storage.data_ptr(), storage.nbytes()
            self.alive.add(place)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.gone, place, size)
        return out

    def gone(self, place: int, size: int) -> None:
        self.alive.discard(place)
        self.now -= size


def scan_memory(length: int) -> tuple[int, int]:
    """(most bytes alive during forward and backward, bytes kept for the backward) of a scan with 16 states."""
    arguments = [t.requires_grad_() for t in scan_inputs(length, width=32, states=16)]
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with LiveBytes() as live:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = selective_scan(*arguments, segment=64).sum()
        loss.backward()
    return live.most, sum(kept.values())


def test_memory_of_the_scan_is_linear_without_its_states() -> None:
    """Four times the length: at most four times the memory, and far less than the states of all steps."""
    states = 4 * 2 * 32 * 16  # bytes of one step's
    (most, kept), (most_4, kept_4) = scan_memory(1024), scan_memory(4096)
    assert most_4 < 4.2 * most and kept_4 < 4.2 * kept
    # an (L, D, N) tensor would be `states` a step; what grows is inputs, outputs and their gradients
    grows, keeps = (most_4 - most) / 3072, (kept_4 - kept) / 3072
    assert grows < 0.7 * states and keeps < 0.3 * states, f"{grows}, {keeps} bytes a step"


def test_segments_change_neither_values_nor_gradients() -> None:
    arguments = [t.double().requires_grad_() for t in scan_inputs(50)]
    results = []
    for segment in (8, 1024):  # the first is computed again on the way back, the second is not
        out = selective_scan(*arguments, segment=segment)
        results.append([out, *torch.autograd.grad(out.square().sum(), arguments)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_scan_on_a_gpu_equals_the_cpu() -> None:
    arguments = [t.requires_grad_() for t in scan_inputs(3000)]
    results = []
    for device in ("cpu", "cuda"):
        out = selective_scan(*(t.to(device) for t in arguments)).cpu()
        results.append([out, *torch.autograd.grad(out.square().sum(), arguments)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_scan_of_groups_equals_each_alone_and_strong_decay_stays_finite() -> None:
    u, step, a, b, c, skip = scan_inputs(20)
    two = [torch.stack([t, t.flip(1)], dim=2) for t in (u, step, b, c)]
    both = selective_scan(two[0], two[1], torch.stack([a, 2 * a]), two[2], two[3], torch.stack([skip, skip]))
    torch.testing.assert_close(both[:, :, 0], selective_scan(u, step, a, b, c, skip))
    flipped = [t.flip(1) for t in (u, step, b, c)]
    torch.testing.assert_close(both[:, :, 1], selective_scan(flipped[0], flipped[1], 2 * a, *flipped[2:], skip))
    far = selective_scan(u, step * 1e4, a, b, c, skip)
    assert bool(torch.isfinite(far).all())


def test_scan_in_half_precision_computes_in_float32() -> None:
    arguments = scan_inputs(200)
    half = selective_scan(*(t.bfloat16() for t in arguments))
    assert half.dtype == torch.bfloat16
    exact = selective_scan(*(t.bfloat16().float() for t in arguments))
    torch.testing.assert_close(half.float(), exact, rtol=2e-2, atol=2e-2)


def test_scan_refuses_what_does_not_fit() -> None:
    u, step, a, b, c, _ = scan_inputs(5)
    with pytest.raises(InputError, match="do not go together"):
        selective_scan(u, step[:, :4], a, b, c)
