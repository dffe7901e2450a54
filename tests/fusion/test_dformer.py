"""DFormer's block without its depth branch."""

from __future__ import annotations

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.fusion.dformer import DFormerAttention, DFormerBlock


def test_dropped_depth_has_no_parameters_of_its_own_and_passes() -> None:
    block = DFormerBlock(16, 2, drop_depth=True)
    assert not [k for k in block.state_dict() if "_e" in k and "before_e" not in k and "norm_e" not in k
                and "conv_e" not in k and "after_e" not in k]  # fmt: skip
    e = torch.randn(1, 8, 9, 8)
    assert torch.equal(block(torch.randn(1, 8, 9, 16), e)[1], e)
    with pytest.raises(InputError, match="window is 5"):
        DFormerAttention(16, 2, window=5)
