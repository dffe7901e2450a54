"""SA-Gate (github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch, MIT): official keys to ours."""

from __future__ import annotations

import re

from fusionzoo.hub.originals.checkpoints.source import MIT, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model, without_aliases
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


def sagate_model(state: State, ctor: Arguments) -> Loaded:
    """`backbone` names the ResNet: "resnet101 deep stem ..."."""
    backbone = str(ctor("backbone", "resnet101"))
    depth = re.search(r"resnet(\d+)", backbone)
    name = f"sagate_resnet{depth.group(1)}" if depth else backbone
    own = without_aliases(state, lambda key: key.replace(".hha_downsample.", ".downsample."))
    args = {"num_classes": ctor("out_planes"), "shared_shortcut": True}
    return load_model(name, own, table, reshape=True, **args)


MODELS = {"sagate_r50": sagate_model, "sagate_r101": sagate_model}
SOURCES = {
    f"sagate_resnet{depth}": Source(
        kind=f"sagate_r{depth}",
        ctor={"backbone": f"resnet{depth}"},
        classes=("out_planes", "head.classify.weight"),
        licence="mit",
        licence_note=MIT,
        origin="github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch",
        citation="Chen et al., SA-Gate, ECCV 2020, arXiv 2007.09183",
        notes="x is HHA (3 channels, 0..255); both inputs / 255 and normalised with ImageNet's mean and deviation.",
    )
    for depth in (50, 101)
}
