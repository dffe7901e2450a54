"""CEN (github.com/yikaiw/CEN): official keys to ours."""

from __future__ import annotations

from fusionzoo.hub.originals.checkpoints.source import REPEATED, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model
from fusionzoo.models import FusionModel

EXCHANGE = {"bn_0": "rgb", "bn_1": "x"}
BOTTLENECK = {f"conv{i}.module": f"conv{i}" for i in (1, 2, 3)}
BOTTLENECK |= {f"bn{i}.{official}": f"norm{i}.{ours}" for i in (1, 2, 3) for official, ours in EXCHANGE.items()}
BOTTLENECK |= {"downsample.0.module": "shortcut"}
BOTTLENECK |= {f"downsample.1.{official}": f"shortcut_norm.{ours}" for official, ours in EXCHANGE.items()}

_UNITS = {"_conv": "first", "_conv_relu_varout_dimred": "second"}


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes. The original counts its decoder's scales from the coarsest."""
    out = {"alpha": "alpha", "conv1.module": "conv1", "clf_conv.module": "decoder.classify"}
    out |= {f"bn1.{a}": f"norm1.{b}" for a, b in EXCHANGE.items()}
    for i in range(1, 5):
        for j, block in enumerate(model.get_submodule(f"stage{i + 1}.fusion").children()):
            parts = {a: b for a, b in BOTTLENECK.items() if not a.startswith("downsample") or block.has_shortcut}
            out |= {f"layer{i}.{j}.{a}": f"stage{i + 1}.fusion.{j}.{b}" for a, b in parts.items()}
    for g in range(1, 5):
        ours = f"decoder.refine{5 - g}"
        out[f"p_ims1d2_outl{g}_dimred.module"] = f"{ours}.narrow"
        if g > 1:
            out[f"adapt_stage{g}_b2_joint_varout_dimred.module"] = f"{ours}.join"
        if g < 4:
            out[f"mflow_conv_g{g}_b3_joint_varout_dimred.module"] = f"{ours}.hand_on"
        for k in range(4):
            out[f"mflow_conv_g{g}_pool.0.{k + 1}_outvar_dimred.module"] = f"{ours}.chain.convs.{k}"
        for official, part, count in ((f"adapt_stage{g}_b", "adapt", 2), (f"mflow_conv_g{g}_b", "output", 3)):
            for k in range(count):
                for a, b in _UNITS.items():
                    out[f"{official}.0.{k + 1}{a}.module"] = f"{ours}.{part}.{b}.{k}"
    return out


def cen(state: State, ctor: Arguments) -> Loaded:
    """`num_layers`: depth of the ResNet."""
    ctor.only(num_parallel=2)
    return load_model(
        f"cen_resnet{ctor('num_layers')}",
        state,
        table,
        num_classes=ctor("num_classes"),
        threshold=ctor("bn_threshold", 0.02),
        detach_ensemble=True,
        rectified_residual=True,
    )


MODELS = {f"cen_r{depth}": cen for depth in (50, 101, 152)}
SOURCES = {
    f"cen_resnet{depth}": Source(
        kind=f"cen_r{depth}",
        ctor={"num_layers": depth, "bn_threshold": 0.02},
        classes=("num_classes", "clf_conv.module.weight"),
        licence="mit",
        licence_note="The original repository's licence is MIT; its model.py carries a 2-clause BSD text titled 'for"
        " non-commercial purposes'.",
        origin="github.com/yikaiw/CEN",
        citation="Wang et al., CEN, NeurIPS 2020, arXiv 2011.05005",
        notes=REPEATED,
        input_size=None,
    )
    for depth in (50, 101, 152)
}
