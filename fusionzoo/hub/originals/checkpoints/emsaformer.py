"""EMSAFormer (github.com/TUI-NICR/EMSAFormer, Apache-2.0): official keys to ours. DVEFormer's encoder has the same.

Released files are of several tasks: the semantic decoder's keys lie under `decoders.panoptic_helper.`, beside decoders
of instances and of the scene, which are left out by name.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model
from fusionzoo.models.published._swin import offset_index
from fusionzoo.models.published._swin_v2 import DEPTHS, WINDOW, coordinates

EMBED = {
    "rgb_layers.0": "embed_rgb",
    "rgb_layers.2": "norm_rgb",
    "depth_layers.0": "embed_x",
    "depth_layers.2": "norm_x",
}
BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.logit_scale": "attention.log_scale",
    "attn.qkv": "attention.qkv",
    "attn.proj": "attention.project",
    "attn.cpb_mlp.0": "attention.bias_mlp.0",
    "attn.cpb_mlp.2": "attention.bias_mlp.2",
    "mlp.0": "widen",
    "mlp.3": "narrow",
}
PLACES = (("", "layer_1"), ("layer_2.2", "layer_2.3"), ("layer_3.4", "layer_3.5"), ("layer_4.0.6", "layer_4.0.7"))
"""Of the four stages: where the merging of the original lies, and where its blocks."""
TASK = {"_task_head.conv": "head.conv"} | {f"_task_head.upsample_{i}": f"head.upsample.{i}" for i in (0, 1)}
MLP = TASK | {"main_branch.embedding.conv": "project.3", "fuse.conv": "join.0", "fuse.norm": "join.1"}
MLP |= {f"skip_fusions.{i}.ln": f"norms.{2 - i}" for i in range(3)}
MLP |= {f"skip_branches.{i}.embedding.conv": f"project.{2 - i}" for i in range(3)}
_NBT1D = {
    "conv1_1": "tall1",
    "conv1_2": "wide1",
    "norm1": "bn1",
    "conv2_1": "tall2",
    "conv2_2": "wide2",
    "norm2": "bn2",
}
CONV = TASK | {f"fusions.{i}.ln": f"norms.{2 - i}" for i in range(3)}
for _i in range(3):
    _theirs, _ours = f"decoder_modules.{_i}", f"up{3 - _i}"
    CONV |= {f"{_theirs}.conv.conv": f"{_ours}.narrow.0", f"{_theirs}.conv.norm": f"{_ours}.narrow.1"}
    CONV |= {f"{_theirs}.blocks.{j}.{a}": f"{_ours}.blocks.{j}.{b}" for j in range(3) for a, b in _NBT1D.items()}
    CONV |= {f"{_theirs}.upsample": f"{_ours}.upsample", f"_side_output_heads.{_i}.conv": f"{_ours}.side"}
DECODERS = {"segformermlp": ("emsaformer", MLP), "emsanet": ("emsaformer_emsanet", CONV)}
"""The original's name of the semantic decoder -> our architecture, keys of the decoder."""
ENCODER = "encoder.backbone."


def encoder_table(prefix: str = "") -> dict[str, str]:
    """Keys of the encoder."""
    out = {f"{prefix}patch_embedder.{a}": f"embed.{b}" for a, b in EMBED.items()} | {f"{prefix}layer_4.1": "norm"}
    for i, ((merge, blocks), depth) in enumerate(zip(PLACES, DEPTHS, strict=True), 2):
        ours = f"stage{i}.fusion"
        if merge:
            out |= {f"{prefix}{merge}.reduction": f"{ours}.merge.reduce", f"{prefix}{merge}.norm": f"{ours}.merge.norm"}
        for j in range(depth):
            out |= {f"{prefix}{blocks}.{j}.{a}": f"{ours}.blocks.{j}.{b}" for a, b in BLOCK.items()}
    return out


def constants(prefix: str = "") -> dict[str, tuple[Tensor, str]]:
    """Buffers of the attention, which ours computes."""
    table, index = coordinates(WINDOW)[None], offset_index(WINDOW, torch.device("cpu")).flatten()
    out = {}
    for i, ((_, blocks), depth) in enumerate(zip(PLACES, DEPTHS, strict=True), 2):
        for j in range(depth):
            theirs, ours = f"{prefix}{blocks}.{j}.attn", f"stage{i}.fusion.blocks.{j}.attention"
            out[f"{theirs}.relative_coords_table"] = (table, ours)
            out[f"{theirs}.relative_position_index"] = (index, ours)
    return out


def joint_table(decoder: dict[str, str], place: str) -> dict[str, str]:
    """Keys of encoder, context and a decoder whose keys begin with `place`."""
    out = encoder_table(ENCODER) | {f"{place}.{a}": f"decoder.{b}" for a, b in decoder.items()}
    for a, b in (("conv", "0"), ("norm", "1")):
        out |= {f"context_module.features.{i}.1.{a}": f"context.parts.{i}.{b}" for i in (0, 1)}
        out[f"context_module.final_conv.{a}"] = f"context.join.{b}"
    return out


def load_joint(
    name: str, state: State, decoder: dict[str, str], place: str, extra: dict[str, str], **args: Any
) -> Loaded:
    """The architecture `name` with an official state; `extra`: keys beyond encoder, context and decoder."""
    return load_model(name, state, joint_table(decoder, place) | extra, constants=constants(ENCODER), **args)


HELPER = "decoders.panoptic_helper."
BESIDE = re.compile(r"decoders\.(panoptic_helper\.)?(instance|scene)_decoder\.")
"""Decoders of the other tasks."""


def semantic(state: State) -> dict[str, Tensor]:
    """The semantic task's weights of a file of several tasks, as a model of that task alone names them."""
    out = {}
    for key, value in state.items():
        if not BESIDE.match(key):
            out["decoders." + key.removeprefix(HELPER) if key.startswith(HELPER) else key] = value
    return out


def emsaformer(kind: str, state: State, ctor: Arguments) -> Loaded:
    """`semantic_decoder`: "segformermlp" or "emsanet", else the `kind`'s."""
    ctor.only(rgbd_encoder_backbone="swin-multi-t-v2-128", context_module="ppm")
    usual = next(n for n, (name, _) in DECODERS.items() if name == kind)
    decoder = str(ctor("semantic_decoder", usual))
    if decoder not in DECODERS:
        raise InputError(f"{kind}: semantic_decoder {decoder!r} is not one of {', '.join(DECODERS)}")
    name, keys = DECODERS[decoder]
    return load_joint(name, semantic(state), keys, PLACE, {}, num_classes=ctor("num_classes", 40))


PLACE = "decoders.semantic_decoder"
MODELS = {name: partial(emsaformer, name) for name, _ in DECODERS.values()}
LICENCE_NOTE = "The original repository's licence is Apache-2.0, code and weights."
DEPTH_NOTES = (
    "Depth with the training set's mean and deviation (here NYU Depth v2's, metres); another data set's checkpoint"
    " needs its own in config.json."
)
SOURCES = {
    name: Source(
        kind=name,
        ctor={"semantic_decoder": decoder},
        classes=("num_classes", f"{PLACE}._task_head.conv.weight"),
        tidy=semantic,
        licence="apache-2.0",
        licence_note=LICENCE_NOTE,
        origin="github.com/TUI-NICR/EMSAFormer",
        citation="Fischedick et al., EMSAFormer, IJCNN 2023, arXiv 2306.05242",
        notes=DEPTH_NOTES,
    )
    for decoder, (name, _) in DECODERS.items()
}
