"""SPNet's cross-enhanced integration."""

from __future__ import annotations

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.fusion.spnet import CrossIntegration


def test_a_previous_level_is_refused_where_there_is_none() -> None:
    a = torch.randn(2, 4, 5, 6)
    with pytest.raises(InputError, match="previous stage"):
        CrossIntegration(4)(a, a, a)
