"""What is said of an image: a class for each pixel, a salient object, or one class for the whole image; and how it is
scored.

In classification the label of an image is a map of one pixel, (1, 1), and the logits are (B, K, 1, 1). So loss, counts,
absence, Shapley values and curves are those of segmentation, but for the score: where a segmentation has IoU and mIoU,
a classification has the recall of each class and their mean over the classes that are labelled, the balanced accuracy.
Code and Python call both by segmentation's names (`miou`, `iou`, `pixel_accuracy`); whatever is read by people or
stored as JSON calls them by their own (`spoken`, `stored`).

Joint data and joint models are of segmentation and say the scene type beside it: samples have "scene", int64, a scalar
(255: not known), data and model `scene_names`. On data of scene types alone a joint model is used by its view of them
(`model_for`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from fusionzoo.errors import InputError

__all__ = ["CLASSIFICATION", "SALIENCY", "SEGMENTATION", "check_task", "data_scenes", "data_task", "is_whole",
           "means_and_classes", "model_for", "spoken", "stored", "stored_task", "unstored"]  # fmt: skip

SEGMENTATION, SALIENCY, CLASSIFICATION = "segmentation", "saliency", "classification"

T = TypeVar("T")

_WORDS = {"mIoU": "balanced accuracy", "IoU": "recall", "pixel accuracy": "accuracy", "Segmentation": "Classification"}
# but for "set IoU" and the columns "IoU rgb" of a stage, which are of concepts
_SAID = re.compile(rf"(?!^IoU \w+$)\b(?<!set )({'|'.join(_WORDS)})\b(?!: mean concept)")
_KEYS = {"miou": "balanced_accuracy", "best_miou": "best_balanced_accuracy", "miou_error": "balanced_accuracy_error",
         "pixel_accuracy": "accuracy", "iou": "recall", "iou_error": "recall_error"}  # fmt: skip
_PLAIN = {new: old for old, new in _KEYS.items()}


def is_whole(label_size: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether a label of (H, W) `label_size` is of a whole image of `size`: no crop, flip or scaling changes it.

    >>> is_whole((1, 1), (48, 64)), is_whole((48, 64), (48, 64))
    (True, False)
    """
    return tuple(label_size) == (1, 1) != tuple(size)


def data_task(data: Any) -> str:
    """The task of a data set; of one that states none, segmentation."""
    return str(getattr(data, "task", SEGMENTATION))


def data_scenes(data: Any) -> list[str]:
    """Names of the scene types that joint data has beside its labels of pixels; of other data none."""
    return list(getattr(data, "scene_names", None) or ())


def model_for(model: Any, data: Any) -> Any:
    """What of `model` is used on `data`: of a joint model, on data of whole images, `model.scenes()`; else itself.

    Raises:
        InputError: as of `check_task`.
    """
    if getattr(model, "num_scenes", 0) and data_task(data) == CLASSIFICATION:
        model = model.scenes()
    check_task(model, data)
    return model


def check_task(model: Any, data: Any) -> None:
    """Refuses a model and data of which one is about pixels and the other about whole images.

    Raises:
        InputError: with what to take instead.
    """
    if (model.task == CLASSIFICATION) == (data_task(data) == CLASSIFICATION):
        return
    name = getattr(data, "name", "the data")
    if model.task == CLASSIFICATION:
        raise InputError(
            f"{model.architecture} says one class of a whole image, and the labels of {name} are of pixels; give data"
            " of scene types (planted-scenes, nyuv2-scenes:PATH), or a model with another decoder than pool"
        )
    raise InputError(
        f"{name} has one class for a whole image, and {model.architecture} says one of each pixel; give a model with"
        " the decoder pool: STRATEGY_ENCODER_pool, such as concat_mobilenetv1-025_pool"
    )


def means_and_classes(found: Any, task: str) -> tuple[float, Any]:
    """(mIoU, IoU of each class) of `fusionzoo.metrics`' segmentation scores; of a classification (balanced accuracy,
    recalls)."""
    return (found.mean_accuracy, found.accuracy) if task == CLASSIFICATION else (found.miou, found.iou)


def spoken(value: T, task: str) -> T:
    """`value` with its texts, however deep in dataclasses, lists and tuples, in the words of the task.

    >>> spoken(("mIoU 61.0", "the class's IoU", "set IoU", 3), CLASSIFICATION)
    ('balanced accuracy 61.0', "the class's recall", 'set IoU', 3)
    >>> spoken("mIoU", SEGMENTATION)
    'mIoU'
    """
    return _spoken(value) if task == CLASSIFICATION else value


def _spoken(value: Any) -> Any:
    if isinstance(value, str):
        return _SAID.sub(lambda found: _WORDS[found[0]], value)
    if type(value) in (list, tuple):
        return type(value)(map(_spoken, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (f.name for f in dataclasses.fields(value) if f.init)
        return dataclasses.replace(value, **{name: _spoken(getattr(value, name)) for name in fields})
    return value


def stored(values: Any, task: str) -> Any:
    """Plain JSON values with the task's names of scores: in every object that has one of "miou" its keys are renamed.

    >>> stored({"both": {"miou": 0.5, "iou": [0.5]}}, CLASSIFICATION)
    {'both': {'balanced_accuracy': 0.5, 'recall': [0.5]}}
    """
    return _renamed(values, _KEYS, "miou") if task == CLASSIFICATION else values


def unstored(values: Any) -> Any:
    """Inverse of `stored`, whatever the task.

    >>> unstored([{"balanced_accuracy": 0.5, "recall": [0.5]}, {"recall": 1}])
    [{'miou': 0.5, 'iou': [0.5]}, {'recall': 1}]
    """
    return _renamed(values, _PLAIN, "balanced_accuracy")


def stored_task(values: Mapping[str, Any]) -> str:
    """The task of one object that `stored` gave: a line of training, a metric.

    >>> stored_task({"balanced_accuracy": 0.5}), stored_task({"miou": 0.5})
    ('classification', 'segmentation')
    """
    return CLASSIFICATION if "balanced_accuracy" in values else SEGMENTATION


def _renamed(values: Any, names: Mapping[str, str], mark: str) -> Any:
    if isinstance(values, list):
        return [_renamed(v, names, mark) for v in values]
    if not isinstance(values, dict):
        return values
    known = names if mark in values else {}
    return {known.get(key, key): _renamed(v, names, mark) for key, v in values.items()}
