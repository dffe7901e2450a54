"""ACNet (github.com/anheidelonghu/ACNet; no licence stated): official keys to ours."""

from __future__ import annotations

from fusionzoo.hub.originals.checkpoints import rednet
from fusionzoo.hub.originals.checkpoints.source import NO_LICENCE, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model

TABLE = rednet.ENCODERS | rednet.DECODER | {f"layer{i}_m": f"merged_layer{i}" for i in range(1, 5)}
TABLE |= {
    f"atten_{official}_{i}.1": f"stage{i + 1}.fusion.{ours}"
    for i in range(5)
    for official, ours in (("rgb", "excite_rgb"), ("depth", "excite_x"))
}


def acnet(state: State, ctor: Arguments) -> Loaded:
    """`num_class`: number of classes."""
    return load_model("acnet_resnet50", state, TABLE, num_classes=ctor("num_class"))


MODELS = {"acnet": acnet}
SOURCES = {
    "acnet_resnet50": Source(
        kind="acnet",
        classes=("num_class", "out5_conv.weight"),
        licence_note=NO_LICENCE,
        origin="github.com/anheidelonghu/ACNet",
        citation="Hu et al., ACNet, ICIP 2019, arXiv 1905.10089",
        notes="Depth in metres, mean 2.8424503515351494, deviation 0.9932836506164299. The original normalises missing"
        " depth like a value; here it becomes the mean.",
    )
}
