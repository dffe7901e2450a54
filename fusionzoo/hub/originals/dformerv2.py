"""DFormerv2 whole, and its block (github.com/VCIP-RGBD/DFormer): official keys to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.dformerv2 import DFormerV2Block
from fusionzoo.hub.originals.checkpoint import Source
from fusionzoo.hub.originals.dformer import BGR, HEAD, HEAD_VIEWS, LICENCE_NOTE, NOTES, run, run_backbone, whole
from fusionzoo.hub.originals.port import Port, View, channels_last, port, take
from fusionzoo.models import FusionModel

BLOCK = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "Attention.q_proj": "attention.query",
    "Attention.k_proj": "attention.key",
    "Attention.v_proj": "attention.value",
    "Attention.lepe.dwconv": "attention.local",
    "Attention.out_proj": "attention.out",
    "ffn.fc1": "widen",
    "ffn.fc2": "narrow",
    "ffn.dwconv.dwconv": "depthwise",
    "cnn_pos_encode.dwconv": "position",
    "Geo.weight": "prior.weight",
    "Geo.angle": "prior.angle",
    "Geo.decay": "prior.decay",
    "gamma_1": "scale1",
    "gamma_2": "scale2",
}
VIEWS = {"Attention": View("attended", channels_last)}


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out = {f"decode_head.{a}": f"decoder.{b}" for a, b in HEAD.items()}
    out["backbone.patch_embed.proj"] = "down.0"
    for i in range(4):
        for j, _ in enumerate(model.get_submodule(f"stage{i + 2}.fusion.blocks").children()):
            ours = f"stage{i + 2}.fusion.blocks.{j}"
            out |= {f"backbone.layers.{i}.blocks.{j}.{a}": f"{ours}.{b}" for a, b in BLOCK.items()}
    for i in range(3):
        out[f"backbone.layers.{i}.downsample.reduction"] = f"down.{i + 1}.0"
        out[f"backbone.layers.{i}.downsample.norm"] = f"down.{i + 1}.1"
        out[f"backbone.extra_norms.{i}"] = f"stage{i + 3}.fusion.norm"
    return out


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
    return port(block, state, BLOCK, _plain, VIEWS, what="dformerv2_block")


def _name(size: str, ctor: Mapping[str, Any]) -> str:
    """Our architecture for the original's "DFormerv2_S"; the kind's where the arguments name none."""
    official = str(take(ctor, "backbone", default=size))
    size = official.removeprefix("DFormerv2_").lower()
    if size not in SIZES:
        raise InputError(f"backbone {official!r} is not a DFormerv2; known: DFormerv2_S, DFormerv2_B, DFormerv2_L")
    return f"dformerv2_{size}"


def dformerv2(size: str, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x) -> class scores at the input size."""
    name = _name(size, ctor)
    model = whole(name, ctor)
    return port(model, state, table(model), run, MODEL_VIEWS, what=name)


def backbone(size: str, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x) -> the maps of the four stages. The state dict is that of the whole model, decoder included."""
    name = _name(size, ctor)
    model = whole(name, ctor)
    return port(model, state, table(model), run_backbone, what=f"backbone_{name}")


def _plain(block: DFormerV2Block, x: Tensor, depth: Tensor) -> Tensor:
    return block(x, depth)


SIZES = ("s", "b", "l")
BLOCKS: dict[str, Callable[..., Port]] = {f"backbone_dformerv2_{size}": partial(backbone, size) for size in SIZES}
BLOCKS |= {"dformerv2_block": dformerv2_block}
MODELS = {f"dformerv2_{size}": partial(dformerv2, size) for size in SIZES}
SOURCES = {
    f"dformerv2_{size}": Source(
        kind=f"dformerv2_{size}",
        family="dformerv2",
        ctor={"backbone": f"DFormerv2_{size.upper()}"},
        classes=("num_classes", "decode_head.conv_seg.weight"),
        sizes={"decoder_embed_dim": "decode_head.align.conv.weight"},
        licence_note=LICENCE_NOTE,
        origin="github.com/VCIP-RGBD/DFormer",
        citation="Yin et al., DFormerv2, CVPR 2025, arXiv 2504.04701",
        notes=NOTES + BGR + " SUN RGB-D it gives as RGB.",
        input_size=(480, 640),
    )
    for size in SIZES
}
