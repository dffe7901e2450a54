"""CMNeXt, its hub and its PPX; its FRM and FFM are CMX's, called as the original is (github.com/jamycheung/DELIVER)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.fusion.cmnext import ParallelPoolingMixer, SelfQueryHub
from fusionzoo.hub.originals.blocks.calls import at_input_size
from fusionzoo.hub.originals.blocks.cmx import MODEL_VIEWS
from fusionzoo.hub.originals.checkpoints.cmnext import PPX
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, View, direct, port
from fusionzoo.models import FusionModel


def _as_row(gate: Tensor) -> Tensor:
    """(B, C, 1, 1) -> (B, 1, C)."""
    return gate.flatten(2).transpose(1, 2)


PPX_VIEWS = {"attn": View("mixed"), "c_nets": View("channel_gate", _as_row)}


def cmnext_hub(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1, ...) -> hub feature."""
    count = take(ctor, "num_modals")
    block = SelfQueryHub(take(ctor, "embed_dim"), count)
    table = {f"score_nets.{i}.{j}": f"score.{i}.{j}" for i in range(count) for j in (0, 1)}
    views = {f"score_nets.{i}": View(f"gates.{i}") for i in range(count)}
    return port(block, state, table, _hub, views, what="cmnext_hub")


def cmnext_ppx(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """x -> out."""
    block = ParallelPoolingMixer(take(ctor, "dim"), take(ctor, "mlp_ratio"))
    return port(block, state, PPX, direct, PPX_VIEWS, what="cmnext_ppx")


def _hub(block: SelfQueryHub, *maps: Tensor) -> Tensor:
    return block(maps)[0]


BLOCKS = {"cmnext_hub": cmnext_hub, "cmnext_ppx": cmnext_ppx}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, other, ...), as many as the model has -> class scores at the input size."""
    alone = "branch1.norm" not in dict(model.named_modules())
    views = {f"backbone.{i}": View(f"stage{i + 2}.rgb") for i in range(4)} if alone else MODEL_VIEWS
    return Port(model, at_input_size, views, keys)
