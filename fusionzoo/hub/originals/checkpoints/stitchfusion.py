"""StitchFusion (github.com/LiBingyu01/StitchFusion): official keys to ours."""

from __future__ import annotations

import re
from functools import partial

from fusionzoo.errors import InputError
from fusionzoo.fusion.stitchfusion import Adapters
from fusionzoo.hub.originals.checkpoints.cmnext import pictures
from fusionzoo.hub.originals.checkpoints.cmx import head_table, mit_table
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model
from fusionzoo.models import FusionModel
from fusionzoo.models.published.stitchfusion import Stitch

ADAPTER = {"adapter_down": "down", "adapter_mid": "mid", "adapter_up": "up"}
MIX = {
    "liner_fusion_layers.{}": "join",
    "mix_ffn.{}.fc1": "widen",
    "mix_ffn.{}.pwconv1.pwconv": "point1",
    "mix_ffn.{}.pwconv1.bn": "norm1",
    "mix_ffn.{}.dwconv3.dwconv": "depthwise.0",
    "mix_ffn.{}.dwconv5.dwconv": "depthwise.1",
    "mix_ffn.{}.dwconv7.dwconv": "depthwise.2",
    "mix_ffn.{}.pwconv2.pwconv": "point2",
    "mix_ffn.{}.pwconv2.bn": "norm2",
    "mix_ffn.{}.fc2": "narrow",
    "channel_attns.{}.fc.0": "excite.reduce",
    "channel_attns.{}.fc.2": "excite.expand",
}
"""Official keys of the fusion of stage {}, counted from 0."""


def stitch_table(stitch: Stitch) -> dict[str, str]:
    """Official keys of the adapters of one block."""
    out: dict[str, str] = {}
    for ours, theirs, shared in (("attention", "adap_t_att", "adap_t"), ("mlp", "adap_t_mlp", "adap2_t")):
        adapters = stitch.get_submodule(ours)
        assert isinstance(adapters, Adapters)
        for name in adapters.between:
            official = shared if name == "all" else theirs + name.replace("_", "")
            out |= {f"{official}.{a}": f"{ours}.between.{name}.{b}" for a, b in ADAPTER.items()}
    return out


def variant(state: State) -> str:
    """Which streams share an adapter, by the official keys; "pair" where there are none (one modality)."""
    pairs = {found[1] for key in state if (found := re.search(r"\.adap_t_att(\d\d)\.", key))}
    if any(pair[0] > pair[1] for pair in pairs):
        return "directed"
    return "shared" if any(".adap_t." in key for key in state) else "pair"


def modalities(state: State, ctor: Arguments, count: int) -> list[str]:
    """Names of the modalities, RGB first: the constructor's `modals`, else "" for as many as the weights are of.

    Raises:
        InputError: the constructor's `modals` are not as many.
    """
    joined = state.get("backbone.feature_cross.liner_fusion_layers.0.weight")
    if joined is not None and joined.ndim == 2:
        count = joined.shape[1] // joined.shape[0]
    modals = ctor("modals", None)
    if modals is None:
        return [""] * count
    names = modals.split(",") if isinstance(modals, str) else list(modals)
    if len(names) != count:
        raise InputError(f"stitchfusion: modals {modals!r} are {len(names)}, the weights are of {count} modalities")
    return names


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out = mit_table(model, "encoder") | head_table("conv", "bn")
    for i in range(1, 5):
        stage = f"stage{i + 1}"
        out |= {f"backbone.feature_cross.{a.format(i - 1)}": f"{stage}.fusion.mix.{b}" for a, b in MIX.items()}
        for j, stitch in enumerate(model.get_submodule(f"{stage}.stitches").children()):
            assert isinstance(stitch, Stitch)
            table = stitch_table(stitch).items()
            out |= {f"backbone.block{i}.{j}.{a}": f"{stage}.stitches.{j}.{b}" for a, b in table}
    return out


def stitchfusion(size: int, count: int, state: State, ctor: Arguments) -> Loaded:
    """`backbone` names the size ("stitchfusion-B2"); the variant and the number of modalities are the weights'."""
    size = ctor.size("stitchfusion", "stitchfusion-B{}", size, range(6))
    others = modalities(state, ctor, count)[1:]
    return load_model(
        f"stitchfusion_mit_b{size}",
        state,
        table,
        reshape=True,
        num_classes=ctor("num_classes", 25),
        auxiliaries=len(others),
        adapters=variant(state),
        in_order=bool(others),
        original_init=True,
        **pictures(others),
    )


MODELS = {f"stitchfusion_mit_b{size}_{n}m": partial(stitchfusion, size, n) for size in range(6) for n in range(1, 5)}
SOURCES = {
    f"stitchfusion_mit_b{size}": Source(
        kind=f"stitchfusion_mit_b{size}_2m",
        ctor={"backbone": f"stitchfusion-B{size}", "modals": None},
        classes=("num_classes", "decode_head.linear_pred.weight"),
        licence="apache-2.0",
        licence_note="The original repository's licence is Apache-2.0, its README has an MIT badge and asks to contact"
        " the authors for commercial use; the encoder started from NVIDIA's SegFormer weights (non-commercial).",
        origin="github.com/LiBingyu01/StitchFusion",
        citation="Li et al., StitchFusion, 2024, arXiv 2408.01343",
        notes="RGB / 255, normalised with ImageNet's mean and deviation; the other modalities, three channels each"
        " (0..255; depth as HHA, one channel copied), / 255. Which they are: --option modals=img,depth,event,lidar.",
        input_size=None,
    )
    for size in range(6)
}
