"""EAEF's gate: the diagonal, and what was released."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.eaef import EAEF


def maps(count: int, channels: int, batch: int = 2, size: tuple[int, int] = (5, 6)) -> list[Tensor]:
    return [torch.randn(batch, channels, *size) for _ in range(count)]


def test_eaef_gate_is_the_diagonal_and_the_released_one_is_not() -> None:
    block = EAEF(16).eval()
    rgb, x = maps(2, 16, batch=3)
    with torch.no_grad():
        y = [F.normalize(block.embed(m.mean((2, 3))), dim=1) for m in (rgb, x)]
        matrix = (block.temperature * y[0].unsqueeze(2) * y[1].unsqueeze(1)).sigmoid()  # (B, C, C)
        torch.testing.assert_close(block._gate(rgb, x), torch.diagonal(matrix, dim1=1, dim2=2))
        block.official_diagonal = True
        torch.testing.assert_close(block._gate(rgb, x), torch.diagonal(matrix).reshape(3, 16))
        torch.testing.assert_close(block._gate(rgb[:1], x[:1]), matrix[:1, 0])
        assert not torch.allclose(block._gate(rgb, x)[:1], block._gate(rgb[:1], x[:1]))  # samples are mixed
        with pytest.raises(InputError, match="batch of 17"):
            block._gate(torch.randn(17, 16, 2, 2), torch.randn(17, 16, 2, 2))
