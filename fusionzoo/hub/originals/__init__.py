"""Official checkpoint formats -> ours: one file a family of weights.

    block(kind, state_dict, ctor)   our fusion block, called with the original's inputs and returning its outputs
    model(kind, state_dict, ctor)   the same for a whole model

`kind` is one of `original_kinds()`, `state_dict` maps the original's keys to tensors, `ctor` holds the arguments of the
original's constructor. Quirks that official weights need are switched on here and nowhere else.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fusionzoo.errors import unknown

__all__ = ["block", "model", "original_kinds", "sources"]

_BLOCKS = {
    "acnet_acm": "acnet",
    "asymformer_cma": "asymformer",
    "asymformer_lafs": "asymformer",
    "asymformer_scc": "asymformer",
    **{f"backbone_dformer_{size}": "dformer" for size in ("tiny", "small", "base", "large")},
    **{f"backbone_dformerv2_{size}": "dformerv2" for size in "sbl"},
    "cen_bn_exchange": "cen",
    "cen_bottleneck": "cen",
    "cmnext_hub": "cmnext",
    "cmnext_ppx": "cmnext",
    "cmx_ffm": "cmx",
    "cmx_frm": "cmx",
    "dformer_attn": "dformer",
    "dformer_block": "dformer",
    "dformerv2_block": "dformerv2",
    "eaef": "eaef",
    "emsaformer_patch_embed": "emsaformer",
    "emsanet_se_add": "esanet",
    "emsanet_se_add_uni_rgb": "esanet",
    "esanet_seadd": "esanet",
    "gemini_attn": "gemini",
    "gemini_block": "gemini",
    "sagate": "sagate",
    "shapeconv": "shapeconv",
    "sigma_conmb": "sigma",
    "sigma_cromb": "sigma",
    "spnet_cim": "spnet",
    "spnet_cim0": "spnet",
    "spnet_mfa": "spnet",
    "tokenfusion_block": "tokenfusion",
    "tokenfusion_exchange": "tokenfusion",
    "tokenfusion_predictor": "tokenfusion",
    "torchmultimodal_attention_fusion": "torchmultimodal",
}
"""Kind of block -> the file of this folder whose `BLOCKS` holds its builder."""

_MODELS = {
    "acnet": "acnet",
    "asymformer_b0t": "asymformer",
    "cen_r101": "cen",
    "cen_r152": "cen",
    "cen_r50": "cen",
    **{f"cmnext_b{size}_{count}m": "cmnext" for size in range(6) for count in range(1, 5)},
    **{f"cmx_mit_b{size}": "cmx" for size in range(6)},
    **{f"dformer_{size}": "dformer" for size in ("tiny", "small", "base", "large")},
    **{f"dformerv2_{size}": "dformerv2" for size in "sbl"},
    "esanet_r18": "esanet",
    "esanet_r18_nbt1d": "esanet",
    "esanet_r34": "esanet",
    "esanet_r34_nbt1d": "esanet",
    "esanet_r50": "esanet",
    **{f"gemini_mit_b{size}": "gemini" for size in range(6)},
    **{f"gemini_swin_{size}": "gemini" for size in ("tiny", "small", "large", "large_384", "large_window12")},
    "mfnet": "mfnet",
    "multivit_base": "multimae",
    "multivit_large": "multimae",
    "multivit_tiny": "multimae",
    "rednet": "rednet",
    "rtfnet_r101": "rtfnet",
    "rtfnet_r152": "rtfnet",
    "rtfnet_r18": "rtfnet",
    "rtfnet_r34": "rtfnet",
    "rtfnet_r50": "rtfnet",
    "sagate_r101": "sagate",
    "sagate_r50": "sagate",
    "sigma_base": "sigma",
    "sigma_small": "sigma",
    "sigma_tiny": "sigma",
    **{f"tokenfusion_mit_b{size}": "tokenfusion" for size in range(6)},
}
"""Kind of whole model -> the file of this folder whose `MODELS` holds its builder."""


def original_kinds() -> list[str]:
    """Every kind that `block` or `model` knows, sorted.

    >>> "acnet_acm" in original_kinds(), "mfnet" in original_kinds()
    (True, True)
    """
    return sorted({*_BLOCKS, *_MODELS})


def sources() -> dict[str, Any]:
    """Name of an architecture -> its `checkpoint.Source`, for every family that has whole models."""
    found: dict[str, Any] = {}
    for family in sorted(set(_MODELS.values())):
        found |= importlib.import_module(f"fusionzoo.hub.originals.{family}").SOURCES
    return found


def block(kind: str, state_dict: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> nn.Module:
    """Our module with the original's weights, in eval mode, called as the original is.

    Args:
        kind: a name of `original_kinds()`.
        state_dict: the original's keys and tensors, complete.
        ctor: the original's constructor arguments; sizes are taken from here, never guessed from the tensors.

    Returns:
        A module: the original's inputs in its order -> its outputs in its order (a tensor, or a tuple of tensors).
        Inner values of the original are probes under `original.`, in its layout; our own probes under `module.`.

    Raises:
        UnknownNameError: no such kind.
        InputError: `ctor` lacks an argument or holds one that is not supported.
        CheckFailed: keys without a place, places without a key, or other shapes; all listed.
    """
    if kind not in _BLOCKS:
        raise unknown("original block", kind, _BLOCKS, "fusionzoo.hub.originals.original_kinds()")
    family = importlib.import_module(f"fusionzoo.hub.originals.{_BLOCKS[kind]}")
    port: nn.Module = family.BLOCKS[kind](state_dict, ctor)
    return port.eval()


def model(kind: str, state_dict: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> nn.Module:
    """Our whole model with the original's weights, in eval mode, called as the original is.

    Args:
        kind: a model of `original_kinds()`.
        state_dict: the original's keys and tensors, complete.
        ctor: the original's constructor arguments; sizes are taken from here, never guessed from the tensors.

    Returns:
        A module as `block` returns it. The model itself, with our inputs `(rgb, x)`, is its `.module`.

    Raises:
        UnknownNameError, InputError, CheckFailed: as `block`.
    """
    if kind not in _MODELS:
        raise unknown("original model", kind, _MODELS, "fusionzoo.hub.originals.original_kinds()")
    family = importlib.import_module(f"fusionzoo.hub.originals.{_MODELS[kind]}")
    port: nn.Module = family.MODELS[kind](state_dict, ctor)
    return port.eval()
