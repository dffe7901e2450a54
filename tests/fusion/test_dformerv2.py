"""DFormerv2's geometry: biases by hand, attention by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fusionzoo.export.graph import quietly
from fusionzoo.fusion.dformerv2 import GeometryAttention, GeometryPrior


def test_geometry_bias_by_hand() -> None:
    prior = GeometryPrior(16, 2, start=2, spread=4).requires_grad_(False)
    assert prior.decay.tolist() == pytest.approx([math.log(1 - 2**-2), math.log(1 - 2**-4)])
    assert prior.angle[::2].tolist() == pytest.approx([1, 10000 ** (-1 / 3), 10000 ** (-2 / 3), 1e-4])
    with torch.no_grad():
        prior.weight.copy_(torch.tensor([0.5, 3.0]).view(2, 1, 1, 1))
    depth = torch.rand(1, 3, 4)
    rows, full = prior.along(depth, prior.weights(1)), prior.full(depth, prior.weights(1))
    assert rows.shape == (1, 3, 2, 4, 4) and full.shape == (1, 2, 12, 12)
    for head in (0, 1):
        gap = abs(float(depth[0, 1, 0] - depth[0, 1, 3]))
        assert float(rows[0, 1, head, 0, 3]) == pytest.approx(float(prior.decay[head]) * (0.5 * 3 + 3 * gap), rel=1e-5)
        gap = abs(float(depth[0, 0, 1] - depth[0, 2, 3]))
        assert float(full[0, head, 1, 11]) == pytest.approx(float(prior.decay[head]) * (0.5 * 4 + 3 * gap), rel=1e-5)


def test_full_geometry_attention_by_loops() -> None:
    attention, prior = GeometryAttention(8, 2, decomposed=False).double(), GeometryPrior(8, 2).double()
    x, depth = torch.randn(1, 2, 3, 8, dtype=torch.float64), torch.rand(1, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        q, k, v = (layer(x).reshape(6, 2, 4) for layer in (attention.query, attention.key, attention.value))

        def turn(value: Tensor, index: int) -> Tensor:  # each pair of channels is a complex number
            z = torch.view_as_complex(value.reshape(2, 2).contiguous()) * torch.polar(
                torch.ones(2, dtype=torch.float64), index * prior.angle[::2]
            )
            return torch.view_as_real(z).flatten()

        out = torch.zeros(6, 2, 4, dtype=torch.float64)
        bias = prior.full(depth, prior.weights(1))[0]
        for h in range(2):
            for i in range(6):
                scores = torch.stack([turn(q[i, h], i) @ turn(k[j, h] / 2, j) + bias[h, i, j] for j in range(6)])
                out[i, h] = scores.softmax(0) @ v[:, h]
        local = attention.local(attention.value(x).movedim(3, 1)).movedim(1, 3)
        want = attention.out(out.reshape(1, 2, 3, 8) + local)
        torch.testing.assert_close(attention(x, depth, prior), want)


class Lines(nn.Module):
    """The biases between all pixels, from depth (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.prior = GeometryPrior(16, 2).requires_grad_(False)

    def forward(self, depth: Tensor) -> Tensor:
        return self.prior.full(depth.squeeze(1), self.prior.weights(depth.shape[0]))


def test_biases_between_all_pixels_in_onnx_at_any_size() -> None:
    """torch.onnx once wrote `repeat_interleave` by a free size in a way that onnxruntime refused at most sizes."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    onnxruntime = pytest.importorskip("onnxruntime")
    model, free = Lines().eval(), {2: torch.export.Dim("height", min=3), 3: torch.export.Dim("width", min=3)}
    with torch.no_grad(), quietly():
        traced = torch.export.export(model, (torch.rand(1, 1, 4, 6),), dynamic_shapes=(free,))
        program = torch.onnx.export(traced, dynamo=True, opset_version=20, verbose=False, input_names=["depth"])
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in ((4, 6), (3, 7), (5, 5)):
        depth = torch.rand(1, 1, *size)
        found = torch.from_numpy(session.run(None, {"depth": depth.numpy()})[0])
        torch.testing.assert_close(found, model(depth))
