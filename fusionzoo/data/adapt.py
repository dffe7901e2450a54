"""Any source of samples as a data set with names: subsets, concatenations, lists of samples, a user's own class."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from fusionzoo.data.base import IGNORE, Sample
from fusionzoo.errors import InputError
from fusionzoo.tasks import CLASSIFICATION, SEGMENTATION, is_whole

__all__ = ["Adapted", "adapt"]

WANTED = "a dict with rgb (3, H, W), x (C, H, W) and label (H, W)"
OPTIONAL = ("masks", "masks_valid")


def _names(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value)


FACTS: dict[str, Callable[[Any], bool]] = {
    "name": lambda v: isinstance(v, str),
    "split": lambda v: isinstance(v, str),
    "class_names": _names,
    "num_classes": lambda v: isinstance(v, int),
    "x_kind": lambda v: isinstance(v, str),
    "x_channels": lambda v: isinstance(v, int),
    "ignore_index": lambda v: isinstance(v, int),
    "concepts": lambda v: isinstance(v, Mapping),
    "describe": callable,
}
"""What the data sets of `fusionzoo.data` say about themselves, and how it is told from other things of that name."""


def adapt(data: Any, *, class_names: Sequence[str], x_kind: str = "depth", x_channels: int = 1) -> Any:
    """`data` itself where it is a data set as `fusionzoo.data` makes; else an `Adapted` one around it.

    Args:
        data: anything with a length whose items are samples: `{"rgb": (3, H, W), "x": (Cx, H, W), "label": (H, W)}`,
            optionally with "id": a `torch.utils.data.Subset` or `ConcatDataset` (in each other, too), a list, a user's
            own map-style data set.
        class_names, x_kind, x_channels: what holds where neither the data nor what it wraps says so.

    Raises:
        InputError: no source of samples, or parts that differ in their classes or in x.

    >>> one = {"rgb": torch.zeros(3, 2, 2), "x": torch.ones(1, 2, 2), "label": torch.zeros(2, 2).long()}
    >>> made = adapt([one, one], class_names=["wall"])
    >>> made.name, len(made), made.class_names, made[1]["id"]
    ('list', 2, ['wall'], '1')
    """
    if all(fits(getattr(data, name, None)) for name, fits in FACTS.items()) and hasattr(data, "__getitem__"):
        return data
    kind = type(data).__name__
    if isinstance(data, DataLoader):
        raise InputError("a DataLoader gives batches; give its data set of single samples, loader.dataset")
    if isinstance(data, IterableDataset) or isinstance(data, Iterator):
        raise InputError(f"{kind} has no length and cannot be read twice; give a list of its samples, list(data)")
    if isinstance(data, Mapping) and "rgb" in data:
        raise InputError("this is one sample, not a data set; give a list of samples, [sample]")
    if isinstance(data, (str, bytes, Mapping, Tensor)) or not (
        hasattr(data, "__len__") and hasattr(data, "__getitem__")
    ):
        if isinstance(data, str):
            raise InputError(f"{data!r} is a name; give the data set itself: fusionzoo.data.parse_spec({data!r})")
        raise InputError(f"{kind} is no data set: wanted a length and items, each {WANTED}")
    return Adapted(data, class_names, x_kind, x_channels)


class Adapted(Dataset[Sample]):
    """Around a source of samples: what `fusionzoo.data` data sets say about themselves, found in what it wraps."""

    def __init__(self, dataset: Any, class_names: Sequence[str], x_kind: str, x_channels: int) -> None:
        self.dataset = dataset
        parts = [f"{p}" for p in dict.fromkeys(_stated(dataset, "name"))]
        self.name = " + ".join(parts) or type(_innermost(dataset)).__name__
        self.split = " + ".join(dict.fromkeys(_stated(dataset, "split"))) or "all"
        self.class_names = list(_agreed(dataset, "class_names", list(class_names)))
        self.num_classes = int(_agreed(dataset, "num_classes", len(self.class_names)))
        self.x_kind = str(_agreed(dataset, "x_kind", x_kind))
        self.x_channels = int(_agreed(dataset, "x_channels", x_channels))
        self.ignore_index = int(_agreed(dataset, "ignore_index", IGNORE))
        kinds = _stated(dataset, "concepts")
        self.concepts: dict[str, str] = dict(kinds[0]) if kinds and all(k == kinds[0] for k in kinds) else {}
        tasks = _stated(dataset, "task", lambda v: isinstance(v, str))
        self.task = tasks[0] if tasks and len(set(tasks)) == 1 else SEGMENTATION
        if not tasks and len(dataset) and self._of_whole_images():
            self.task = CLASSIFICATION
        seeds = _stated(dataset, "seed", lambda v: isinstance(v, int))
        self.seed = seeds[0] if seeds and len(set(seeds)) == 1 else 0
        masks = _stated(dataset, "mask_names", _names)
        self.mask_names = list(masks[0]) if masks and all(list(m) == list(masks[0]) for m in masks) else []

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        sample = self.dataset[index]
        where = f"{self.name}, sample {index}"
        if not isinstance(sample, Mapping):
            raise InputError(f"{where} is a {type(sample).__name__}, wanted {WANTED}")
        lacking = [key for key in ("rgb", "x", "label") if key not in sample]
        if lacking:
            raise InputError(
                f"{where} has {', '.join(map(str, sample)) or 'nothing'}; {lacking[0]} is missing: wanted {WANTED}"
            )
        found: Sample = {key: _tensor(sample[key], f"{where}: {key}") for key in ("rgb", "x", "label")}
        label = found["label"]
        if label.ndim != 2 or label.is_floating_point() or label.dtype == torch.bool:
            raise InputError(f"{where}: label is {label.dtype} {tuple(label.shape)}, wanted integers (H, W)")
        if found["x"].ndim != 3 or found["x"].shape[0] != self.x_channels:
            raise InputError(f"{where}: x has shape {tuple(found['x'].shape)}, wanted ({self.x_channels}, H, W)")
        found["label"] = label.long()
        found["id"] = str(sample.get("id", index))
        return found | {key: sample[key] for key in OPTIONAL if key in sample}

    def _of_whole_images(self) -> bool:
        """Whether the label of the first sample is one class of a whole image."""
        first = self.dataset[0]
        try:
            return is_whole(tuple(first["label"].shape), tuple(first["rgb"].shape[-2:]))
        except (AttributeError, KeyError, TypeError):
            return False  # no sample: said when it is read

    def describe(self) -> dict[str, Any]:
        """Plain JSON values that tell this data from other: name, split, n, ... and what it wraps."""
        first = {"name": self.name, "split": self.split, "n": len(self), "class_names": list(self.class_names)}
        return first | {"x_kind": self.x_kind, "x_channels": self.x_channels, "of": _identity(self.dataset)}


def _inner(data: Any) -> list[Any]:
    """What a data set wraps: one for a subset or wrapper, several for a concatenation."""
    if isinstance(data, ConcatDataset):
        return list(data.datasets)
    inner = getattr(data, "dataset", None)
    return [] if inner is None or isinstance(inner, str) else [inner]


def _innermost(data: Any) -> Any:
    inner = _inner(data)
    return _innermost(inner[0]) if inner else data


def _stated(data: Any, name: str, fits: Callable[[Any], bool] | None = None) -> list[Any]:
    """What the data says under `name`, or else what all that it wraps say."""
    value = getattr(data, name, None)
    if value is not None and (fits or FACTS[name])(value):
        return [value]
    return [found for inner in _inner(data) for found in _stated(inner, name, fits)]


def _agreed(data: Any, name: str, default: Any) -> Any:
    """The one value under `name`. InputError where the parts differ, or the number of classes and their names do."""
    found = [list(v) if name == "class_names" else v for v in _stated(data, name)]
    odd = next((v for v in found if v != found[0]), None)
    if odd is not None:
        raise InputError(f"the parts of this data differ: {name} is {found[0]} and {odd}; dissect them one by one")
    if name == "num_classes" and found and found[0] != default:
        raise InputError(f"the data has num_classes {found[0]}, but {default} class names; give it class_names")
    return found[0] if found else default


def _tensor(value: Any, where: str) -> Tensor:
    if isinstance(value, np.ndarray):
        wide = value.astype(np.int64) if value.dtype in (np.uint16, np.uint32) else value  # which torch does not know
        return torch.from_numpy(np.ascontiguousarray(wide))
    if isinstance(value, Tensor):
        return value.as_subclass(Tensor)
    raise InputError(f"{where} is a {type(value).__name__}, wanted a tensor or an array")


def _identity(data: Any) -> Any:
    """JSON values that differ for other samples: of data without a description, a digest of three samples."""
    if callable(getattr(data, "describe", None)):
        return data.describe()
    if isinstance(data, Subset):
        chosen = hashlib.sha256(repr([int(i) for i in data.indices]).encode()).hexdigest()
        return {"indices": chosen, "of": _identity(data.dataset)}
    if isinstance(data, ConcatDataset):
        return [_identity(inner) for inner in data.datasets]
    digest, n = hashlib.sha256(), len(data)
    for index in sorted({0, n // 2, n - 1}) if n else ():
        for key in ("rgb", "x", "label"):
            digest.update(_tensor(data[index][key], key).contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {"type": type(data).__name__, "n": n, "samples": digest.hexdigest()}
