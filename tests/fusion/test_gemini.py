"""Attention over two tokens is PyTorch's multi-head attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionzoo.errors import InputError
from fusionzoo.fusion.gemini import TwoTokenAttention


def test_two_token_attention_is_multi_head_attention() -> None:
    block, reference = TwoTokenAttention(16, 4, "rgb"), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(block.in_proj.weight)
        reference.in_proj_bias.copy_(block.in_proj.bias)
        reference.out_proj.load_state_dict(block.out_proj.state_dict())
        query, *rest = torch.randn(5, 2, 6, 16)
        got = block(query, (rest[0], rest[1]), (rest[2], rest[3]), (2, 3))
        keys, values = (torch.stack(p, dim=2).flatten(0, 1) for p in (rest[:2], rest[2:]))  # (12, 2, 16)
        want = reference(query.reshape(12, 1, 16), keys, values)[0].reshape(2, 6, 16)
    torch.testing.assert_close(got, want)


def test_heads_must_divide_the_channels() -> None:
    with pytest.raises(InputError, match="divisor"):
        TwoTokenAttention(10, 4, "rgb")
