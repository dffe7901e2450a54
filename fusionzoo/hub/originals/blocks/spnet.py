"""SPNet's CIM0, CIM and MFA (github.com/taozh2017/SPNet; no licence stated): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.spnet import Aggregation, CrossIntegration
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, direct, port

CIM0 = {
    "gamma1": "gamma1",
    "gamma2": "gamma2",
    "layer_10": "weigh_rgb",
    "layer_20": "weigh_x",
    "layer_11": "enhance_rgb",
    "layer_21": "enhance_x",
    "layer_ful1": "join",
}
CIM = CIM0 | {"reduc_1.0": "reduce_rgb", "reduc_2.0": "reduce_x", "layer_ful2": "join_previous"}
MFA = {"layer_10": "unused_rgb", "layer_20": "unused_x", "layer_cat1": "join"}


def spnet_cim0(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, depth) -> fused."""
    channels = take(ctor, "out_dim")
    if take(ctor, "in_dim", default=channels) != channels:
        raise InputError(f"spnet_cim0: in_dim {ctor['in_dim']} and out_dim {channels} differ; only equal is defined")
    block = CrossIntegration(channels, dead_parameters=True)
    return port(block, state, CIM0, direct, what="spnet_cim0")


def spnet_cim(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, depth, previous) -> fused; previous has out_dim / 2 channels."""
    channels = take(ctor, "out_dim")
    block = CrossIntegration(channels, take(ctor, "in_dim"), channels // 2, dead_parameters=True)
    return port(block, state, CIM, direct, what="spnet_cim")


def spnet_mfa(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(f, rgb, x) -> out."""
    block = Aggregation(take(ctor, "in_dim"), dead_parameters=True)
    return port(block, state, MFA, direct, what="spnet_mfa")


BLOCKS = {"spnet_cim": spnet_cim, "spnet_cim0": spnet_cim0, "spnet_mfa": spnet_mfa}
