"""The part of the shared tester about checkpoints, for composed and published models alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import fusionzoo
from fusionzoo.errors import CheckFailed
from fusionzoo.models import FusionModel
from tests.compare import SAME, distance, same_tensors


def check_saving(model: FusionModel, inputs: tuple[Tensor, Tensor], folder: Path) -> None:
    """Saved, it loads with equal tensors and outputs; a tensor too few or too many is refused by name."""
    model.save_pretrained(folder)
    loaded = fusionzoo.from_pretrained(folder)
    assert same_tensors(loaded.state_dict(), model.state_dict())
    with torch.no_grad():
        assert distance(loaded(*inputs), model(*inputs)) < SAME
    (folder / "record.json").unlink()  # else its sizes and checksums speak first
    first, *_, last = model.state_dict()
    named = {k: torch.zeros(1) for k in model.state_dict()}
    partial = {k: v for k, v in named.items() if k != last}
    foreign = {f"of.another.{k}" if k == first else k: v for k, v in named.items()}
    for weights, said in ((partial, last), (foreign, f"of.another.{first}")):
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(CheckFailed, match=re.escape(said)):
            fusionzoo.from_pretrained(folder)
