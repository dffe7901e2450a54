"""Blocks of which no whole model is ported: official keys to ours, and the original's call.

- EAEF (github.com/FreeformRobotics/EAEFNet), with the released code's gate
- ShapeConv's layer (github.com/hanchaoleng/ShapeConv, Apache-2.0), as trained (not folded)
- SPNet's CIM0, CIM and MFA (github.com/taozh2017/SPNet; no licence stated)
- TorchMultimodal's attention fusion (github.com/facebookresearch/multimodal, BSD-3-Clause)
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.eaef import EAEF
from fusionzoo.fusion.shapeconv import ShapeConv2d
from fusionzoo.fusion.spnet import Aggregation, CrossIntegration
from fusionzoo.fusion.torchmultimodal import VectorAttention
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make

EAEF_TABLE = {
    "T_c": "temperature",
    "mlp_pool.down": "embed.0",
    "mlp_pool.up": "embed.2",
    "dwconv": "mix",
    "cse.down": "excite.reduce",
    "cse.up": "excite.expand",
    "sse_r.conv1": "score_rgb",
    "sse_t.conv1": "score_x",
}


def _joined(block: EAEF, x: Tensor) -> Tensor:
    out = block(*x.chunk(2, dim=1))
    return torch.cat([out.rgb, out.x], dim=1)


LAYER = {"weight": "weight", "bias": "bias", "Shape": "shape", "Base": "base", "D_diag": "identity"}


def _shapeconv(c: Arguments) -> Block:
    """x -> out."""
    c.only(groups=1)
    block = ShapeConv2d(
        c("in_channels"),
        c("out_channels"),
        c("kernel_size"),
        stride=c("stride", 1),
        padding=c("padding", 0),
        dilation=c("dilation", 1),
        bias=c("bias", True),
        stored_identity=True,
    )
    return Block(block, LAYER)


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
    if c("in_dim", channels) != channels:
        raise InputError(f"spnet_cim0: in_dim {c['in_dim']} and out_dim {channels} differ; only equal is defined")
    return Block(CrossIntegration(channels, dead_parameters=True), CIM0)


def _attention(c: Arguments) -> Block:
    """One value for each modality, in the order of the constructor's widths -> fused.

    The constructor arguments are the widths by modality, or hold them under `channel_to_encoder_dim`.
    """
    widths = c("channel_to_encoder_dim", None)
    if widths is None:
        widths = {k: v for k, v in c.items() if k != "encoding_projection_dim"}
    if not widths:
        raise InputError("the constructor arguments lack the width of each modality, for example {'rgb': 128}")
    names = sorted(widths)  # the original concatenates by name
    block = VectorAttention([widths[n] for n in names], c("encoding_projection_dim", None))
    table = {"attention.0": "score"} | {f"encoding_projection.{n}": f"project.{i}" for i, n in enumerate(names)}
    return Block(block, table, partial(_ordered, tuple(list(widths).index(n) for n in names)))


def _ordered(order: tuple[int, ...], block: VectorAttention, *inputs: Tensor) -> Tensor:
    return block(*(inputs[i] for i in order))


BLOCKS: dict[str, Make] = {
    # [rgb; thermal] (B, 2C, H, W) -> [rgb'; thermal'] (B, 2C, H, W)
    "eaef": lambda c: Block(EAEF(c("dim"), min_hidden=1, official_diagonal=True), EAEF_TABLE, _joined, reshape=True),
    "shapeconv": _shapeconv,
    "spnet_cim0": _cim0,
    # (rgb, depth, previous) -> fused; previous has out_dim / 2 channels
    "spnet_cim": lambda c: Block(
        CrossIntegration(c("out_dim"), c("in_dim"), c("out_dim") // 2, dead_parameters=True), CIM
    ),
    # (f, rgb, x) -> out
    "spnet_mfa": lambda c: Block(Aggregation(c("in_dim"), dead_parameters=True), MFA),
    "torchmultimodal_attention_fusion": _attention,
}
