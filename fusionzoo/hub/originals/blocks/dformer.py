"""DFormer's attention, block and backbone, called as the original is (github.com/VCIP-RGBD/DFormer)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from fusionzoo.fusion.dformer import DFormerAttention, DFormerBlock
from fusionzoo.hub.originals.checkpoints.dformer import ATTENTION, BLOCK, SIZES, arguments, named, table
from fusionzoo.hub.originals.keys import Arguments, blank
from fusionzoo.hub.originals.port import Block, Make
from fusionzoo.models import FusionModel


def backbone(named: Callable[[Arguments], str], table: Callable[[FusionModel], dict[str, str]], c: Arguments) -> Block:
    """(rgb, x) -> the maps of the four stages. The state dict is that of the whole model, decoder included."""
    model = blank(named(c), **arguments(c))
    return Block(model, table(model), _stages)


def _stages(model: Any, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Of x the first channel counts."""
    features = model.features(rgb, x[:, :1])
    model.logits(model.decoder(features[1:]))  # not asked for, but its probes fire at every call
    return tuple(features)


BLOCKS: dict[str, Make] = {
    f"backbone_dformer_{size}": partial(backbone, partial(named, "DFormer-", SIZES, size), table) for size in SIZES
}
BLOCKS |= {  # (x, x_e), channels last -> (x, x_e)
    "dformer_attn": lambda c: Block(
        DFormerAttention(c("dim"), c("num_head", 8), c("window", 7), c("drop_depth", False)), ATTENTION
    ),
    "dformer_block": lambda c: Block(
        DFormerBlock(c("dim"), c("num_head"), c("mlp_ratio", 4), c("window", 7), c("drop_depth", False)), BLOCK
    ),
}
