"""Consistency and specificity: which concepts the two streams of a stage share and which are specific to one.

The rule is that of `fusionzoo.metrics.concepts.specificity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusionzoo.dissect.measures.base import STREAMS, Done, Measured, Metric, number, numbers
from fusionzoo.dissect.measures.concepts import FULL, stage_curves
from fusionzoo.dissect.split import HALVES
from fusionzoo.metrics import ConceptCurve
from fusionzoo.metrics.concepts import concept_roles, fused_roles
from fusionzoo.schema import optional

__all__ = ["METRIC", "Specificity", "StageSpecificity"]

LISTED = ("consistent", "rgb", "x", "undecided", "unencoded", "gained", "lost")
"""Roles whose concepts `StageSpecificity` lists."""


@dataclass
class StageSpecificity:
    """Which concepts the two streams of a stage share; one that no held-out image shows is in no list.

    Each of the first five lists is a role, by the rule of `fusionzoo.metrics.concepts.specificity`: `consistent`, both
    encode it alike; `rgb`, `x`, specific to that stream; `undecided`, encoded, but errors and noise do not tell which;
    `unencoded`, no better than chance in either. `gained`, `lost`: by the fused representation. `difference`: per
    concept, IoU of rgb minus IoU of x, with its jackknife standard error. `chance`: per concept, IoU of marking every
    position. `modalities`: of several beside rgb each by its name, the same with its own stream as x.
    """

    stage: int
    consistent: list[str]
    rgb: list[str]
    x: list[str]
    undecided: list[str] = field(default_factory=list)
    unencoded: list[str] = field(default_factory=list)
    gained: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    difference: list[Measured] = field(default_factory=list)
    chance: list[float | None] = field(default_factory=list)
    modalities: dict[str, StageSpecificity] = optional()


@dataclass
class Specificity:
    """Consistent and specific concepts, stage by stage."""

    stages: list[StageSpecificity]


def compute(done: Done, results: Mapping[str, Any]) -> Specificity | None:
    found = [_stage(done, stage) for stage in sorted(done.setup.stages)]
    measured = [stage for stage in found if stage is not None]
    return Specificity(measured) if measured else None


def _stage(done: Done, stage: int) -> StageSpecificity | None:
    fits = stage_curves(done, stage)
    whole = _pair(done, stage, fits, "x")
    if whole is not None:
        own = {name: _pair(done, stage, fits, name) for name in done.setup.own}
        whole.modalities = {name: found for name, found in own.items() if found is not None}
    return whole


def _pair(done: Done, stage: int, fits: Mapping[str, Mapping[str, ConceptCurve]], name: str) -> StageSpecificity | None:
    """Of the streams rgb and `name`."""
    if "rgb" not in fits or name not in fits:
        return None
    fits = {"rgb": fits["rgb"], "x": fits[name], **({"fused": fits["fused"]} if "fused" in fits else {})}
    iou = {s: [curves[half].compute().iou for half in HALVES] for s, curves in fits.items()}
    full, floors = {s: curves[FULL] for s, curves in fits.items()}, {s: one - two for s, (one, two) in iou.items()}
    made = concept_roles(full["rgb"], full["x"], [floors["rgb"], floors["x"]])
    roles = [*zip(made.roles, done.setup.concept_names, strict=True)]
    if "fused" in full:
        changes = fused_roles(full["rgb"], full["x"], full["fused"], [floors[s] for s in STREAMS])
        roles += zip(changes, done.setup.concept_names, strict=True)
    lists: dict[str, Any] = {role: [name for own, name in roles if own == role] for role in LISTED}
    difference = [Measured(number(v), number(e)) for v, e in zip(made.difference, made.error, strict=True)]
    return StageSpecificity(stage, **lists, difference=difference, chance=numbers(made.chance))


METRIC = Metric("specificity", (), Specificity, None, compute)  # it is read off the concept curves
