"""What a training adds to the segmentation loss from one forward pass: terms on streams, scene type, side heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from fusionzoo.models import FusionModel
from fusionzoo.models.base import SIDE
from fusionzoo.models.two_stream import SCENE, SCENE_LOGITS
from fusionzoo.probes.tape import probe
from fusionzoo.tasks import CLASSIFICATION
from fusionzoo.train.losses import padded, scene_loss
from fusionzoo.train.rule import RULE, rule_loss, stream_pairs
from fusionzoo.train.streams import STREAMS, stream_loss, stream_points

__all__ = ["TERMS", "Term", "losses"]


@dataclass(frozen=True)
class Term:
    """A loss on the features of the encoders, which nothing is left of at inference.

    Attributes:
        points: the probes that it reads of a model, stage by stage; InputError for a model without them.
        loss: of what they saw, the labels (B, H, W) of the images as the model pads them, and the number of classes.
        said: its name in a sentence.
    """

    points: Callable[[FusionModel], Sequence[Sequence[str]]]
    loss: Callable[[Sequence[Sequence[Tensor]], Tensor, int], Tensor]
    said: str


TERMS = {
    RULE: Term(stream_pairs, rule_loss, "the rule"),
    STREAMS: Term(stream_points, stream_loss, "stream supervision"),
}
"""By name: `--auxiliary NAME=FACTOR` of any training, `STRATEGY+NAME` of a benchmark, whose protocol has a factor of
that name."""


def losses(
    model: FusionModel,
    rgb: Tensor,
    x: Tensor,
    label: Tensor,
    factors: Mapping[str, float],
    *,
    step: int = 1,
    scene: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """(logits, auxiliary losses, scores of side heads) of one pass: `model.losses(rgb, x, step=step)` and what else
    `factors` gives weight, `TERMS` and the scene type among the auxiliary losses, the side heads of
    `model.side_scores`.

    Args:
        label: (B, H, W) of the input's size, on its device.
        factors: of the auxiliary losses by name, the model's own (`loss_factors`) among them.
        scene: (B,) types, where a joint model learns them.

    Raises:
        InputError: a term is wanted of a model without what it reads.
    """
    wanted = {name: term.points(model) for name, term in TERMS.items() if factors.get(name)}
    names = {point for stages in wanted.values() for stage in stages for point in stage}
    typed = scene is not None and bool(factors.get(SCENE))
    names |= {SCENE_LOGITS} if typed else set()
    if not names:
        return _heads(model, rgb, x, factors, step)
    with probe(model, *sorted(names), detach=False, clone=False, trace=True) as tape:
        logits, auxiliary, sides = _heads(model, rgb, x, factors, step)
    if model.task != CLASSIFICATION:
        label = padded(label, model.stride)  # as the features, which cover the padded images
    for name, stages in wanted.items():
        seen = [[tape[point] for point in stage] for stage in stages]
        auxiliary[name] = TERMS[name].loss(seen, label, model.num_classes)
    if scene is not None and typed:
        auxiliary[SCENE] = scene_loss(tape[SCENE_LOGITS], scene)
    return logits, auxiliary, sides


def _heads(
    model: FusionModel, rgb: Tensor, x: Tensor, factors: Mapping[str, float], step: int
) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    if factors.get(SIDE):
        logits, *sides = model.side_scores(rgb, x, step=step)
        return logits, {}, sides
    logits, auxiliary = model.losses(rgb, x, step=step)
    return logits, dict(auxiliary), []
