"""ESANet (github.com/TUI-NICR, Apache-2.0): official keys to ours."""

from __future__ import annotations

import re
from functools import partial

from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model
from fusionzoo.models import FusionModel

ESANET = {
    "se_rgb.fc.0": "excite_rgb.reduce",
    "se_rgb.fc.2": "excite_rgb.expand",
    "se_depth.fc.0": "excite_x.reduce",
    "se_depth.fc.2": "excite_x.expand",
}

_TRUNK = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
_STREAMS = {"encoder_rgb": "rgb_encoder", "encoder_depth": "x_encoder"}
_NBT1D = {"conv3x1_1": "tall1", "conv1x3_1": "wide1", "bn1": "bn1"}
_NBT1D |= {"conv3x1_2": "tall2", "conv1x3_2": "wide2", "bn2": "bn2", "downsample": "downsample"}
_CONV_ACT = {"conv": "0", "bn": "1"}


def table(model: FusionModel, nbt1d: bool) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out: dict[str, str] = {}
    for official, ours in _STREAMS.items():
        out |= {f"{official}.{part}": f"{ours}.{part}" for part in _TRUNK if not nbt1d or not part.startswith("layer")}
        for i in range(1, 5) if nbt1d else ():
            for j, block in enumerate(model.get_submodule(f"{ours}.layer{i}").children()):
                parts = {a: b for a, b in _NBT1D.items() if a != "downsample" or block.downsample is not None}
                out |= {f"{official}.layer{i}.{j}.{a}": f"{ours}.layer{i}.{j}.{b}" for a, b in parts.items()}
    for i in range(5):
        out |= {f"se_layer{i}.{a}": f"stage{i + 1}.fusion.{b}" for a, b in ESANET.items()}
    for a, b in _CONV_ACT.items():
        for i in (0, 1):
            out[f"context_module.features.{i}.1.{a}"] = f"decoder.context.parts.{i}.{b}"
        out[f"context_module.final_conv.{a}"] = f"decoder.context.join.{b}"
        for i in (1, 2, 3):
            if len(list(model.get_submodule(f"decoder.skip{4 - i}").children())):
                out[f"skip_layer{i}.0.{a}"] = f"decoder.skip{4 - i}.{b}"
            out[f"decoder.decoder_module_{i}.conv3x3.{a}"] = f"decoder.up{i}.narrow.{b}"
    for i in (1, 2, 3):
        official, ours = f"decoder.decoder_module_{i}", f"decoder.up{i}"
        for j in range(3):
            parts = {a: b for a, b in _NBT1D.items() if a != "downsample"}
            out |= {f"{official}.decoder_blocks.{j}.{a}": f"{ours}.blocks.{j}.{b}" for a, b in parts.items()}
        out |= {f"{official}.upsample": f"{ours}.upsample", f"{official}.side_output": f"{ours}.side"}
    return out | {
        "decoder.conv_out": "decoder.classify",
        "decoder.upsample1": "decoder.enlarge1",
        "decoder.upsample2": "decoder.enlarge2",
    }


PUBLISHED = {
    "channels_decoder": [512, 256, 128],
    "nr_decoder_blocks": [3, 3, 3],
    "context_module": "ppm",
    "fuse": "SE-add",
    "upsampling": "learned-3x3-zeropad",
}
"""The only form that is built: the original's options and their published values."""


def esanet(state: State, ctor: Arguments) -> Loaded:
    """`encoder`: "resnet34 NonBottleneck1D", "resnet50", ..."""
    ctor.only(**PUBLISHED)
    encoder = str(ctor("encoder"))
    depth, nbt1d = re.search(r"resnet(\d+)", encoder), "nonbottleneck1d" in encoder.lower()
    name = f"esanet_r{depth.group(1)}" + ("_nbt1d" if nbt1d else "") if depth else encoder
    return load_model(name, state, partial(table, nbt1d=nbt1d), num_classes=ctor("num_classes"))


_ENCODERS = {
    "r18_nbt1d": "resnet18 NonBottleneck1D",
    "r34_nbt1d": "resnet34 NonBottleneck1D",
    "r18": "resnet18",
    "r34": "resnet34",
    "r50": "resnet50",
}
MODELS = {f"esanet_{size}": esanet for size in _ENCODERS}
SOURCES = {
    f"esanet_{size}": Source(
        kind=f"esanet_{size}",
        ctor={"encoder": encoder},
        classes=("num_classes", "decoder.conv_out.weight"),
        licence="apache-2.0",
        licence_note="The original repository's licence is Apache-2.0 (BSD-3-Clause before 2025).",
        origin="github.com/TUI-NICR/ESANet",
        citation="Seichter et al., ESANet, ICRA 2021, arXiv 2011.06961",
        notes="Depth with the training set's mean and deviation (here NYU Depth v2's, metres); another data set's"
        " checkpoint needs its own in config.json.",
    )
    for size, encoder in _ENCODERS.items()
}
