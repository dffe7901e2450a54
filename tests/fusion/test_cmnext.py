"""CMNeXt's hub of auxiliary modalities."""

from __future__ import annotations

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.fusion.cmnext import SelfQueryHub


def test_the_hub_takes_the_largest_and_refuses_another_number_of_inputs() -> None:
    hub = SelfQueryHub(4, 2)
    a, b = torch.randn(2, 2, 4, 5, 6)
    feature, boosted = hub([a, b])
    torch.testing.assert_close(feature, torch.maximum(boosted[0], boosted[1]))
    with pytest.raises(InputError, match="3 modalities given"):
        hub([a, b, a])
