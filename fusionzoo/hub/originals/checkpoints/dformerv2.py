"""DFormerv2 (github.com/VCIP-RGBD/DFormer): official keys to ours."""

from __future__ import annotations

from functools import partial

from fusionzoo.hub.originals.checkpoints.dformer import BGR, HEAD, LICENCE_NOTE, NOTES, arguments, named
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
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


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out = {f"decode_head.{a}": f"decoder.{b}" for a, b in HEAD.items()}
    out["backbone.patch_embed.proj"] = "down.0"
    for i in range(4):
        out |= listed(model, f"backbone.layers.{i}.blocks", f"stage{i + 2}.fusion.blocks", BLOCK)
    for i in range(3):
        out[f"backbone.layers.{i}.downsample.reduction"] = f"down.{i + 1}.0"
        out[f"backbone.layers.{i}.downsample.norm"] = f"down.{i + 1}.1"
        out[f"backbone.extra_norms.{i}"] = f"stage{i + 3}.fusion.norm"
    return out


def dformerv2(size: str, state: State, ctor: Arguments) -> Loaded:
    """`backbone` names the size ("DFormerv2_S"), else `size` is taken."""
    return load_model(named("DFormerv2_", SIZES, size, ctor), state, table, **arguments(ctor))


SIZES = {"s": "S", "b": "B", "l": "L"}
"""Our size -> the original's."""
MODELS = {f"dformerv2_{size}": partial(dformerv2, size) for size in SIZES}
SOURCES = {
    f"dformerv2_{size}": Source(
        kind=f"dformerv2_{size}",
        ctor={"backbone": f"DFormerv2_{official}"},
        classes=("num_classes", "decode_head.conv_seg.weight"),
        sizes={"decoder_embed_dim": "decode_head.align.conv.weight"},
        licence_note=LICENCE_NOTE,
        origin="github.com/VCIP-RGBD/DFormer",
        citation="Yin et al., DFormerv2, CVPR 2025, arXiv 2504.04701",
        notes=NOTES + BGR + " SUN RGB-D it gives as RGB.",
    )
    for size, official in SIZES.items()
}
