"""GeminiFusion (github.com/JiaDingCN/GeminiFusion): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fusionzoo.errors import check_known
from fusionzoo.hub.originals.checkpoints.source import REPEATED, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
from fusionzoo.models import FusionModel
from fusionzoo.models.published._swin import SwinStage
from fusionzoo.models.published.gemini import GeminiSwin

ATTENTION = {
    "q.module": "query",
    "kv.module": "key_value",
    "proj.module": "project",
    "sr.module": "reduce",
    "norm.ln_0": "norm.rgb",
    "norm.ln_1": "norm.x",
    "relation_judger.0.fc1": "fusion.judge.0",
    "relation_judger.0.fc2": "fusion.judge.2",
    "k_noise.weight": "fusion.key_offset",
    "v_noise.weight": "fusion.value_offset",
}
for _official, _ours in (("cross_attn_0_to_1", "fusion.attend_rgb"), ("cross_attn_1_to_0", "fusion.attend_x")):
    ATTENTION |= {f"{_official}.in_proj_{part}": f"{_ours}.in_proj.{part}" for part in ("weight", "bias")}
    ATTENTION[f"{_official}.out_proj"] = f"{_ours}.out_proj"
BODY = {
    "norm1.ln_0": "norm1.rgb",
    "norm1.ln_1": "norm1.x",
    "norm2.ln_0": "norm2.rgb",
    "norm2.ln_1": "norm2.x",
    "mlp.fc1.module": "mlp.widen",
    "mlp.dwconv.dwconv": "mlp.depthwise",
    "mlp.fc2.module": "mlp.narrow",
}
"""The Mix-Transformer block round the attention; TokenFusion's has the same names."""

BLOCK = BODY | {f"attn.{official}": f"attention.{ours}" for official, ours in ATTENTION.items()}


HEAD = {f"linear_c{i}.proj": f"project.{i - 1}" for i in (1, 2, 3, 4)}
HEAD |= {"linear_fuse.conv": "join", "linear_fuse.bn": "bn", "linear_pred": "classify"}
PAIR = {"ln_0": "rgb", "ln_1": "x"}
ENSEMBLE = {"alpha": "alpha"} | {f"decoder.{a}": f"decoder.{b}" for a, b in HEAD.items()}
"""What follows the encoder; TokenFusion's has the same names."""


def mit_table(model: FusionModel, block: Mapping[str, str], blocks: str) -> dict[str, str]:
    """Official keys of a Mix Transformer for two streams, and of what follows it.

    Args:
        block: official keys of a block to ours.
        blocks: path from a stage of ours to its blocks.
    """
    out = dict(ENSEMBLE)
    for i in range(1, 5):
        ours = f"stage{i + 1}"
        out[f"encoder.patch_embed{i}.proj.module"] = f"embed{i + 1}.conv"
        out |= {f"encoder.patch_embed{i}.norm.{a}": f"embed{i + 1}.norm.{b}" for a, b in PAIR.items()}
        out |= {f"encoder.norm{i}.{a}": f"{ours}.norm.{b}" for a, b in PAIR.items()}
        out |= listed(model, f"encoder.block{i}", f"{ours}.{blocks}", block)
    return out


FUSION = {a: b for a, b in ATTENTION.items() if b.startswith("fusion.")}
SWIN_BLOCK = FUSION | {
    "norm1.module": "norm1",
    "norm2.module": "norm2",
    "attn.module.relative_position_bias_table": "attention.bias_table",
    "attn.module.qkv": "attention.qkv",
    "attn.module.proj": "attention.project",
    "mlp.fc1.module": "widen",
    "mlp.fc2.module": "narrow",
}


def swin_table(model: FusionModel) -> dict[str, str]:
    """Official keys of the Swin Transformer for two streams, and of what follows it."""
    out = ENSEMBLE | {"encoder.body.patch_embed.proj.module": "embed2.conv"}
    out |= {f"encoder.body.patch_embed.norm.{a}": f"embed2.norm.{b}" for a, b in PAIR.items()}
    for i in range(4):
        theirs, ours = f"encoder.body.layers.{i}", f"stage{i + 2}"
        out |= {f"encoder.body.norm{i}.{a}": f"{ours}.norm.{b}" for a, b in PAIR.items()}
        out |= {
            f"{theirs}.downsample.module.{a}": f"merge{i + 2}.{b}"
            for a, b in (("norm", "norm"), ("reduction", "reduce"))
        }
        out |= listed(model, f"{theirs}.blocks", f"{ours}.fusion.blocks", SWIN_BLOCK)
    return out


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    if isinstance(model, GeminiSwin):
        return swin_table(model)
    return mit_table(model, BLOCK, "fusion")


def constants(model: FusionModel) -> dict[str, tuple[Tensor, str]]:
    """The buffer of every Swin block that says which row of the bias table belongs to which pair of positions: its
    shape, since its values follow from that."""
    first = model.get_submodule("stage2.fusion")
    if not isinstance(first, SwinStage):
        return {}
    index = torch.empty(first.window**2, first.window**2, device="meta")
    part = {"attn.module.relative_position_index": "attention"}
    out: dict[str, tuple[Tensor, str]] = {}
    for i in range(4):
        places = listed(model, f"encoder.body.layers.{i}.blocks", f"stage{i + 2}.fusion.blocks", part)
        out |= {theirs: (index, ours) for theirs, ours in places.items()}
    return out


BACKBONES = {f"mit_b{size}": f"gemini_mit_b{size}" for size in range(6)}
BACKBONES |= {f"swin_{size}": f"gemini_swin_{size}" for size in ("tiny", "small", "large", "large_384")}
BACKBONES |= {"swin_large_window12": "gemini_swin_large_384"}
"""The original's name of a backbone -> our architecture."""


def gemini(state: State, ctor: Arguments) -> Loaded:
    """`backbone`: "mit_b3", "swin_tiny", ..."""
    backbone = str(ctor("backbone"))
    check_known("backbone", backbone, BACKBONES)
    return load_model(
        BACKBONES[backbone],
        state,
        table,
        constants=constants,
        num_classes=ctor("num_classes"),
        embedding_dim=ctor("embedding_dim", 256),
        fusion_heads=ctor("n_heads", 8),
        detach_ensemble=True,
    )


MODELS = {f"gemini_{backbone}": gemini for backbone in BACKBONES}
SOURCES = {
    name: Source(
        kind=f"gemini_{backbone}",
        ctor={"backbone": backbone, "n_heads": 8, "embedding_dim": 256},
        classes=("num_classes", "decoder.linear_pred.weight"),
        licence_note="The original repository's licence is MIT; its mix_transformer.py carries NVIDIA's non-commercial"
        " source code licence, and the MiT encoders start from NVIDIA's ImageNet weights, non-commercial too.",
        origin="github.com/JiaDingCN/GeminiFusion",
        citation="Jia et al., GeminiFusion, ICML 2024, arXiv 2406.01210",
        notes=REPEATED,
    )
    for backbone, name in BACKBONES.items()
}
