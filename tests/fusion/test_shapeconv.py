"""Shape-aware convolution: against its equation, in NumPy, and what it folds into."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from fusionzoo.fusion.shapeconv import ShapeConv, ShapeConv2d
from tests.fusion.plain import Array, batch_norm, compare, conv, relu


def test_shapeconv_starts_as_a_plain_convolution_and_folds() -> None:
    layer, plain = ShapeConv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
    plain.weight.data, plain.bias.data = layer.weight.data.clone(), layer.bias.data.clone()  # type: ignore[union-attr]
    x = torch.randn(2, 3, 6, 7)
    torch.testing.assert_close(layer(x), plain(x))
    with torch.no_grad():
        layer.shape.normal_()
        layer.base.fill_(-0.5)
        w = layer.weight.flatten(2)
        want = torch.empty_like(w)
        for o in range(4):
            for i in range(3):
                base = w[o, i].mean()
                want[o, i] = (layer.shape[i] + torch.eye(9)) @ (w[o, i] - base) - 0.5 * base
        torch.testing.assert_close(layer.folded_weight().flatten(2), want)
    assert not torch.allclose(layer(x), plain(x))
    assert sum(p.numel() for p in ShapeConv2d(512, 512, 3, bias=False).parameters()) == 512 * 512 * 9 + 41_473
    assert len(list(ShapeConv2d(3, 4, 1).parameters())) == 2  # a 1x1 kernel has no shape


def test_shapeconv_equals_its_equation() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        weight = p["join.weight"].reshape(8, 16, 9)
        base = weight.mean(2, keepdims=True)
        matrix = p["join.shape"] + np.eye(9)  # (I, S, S)
        folded = np.einsum("ims,ois->oim", matrix, weight - base) + p["join.base"] * base
        both = np.concatenate([rgb, x], axis=1)
        joined = batch_norm(conv(both, {"folded.weight": folded.reshape(8, 16, 3, 3)}, "folded"), p, "norm")
        return {"joined": joined, "fused": relu(joined)}

    compare(ShapeConv(8), equations)
