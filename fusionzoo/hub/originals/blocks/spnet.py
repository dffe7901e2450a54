"""SPNet's CIM0, CIM and MFA (github.com/taozh2017/SPNet; no licence stated): official keys to ours."""

from __future__ import annotations

from fusionzoo.errors import InputError
from fusionzoo.fusion.spnet import Aggregation, CrossIntegration
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make

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


def _cim0(c: Arguments) -> Block:
    """(rgb, depth) -> fused."""
    channels = c("out_dim")
    if c("in_dim", default=channels) != channels:
        raise InputError(f"spnet_cim0: in_dim {c['in_dim']} and out_dim {channels} differ; only equal is defined")
    return Block(CrossIntegration(channels, dead_parameters=True), CIM0)


BLOCKS: dict[str, Make] = {
    "spnet_cim0": _cim0,
    # (rgb, depth, previous) -> fused; previous has out_dim / 2 channels
    "spnet_cim": lambda c: Block(
        CrossIntegration(c("out_dim"), c("in_dim"), c("out_dim") // 2, dead_parameters=True), CIM
    ),
    # (f, rgb, x) -> out
    "spnet_mfa": lambda c: Block(Aggregation(c("in_dim"), dead_parameters=True), MFA),
}
