"""SA-Gate whole, and its block (github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch, MIT): official keys to
ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.sagate import SAGate
from fusionzoo.hub.originals.checkpoint import Source
from fusionzoo.hub.originals.port import Port, View, blank, port, take, without_aliases
from fusionzoo.hub.originals.rednet import plain
from fusionzoo.models import FusionModel

GATE = {
    "fsp_rgb.filter.fc.0": "separate_rgb.excite.reduce",
    "fsp_rgb.filter.fc.2": "separate_rgb.excite.expand",
    "fsp_hha.filter.fc.0": "separate_x.excite.reduce",
    "fsp_hha.filter.fc.2": "separate_x.excite.expand",
    "gate_rgb": "score_rgb",
    "gate_hha": "score_x",
}
"""The original's squeeze layers are linear; ours are 1x1 convolutions (`reshape`)."""

VIEWS = {
    "fsp_rgb.filter": View("separate_rgb.gate"),
    "fsp_rgb": View("separate_rgb.filtered"),
    "fsp_hha.filter": View("separate_x.gate"),
    "fsp_hha": View("separate_x.filtered"),
    "gate_rgb": View("logit_rgb"),
    "gate_hha": View("logit_x"),
    "softmax": View("attention"),
}


def sagate(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, hha) -> (rgb_out, hha_out, merge)."""
    channels = take(ctor, "in_planes")
    if take(ctor, "out_planes", default=channels) != channels:
        raise InputError(
            f"sagate: in_planes {channels} and out_planes {ctor['out_planes']} differ; only equal is defined"
        )
    block = SAGate(channels, reduction=take(ctor, "reduction", default=16), min_hidden=1)
    return port(block, state, GATE, _call, VIEWS, what="sagate", reshape=True)


def _call(block: SAGate, rgb: Tensor, hha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    out = block(rgb, hha)
    return out.rgb, out.x, out.fused


BLOCKS = {"sagate": sagate}

_HEAD = {
    "aspp.map_convs": "aspp.branches",
    "aspp.map_bn": "aspp.branch_bn",
    "aspp.global_pooling_conv": "aspp.mean_conv",
    "aspp.global_pooling_bn": "aspp.mean_bn",
    "aspp.red_conv": "aspp.join",
    "aspp.pool_red_conv": "aspp.join_mean",
    "aspp.red_bn": "aspp.bn",
    "reduce": "reduce",
    "last_conv": "refine",
    "classify": "classify",
    "auxlayer.block": "side",
}
_PARTS = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes; the shared shortcuts by their first name."""
    out = {f"head.{a}": f"decoder.{b}" for a, b in _HEAD.items()}
    for prefix, stem in (("", "rgb_stem"), ("hha_", "x_stem")):
        out |= {f"backbone.{prefix}conv1.{i}": f"{stem}.{i}" for i in (0, 1, 3, 4, 6)}
        out[f"backbone.{prefix}bn1"] = f"{stem}.7"
    for i in range(1, 5):
        for j, _ in enumerate(model.get_submodule(f"layer{i}").children()):
            for prefix, stream in (("", "rgb"), ("hha_", "x")):
                out |= {f"backbone.layer{i}.{j}.{prefix}{p}": f"layer{i}.{j}.{stream}.{p}" for p in _PARTS}
        out[f"backbone.layer{i}.0.downsample"] = f"layer{i}.0.shortcut"
        out |= {f"backbone.sagates.{i - 1}.{a}": f"stage{i + 1}.fusion.{b}" for a, b in GATE.items()}
    return out


MODEL_VIEWS = {
    f"backbone.sagates.{i}.{path}": View(f"stage{i + 2}.fusion.{ours}")
    for i in range(4)
    for path, ours in (("0.0", "rgb_out"), ("0.1", "x_out"), ("1", "fused"))
}


def sagate_model(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, hha) -> class scores at the input size. `backbone` names the ResNet: "resnet101 deep stem ..."."""
    backbone = str(take(ctor, "backbone", default="resnet101"))
    depth = re.search(r"resnet(\d+)", backbone)
    name = f"sagate_resnet{depth.group(1)}" if depth else backbone
    model = blank(name, num_classes=take(ctor, "out_planes"), shared_shortcut=True)
    own = without_aliases(state, lambda key: key.replace(".hha_downsample.", ".downsample."))
    return port(model, own, table(model), plain, MODEL_VIEWS, what=name, reshape=True)


MODELS = {"sagate_r50": sagate_model, "sagate_r101": sagate_model}
SOURCES = {
    f"sagate_resnet{depth}": Source(
        kind=f"sagate_r{depth}",
        family="sagate",
        ctor={"backbone": f"resnet{depth}"},
        classes=("out_planes", "head.classify.weight"),
        licence="mit",
        licence_note="The original repository's licence is MIT; it says nothing of the weights.",
        origin="github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch",
        citation="Chen et al., SA-Gate, ECCV 2020, arXiv 2007.09183",
        notes="x is HHA (3 channels, 0..255); both inputs / 255 and normalised with ImageNet's mean and deviation.",
        input_size=(480, 640),
    )
    for depth in (50, 101)
}
