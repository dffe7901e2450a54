"""What an intervention or a corruption does to the scores: plain dataclasses with a JSON form. Needs no torch.

`Trace` is the result of `fusionzoo.dissect.trace`, `Robustness` that of `fusionzoo.dissect.robustness`; `Effects` holds
both. Scores are fractions 0..1, errors are jackknife standard errors over image groups, and a value that does not exist
(a class in neither labels nor predictions; an error from fewer than two groups) is None. Effects are differences of
scores over the same images; their errors are those of the difference.

>>> curve = Curve("noise_x", "x", "metres, standard deviation", [0.0, 0.1], [0.5, 0.4], [None, None], [0.0, 0.1],
...               [None, None], [[0.5], [0.4]], [[None], [None]], 0.4, 0.8)
>>> found = Effects(robustness=Robustness(Setting("m", "planted", "test", 2, ["wall"], [8, 8]),
...                                       Scores(0.5, None, [0.5], [None]), [curve]))
>>> Effects.from_dict(found.to_dict()) == found
True
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fusionzoo.dissect.formats import Stored, trace_of_format_1
from fusionzoo.dissect.words import ERRORS
from fusionzoo.tasks import SEGMENTATION

__all__ = [
    "ERRORS",
    "ClassTrace",
    "Curve",
    "Effects",
    "Failures",
    "Rest",
    "Robustness",
    "Scores",
    "Setting",
    "Trace",
    "TraceRow",
]


@dataclass
class Setting:
    """Which model on which images, and how the numbers were made.

    Args:
        model: name of the checkpoint or architecture.
        data, split, n: which images, and how many.
        class_names: K names, in the order of every per-class list.
        size: (H, W) that the model saw.
        modalities: names of the inputs, for example ["rgb", "depth"].
        concepts: class -> where it is visible (planted data).
        seed: of random corruptions.
        block: neighbouring images that stay together in a jackknife group.
        seconds: wall time.
        versions: library -> version.
        task: see `fusionzoo.tasks`; in classification `miou` is the balanced accuracy and `iou` the recall.
    """

    model: str
    data: str
    split: str
    n: int
    class_names: list[str]
    size: list[int]
    modalities: list[str] = field(default_factory=list)
    concepts: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    block: int = 1
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    task: str = SEGMENTATION


@dataclass
class Scores:
    """mIoU and the IoU of each class under one condition."""

    miou: float | None
    miou_error: float | None
    iou: list[float | None]
    iou_error: list[float | None]


@dataclass
class TraceRow:
    """One intervention and its effect.

    With "restore", effect = score with `absent` missing and the clean value put back - score with `absent` missing, and
    `share` = effect / (clean score - score with `absent` missing). With every other edit, effect = clean score - score
    under the edit, and `share` = effect / clean score. So a large effect always means that the prediction rests on it.

    Args:
        point: probe that is edited; "" where the input is taken away, and for all stages of a stream at once.
        stream: "rgb", "x", "fused", or "" for a point of none.
        stage: None where `point` is none of a stage's.
        edit: "absent", "mean", "zero", "swap", "channels", "concept" or "restore".
        reach: what the edit can change: "input", "stream", "onward", "fusion" or "decoder", see
            `fusionzoo.dissect.trace`; "after": whatever follows the point.
        part: the channels "first:end" of "channels", the class of "concept", else "".
        absent: "rgb" or "x", the modality that is missing in a "restore", else "".
        miou: under the intervention.
        effect, effect_error, share: of the mIoU, see above.
        class_effect, class_effect_error: of each class's IoU.
    """

    point: str
    stream: str
    stage: int | None
    edit: str
    reach: str
    part: str = ""
    absent: str = ""
    miou: float | None = None
    effect: float | None = None
    effect_error: float | None = None
    share: float | None = None
    class_effect: list[float | None] = field(default_factory=list)
    class_effect_error: list[float | None] = field(default_factory=list)

    @property
    def signal(self) -> bool:
        """Whether the effect on mIoU is more than ERRORS standard errors away from zero (False where unknown)."""
        if self.effect is None or self.effect_error is None:
            return False
        return abs(self.effect) > ERRORS * self.effect_error


@dataclass
class Rest:
    """One place of the ranking: the prediction rests on this stage of this modality so much (see TraceRow)."""

    stream: str
    stage: int
    point: str
    effect: float
    effect_error: float | None
    share: float | None
    signal: bool


@dataclass
class ClassTrace:
    """What the IoU of one class rests on.

    Args:
        name: of the class.
        kind: where the class is visible, on planted data ("rgb", "x", "both", "joint", "none"), else "".
        iou: clean.
        rgb, rgb_error: IoU lost when every stage of the rgb stream is ablated; x alike.
        rests_on: "rgb" or "x" (that one costs more, by over ERRORS standard errors of the difference), "both" (each
            costs it, neither measurably more), "neither" (neither costs more than a fifth of the IoU, errors allowed
            for), "unclear" (too large errors), "" where the class is not recognised or nothing was measured.
        point: the point of one stage and one modality whose ablation costs this class most, "" where none costs any.
        stage: of `point`.
    """

    name: str
    kind: str
    iou: float | None
    rgb: float | None
    rgb_error: float | None
    x: float | None
    x_error: float | None
    rests_on: str
    point: str = ""
    stage: int | None = None


@dataclass
class Trace(Stored):
    """The result of causal tracing.

    Args:
        setting: model and data.
        clean: scores without intervention.
        absent: "rgb" or "x" -> scores with that modality missing.
        edits: kinds of intervention that were made.
        rows: every intervention.
        ranking: stages of rgb and x, the one whose ablation costs most first.
        restored: stages of rgb and x, the one whose clean value brings most back first.
        classes: what each class rests on.
        found: on planted data, whether every recognised class that only rgb shows rests on rgb and every one that
            only depth shows on x; None without planted truth, or where no such class is recognised.
    """

    setting: Setting
    clean: Scores
    absent: dict[str, Scores] = field(default_factory=dict)
    edits: list[str] = field(default_factory=list)
    rows: list[TraceRow] = field(default_factory=list)
    ranking: list[Rest] = field(default_factory=list)
    restored: list[Rest] = field(default_factory=list)
    classes: list[ClassTrace] = field(default_factory=list)
    found: bool | None = None
    format_version: int = 2

    @classmethod
    def upgraded(cls, values: dict[str, Any], where: str) -> dict[str, Any]:
        return trace_of_format_1(values) if values["format_version"] == 1 else values


@dataclass
class Curve:
    """Scores against the severity of one corruption. The lists run over `severities`, whose first is 0, no corruption.

    Args:
        corruption: its name in `fusionzoo.data.corrupt.CORRUPTIONS`.
        modality: what it touches: "rgb", "x", or "both".
        unit: of the severities.
        severities: from none to severe.
        miou, miou_error: at each severity.
        drop, drop_error: clean mIoU - mIoU at each severity.
        iou, iou_error: [severity][class].
        mean: mean mIoU over the severities above 0.
        kept: `mean` / clean mIoU.
    """

    corruption: str
    modality: str
    unit: str
    severities: list[float]
    miou: list[float | None]
    miou_error: list[float | None]
    drop: list[float | None]
    drop_error: list[float | None]
    iou: list[list[float | None]]
    iou_error: list[list[float | None]]
    mean: float | None
    kept: float | None


@dataclass
class Failures:
    """A protocol of modality failures (Liao et al. 2025, arXiv 2503.18445): damaged combinations and two summaries.

    Args:
        name: "EMM" (a modality is missing), "RMM" (random regions of it are missing) or "NM" (it is noisy).
        conditions: what fails ("none", "rgb", "x", "both") -> mIoU.
        average, average_error: mean over the damaged conditions, all equally likely.
        expected, expected_error: sum over all conditions of probability times mIoU, where each modality fails by itself
            with probability `probability`; one entry for each probability.
        probability: those of the expectations.
        note: how the protocol was read.
    """

    name: str
    conditions: dict[str, float | None]
    average: float | None
    average_error: float | None
    probability: list[float]
    expected: list[float | None]
    expected_error: list[float | None]
    note: str = ""


@dataclass
class Robustness(Stored):
    """Missing-modality and corruption curves, and the summaries of the failure protocols."""

    setting: Setting
    clean: Scores
    curves: list[Curve] = field(default_factory=list)
    failures: list[Failures] = field(default_factory=list)
    format_version: int = 1


@dataclass
class Effects(Stored):
    """What interventions and corruptions do to one model on one data set, as far as it was measured."""

    trace: Trace | None = None
    robustness: Robustness | None = None
    format_version: int = 1

    @classmethod
    def upgraded(cls, values: dict[str, Any], where: str) -> dict[str, Any]:
        parts: dict[str, type[Stored]] = {"trace": Trace, "robustness": Robustness}
        there = {key: part for key, part in parts.items() if values.get(key) is not None}
        return values | {key: part.current(values[key], f"{where}: {key}") for key, part in there.items()}
