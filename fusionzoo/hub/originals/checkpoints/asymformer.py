"""AsymFormer (github.com/Fourier7754/AsymFormer, Apache-2.0): official keys to ours.

Releases before 2026 hold 1x1 convolutions where later ones hold linear layers; both shapes are read.
"""

from __future__ import annotations

from fusionzoo.hub.originals.checkpoints.cmx import BLOCK, REDUCED
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
from fusionzoo.models import FusionModel

LAFS = {
    "fc_spatial.0": "spatial.reduce",
    "fc_spatial.2": "spatial.expand",
    "fc_channel.0": "channel.reduce",
    "fc_channel.2": "channel.expand",
}
CMA = {
    "bn_x1": "norm_x",
    "bn_x2": "norm_rgb",
    "kq1": "key_query_x",
    "kq2": "key_query_rgb",
    "v_conv": "value",
    "out_conv": "out",
    "bn_last": "norm",
}
SCC = {f"fus_atten.{official}": f"select.{ours}" for official, ours in LAFS.items()}
SCC |= {"conv_bn.0": "join.0", "conv_bn.1": "join.1"}
SCC |= {f"cross_atten.{official}": f"attend.{ours}" for official, ours in CMA.items()}

_NEXT = {"gamma": "scale", "dwconv": "depthwise", "norm": "norm", "pwconv1": "widen", "pwconv2": "narrow"}


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model."""
    out = {"Decoder.linear_fuse.0": "decoder.join", "Decoder.linear_fuse.1": "decoder.bn"}
    out["Decoder.linear_pred"] = "decoder.classify"
    for i in range(1, 5):
        at = f"down_sample_{i}"
        out |= {
            f"{at}.rgb_stem": f"rgb_encoder.down.{i - 1}",
            f"{at}.depth_stem.proj": f"x_encoder.embed{i}.conv",
            f"{at}.depth_stem.norm": f"x_encoder.embed{i}.norm",
            f"{at}.depth_norm": f"x_encoder.norm{i}",
            f"Decoder.linear_c{i}.proj": f"decoder.project.{i - 1}",
        }
        for official, ours, parts in (
            (f"{at}.rgb_layer", f"rgb_encoder.stages.{i - 1}", _NEXT),
            (f"{at}.depth_layer", f"x_encoder.blocks{i}", BLOCK | REDUCED),
        ):
            out |= listed(model, official, ours, parts)
        if i > 1:
            out |= {f"{at}.SCC.{a}": f"stage{i + 1}.fusion.scc.{b}" for a, b in SCC.items()}
    return out


def asymformer_b0t(state: State, ctor: Arguments) -> Loaded:
    """SCC's joining layers may have their names of before 2026."""
    renamed = {".SCC.conv1.": ".SCC.conv_bn.0.", ".SCC.bn.": ".SCC.conv_bn.1."}
    for old, new in renamed.items():
        state = {key.replace(old, new): value for key, value in state.items()}
    args = {"num_classes": ctor("num_classes"), "official_scale": True}
    return load_model("asymformer_b0t", state, table, reshape=True, **args)


MODELS = {"asymformer_b0t": asymformer_b0t}
SOURCES = {
    "asymformer_b0t": Source(
        kind="asymformer_b0t",
        classes=("num_classes", "Decoder.linear_pred.weight"),
        licence="apache-2.0",
        licence_note="The original repository's licence is Apache-2.0; it says nothing of the weights.",
        origin="github.com/Fourier7754/AsymFormer",
        citation="Du et al., AsymFormer, CVPR Workshops 2024, arXiv 2309.14065",
        notes="Depth in metres, mean 2.84245 and deviation 0.99328. The original normalises missing depth like a value;"
        " here it becomes the mean.",
    )
}
