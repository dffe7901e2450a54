"""DFormerv2 and its block, called as the original is (github.com/VCIP-RGBD/DFormer)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from fusionzoo.fusion.dformerv2 import DFormerV2Block
from fusionzoo.hub.originals.blocks.dformer import HEAD_VIEWS, run, run_backbone
from fusionzoo.hub.originals.checkpoints.dformer import arguments
from fusionzoo.hub.originals.checkpoints.dformerv2 import BLOCK, SIZES, named, table
from fusionzoo.hub.originals.keys import blank, take
from fusionzoo.hub.originals.port import Port, View, channels_last, direct, port
from fusionzoo.models import FusionModel

VIEWS = {"Attention": View("attended", channels_last)}


MODEL_VIEWS = HEAD_VIEWS | {
    f"backbone.extra_norms.{i}": View(f"stage{i + 3}.fusion.fused", channels_last) for i in range(3)
}


def dformerv2_block(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x (B, H, W, C), x_e (B, 1, H', W')) -> out."""
    scaled = take(ctor, "layerscale", default=False)
    block = DFormerV2Block(
        take(ctor, "embed_dim"),
        take(ctor, "num_heads"),
        take(ctor, "ffn_dim"),
        decomposed=take(ctor, "split_or_not", default=False),
        start=take(ctor, "init_value", default=2),
        spread=take(ctor, "heads_range", default=4),
        scale=take(ctor, "layer_init_values", default=1e-5) if scaled else None,
    )
    return port(block, state, BLOCK, direct, VIEWS, what="dformerv2_block")


def backbone(size: str, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x) -> the maps of the four stages. The state dict is that of the whole model, decoder included."""
    name = named(size, ctor)
    model = blank(name, **arguments(name, ctor))
    return port(model, state, table(model), run_backbone, what=f"backbone_{name}")


BLOCKS: dict[str, Callable[..., Port]] = {f"backbone_dformerv2_{size}": partial(backbone, size) for size in SIZES}
BLOCKS |= {"dformerv2_block": dformerv2_block}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, x) -> class scores at the input size."""
    return Port(model, run, MODEL_VIEWS, keys)
