"""DFormer (github.com/VCIP-RGBD/DFormer): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
from fusionzoo.models import FusionModel

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
REST = {f"{at}.{official}": f"{to}.{ours}" for at, to in (("mlp", "mlp"), ("mlp_e2", "mlp_e"))
        for official, ours in (("norm", "norm"), ("fc1", "widen"), ("pos", "position"), ("fc2", "narrow"))}  # fmt: skip
REST |= {f"layer_scale_{i}{e}": f"scale{i}{e}" for i in (1, 2) for e in ("", "_e")}
"""A block's keys beside those of its attention; TUNI's are the same."""
BLOCK = {f"attn.{official}": f"attention.{ours}" for official, ours in ATTENTION.items()} | REST
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


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out = {f"decode_head.{a}": f"decoder.{b}" for a, b in HEAD.items()}
    out |= {"backbone.downsample_layers": "rgb_down", "backbone.downsample_layers_e": "x_down"}
    for i in range(4):
        out |= listed(model, f"backbone.stages.{i}", f"stage{i + 2}.fusion.blocks", BLOCK)
    return out


DEAD = {f"backbone.norm{i}.{leaf}" for i in range(4) for leaf in ("weight", "bias")}
"""Norms that the original had at first and never called; files of that time hold them."""


def arguments(ctor: Arguments) -> dict[str, Any]:
    """Our arguments for the original's decoder options.

    Raises:
        InputError: another decoder than LightHam, or an auxiliary head; the published settings have neither.
    """
    ctor.only(decoder="ham")
    if ctor("aux_rate", 0) != 0:
        raise InputError(f"{ctor.what} with an auxiliary head (aux_rate {ctor['aux_rate']}) is not supported; only 0")
    return {
        "num_classes": ctor("num_classes", 40),
        "decoder_channels": ctor("decoder_embed_dim", 512),
        "norm_eps": ctor("bn_eps", 1e-3),
        "drop": ctor("drop_path_rate", None),
    }


def named(prefix: str, sizes: Mapping[str, str], size: str, ctor: Arguments) -> str:
    """Our architecture for the original's "DFormer-Tiny" (`prefix`, one of `sizes`); that of `size` where the arguments
    name none."""
    backbone, family = str(ctor("backbone", size)), prefix[:-1]
    size = backbone.removeprefix(prefix).lower()
    if size not in sizes:
        known = ", ".join(prefix + official for official in sizes.values())
        raise InputError(f"backbone {backbone!r} is not a {family}; known: {known}")
    return f"{family.lower()}_{size}"


def dformer(size: str, state: State, ctor: Arguments) -> Loaded:
    """`backbone` names the size ("DFormer-Tiny"), else `size` is taken."""
    used = {key: value for key, value in state.items() if key not in DEAD}
    return load_model(named("DFormer-", SIZES, size, ctor), used, table, **arguments(ctor))


SIZES = {"tiny": "Tiny", "small": "Small", "base": "Base", "large": "Large"}
"""Our size -> the original's."""
MODELS = {f"dformer_{size}": partial(dformer, size) for size in SIZES}

LICENCE_NOTE = "The original's licence file is MIT, while its README allows non-commercial use only."
NOTES = (
    "x is depth as a grey image, 0..255, stretched from the nearest to the farthest pixel (the authors' files are made"
    " with matplotlib's Greys_r; fusionzoo.data.grey makes it from metres): (x / 255 - 0.48) / 0.28, first channel"
    " only. RGB / 255 with ImageNet's mean and deviation. "
)
BGR = "The authors' loader gives NYU Depth v2 as BGR, with those statistics in RGB's order: swap red and blue."
SOURCES = {
    f"dformer_{size}": Source(
        kind=f"dformer_{size}",
        ctor={"backbone": f"DFormer-{official}"},
        classes=("num_classes", "decode_head.conv_seg.weight"),
        sizes={"decoder_embed_dim": "decode_head.align.conv.weight"},
        licence_note=LICENCE_NOTE,
        origin="github.com/VCIP-RGBD/DFormer",
        citation="Yin et al., DFormer, ICLR 2024, arXiv 2309.09668",
        notes=NOTES + BGR,
    )
    for size, official in SIZES.items()
}
