"""Softmax attention: the formula, and a layout in exported graphs that does not depend on the kernel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.fusion._parts import attention


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (2, 3, 5, 7))
    q, k, v, mask = (torch.randn(*shape, generator=generator) for shape in shapes)
    return q, k, v, mask


def test_it_is_the_formula() -> None:
    q, k, v, mask = (t.double().numpy() for t in inputs())
    for scale in (None, 1.0):
        scores = q @ k.swapaxes(2, 3) * (4**-0.5 if scale is None else scale) + mask
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        np.testing.assert_allclose(attention(*inputs(), scale=scale).numpy(), weights @ v, rtol=1e-4, atol=1e-5)


class Joined(nn.Module):
    """Attention whose heads are joined, as every block does."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v).transpose(1, 2).flatten(2)  # (B, N, heads d)


def test_the_result_has_memory_of_its_own_in_an_exported_graph_alone() -> None:
    """Without it ONNX refuses to join the heads (tests/models/test_graphs.py, slow)."""
    args = inputs()[:3]
    with torch.no_grad():
        exported = torch.export.export(Joined(), args)
        torch.testing.assert_close(exported.module()(*args), Joined()(*args), rtol=1e-4, atol=1e-5)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            attention(*args)
        eager = [event.key for event in profile.key_averages()]
    assert torch.ops.aten.clone.default in {node.target for node in exported.graph.nodes}
    assert "aten::clone" not in eager
