"""CMNeXt whole, its hub and PPX (github.com/jamycheung/DELIVER): official keys to ours. Its FRM and FFM are CMX's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.cmnext import ParallelPoolingMixer, SelfQueryHub
from fusionzoo.hub.originals.checkpoint import Source
from fusionzoo.hub.originals.cmx import MODEL_VIEWS, at_input_size, exchange_table, head_table, mit_table
from fusionzoo.hub.originals.port import Port, View, blank, port, take
from fusionzoo.models import FusionModel

PPX = {
    "layer_scale_1": "scale1",
    "layer_scale_2": "scale2",
    "norm1": "norm1",
    "attn.conv0": "mix",
    "attn.conv4": "weigh",
    "norm2": "norm2",
    "mlp.fc1": "widen",
    "mlp.dwconv.dwconv": "depthwise",
    "mlp.fc2": "narrow",
    "c_nets.0": "neighbours",
}


def _as_row(gate: Tensor) -> Tensor:
    """(B, C, 1, 1) -> (B, 1, C)."""
    return gate.flatten(2).transpose(1, 2)


PPX_VIEWS = {"attn": View("mixed"), "c_nets": View("channel_gate", _as_row)}


def cmnext_hub(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1, ...) -> hub feature."""
    count = take(ctor, "num_modals")
    block = SelfQueryHub(take(ctor, "embed_dim"), count)
    table = {f"score_nets.{i}.{j}": f"score.{i}.{j}" for i in range(count) for j in (0, 1)}
    views = {f"score_nets.{i}": View(f"gates.{i}") for i in range(count)}
    return port(block, state, table, _hub, views, what="cmnext_hub")


def cmnext_ppx(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """x -> out."""
    block = ParallelPoolingMixer(take(ctor, "dim"), take(ctor, "mlp_ratio"))
    return port(block, state, PPX, _plain, PPX_VIEWS, what="cmnext_ppx")


def _hub(block: SelfQueryHub, *maps: Tensor) -> Tensor:
    return block(maps)[0]


def _plain(block: ParallelPoolingMixer, x: Tensor) -> Tensor:
    return block(x)


BLOCKS = {"cmnext_hub": cmnext_hub, "cmnext_ppx": cmnext_ppx}

MODALITIES = ("img", "depth", "event", "lidar")


def table(model: FusionModel, count: int) -> dict[str, str]:
    """Official keys of the model of these sizes with `count` auxiliary modalities."""
    out = mit_table(model, "rgb_encoder") | head_table("conv", "bn")
    if count == 0:
        return out
    out |= exchange_table()
    for i in range(1, 5):
        down = f"backbone.extra_downsample_layers.{i - 1}"
        out[f"{down}.proj.module"] = f"branch{i}.conv"
        out |= {f"{down}.norm.ln_{j}": f"branch{i}.norms.{j}" for j in range(count)}
        if count > 1:
            scores = f"backbone.extra_score_predictor.{i - 1}.score_nets"
            out |= {f"{scores}.{j}.{k}": f"branch{i}.hub.score.{j}.{k}" for j in range(count) for k in (0, 1)}
        for j, _ in enumerate(model.get_submodule(f"branch{i}.mixers").children()):
            out |= {f"backbone.extra_block{i}.{j}.{a}": f"branch{i}.mixers.{j}.{b}" for a, b in PPX.items()}
        out[f"backbone.extra_norm{i}"] = f"branch{i}.norm"
    return out


def _call(model: FusionModel, rgb: Tensor, *others: Tensor) -> Tensor:
    return at_input_size(model, rgb, torch.cat(others, dim=1) if others else rgb)


def modalities(ctor: Mapping[str, Any], count: int) -> list[str]:
    """The constructor's `modals`, RGB first: a list, or names with commas between; else `count` names."""
    given = take(ctor, "modals", default=MODALITIES[:count])
    names = given.split(",") if isinstance(given, str) else list(given)
    if not names:
        raise InputError("cmnext: 'modals' is empty; name RGB at least, for example img,depth")
    return names


def cmnext_model(size: int, count: int, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, other, ...), as many as `modals` names -> class scores at the input size.

    `backbone` names the size ("CMNeXt-B2"); without it and without `modals`, `size` and `count` are taken.
    """
    named = str(take(ctor, "backbone", default=f"CMNeXt-B{size}"))
    found = re.fullmatch(r"CMNeXt-B([0-5])", named)
    if found is None:
        raise InputError(f"cmnext: backbone {named!r} is not one of CMNeXt-B0 to CMNeXt-B5")
    others = len(modalities(ctor, count)) - 1
    model = blank(
        f"cmnext_mit_b{found[1]}",
        num_classes=take(ctor, "num_classes", default=25),
        auxiliaries=others,
        scrambled=others > 1,
    )
    views = MODEL_VIEWS if others else {f"backbone.{i}": View(f"stage{i + 2}.rgb") for i in range(4)}
    return port(model, state, table(model, others), _call, views, what=model.architecture)


MODELS = {f"cmnext_b{size}_{count}m": partial(cmnext_model, size, count) for size in range(6) for count in range(1, 5)}
SOURCES = {
    f"cmnext_mit_b{size}": Source(
        kind=f"cmnext_b{size}_2m",
        family="cmnext",
        ctor={"backbone": f"CMNeXt-B{size}", "modals": "img,depth"},
        classes=("num_classes", "decode_head.linear_pred.weight"),
        licence="apache-2.0",
        licence_note="The original repository's licence is Apache-2.0 and its README asks to contact the authors for"
        " commercial use; the RGB encoder started from NVIDIA's SegFormer weights (non-commercial).",
        origin="github.com/jamycheung/DELIVER",
        citation="Zhang et al., CMNeXt, CVPR 2023, arXiv 2303.01480",
        notes="RGB / 255, normalised with ImageNet's mean and deviation; the other modalities, three channels each"
        " (0..255; depth as HHA), / 255. Other modalities than depth: --option modals=img,depth,event,lidar.",
    )
    for size in range(6)
}
