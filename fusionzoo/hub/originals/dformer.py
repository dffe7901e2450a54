"""DFormer's attention, block and encoder (github.com/VCIP-RGBD/DFormer): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fusionzoo.hub.originals.port import Port, port, take
from fusionzoo.models.published.blocks import DFormerAttention, DFormerBlock
from fusionzoo.models.published.dformer_encoder import DFormerEncoder

ATTENTION = {
    "q": "query",
    "q_cut": "query_cut",
    "a": "after_conv",
    "l": "lift",
    "conv": "conv",
    "e_conv": "conv_e",
    "e_fore": "before_e",
    "e_back": "after_e",
    "proj": "project",
    "proj_e": "project_e",
    "short_cut_linear": "pooled_query",
    "kv": "key_value",
    "norm": "norm",
    "norm_e": "norm_e",
}
_MLP = {"norm": "norm", "fc1": "widen", "pos": "position", "fc2": "narrow"}
BLOCK = {f"attn.{official}": f"attention.{ours}" for official, ours in ATTENTION.items()}
BLOCK |= {f"mlp.{official}": f"mlp.{ours}" for official, ours in _MLP.items()}
BLOCK |= {f"mlp_e2.{official}": f"mlp_e.{ours}" for official, ours in _MLP.items()}
BLOCK |= {
    "layer_scale_1": "scale1",
    "layer_scale_2": "scale2",
    "layer_scale_1_e": "scale1_e",
    "layer_scale_2_e": "scale2_e",
}
HEAD = {
    "conv_seg": "classify",
    "squeeze.conv": "squeeze.0",
    "squeeze.bn": "squeeze.1",
    "hamburger.ham_in.conv": "ham_in",
    "hamburger.ham_out.conv": "ham_out.0",
    "hamburger.ham_out.bn": "ham_out.1",
    "align.conv": "align.0",
    "align.bn": "align.1",
}
"""The LightHam decoder, DFormerv2's too."""


def encoder_table(encoder: DFormerEncoder) -> dict[str, str]:
    """Official keys of the encoder, without prefix."""
    table = {"downsample_layers": "down", "downsample_layers_e": "down_e"}
    for i, stage in enumerate(encoder.stages):
        assert isinstance(stage, nn.ModuleList)
        for j in range(len(stage)):
            table |= {f"stages.{i}.{j}.{official}": f"stages.{i}.{j}.{ours}" for official, ours in BLOCK.items()}
    return table


class HeldHead(nn.Module):
    """The weights of a LightHam decoder that come with an encoder's file: kept and counted, not run."""

    def __init__(self, in_channels: int, channels: int = 512, classes: int = 40) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.ham_in = nn.Conv2d(channels, channels, 1)
        self.ham_out = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.align = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.classify = nn.Conv2d(channels, classes, 1)


def backbone(encoder: nn.Module, table: Mapping[str, str], head: HeldHead) -> tuple[nn.Module, dict[str, str]]:
    """Encoder and held head as one module, with the key table of the original's whole model."""
    whole = nn.Module()
    whole.add_module("encoder", encoder)
    whole.add_module("head", head)
    full = {f"backbone.{official}": f"encoder.{ours}" for official, ours in table.items()}
    return whole, full | {f"decode_head.{official}": f"head.{ours}" for official, ours in HEAD.items()}


def dformer_attn(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x, x_e), channels last -> (x, x_e)."""
    block = DFormerAttention(
        take(ctor, "dim"),
        take(ctor, "num_head", default=8),
        take(ctor, "window", default=7),
        take(ctor, "drop_depth", default=False),
    )
    return port(block, state, ATTENTION, _plain, what="dformer_attn")


def dformer_block(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x, x_e), channels last -> (x, x_e)."""
    block = DFormerBlock(
        take(ctor, "dim"),
        take(ctor, "num_head"),
        take(ctor, "mlp_ratio", default=4),
        take(ctor, "window", default=7),
        take(ctor, "drop_depth", default=False),
    )
    return port(block, state, BLOCK, _plain, what="dformer_block")


def backbone_dformer_tiny(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x) -> four stage outputs. The state dict is that of the whole model, decoder included."""
    encoder = DFormerEncoder("tiny")
    head = HeldHead(sum(encoder.channels[1:]), classes=take(ctor, "num_classes", default=40))
    whole, table = backbone(encoder, encoder_table(encoder), head)
    return port(whole, state, table, run_encoder, what="backbone_dformer_tiny")


def run_encoder(whole: nn.Module, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """The stage outputs of a module made by `backbone`."""
    return whole.get_submodule("encoder")(rgb, x)


def _plain(block: DFormerAttention | DFormerBlock, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    return block(x, e)


BLOCKS = {
    "backbone_dformer_tiny": backbone_dformer_tiny,
    "dformer_attn": dformer_attn,
    "dformer_block": dformer_block,
}
