"""An official checkpoint of a whole published model -> a folder of ours. `convert.METHODS` has one entry a `Source`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionzoo.errors import InputError, check_known, closest
from fusionzoo.hub.foreign import read_weights
from fusionzoo.hub.originals.checkpoints import build
from fusionzoo.hub.originals.keys import State
from fusionzoo.models import FusionModel

__all__ = ["MIT", "NO_LICENCE", "REPEATED", "Source", "convert_model", "with_counters"]

MIT = "The original repository's licence is MIT; it says nothing of the weights."
NO_LICENCE = "The original repository states no licence: all rights reserved, research reference only."
REPEATED = "Depth: millimetres / 5000, repeated to three channels; the model repeats one channel itself."


@dataclass(frozen=True)
class Source:
    """How to read one kind of official checkpoint, and what is known of it.

    Args:
        kind: of `fusionzoo.hub.originals.model`.
        ctor: the original's constructor arguments but for the number of classes.
        classes: name of that argument, and the official key whose first size it is.
        sizes: further arguments that are the first size of an official key.
        tidy: a file's weights -> those of the model: what else such files hold, left out by name.
        headless: whether weights are of this family but hold no class number, so that `kind` completes or refuses them.
        licence, licence_note: of the original's weights, as far as it is stated.
        origin, citation: repository and paper.
        notes: conventions of the input.
        input_size: (H, W) of the images that the original was made for.
    """

    kind: str
    ctor: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, str] = ("num_classes", "")
    sizes: Mapping[str, str] = field(default_factory=dict)
    tidy: Callable[[State], State] = dict
    headless: Callable[[State], bool] = lambda state: False
    licence: str = "other"
    licence_note: str = ""
    origin: str = ""
    citation: str = ""
    notes: str = ""
    input_size: tuple[int, int] | None = (480, 640)


def with_counters(state: State) -> dict[str, Tensor]:
    """`state`, and `num_batches_tracked` = 0 beside a `running_mean` that has none, as in files of old PyTorch."""
    out = dict(state)
    for key in state:
        if key.endswith("running_mean"):
            out.setdefault(key.removesuffix("running_mean") + "num_batches_tracked", torch.tensor(0))
    return out


def convert_model(
    source: Source, path: Path, options: Mapping[str, Any] | None = None, key: str | None = None
) -> tuple[FusionModel, dict[str, Any]]:
    """(our model with the weights in `path`, fields of its record).

    Args:
        options: constructor arguments of the original that differ from `source.ctor`.
        key: which set of weights, where the file holds several (see `fusionzoo.hub.foreign.read_weights`).

    Raises:
        InputError: no state dict, several, another kind of file, or no key that tells the number of classes.
        UnknownNameError: an option that this method does not have.
        CheckFailed: keys without a place, places without a key, other shapes; all listed.
    """
    for name in options or {}:
        check_known(f"option of the conversion {source.kind}", name, source.ctor, "fusionzoo convert --help")
    arguments = {**source.sizes, source.classes[0]: source.classes[1]}

    def fits(state: State) -> bool:
        own = source.tidy(state)
        return all(name in own for name in arguments.values()) or source.headless(state)

    weights = read_weights(path, fits, key)
    state = with_counters(source.tidy(weights.state))
    aside = len(weights.state) - len(source.tidy(weights.state))
    if source.headless(weights.state):
        del arguments[source.classes[0]]
    for name in arguments.values():
        if name not in state:
            near = closest(name, state, 1)
            raise InputError(
                f"{path} has no {name!r}: it is no checkpoint of {source.origin}"
                + (f"; the closest of its {len(state)} names is {near[0]!r}" if near else "")
            )
        if not state[name].ndim:
            raise InputError(f"{path}: {name!r} is one number, wanted a tensor with a size for each class")
    read = {argument: int(state[name].shape[0]) for argument, name in arguments.items()}
    model, keys = build(source.kind, state, {**source.ctor, **(options or {}), **read})
    model.input_size = source.input_size
    given = "".join(f", {k}={v}" for k, v in (options or {}).items())
    beside = f", {aside} beside the model left out by name" if aside else ""
    method = f"{model.architecture}: {len(keys)} tensors by an explicit key table{given}{beside}"
    return model, {
        "name": f"{model.architecture}.original",
        "licence": source.licence,
        "licence_note": source.licence_note,
        "origin": source.origin,
        "citation": source.citation,
        "notes": source.notes,
        "conversion": {"method": method, "note": weights.note(path)},
    }
