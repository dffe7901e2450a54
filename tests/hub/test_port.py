"""How a port names its keys and its sizes."""

from __future__ import annotations

import pytest
from torch import nn

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.port import expand_table, inferred_size


def test_key_tables_must_cover_everything_once() -> None:
    layer = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert expand_table({"a": "0", "b.w": "1.weight", "b.b": "1.bias"}, layer)["b.w"] == "1.weight"
    with pytest.raises(ValueError, match="does not cover '1.weight'"):
        expand_table({"a": "0"}, layer)
    with pytest.raises(ValueError, match="lead to one"):
        expand_table({"a": "0", "b": "0", "c": "1"}, layer)


def test_inferred_size_is_stated_or_refused() -> None:
    assert inferred_size(384, 8) == (16, 24)
    assert inferred_size(24, 2) == (4, 6)
    with pytest.raises(InputError, match="name 'H' and 'W'"):
        inferred_size(25, 2)
