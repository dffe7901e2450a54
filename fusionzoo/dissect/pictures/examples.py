"""Images looked at one by one: predictions under every subset of modalities, and the modality map.

`check` shows those that the dissection chose (`measures.images`), in one short pass over them alone: keeping pictures
of candidates during the passes over all images would cost memory and state for images that nobody is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.data.images import resize_nearest, resize_rgb, rgb_bytes
from fusionzoo.dissect.capture import lend
from fusionzoo.dissect.conditions import SUBSETS, Condition, Reader, fitted, unwrapped
from fusionzoo.dissect.masks import Source, concept_data, plain_data
from fusionzoo.dissect.measures.base import number
from fusionzoo.dissect.measures.contribution import PRESENT
from fusionzoo.dissect.measures.images import CONDITIONS, Chosen
from fusionzoo.dissect.pictures.inside import Look
from fusionzoo.dissect.pictures.insight import Insight
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.results.examples import Example, Shares
from fusionzoo.dissect.split import Split, chosen_images
from fusionzoo.errors import CheckFailed
from fusionzoo.metrics import modality_map
from fusionzoo.models import predict_labels
from fusionzoo.models.labels import evaluating
from fusionzoo.preprocess import missing_x

__all__ = ["SIDE", "chosen_examples", "look"]

SIDE = 640
"""Longest side of what is kept of an image, in pixels."""


def chosen_examples(
    model: nn.Module,
    data: Any,
    found: Dissection,
    learned: Insight | None = None,
    images: Sequence[Chosen] | None = None,
) -> list[Example]:
    """The images that a dissection chose, each under the conditions in which it was scored.

    Args:
        model, data: those of the dissection.
        learned: to look inside the streams as well.
        images: to look at instead, for example those that the dissection of another model chose; where their
            `accuracy` is empty it is measured.

    Raises:
        CheckFailed: the model's output is not finite.
    """
    (model, data), protocol = fitted(model, data), found.protocol
    masks = None  # where the classes are the concepts
    if learned is not None and protocol.concepts != "labels":
        data, names = concept_data(data, protocol.concepts)
        masks = len(names)
    else:
        data = plain_data(data)
    inside = None if learned is None else Look(model, learned, found.concepts)
    numbers = list(chosen_images(data, found.data.n))
    others = lend(SUBSETS, protocol.absence)
    order = Split(found.data.n, protocol.block).cycle(protocol.seed)
    reader = Reader(model, data, protocol.absence, protocol.seed, others)
    made = []
    for chosen in found.images if images is None else images:
        place = numbers.index(chosen.index)
        samples = [data[chosen.index]]
        if others:  # the image that lends it a modality, as in the dissection's pass
            after = order[(order.index(place) + 1) % len(order)]
            samples.append(data[numbers[after]])
        made.append(look(reader, samples, place, chosen, inside, masks))
    return made


def look(
    reader: Reader,
    samples: Sequence[Any],
    place: int = 0,
    chosen: Chosen | None = None,
    inside: Look | None = None,
    concepts: int | None = None,
) -> Example:
    """One image under every subset of modalities.

    Args:
        reader: makes the model's inputs.
        samples: the image's, and that of the image after it where images lend each other modalities.
        place: number of the image in the run.
        inside: looks inside the streams, both modalities given. concepts: number of masks that samples carry, None
            where the classes are the concepts.

    Raises:
        InputError: an unusable sample. CheckFailed: the model's output is not finite.
    """
    plain, data = unwrapped(reader.model), reader.data
    with evaluating(reader.model):
        (images,) = reader.images(samples, [place])
        height, width = images.here[0].shape[-2:]
        with inside.watching((height, width)) if inside is not None else nullcontext():
            logits = {Condition.BOTH: reader.model(*reader.inputs(Condition.BOTH, images))}
        logits |= {c: reader.model(*reader.inputs(c, images)) for c in SUBSETS if c != Condition.BOTH}
    for condition, value in logits.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckFailed(f"the model's output ({condition}) is not finite for {images.batch['id'][0]}")
    sample, label = samples[0], images.label
    if chosen is not None and not chosen.accuracy:
        chosen = replace(chosen, accuracy={str(c): _accuracy(logits[c], label, data.ignore_index) for c in CONDITIONS})
    size, grid = _fit(sample["rgb"].shape[-2:]), logits[Condition.BOTH].shape[-2:]
    given = {present: logits[condition] for present, condition in PRESENT.items()}
    labelled = bool((label != data.ignore_index).any())
    true = torch.where(label == data.ignore_index, -1, label)
    missing = missing_x(sample["x"], data.x_kind).any(0)
    source = Source(images.batch, label.device, data.num_classes, data.ignore_index, concepts)
    return Example(
        id=str(sample["id"]),
        rgb=rgb_bytes(resize_rgb(sample["rgb"], size)).permute(1, 2, 0).contiguous().numpy(),  # (3, h, w) -> (h, w, 3)
        x=resize_nearest(sample["x"].float(), size).numpy(),
        missing=resize_nearest(missing, size).numpy(),
        predicted={str(c): _small(predict_labels(v, label.shape[-2:]), size) for c, v in logits.items()},
        predicted_class=_shares(given, None, size),
        class_names=list(plain.class_names),
        modalities=(str(plain.modalities[0]), str(plain.modalities[1])),
        x_kind=data.x_kind,
        absence=reader.absence,
        label=_small(label, size) if labelled else None,
        true_class=_shares(given, resize_nearest(true, (grid[0], grid[1])), size) if labelled else None,
        ignore=data.ignore_index,
        palette=list(getattr(data, "palette", ())),
        chosen=chosen,
        inside=None if inside is None else inside.inside(source, size),
    )


def _accuracy(logits: Tensor, label: Tensor, ignore: int) -> float | None:
    """Share of the labelled pixels (1, H, W) that are right."""
    known = label != ignore
    right = predict_labels(logits, label.shape[-2:])[known] == label[known]
    return number(right.double().mean())


def _fit(size: Sequence[int]) -> tuple[int, int]:
    """A size of the same shape whose longer side is at most SIDE."""
    share = min(1.0, SIDE / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _small(classes: Tensor, size: tuple[int, int]) -> Any:
    """(1, H, W) classes -> (h, w) int64."""
    return resize_nearest(classes[0].cpu().long(), size).numpy()


def _shares(given: Any, classes: Tensor | None, size: tuple[int, int]) -> Shares:
    """The modality map of one image at the size of its pictures: sampled, so that the values still add up."""
    found = modality_map(given, classes).shapley
    rgb, x = (resize_nearest(found[s][0].float().cpu(), size).numpy() for s in ("rgb", "x"))
    return Shares(rgb, x)
