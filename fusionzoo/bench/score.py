"""Scores of a trained model under the benchmark's conditions, in one pass over the images.

A missing modality is replaced by the model's declared substitute, as everywhere; corruptions act on the raw images
(`fusionzoo.data.corrupt`) and draw from the image's id alone, so every strategy meets the same damage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionzoo.bench.results import Score
from fusionzoo.data.corrupt import severities
from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.base import numbers
from fusionzoo.dissect.robustness import Failure, counted
from fusionzoo.dissect.run import Work
from fusionzoo.dissect.split import Split
from fusionzoo.models import FusionModel
from fusionzoo.models.labels import evaluating
from fusionzoo.tasks import data_task, means_and_classes

__all__ = ["CONDITIONS", "score"]

CONDITIONS = {
    "both": Failure(),
    "without_rgb": Failure(condition=Condition.WITHOUT_RGB),
    "without_x": Failure(condition=Condition.WITHOUT_X),
    "noise_rgb": Failure((("noise_rgb", 40.0),)),
    "low_light": Failure((("low_light", 4.0),)),
    "holes_x": Failure((("holes_x", 0.5),)),
    "shift_x": Failure((("shift_x", 8.0),)),
}
"""Condition -> how the model is run; the severity of a corruption is in its unit."""


def score(model: FusionModel, data: Any, conditions: Mapping[str, Failure], batch_size: int = 16) -> dict[str, Score]:
    """Condition -> score, single scale, logits upsampled to the labels' own size.

    Args:
        model: trained, with its own preprocess. data: raw samples, as fusionzoo.data gives them.
        conditions: as CONDITIONS; a corruption that does not exist for this kind of x is left out.

    Returns:
        Scores in the order of `conditions`; of scene types `miou` is the balanced accuracy, `class_iou` the recalls.
    """
    kind = model.preprocess.x_kind
    wanted = {n: way for n, way in conditions.items() if all(severities(c, kind) is not None for c, _ in way.damage)}
    options = {"seed": 0, "absence": "mean", "absence_seed": 0}
    split = Split.of(len(data))
    with evaluating(model):
        sums = counted(Work(model, data, range(len(data)), split, batch_size, progress=False, options=options),
                       list(wanted.values()))  # fmt: skip
    found = {name: sums[way.key].compute() for name, way in wanted.items()}
    scores = {name: means_and_classes(s, data_task(data)) for name, s in found.items()}
    return {name: Score(mean, found[name].pixel_accuracy, numbers(each)) for name, (mean, each) in scores.items()}
