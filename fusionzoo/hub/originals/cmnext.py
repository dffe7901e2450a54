"""CMNeXt's hub and PPX (github.com/jamycheung/DELIVER): official keys to ours. Its FRM and FFM are CMX's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.hub.originals.port import Port, View, port, take
from fusionzoo.models.published.blocks import ParallelPoolingMixer, SelfQueryHub

PPX = {
    "layer_scale_1": "scale1",
    "layer_scale_2": "scale2",
    "norm1": "norm1",
    "attn.conv0": "mix",
    "attn.conv4": "weigh",
    "norm2": "norm2",
    "mlp.fc1": "widen",
    "mlp.dwconv.dwconv": "depthwise",
    "mlp.fc2": "narrow",
    "c_nets.0": "neighbours",
}


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
    return port(block, state, PPX, _plain, PPX_VIEWS, what="cmnext_ppx")


def _hub(block: SelfQueryHub, *maps: Tensor) -> Tensor:
    return block(maps)[0]


def _plain(block: ParallelPoolingMixer, x: Tensor) -> Tensor:
    return block(x)


BLOCKS = {"cmnext_hub": cmnext_hub, "cmnext_ppx": cmnext_ppx}
