"""How a model changes over its training: its checkpoints dissected one after another on the same images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from fusionzoo.dissect.dissection import dissect
from fusionzoo.dissect.results import Checkpoint, Dissection, Evolution
from fusionzoo.errors import InputError

__all__ = ["collect", "dissect_checkpoints"]

Model = nn.Module | Callable[[], nn.Module]


def dissect_checkpoints(
    checkpoints: Mapping[str, Model] | Iterable[tuple[str, Model]],
    data: Any,
    *,
    steps: Mapping[str, int] | None = None,
    epochs: Mapping[str, float] | None = None,
    state: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Evolution:
    """Dissects checkpoints of one model, in the order of training.

    Args:
        checkpoints: name -> model, or a function that loads it: then one model at a time is in memory.
        data: as for `dissect`; all checkpoints see the same images in the same roles.
        steps, epochs: name -> where in the training it was taken, for as many as are known.
        state: of a run that may be killed: the state of checkpoint i (from 0) is kept in this file's name + ".i".
        options: of `dissect`: metrics, limit, absence, batch_size, progress, ...

    Raises:
        InputError: no checkpoint, a name twice, places of names that are not there, or models of other architecture,
            modalities or probe points; and what `dissect` raises.
    """
    pairs = list(checkpoints.items() if isinstance(checkpoints, Mapping) else checkpoints)
    names = [name for name, _ in pairs]
    if not pairs or len(set(names)) != len(names):
        raise InputError(f"give one or more checkpoints with different names, got {names}")
    for word, places in (("steps", steps), ("epochs", epochs)):
        stray = sorted(set(places or {}) - set(names))
        if stray:
            raise InputError(f"{word} names {stray[0]!r}, which is none of the checkpoints {', '.join(names)}")
    found: list[Dissection] = []
    for i, (name, given) in enumerate(pairs):
        model = given if isinstance(given, nn.Module) else given()
        kept = None if state is None else f"{os.fspath(state)}.{i}"
        found.append(dissect(model, data, name=name, state=kept, **options))
        _check_alike(found[0], found[-1])
    return collect(found, steps=steps, epochs=epochs)


def collect(
    found: Sequence[Dissection],
    *,
    names: Sequence[str] | None = None,
    steps: Mapping[str, int] | None = None,
    epochs: Mapping[str, float] | None = None,
) -> Evolution:
    """Dissections of a model's checkpoints on the same images, in the order of training, as one Evolution.

    Args:
        names: of the checkpoints; by default as the dissections call their models.
        steps, epochs: as for `dissect_checkpoints`.

    Raises:
        InputError: none given, or models of other architecture, modalities or probe points, or other images.
    """
    if not found:
        raise InputError("give one or more dissections")
    first, rows = found[0], []
    for name, one in zip(names or [one.model.name for one in found], found, strict=True):
        _check_alike(first, one)
        rows.append(Checkpoint(name, (steps or {}).get(name), (epochs or {}).get(name), dict(one.results)))
    model = dataclasses.replace(first.model, name=first.model.architecture or first.model.name)
    return Evolution(model, first.data, first.protocol, rows, first.stages)


def _check_alike(first: Dissection, other: Dissection) -> None:
    for what, of in (
        ("architecture", lambda d: d.model.architecture),
        ("modalities", lambda d: d.model.modalities),
        ("data", lambda d: f"{d.data.name}, {d.data.split}, {d.data.n} images"),
        ("stage points", lambda d: [at.points for at in d.stages]),
    ):
        if of(first) != of(other):
            text = f"{other.model.name} is no checkpoint of the model of {first.model.name}"
            raise InputError(f"{text}: {what} {of(other)}, not {of(first)}")
