"""TUNI and TUNI-v2 (github.com/xiaodonguo): official keys to ours.

The encoders of both versions have equal keys and shapes, and give other numbers: the head's keys tell them apart. Of a
file without a head (an encoder after pre-training) the version has to be said.
"""

from __future__ import annotations

import re
from functools import partial

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.checkpoints.dformer import REST
from fusionzoo.hub.originals.checkpoints.source import NO_LICENCE, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, expand_table, listed, load_model
from fusionzoo.models import FusionModel, create_model

ATTENTION = {
    "local_rr1": "modulate",
    "local_rr2": "lift",
    "local_rr3": "after_conv",
    "conv": "conv",
    "local_rx.linear1": "cross.before_rgb",
    "local_rx.linear2": "cross.before_x",
    "local_rx.conv1": "cross.consistent_conv",
    "local_rx.conv2": "cross.distinct_conv",
    "local_rx.fc_channel.0": "cross.excite.reduce",
    "local_rx.fc_channel.2": "cross.excite.expand",
    "local_rx.linear3": "cross.after",
    "kv_rx": "key_value",
    "q_rx": "pooled_query",
    "proj": "project",
    "proj_e": "project_e",
    "norm": "norm",
    "norm_e": "norm_e",
}
BLOCK = {f"attn.{official}": f"attention.{ours}" for official, ours in ATTENTION.items()} | REST
HEADS = {
    1: {f"decoder.linear_c{i}.proj": f"decoder.project.{i - 1}" for i in range(1, 5)}
    | {"decoder.linear_fuse.0": "decoder.join", "decoder.linear_fuse.1": "decoder.bn"}
    | {"decoder.linear_pred": "decoder.classify"},
    2: {f"decoder.MLP1.linear{i}.proj": f"decoder.project.{i - 1}" for i in range(1, 5)}
    | {"decoder.MLP1.linear_fuse.0": "decoder.join", "decoder.MLP1.linear_fuse.1": "decoder.bn"}
    | {"decoder.linear_pred1": "decoder.classify"},
}
"""Version -> keys of its head."""
TRAINING_ONLY = re.compile(r"decoder\.(MLP2|linear_pred2)\.")
"""Version 2's second decoder, on the thermal stream: used in training alone, and still in released files."""
CLASSES = {1: "decoder.linear_pred.weight", 2: "decoder.linear_pred1.weight"}
MODES = {"TUNI": (1, "s"), "tiny": (2, "t"), "small": (2, "s"), "base": (2, "b")}
"""The original's name of a size -> version, and our name of the size."""


def table(model: FusionModel, version: int) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out = HEADS[version] | {"encoder.enc.downsample_layers": "rgb_down", "encoder.enc.downsample_layers_e": "x_down"}
    for i in range(4):
        out |= listed(model, f"encoder.enc.stages.{i}", f"stage{i + 2}.fusion.blocks", BLOCK)
    return out


def whole(state: State) -> dict[str, Tensor]:
    """`state` without version 2's second decoder."""
    return {key: value for key, value in state.items() if not TRAINING_ONLY.match(key)}


def headless(version: int, state: State) -> bool:
    """Whether this is an encoder without a head of this version."""
    return CLASSES[version] not in state and any(key.startswith("encoder.enc.") for key in state)


def name_of(version: int, size: str) -> str:
    """Our architecture."""
    return "tuni_s" if version == 1 else f"tuni_v2_{size}"


def tuni(kind: str, state: State, ctor: Arguments) -> Loaded:
    """`mode` names version and size ("TUNI", "tiny", ...), else the `kind` does. `version`: of an encoder alone, whose
    head starts anew.

    Raises:
        InputError: the head is of the other version, or there is no head and no version.
    """
    mode = ctor("mode", next(m for m, at in MODES.items() if name_of(*at) == kind))
    if mode not in MODES:
        raise InputError(f"{kind}: mode {mode!r} is not one of {', '.join(MODES)}")
    version, size = MODES[mode]
    name, given = name_of(version, size), ctor("version", None)
    used = whole(state)
    alone = bool(used) and all(key.startswith("encoder.enc.") for key in used)
    if alone and given is None:
        raise InputError(
            f"{kind}: there is no head, and encoders of TUNI and TUNI-v2 have equal keys but give other numbers;"
            " say which this is: --option version=1 or --option version=2"
        )
    if given is not None and given not in CLASSES:
        raise InputError(f"{kind}: version is {given!r}; give one of {', '.join(map(str, CLASSES))}")
    if given is not None and given != version:
        raise InputError(f"{kind}: {name} is version {version}, not {given!r}; take {_other(version, size)}")
    for other in HEADS:
        if other != version and CLASSES[other] in used and CLASSES[version] not in used:
            raise InputError(f"{kind}: the head's keys are those of version {other}; take {_other(version, size)}")
    if alone:
        fresh = create_model(name, num_classes=ctor("num_classes", 9))
        own = fresh.state_dict()
        heads = {k: own[v] for k, v in expand_table(table(fresh, version), fresh).items() if k.startswith("decoder.")}
        used = {**used, **heads}
    keys = partial(table, version=version)
    return load_model(name, used, keys, reshape=True, num_classes=ctor("num_classes", 9))


def _other(version: int, size: str) -> str:
    """What to take in place of an architecture of `version`."""
    return f"tuni_v2_{size}" if version == 1 else "tuni_s"


_KINDS = {name_of(version, size): mode for mode, (version, size) in MODES.items()}
MODELS = {kind: partial(tuni, kind) for kind in _KINDS}
SOURCES = {
    kind: Source(
        kind=kind,
        ctor={"mode": mode, "version": None},
        classes=("num_classes", CLASSES[MODES[mode][0]]),
        tidy=whole,
        headless=partial(headless, MODES[mode][0]),
        licence_note=NO_LICENCE,
        origin=f"github.com/xiaodonguo/{'TUNI' if MODES[mode][0] == 1 else 'TUNI-v2'}",
        citation="Guo et al., TUNI, 2025, arXiv 2509.10005",
        notes="RGB / 255 with ImageNet's mean and deviation; thermal / 255, mean 0.449, deviation 0.226, first channel"
        " only. Of an encoder alone: --option version=1 or version=2, and the head starts anew.",
    )
    for kind, mode in _KINDS.items()
}
