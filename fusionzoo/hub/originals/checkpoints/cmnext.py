"""CMNeXt (github.com/jamycheung/DELIVER): official keys to ours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fusionzoo.errors import InputError, check_known
from fusionzoo.hub.originals.checkpoints.cmx import exchange_table, head_table, mit_table
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
from fusionzoo.models import FusionModel
from fusionzoo.preprocess import Preprocess

PPX = {
    "layer_scale_1": "scale1",
    "layer_scale_2": "scale2",
    "norm1": "norm1",
    "attn.conv0": "mix",
    "attn.conv4": "weigh",
    "norm2": "norm2",
    "mlp.fc1": "widen",
    "mlp.dwconv.dwconv": "depthwise",
    "mlp.fc2": "narrow",
    "c_nets.0": "neighbours",
}

MODALITIES = ("img", "depth", "event", "lidar")
KINDS = {"depth": "hha", "event": "event", "lidar": "lidar", "thermal": "thermal"}
"""Their name of a modality -> kind of x."""


def table(model: FusionModel, count: int) -> dict[str, str]:
    """Official keys of the model of these sizes with `count` auxiliary modalities."""
    out = mit_table(model, "rgb_encoder") | head_table("conv", "bn")
    if count == 0:
        return out
    out |= exchange_table()
    for i in range(1, 5):
        down = f"backbone.extra_downsample_layers.{i - 1}"
        out[f"{down}.proj.module"] = f"branch{i}.conv"
        out |= {f"{down}.norm.ln_{j}": f"branch{i}.norms.{j}" for j in range(count)}
        if count > 1:
            scores = f"backbone.extra_score_predictor.{i - 1}.score_nets"
            out |= {f"{scores}.{j}.{k}": f"branch{i}.hub.score.{j}.{k}" for j in range(count) for k in (0, 1)}
        out |= listed(model, f"backbone.extra_block{i}", f"branch{i}.mixers", PPX)
        out[f"backbone.extra_norm{i}"] = f"branch{i}.norm"
    return out


def modalities(ctor: Arguments, count: int) -> list[str]:
    """The constructor's `modals`, RGB first: a list, or names with commas between; else `count` names."""
    given = ctor("modals", MODALITIES[:count])
    names = given.split(",") if isinstance(given, str) else list(given)
    if not names:
        raise InputError("cmnext: 'modals' is empty; name RGB at least, for example img,depth")
    return names


def pictures(names: Sequence[str]) -> dict[str, Any]:
    """{"preprocess": of these auxiliary modalities, three channels / 255 each}; {} where none has a name.

    Raises:
        UnknownNameError: a name that is no kind of x.
        InputError: a name twice, or `thermal` beside others, where it would have one channel.
    """
    if not any(names):
        return {}
    for name in names:
        check_known("modality", name, KINDS, "--option modals=img,depth,event,lidar")
    if len(set(names)) < len(names) or ("thermal" in names and len(names) > 1):
        raise InputError(f"modals img,{','.join(names)}: each modality beside RGB once, and thermal by itself")
    kinds = [KINDS[name] for name in names]
    zero, one = (0.0,) * 3 * len(kinds), (1.0,) * 3 * len(kinds)
    return {"preprocess": Preprocess(x_kind="+".join(kinds), x_scale=1 / 255, x_mean=zero, x_std=one)}


def cmnext_model(size: int, count: int, state: State, ctor: Arguments) -> Loaded:
    """As many modalities as `modals` names.

    `backbone` names the size ("CMNeXt-B2"); without it and without `modals`, `size` and `count` are taken.
    """
    size = ctor.size("cmnext", "CMNeXt-B{}", size, range(6))
    names = modalities(ctor, count)[1:]
    others = len(names)
    return load_model(
        f"cmnext_mit_b{size}",
        state,
        partial(table, count=others),
        num_classes=ctor("num_classes", 25),
        auxiliaries=others,
        scrambled=others > 1,
        **pictures(names),
    )


MODELS = {f"cmnext_b{size}_{count}m": partial(cmnext_model, size, count) for size in range(6) for count in range(1, 5)}
SOURCES = {
    f"cmnext_mit_b{size}": Source(
        kind=f"cmnext_b{size}_2m",
        ctor={"backbone": f"CMNeXt-B{size}", "modals": "img,depth"},
        classes=("num_classes", "decode_head.linear_pred.weight"),
        licence="apache-2.0",
        licence_note="The original repository's licence is Apache-2.0 and its README asks to contact the authors for"
        " commercial use; the RGB encoder started from NVIDIA's SegFormer weights (non-commercial).",
        origin="github.com/jamycheung/DELIVER",
        citation="Zhang et al., CMNeXt, CVPR 2023, arXiv 2303.01480",
        notes="RGB / 255, normalised with ImageNet's mean and deviation; the other modalities, three channels each"
        " (0..255; depth as HHA), / 255. Other modalities than depth: --option modals=img,depth,event,lidar.",
        input_size=None,
    )
    for size in range(6)
}
