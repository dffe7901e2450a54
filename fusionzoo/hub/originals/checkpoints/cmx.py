"""CMX (github.com/huaaaliu/RGBX_Semantic_Segmentation, MIT): official keys to ours."""

from __future__ import annotations

from functools import partial

from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
from fusionzoo.models import FusionModel

FRM = {f"{part}_weights.mlp.{i}": f"{part}.{i}" for part in ("channel", "spatial") for i in (0, 2)}
_HALF = {"channel_proj": "split", "cross_attn.kv": "key_value", "end_proj": "end", "norm": "norm"}
FFM = {f"cross.{a}{i}": f"{half}.{b}" for i, half in ((1, "rgb"), (2, "x")) for a, b in _HALF.items()}
FFM |= {f"channel_emb.channel_embed.{i}": f"embed.{i}" for i in (0, 1, 3, 4)}
FFM |= {"channel_emb.residual": "residual", "channel_emb.norm": "norm"}

BLOCK = {
    "norm1": "norm1",
    "attn.q": "attention.query",
    "attn.kv": "attention.key_value",
    "attn.proj": "attention.project",
    "norm2": "norm2",
    "mlp.fc1": "mlp.widen",
    "mlp.dwconv.dwconv": "mlp.depthwise",
    "mlp.fc2": "mlp.narrow",
}
REDUCED = {"attn.sr": "attention.reduce", "attn.norm": "attention.norm"}


def mit_table(model: FusionModel, encoder: str, prefix: str = "") -> dict[str, str]:
    """Keys of a Mix Transformer, `backbone.{prefix}block1.0.attn.q` and so on, to those of `encoder`."""
    out: dict[str, str] = {}
    for i in range(1, 5):
        out[f"backbone.{prefix}patch_embed{i}.proj"] = f"{encoder}.embed{i}.conv"
        out[f"backbone.{prefix}patch_embed{i}.norm"] = f"{encoder}.embed{i}.norm"
        out[f"backbone.{prefix}norm{i}"] = f"{encoder}.norm{i}"
        parts = BLOCK | (REDUCED if i < 4 else {})
        out |= listed(model, f"backbone.{prefix}block{i}", f"{encoder}.blocks{i}", parts)
    return out


def exchange_table() -> dict[str, str]:
    """Keys of the four FRM and FFM."""
    out: dict[str, str] = {}
    for i in range(4):
        out |= {f"backbone.FRMs.{i}.{a}": f"stage{i + 2}.fusion.rectify.{b}" for a, b in FRM.items()}
        out |= {f"backbone.FFMs.{i}.{a}": f"stage{i + 2}.fusion.fusion.{b}" for a, b in FFM.items()}
    return out


def head_table(conv: str, norm: str) -> dict[str, str]:
    """Keys of SegFormer's decoder; `conv` and `norm` are the parts' names inside `linear_fuse`."""
    out = {f"decode_head.linear_c{i}.proj": f"decoder.project.{i - 1}" for i in range(1, 5)}
    out |= {f"decode_head.linear_fuse.{conv}": "decoder.join", f"decode_head.linear_fuse.{norm}": "decoder.bn"}
    return out | {"decode_head.linear_pred": "decoder.classify"}


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    encoders = mit_table(model, "rgb_encoder") | mit_table(model, "x_encoder", "extra_")
    return encoders | exchange_table() | head_table("0", "1")


def cmx_model(size: int, state: State, ctor: Arguments) -> Loaded:
    """`backbone` names the Mix Transformer, else `size` is taken."""
    size = ctor.size("cmx", "mit_b{}", size, range(6))
    ctor.only(decoder="MLPDecoder")
    return load_model(
        f"cmx_mit_b{size}",
        state,
        table,
        num_classes=ctor("num_classes"),
        width=int(ctor("decoder_embed_dim", 512)),
        decoder_eps=float(ctor("bn_eps", 1e-3)),
    )


MODELS = {f"cmx_mit_b{size}": partial(cmx_model, size) for size in range(6)}
SOURCES = {
    f"cmx_mit_b{size}": Source(
        kind=f"cmx_mit_b{size}",
        ctor={"backbone": f"mit_b{size}", "decoder_embed_dim": 512, "bn_eps": 1e-3},
        classes=("num_classes", "decode_head.linear_pred.weight"),
        licence="mit",
        licence_note="The original repository's licence is MIT; it says nothing of the weights, whose encoders started"
        " from NVIDIA's SegFormer weights (non-commercial).",
        origin="github.com/huaaaliu/RGBX_Semantic_Segmentation",
        citation="Zhang et al., CMX, T-ITS 2023, arXiv 2203.04838",
        notes="x is HHA, or one channel three times (0..255); both inputs / 255 and normalised with ImageNet's mean and"
        " deviation.",
    )
    for size in range(6)
}
