"""What a dissection found: the results of its measures by name, and what they are of; with a JSON form.

IoU, mIoU and accuracies are fractions 0..1. A value that does not exist (a class that no image shows, a stream that the
model lacks) is None, in JSON null; NaN never stands in a file.

Rule of the format: within one `format_version` fields are only added, with a default that says "not measured", so that
every older file of that version still loads; a field that changes its meaning raises the version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fusionzoo.dissect.effects import Effects
from fusionzoo.dissect.formats import Stored, dissection_of_format_1, evolution_of_format_1
from fusionzoo.dissect.measures import METRICS
from fusionzoo.dissect.measures.base import Measured
from fusionzoo.dissect.results.about import FEWEST, JUDGED_FROM, DataInfo, ModelInfo, Protocol, RunInfo
from fusionzoo.dissect.results.stages import Measures, Stage, StagePoints
from fusionzoo.dissect.results.stages import curves as curves_of
from fusionzoo.schema import decode

__all__ = [
    "FEWEST",
    "JUDGED_FROM",
    "Checkpoint",
    "DataInfo",
    "Dissection",
    "Evolution",
    "ModelInfo",
    "Protocol",
    "RunInfo",
    "Stage",
    "StagePoints",
]


def _typed(values: Any, where: str) -> dict[str, Any]:
    """Plain results as those of METRICS, None left out."""
    kinds = [(m.name, m.result | None, None) for m in METRICS]
    found: Any = decode(dataclasses.make_dataclass("results", kinds), values, where)
    return {name: value for name in values if (value := getattr(found, name)) is not None}


@dataclass
class Dissection(Measures, Stored):
    """The whole result of `fusionzoo.dissect`.

    `results`: by the name of the measure; `stages` the points that were measured. `effects`: what causal tracing and
    robustness found, see `fusionzoo.dissect.effects`.

    >>> from fusionzoo.dissect.measures.scores import Segmentation
    >>> d = Dissection(
    ...     model=ModelInfo("m", "sum_toy", 1, ["rgb", "depth"]),
    ...     data=DataInfo("planted", "test", 2, ["wall", "rug"], [8, 8]),
    ...     protocol=RunInfo("mean", "fast", 0.005),
    ...     results={"segmentation": {"both": Segmentation(0.5, 0.75, [0.5, None])}},
    ... )
    >>> Dissection.from_dict(d.to_dict()) == d, d.segmentation["both"].miou
    (True, 0.5)
    >>> bad = d.to_dict()
    >>> bad["stags"] = bad.pop("stages")
    >>> Dissection.from_dict(bad)
    Traceback (most recent call last):
    ...
    fusionzoo.errors.InputError: dissection: unknown field 'stags'; did you mean 'stages'?
    """

    model: ModelInfo
    data: DataInfo
    protocol: RunInfo
    results: dict[str, Any] = field(default_factory=dict)
    stages: list[StagePoints] = field(default_factory=list)
    effects: Effects | None = None
    format_version: int = 2

    @property
    def rows(self) -> list[Stage]:
        """What was measured at each stage, coarse stages last."""
        return self.by_stage(self.stages)

    @property
    def concept_names(self) -> list[str]:
        """The rows of every concept table: the classes, unless other concepts were measured."""
        return self.concepts.names if self.concepts is not None else self.data.class_names

    @property
    def truth_found(self) -> bool | None:
        """Whether the planted truth was found; None where there is none, or too few images to tell (JUDGED_FROM)."""
        return None if self.planted is None or self.data.n < JUDGED_FROM else self.planted.found

    def over_stages(self) -> dict[str, list[Measured]]:
        """Each of `Stage.numbers` as a curve over the stages."""
        return curves_of([stage.numbers() for stage in self.rows])

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Dissection:
        """As of every `Stored`; each result is read as the type of its measure."""
        made = super().from_dict(values)
        made.results = _typed(made.results, "dissection: results")
        return made

    @classmethod
    def upgraded(cls, values: dict[str, Any], where: str) -> dict[str, Any]:
        if values["format_version"] == 1:
            values = dissection_of_format_1(values)
        if values.get("effects") is not None:
            values["effects"] = Effects.current(values["effects"], f"{where}: effects")
        return values


@dataclass
class Checkpoint(Measures):
    """One checkpoint of an `Evolution`: what a Dissection has, without what is the same for all checkpoints.

    `step`, `epoch`: where in the training it was taken, None where not known.
    """

    name: str
    step: int | None = None
    epoch: float | None = None
    results: dict[str, Any] = field(default_factory=dict)


@dataclass
class Evolution(Stored):
    """How one model changes over its training: checkpoints in the order of training, on the same images.

    `curve` gives one number over the checkpoints:

    >>> made = Evolution(ModelInfo("m", "a", 1, ["rgb", "depth"]), DataInfo("d", "test", 1, ["wall"], [8, 8]),
    ...     RunInfo("mean", "fast", 0.05), [Checkpoint("e1", epoch=1.0), Checkpoint("e2", epoch=2.0)])
    >>> made.curve(lambda c: c.epoch), Evolution.from_dict(made.to_dict()) == made
    ([1.0, 2.0], True)
    """

    model: ModelInfo
    data: DataInfo
    protocol: RunInfo
    checkpoints: list[Checkpoint]
    stages: list[StagePoints] = field(default_factory=list)
    format_version: int = 2

    def curves(self) -> dict[str, list[Measured]]:
        """Curves over the checkpoints: "miou", "miou without_x", ...; "shapley rgb", "perceptual x", "interaction"; and
        each of `Stage.numbers` as "stage 3 cka gap"."""
        return curves_of([self._numbers(checkpoint) for checkpoint in self.checkpoints])

    def curve(self, number: Callable[[Checkpoint], float | None]) -> list[float | None]:
        """`number` of every checkpoint, in their order."""
        return list(map(number, self.checkpoints))

    def _numbers(self, checkpoint: Checkpoint) -> dict[str, Measured]:
        found: dict[str, Measured] = {}
        for condition, part in checkpoint.segmentation.items():
            found["miou" if condition == "both" else f"miou {condition}"] = Measured(part.miou)
        if (made := checkpoint.contribution) is not None:
            parts = {f"shapley {s}": e for s, e in made.shapley.items()}
            parts |= {"interaction": made.interaction} if made.interaction is not None else {}
            parts |= {f"interaction {pair}": e for pair, e in made.interactions.items()}
            parts |= {f"perceptual {s}": e for s, e in made.perceptual.items()}
            found |= {name: Measured(e.miou, e.miou_error) for name, e in parts.items()}
        for stage in checkpoint.by_stage(self.stages):
            found |= {f"stage {stage.stage} {name}": number for name, number in stage.numbers().items()}
        return found

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evolution:
        """As of every `Stored`; each result is read as the type of its measure."""
        made = super().from_dict(values)
        for i, checkpoint in enumerate(made.checkpoints):
            checkpoint.results = _typed(checkpoint.results, f"evolution: checkpoints[{i}]: results")
        return made

    @classmethod
    def upgraded(cls, values: dict[str, Any], where: str) -> dict[str, Any]:
        return evolution_of_format_1(values) if values["format_version"] == 1 else values
