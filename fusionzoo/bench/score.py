"""Scores of a trained model under the benchmark's conditions, in one pass over the images.

A missing modality is replaced by the model's declared substitute, as everywhere; corruptions act on the raw images
(`fusionzoo.data.corrupt`) and draw from the image's id alone, so every strategy meets the same damage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from fusionzoo.bench.results import Score
from fusionzoo.data import collate
from fusionzoo.data.corrupt import corrupt, severities
from fusionzoo.metrics import ConfusionMatrix
from fusionzoo.models import FusionModel, predict_labels

__all__ = ["CONDITIONS", "score"]

CONDITIONS: dict[str, tuple[str, float] | str | None] = {
    "both": None,
    "without_rgb": "rgb",
    "without_x": "x",
    "noise_rgb": ("noise_rgb", 40.0),
    "low_light": ("low_light", 4.0),
    "holes_x": ("holes_x", 0.5),
    "shift_x": ("shift_x", 8.0),
}
"""Condition -> None (clean), the modality that is missing, or (corruption, severity in its unit)."""


@torch.no_grad()
def score(
    model: FusionModel, data: Any, conditions: Mapping[str, tuple[str, float] | str | None], batch_size: int = 16
) -> dict[str, Score]:
    """Condition -> score, single scale, logits upsampled to the labels' own size.

    Args:
        model: trained, with its own preprocess. data: raw samples, as fusionzoo.data gives them.
        conditions: as CONDITIONS; a corruption that does not exist for this kind of x is left out.

    Returns:
        Scores in the order of `conditions`.
    """
    kind = model.preprocess.x_kind
    wanted = {
        name: how
        for name, how in conditions.items()
        if not isinstance(how, tuple) or severities(how[0], kind) is not None
    }
    matrices = {name: ConfusionMatrix(model.num_classes, data.ignore_index) for name in wanted}
    device = next(model.parameters()).device
    model.eval()
    for samples in DataLoader(data, batch_size, collate_fn=list):
        clean = collate(samples)
        label = clean["label"].to(device)
        for name, how in wanted.items():
            batch = clean
            if isinstance(how, tuple):
                batch = collate([corrupt(sample, how[0], how[1], x_kind=kind) for sample in samples])
            rgb, x = model.preprocess(batch["rgb"].to(device), batch["x"].to(device))
            logits = model(None if how == "rgb" else rgb, None if how == "x" else x)
            matrices[name].update(predict_labels(logits.float(), label.shape[-2:]), label)
    return {name: _score(matrix) for name, matrix in matrices.items()}


def _score(matrix: ConfusionMatrix) -> Score:
    found = matrix.compute()
    iou = [None if value != value else float(value) for value in found.iou.tolist()]
    return Score(float(found.miou), float(found.pixel_accuracy), iou)
