"""RTFNet (github.com/yuxiangsun/RTFNet, MIT): official keys to ours."""

from __future__ import annotations

from fusionzoo.hub.originals.checkpoints.source import MIT, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model

_STREAMS = {"rgb": "rgb_encoder", "thermal": "x_encoder"}
_TRUNK = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
_BLOCK = {f"{part}{i}": f"{part}{i}" for part in ("conv", "bn") for i in (1, 2, 3)} | {"upsample": "shortcut"}
TABLE = {f"encoder_{s}_{part}": f"{encoder}.{part}" for s, encoder in _STREAMS.items() for part in _TRUNK}
TABLE |= {
    f"deconv{i}.{j}.{official}": f"decoder.up{i}.{j}.{ours}"
    for i in range(1, 6)
    for j in (0, 1)
    for official, ours in _BLOCK.items()
    if j or official != "upsample"
}


def rtfnet(state: State, ctor: Arguments) -> Loaded:
    """`num_resnet_layers`: depth of the ResNet."""
    name = f"rtfnet_r{ctor('num_resnet_layers')}"
    return load_model(name, state, TABLE, num_classes=ctor("n_class"))


DEPTHS = (18, 34, 50, 101, 152)
MODELS = {f"rtfnet_r{depth}": rtfnet for depth in DEPTHS}
SOURCES = {
    f"rtfnet_r{depth}": Source(
        kind=f"rtfnet_r{depth}",
        ctor={"num_resnet_layers": depth},
        classes=("n_class", "deconv5.1.conv1.weight"),
        licence="mit",
        licence_note=MIT,
        origin="github.com/yuxiangsun/RTFNet",
        citation="Sun et al., RTFNet, IEEE RA-L 2019",
        notes="Input: RGB and thermal, each value / 255, no other normalisation.",
    )
    for depth in DEPTHS
}
