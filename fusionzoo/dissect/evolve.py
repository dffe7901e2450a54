"""How a model changes over its training: its checkpoints dissected one after another on the same images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

from fusionzoo.dissect.engine import dissect
from fusionzoo.dissect.results import Checkpoint, Dissection, Evolution
from fusionzoo.errors import InputError

__all__ = ["dissect_checkpoints"]

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

    Returns:
        Evolution: `curves()` gives every number over the checkpoints.

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
    first: Dissection | None = None
    rows = []
    for i, (name, given) in enumerate(pairs):
        model = given if isinstance(given, nn.Module) else given()
        kept = None if state is None else f"{os.fspath(state)}.{i}"
        found = dissect(model, data, name=name, state=kept, **options)
        if first is None:
            first = found
        _check_alike(first, found)
        parts = {k: getattr(found, k) for k in ("segmentation", "contribution", "levels", "probes", "planted")}
        rows.append(Checkpoint(name, (steps or {}).get(name), (epochs or {}).get(name), **parts))
    assert first is not None
    first.model.name = first.model.architecture or first.model.name
    return Evolution(first.model, first.data, first.protocol, rows, first.concept_names)


def _check_alike(first: Dissection, other: Dissection) -> None:
    for what, a, b in (
        ("architecture", first.model.architecture, other.model.architecture),
        ("modalities", first.model.modalities, other.model.modalities),
        ("level points", [level.points for level in first.levels], [level.points for level in other.levels]),
    ):
        if a != b:
            raise InputError(
                f"{other.model.name} is no checkpoint of the model of {first.model.name}: {what} {b}, not {a}"
            )
