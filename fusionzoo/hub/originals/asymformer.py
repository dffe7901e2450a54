"""AsymFormer whole, and its LAFS, CMA and SCC (github.com/Fourier7754/AsymFormer, Apache-2.0): official keys to ours.

Releases before 2026 hold 1x1 convolutions where later ones hold linear layers; both shapes are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from fusionzoo.fusion.asymformer import CrossModalAttention, FeatureSelection, SelectAndAttend
from fusionzoo.hub.originals.checkpoint import Source
from fusionzoo.hub.originals.port import Port, View, blank, port, take
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

SCC_VIEWS = {"fus_atten": View("select.selected"), "conv_bn": View("joined"), "cross_atten": View("attended")}


def asymformer_lafs(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """x, depth channels first -> out."""
    block = FeatureSelection(take(ctor, "in_channels"), min_hidden=1, official_scale=True)
    return port(block, state, LAFS, _plain, what="asymformer_lafs", reshape=True)


def asymformer_cma(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x, x1, x2) = (fused, depth, rgb) -> out."""
    block = CrossModalAttention(take(ctor, "inc1"), take(ctor, "inc2"))
    return port(block, state, CMA, _plain, what="asymformer_cma", reshape=True)


def asymformer_scc(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(depth, rgb) -> fused, of depth's width."""
    block = SelectAndAttend(take(ctor, "inc_depth2"), take(ctor, "inc_rgb"), min_hidden=1, official_scale=True)
    return port(block, state, SCC, _swapped, SCC_VIEWS, what="asymformer_scc", reshape=True)


def _plain(block: FeatureSelection | CrossModalAttention, *inputs: Tensor) -> Tensor:
    return block(*inputs)


def _swapped(block: SelectAndAttend, depth: Tensor, rgb: Tensor) -> Tensor:
    return block(rgb, depth)


BLOCKS = {"asymformer_cma": asymformer_cma, "asymformer_lafs": asymformer_lafs, "asymformer_scc": asymformer_scc}

_NEXT = {"gamma": "scale", "dwconv": "depthwise", "norm": "norm", "pwconv1": "widen", "pwconv2": "narrow"}
_MIX = {
    "norm1": "norm1",
    "attn.q": "attention.query",
    "attn.kv": "attention.key_value",
    "attn.proj": "attention.project",
    "attn.sr": "attention.reduce",
    "attn.norm": "attention.norm",
    "norm2": "norm2",
    "mlp.fc1": "mlp.widen",
    "mlp.dwconv.dwconv": "mlp.depthwise",
    "mlp.fc2": "mlp.narrow",
}


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
            (f"{at}.depth_layer", f"x_encoder.blocks{i}", _MIX),
        ):
            for j, _ in enumerate(model.get_submodule(ours).children()):
                out |= {f"{official}.{j}.{a}": f"{ours}.{j}.{b}" for a, b in parts.items()}
        if i > 1:
            out |= {f"{at}.SCC.{a}": f"stage{i + 1}.fusion.scc.{b}" for a, b in SCC.items()}
    return out


MODEL_VIEWS = {f"down_sample_{i}.0": View(f"stage{i + 1}.rgb") for i in range(1, 5)}
MODEL_VIEWS |= {f"down_sample_{i}.1": View(f"stage{i + 1}.fusion.fused") for i in range(2, 5)}
MODEL_VIEWS |= {"down_sample_1.1": View("stage2.x"), "Decoder": View("logits")}


def asymformer_b0t(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, depth) -> class scores at the input size. SCC's joining layers may have their names of before 2026."""
    model = blank("asymformer_b0t", num_classes=take(ctor, "num_classes"), official_scale=True)
    state = {_modern(key): value for key, value in state.items()}
    return port(model, state, table(model), _enlarged, MODEL_VIEWS, what="asymformer_b0t", reshape=True)


def _modern(key: str) -> str:
    return key.replace(".SCC.conv1.", ".SCC.conv_bn.0.").replace(".SCC.bn.", ".SCC.conv_bn.1.")


def _enlarged(model: FusionModel, rgb: Tensor, depth: Tensor) -> Tensor:
    out = model.scores(rgb, depth)
    return interpolate(out, size=rgb.shape[-2:], mode="bilinear", align_corners=False)


MODELS = {"asymformer_b0t": asymformer_b0t}
SOURCES = {
    "asymformer_b0t": Source(
        kind="asymformer_b0t",
        family="asymformer",
        classes=("num_classes", "Decoder.linear_pred.weight"),
        licence="apache-2.0",
        licence_note="The original repository's licence is Apache-2.0; it says nothing of the weights.",
        origin="github.com/Fourier7754/AsymFormer",
        citation="Du et al., AsymFormer, CVPR Workshops 2024, arXiv 2309.14065",
        notes="Depth in metres, mean 2.84245 and deviation 0.99328. The original normalises missing depth like a value;"
        " here it becomes the mean.",
        input_size=(480, 640),
    )
}
