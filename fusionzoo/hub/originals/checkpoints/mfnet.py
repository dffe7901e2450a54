"""MFNet (github.com/haqishen/MFNet-pytorch; no licence stated): official keys to ours."""

from __future__ import annotations

from fusionzoo.hub.originals.checkpoints.source import NO_LICENCE, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model

_CONVS = {"conv1": "layer1", "conv2_1": "layer2.0", "conv2_2": "layer2.1", "conv3_1": "layer3.0", "conv3_2": "layer3.1"}
_HALVES = {f"conv{i}_{side}": f"{ours}{i}" for i in (1, 2, 3) for side, ours in (("left", "near"), ("right", "far"))}
_STREAMS = {"rgb": "rgb_encoder", "inf": "x_encoder"}
TABLE = {f"{k}_{s}": f"{encoder}.{ours}" for s, encoder in _STREAMS.items() for k, ours in _CONVS.items()}
TABLE |= {
    f"conv{i}_{s}.{half}": f"{encoder}.layer{i}.{ours}"
    for s, encoder in _STREAMS.items()
    for i in (4, 5)
    for half, ours in _HALVES.items()
}
TABLE |= {f"decode{i}": f"decoder.up{i}" for i in (1, 2, 3, 4)}


def mfnet(state: State, ctor: Arguments) -> Loaded:
    """`n_class`: number of classes."""
    return load_model("mfnet", state, TABLE, num_classes=ctor("n_class"))


MODELS = {"mfnet": mfnet}
SOURCES = {
    "mfnet": Source(
        kind="mfnet",
        classes=("n_class", "decode1.conv.weight"),
        licence_note=NO_LICENCE,
        origin="github.com/haqishen/MFNet-pytorch",
        citation="Ha et al., MFNet, IROS 2017",
        notes="Input: RGB and thermal, each value / 255, no other normalisation.",
    )
}
