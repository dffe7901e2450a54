"""RedNet (github.com/JindongJiang/RedNet, CC BY-NC 4.0): official keys to ours."""

from __future__ import annotations

from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model

_TRUNK = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
_BLOCKS = {"deconv1": 6, "deconv2": 4, "deconv3": 3, "deconv4": 3, "final_conv": 3}
_OURS = {f"deconv{i}": f"up{i}" for i in range(1, 5)} | {"final_conv": "last"}
_LAYERS = {"conv1": "conv1", "bn1": "bn1", "conv2": "conv2", "bn2": "bn2", "upsample": "shortcut"}
DECODER = {f"agant{i}": f"decoder.lateral{i + 1}" for i in range(5)}
DECODER |= {f"out{6 - i}_conv": f"decoder.side{i}" for i in range(1, 5)} | {"final_deconv": "decoder.classify"}
DECODER |= {
    f"{official}.{j}.{layer}": f"decoder.{_OURS[official]}.{j}.{ours}"
    for official, count in _BLOCKS.items()
    for j in range(count)
    for layer, ours in _LAYERS.items()
    if layer != "upsample" or (j == count - 1 and official != "final_conv")
}
ENCODERS = {part: f"rgb_encoder.{part}" for part in _TRUNK} | {f"{part}_d": f"x_encoder.{part}" for part in _TRUNK}


def rednet(state: State, ctor: Arguments) -> Loaded:
    """`num_classes`: number of classes, 37 by default."""
    classes = ctor("num_classes", 37)
    return load_model("rednet_resnet50", state, ENCODERS | DECODER, num_classes=classes)


MODELS = {"rednet": rednet}
SOURCES = {
    "rednet_resnet50": Source(
        kind="rednet",
        classes=("num_classes", "out5_conv.weight"),
        licence="cc-by-nc-4.0",
        licence_note="The original's README states CC BY-NC 4.0.",
        origin="github.com/JindongJiang/RedNet",
        citation="Jiang et al., RedNet, 2018, arXiv 1806.01054",
        notes="Depth: (raw - 19050) / 9650 with SUN RGB-D's raw values (8 a millimetre). The original normalises"
        " missing depth like a value; here it becomes the mean.",
    )
}
