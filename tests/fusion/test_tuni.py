"""TUNI's block: both halves and their weights against the equations, in NumPy; what stands in for an absent update."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.fusion.tuni import Agreement, TUNIAttention, TUNIBlock
from fusionzoo.probes import probe


def test_agreement_and_difference_by_hand() -> None:
    """Two equal streams differ nowhere; cosines with the mean map are NumPy's."""
    torch.manual_seed(0)
    block = Agreement(8)
    with torch.no_grad():
        block.before_rgb.weight.copy_(torch.eye(8)[:4])
        block.before_x.weight.copy_(torch.eye(4))
        for layer in (block.before_rgb, block.before_x):
            layer.bias.zero_()
        for conv in (block.consistent_conv, block.distinct_conv):
            conv.weight.zero_()
            conv.weight[:, :, 3, 3] = 1.0
            conv.bias.zero_()
    x = torch.randn(2, 5, 6, 8)
    for e, gap in ((x[..., :4], 0.0), (x[..., :4] + 2.0, 2.0)):
        with torch.no_grad(), probe(block) as seen:
            out = block(x, e)
        assert out.shape == (2, 5, 6, 4)
        torch.testing.assert_close(seen["distinct"], torch.full((2, 4, 5, 6), gap))
        torch.testing.assert_close(seen["consistent"], (x[..., :4] * e).movedim(3, 1))
        z = np.concatenate([seen["consistent"].numpy(), seen["distinct"].numpy()], axis=1).reshape(2, 8, 30)
        mean = z.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(mean, axis=2) * np.linalg.norm(z, axis=2)
        want = (mean * z).sum(axis=2) / (lengths + 1e-6)
        np.testing.assert_allclose(seen["similarity"][..., 0, 0].numpy(), want, rtol=1e-4, atol=1e-5)
        weighed = torch.from_numpy(z).view(2, 8, 5, 6) * seen["weight"]
        torch.testing.assert_close(out, block.after(weighed.movedim(1, 3)).detach())


def test_what_stands_in_for_the_last_update() -> None:
    torch.manual_seed(1)
    x, e = torch.randn(1, 9, 8, 16), torch.randn(1, 9, 8, 8)
    first, second = TUNIBlock(16, 2, drop_x=True, version=1), TUNIBlock(16, 2, drop_x=True, version=2)
    assert not [k for k in second.state_dict() if "project_e" in k or k.startswith(("mlp_e", "scale1_e"))]
    with torch.no_grad(), probe(first, "attention.crossed") as seen:
        torch.testing.assert_close(first(x, e)[1], seen["attention.crossed"].movedim(1, 3))
        torch.testing.assert_close(second(x, e)[1], torch.nn.functional.layer_norm(e, (8,), eps=1e-6))
    for wrong, words in (({"window": 5}, "window is 5"), ({"version": 3}, "version is 3; TUNI has 1 and 2")):
        with pytest.raises(InputError, match=words):
            TUNIAttention(16, 2, **wrong)
