"""HDBFormer (github.com/Weishuobin/HDBFormer, CC BY-NC-SA 4.0): official keys to ours.

Its Swin joins 2 x 2 neighbours channel by channel, index 4 c + 2 down + right, ours neighbour by neighbour: norm and
weight of the merging are reordered.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model
from fusionzoo.models.published._swin import offset_index
from fusionzoo.models.published.hdbformer import DEPTHS, WINDOW

MIIM = {
    "norm": "norm",
    "norm_e": "norm_e",
    "proj": "project",
    "proj_e": "project_e",
    "GFA.l": "lift",
    "GFA.kv": "key_value",
    "GFA.x_e_linear": "pooled_query",
    "LFA.q_cut": "ask",
    "LFA.e_fore": "before",
    "LFA.e_conv": "conv",
    "LFA.e_back": "after",
}
BLOCK = {
    "norm1": "norm1",
    "attn.w_msa.relative_position_bias_table": "attention.bias_table",
    "attn.w_msa.qkv": "attention.qkv",
    "attn.w_msa.proj": "attention.project",
    "norm2": "norm2",
    "ffn.layers.0.0": "widen",
    "ffn.layers.1": "narrow",
}
SWIN = "backbone.encoder2."
PATHS = {f"{SWIN}stages.{i}.blocks.{j}": f"swin.{i}.blocks.{j}" for i, n in enumerate(DEPTHS) for j in range(n)}
"""Blocks of the original's Swin -> ours."""


def table() -> dict[str, str]:
    """Official keys of the whole model."""
    out = {f"{SWIN}patch_embed.projection": "embed", f"{SWIN}patch_embed.norm": "embed_norm"}
    out |= {f"{theirs}.{a}": f"{ours}.{b}" for theirs, ours in PATHS.items() for a, b in BLOCK.items()}
    out |= {"backbone.final": "decoder.classify", "backbone.LDFormer.stages": "x_encoder"}
    for i in range(5):
        out |= {f"backbone.LIFormer.stages.{i}.conv{n}": f"detail.{i}.{2 * n - 2}" for n in (1, 2)}
    for i in range(4):
        out[f"{SWIN}norm{i}"] = f"norms.{i}"
        if i < 3:
            merge = f"{SWIN}stages.{i}.downsample"
            out |= {f"{merge}.norm": f"merge.{i}.norm", f"{merge}.reduction": f"merge.{i}.reduce"}
        reducer = f"backbone.ChannelReducer{i + 1}"
        out |= {f"{reducer}.conv_reduce": f"reduce.{i}.0", f"{reducer}.bn": f"reduce.{i}.1"}
        out |= {f"backbone.ffb{i + 1}.{a}": f"stage{i + 2}.fusion.miim.{b}" for a, b in MIIM.items()}
    return out


def reordered(key: str, value: Tensor) -> Tensor:
    """A tensor of the merging with its last axis as ours has it; any other as it is."""
    if key.startswith(SWIN) and ".downsample." in key and value.ndim and value.shape[-1] % 4 == 0:
        four = value.unflatten(-1, (-1, 2, 2)).movedim(-3, -1)  # (..., C, down, right) -> (..., down, right, C)
        return four.transpose(-3, -2).flatten(-3)  # (..., right down C)
    return value


def hdbformer(state: State, ctor: Arguments) -> Loaded:
    """`backbone`: "swin_b" alone is published."""
    if ctor("backbone", "swin_b") != "swin_b":
        raise InputError(f"hdbformer: backbone {ctor['backbone']!r} is not supported; only 'swin_b'")
    index = offset_index(WINDOW, torch.device("cpu"))
    fixed = {f"{a}.attn.w_msa.relative_position_index": (index, f"{b}.attention") for a, b in PATHS.items()}
    own = {key: reordered(key, value) for key, value in state.items()}
    classes = ctor("num_classes", 40)
    return load_model("hdbformer_swin_base", own, table(), constants=fixed, num_classes=classes)


MODELS = {"hdbformer_swin_b": hdbformer}
SOURCES = {
    "hdbformer_swin_base": Source(
        kind="hdbformer_swin_b",
        ctor={"backbone": "swin_b"},
        classes=("num_classes", "backbone.final.weight"),
        licence="cc-by-nc-sa-4.0",
        licence_note="CC BY-NC-SA 4.0 for code and weights, as the original repository states: what is converted from"
        " them stays under it, non-commercial and share-alike. Its Swin started from an ADE20K checkpoint.",
        origin="github.com/Weishuobin/HDBFormer",
        citation="Wei et al., HDBFormer, IEEE SPL 2025, arXiv 2504.13579",
        notes="RGB / 255 with ImageNet's mean and deviation; x is depth as a grey image, 0..255: (x / 255 - 0.48) /"
        " 0.28, three equal channels.",
    )
}
