"""Is the exported model the model? Outputs beside PyTorch's at several shapes, and mIoU on data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusionzoo.data import collate
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.export.formats import Runner
from fusionzoo.export.graph import Graph, Shapes, example
from fusionzoo.metrics.segmentation import ConfusionMatrix
from fusionzoo.models import FusionModel, predict_labels
from fusionzoo.models.two_stream import SCENE_LOGITS
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes import probe
from fusionzoo.tasks import CLASSIFICATION, means_and_classes, model_for, spoken

__all__ = ["Comparison", "Loss", "compare", "loss"]

TOLERANCE = {"float32": 1e-4, "float16": 0.05, "int8": 0.95}
"""Largest accepted difference of the logits, as a part of the largest logit. Bundled models differ by up to 3e-6 in
float32 and 0.013 in float16; in int8 single logits are far off (0.7), so that SAME judges, and this refuses nothing but
an output that has little to do with the model: all zeros are 1 away."""
SAME = {"float32": 0.0, "float16": 0.0, "int8": 0.4}
"""Smallest accepted share of pixels (of images) whose class is the same; of bundled models int8 keeps 0.59 to 0.89."""
ROUNDS = 8
"""Times that int8 is compared where a made-up image has one class: the share of three images says little."""


@dataclass(frozen=True)
class Comparison:
    """Outputs of the exported model beside those of the model in PyTorch, float32.

    Attributes:
        largest: difference of any logit at any of `shapes`.
        logits: largest absolute logit of PyTorch.
        scenes: (largest difference, largest absolute score) of a joint model's scene types; None of others.
        same_class: share (0..1) of what `of` says whose class is the same.
        shapes: (batch, height, width) that were compared.
        probes: probe -> largest difference of its values.
        of: "pixels", or where a model says one class of a whole image, "images".
    """

    largest: float
    logits: float
    same_class: float
    shapes: list[tuple[int, int, int]]
    probes: dict[str, float]
    of: str = "pixels"
    scenes: tuple[float, float] | None = None


@dataclass(frozen=True)
class Loss:
    """mIoU (0..1) of the model in PyTorch, float32, and of the exported one, on the same images; of scene types
    balanced accuracy.

    Attributes:
        data, split, n, size: the images, their number, and the (height, width) that the models are fed.
        score: what it is of.
    """

    data: str
    split: str
    n: int
    size: tuple[int, int]
    pytorch: float
    exported: float
    score: str = "mIoU"

    @property
    def points(self) -> float:
        """What the export costs, in percent points; below 0 where it gains."""
        return 100 * (self.pytorch - self.exported)


def compare(
    model: FusionModel, graph: Graph, run: Runner, cases: Sequence[tuple[int, int, int]], kind: str
) -> Comparison:
    """Runs both at every shape of `cases`; `kind` of arithmetic says how far apart they may be.

    Raises:
        CheckFailed: outputs that are not finite, of another shape, further apart than TOLERANCE says, or of which fewer
            than SAME says have the model's class.
    """
    same, pixels = 0, 0
    far, high = dict.fromkeys(graph.outputs, 0.0), dict.fromkeys(graph.outputs, 0.0)
    of = "images" if model.task == CLASSIFICATION else "pixels"
    for seed, case in enumerate([*cases] * (ROUNDS if (kind, of) == ("int8", "images") else 1)):
        rgb, x = example(graph.model.preprocess, graph.inside, case, seed)
        wanted = _eager(model, graph, rgb, x)
        found = run(rgb, x)
        for name, a, b in zip(graph.outputs, wanted, found, strict=True):
            if a.shape != b.shape:
                raise CheckFailed(
                    f"{name} has shape {tuple(b.shape)} instead of {tuple(a.shape)} at {case}; nothing was written"
                )
            if not bool(a.isfinite().all()):
                raise CheckFailed(f"{name} is not finite in PyTorch at {case}: nothing to compare with or to write")
            if not bool(b.isfinite().all()):
                tail = ": float16 overflows" if kind == "float16" else ""
                raise CheckFailed(f"{name} is not finite at {case}{tail}; nothing was written")
            far[name] = max(far[name], float((a - b).abs().max()))
            high[name] = max(high[name], float(a.abs().max()))
        labels, theirs = wanted[0].argmax(1), found[0].argmax(1)
        same, pixels = same + int((labels == theirs).sum()), pixels + labels.numel()
    scores = [name for name in graph.outputs if name in ("logits", SCENE_LOGITS)]
    for name in scores:
        if not far[name] <= TOLERANCE[kind] * high[name]:
            raise CheckFailed(
                f"{model.architecture}: the exported model's {name} differ by up to {far[name]:.2g} (of"
                f" {high[name]:.2g}) from PyTorch's, more than {TOLERANCE[kind]:g} of them; nothing was written"
            )
    if not same / pixels >= SAME[kind]:
        raise CheckFailed(
            f"{model.architecture}: in {kind} {100 * same / pixels:.1f} % of the {of} keep their class, fewer than"
            f" {100 * SAME[kind]:g} %; nothing was written"
        )
    probes = {name: far[graph.output(name)] for name in graph.names if graph.output(name) not in scores}
    scenes = (far[SCENE_LOGITS], high[SCENE_LOGITS]) if len(scores) > 1 else None
    return Comparison(far["logits"], high["logits"], same / pixels, list(cases), probes, of, scenes)


def loss(model: FusionModel, inside: bool, run: Runner, data: Any, batch_size: int, shapes: Shapes) -> Loss:
    """mIoU of both on `data`, whose samples all have the size that the export takes.

    Args:
        inside: `run` normalises by itself.
        shapes: that `run` takes.

    Raises:
        InputError: images of a size that `run` does not take; data of scene types alone for a joint model.
    """
    if model_for(model, data) is not model:
        raise InputError(f"the loss is of classes of pixels, and {data.name} has scene types alone; give other data")
    ours, theirs = (ConfusionMatrix(model.num_classes, data.ignore_index) for _ in range(2))
    size: tuple[int, int] = (0, 0)
    for samples in _batches(data, shapes.batch or batch_size):
        batch = collate(samples)
        rgb, x = model.preprocess(batch["rgb"], batch["x"])
        size = (rgb.shape[-2], rgb.shape[-1])
        if min(size) < shapes.least if shapes.free else size != (shapes.height, shapes.width):
            raise InputError(
                f"{batch['id'][0]} is {size[0]}x{size[1]}, but the export takes {shapes.says()}; give --size for both"
            )
        with torch.no_grad():
            wanted = model(rgb, x)
        found = run(*(_raw(batch, model.preprocess) if inside else (rgb, x)))[0]
        for matrix, logits in ((ours, wanted), (theirs, found)):
            if not bool(logits.isfinite().all()):
                raise CheckFailed(f"the output is not finite for {', '.join(map(str, batch['id'][:3]))}")
            matrix.update(predict_labels(logits, batch["label"].shape[-2:]), batch["label"])
    name, split = str(getattr(data, "name", "data")), str(getattr(data, "split", ""))
    first, second = (means_and_classes(s, model.task)[0] for s in (ours.compute(), theirs.compute()))
    return Loss(name, split, len(data), size, first, second, spoken("mIoU", model.task))


def _eager(model: FusionModel, graph: Graph, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """The graph's outputs from the model itself, its own padding and all."""
    if graph.inside:
        rgb, x = model.preprocess(rgb, x)
    with torch.no_grad():
        if not graph.names:
            return (model(rgb, x),)
        with probe(model, *graph.names) as tape:
            out = model(rgb, x)
        return out, *(tape[name].float() for name in graph.names)


def _batches(data: Any, batch_size: int) -> Iterator[list[Any]]:
    """Neighbouring samples of one size, at most `batch_size` of them."""
    samples = (data[i] for i in range(len(data)))
    for _, run in itertools.groupby(samples, lambda s: (s["rgb"].shape, s["label"].shape)):
        while part := list(itertools.islice(run, batch_size)):
            yield part


def _raw(batch: dict[str, Any], preprocess: Preprocess) -> tuple[Tensor, Tensor]:
    """rgb as uint8 and x as float32, as a graph with preprocessing inside takes them."""
    rgb: Tensor = batch["rgb"]
    rgb = rgb if rgb.dtype == torch.uint8 else (255 * rgb).round().clamp(0, 255).to(torch.uint8)
    x: Tensor = batch["x"]
    return rgb, x.float()
