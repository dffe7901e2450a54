"""How a port names its keys and its sizes; who needs the authors' blocks."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from fusionzoo.errors import InputError
from fusionzoo.hub.originals import blocks, checkpoints
from fusionzoo.hub.originals.blocks.calls import CALLS
from fusionzoo.hub.originals.keys import expand_table
from fusionzoo.hub.originals.port import inferred_size


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


def test_conversion_needs_no_block_of_the_authors() -> None:
    code = (
        "import sys; from fusionzoo.hub import convert\n"
        "assert 'cmx_mit_b0' in convert.METHODS and 'fusionzoo.hub.originals.checkpoints.cmx' in sys.modules\n"
        "blocks = [m for m in sys.modules if m.startswith('fusionzoo.hub.originals.blocks.')]\n"
        "assert not blocks, blocks"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_family_of_whole_models_can_be_called_as_its_original_is() -> None:
    assert set(CALLS) == set(checkpoints.FAMILIES)
    assert not set(blocks.kinds()) & set(checkpoints.kinds())
