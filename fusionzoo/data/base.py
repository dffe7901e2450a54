"""What every dataset shares: the sample, resizing, the cache, collation.

A sample is a dict: `rgb` uint8 (3, H, W); `x` float32 (Cx, H, W) raw, in the unit of `x_kind` (metres for depth, 0 =
missing); `label` int64 (Hl, Wl), classes 0..K-1 and 255 = ignore, and (1, 1) where it is one class of the whole image;
`id` str. Joint data has `scene_names` and in each sample `scene`, int64, a scalar: the type, 255 where it is not known.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fusionzoo.data.images import resize_rgb
from fusionzoo.data.pair import check_pair, fitted, nearest
from fusionzoo.errors import InputError
from fusionzoo.schema import encode
from fusionzoo.tasks import CLASSIFICATION, SEGMENTATION, data_scenes

__all__ = ["IGNORE", "Cached", "Sample", "SegmentationDataset", "WithTransform", "collate", "spread"]

IGNORE = 255
"""The label value that no loss and no metric counts."""

T = TypeVar("T")
Sample = dict[str, Any]


def collate(samples: Sequence[Sample]) -> Sample:
    """Stacks rgb, x, label and scene along a new first axis and lists the ids; other keys are listed too.

    >>> one = {"rgb": torch.zeros(3, 2, 2), "x": torch.zeros(1, 2, 2), "label": torch.zeros(2, 2), "id": "a"}
    >>> batch = collate([one, one])
    >>> batch["rgb"].shape, batch["id"]
    (torch.Size([2, 3, 2, 2]), ['a', 'a'])

    Raises:
        InputError: the samples differ in size.
    """
    batch: Sample = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        if key not in ("rgb", "x", "label", "scene"):
            batch[key] = values
            continue
        odd = next((s for s, v in zip(samples, values, strict=True) if v.shape != values[0].shape), None)
        if odd is not None:
            raise InputError(
                f"{odd['id']}: {key} is {tuple(odd[key].shape)} but {samples[0]['id']} has {tuple(values[0].shape)};"
                " give the dataset a size=(H, W) and label_size='input', or use batches of 1"
            )
        batch[key] = torch.stack([v.as_subclass(Tensor) for v in values])
    return batch


def spread(ids: Sequence[T], limit: int | None) -> list[T]:
    """`limit` of the ids, evenly spaced from the first (neighbours often show one room); all of them when None.

    >>> spread(["a", "b", "c", "d", "e"], 2)
    ['a', 'c']
    """
    if limit is None or limit >= len(ids):
        return list(ids)
    if limit < 1:
        raise InputError(f"limit is {limit}; give 1 or more, or leave it out for the whole split")
    return [ids[i * len(ids) // limit] for i in range(limit)]


class SegmentationDataset(Dataset[Sample]):
    """Base of the datasets that read files. Subclasses fill the attributes and give `load`.

    Attributes:
        name, split: what is read. class_names: K names. concepts: name -> where it shows, empty unless planted.
        task: "segmentation"; "saliency": class 1 of two is the salient object, and the field's measures are taken; or
            "classification": a label is (1, 1), the class of the whole image, and is never resized.
        x_kind, x_channels, ignore_index: see the module.
        ids: the sample ids, in order.
        size: (H, W) that rgb and x are resized to (bilinear with antialias; nearest), None = as stored.
        label_size: "native" leaves labels at full resolution, "input" resizes them too (nearest).
        transform: called with each sample; e.g. `train_transform(...)`.
        align: x and labels of another size than rgb are resampled to it (nearest) instead of refused.
        empty_depth: "error" refuses a sample whose depth is missing everywhere, "keep" gives it as it is.
    """

    name: str = ""
    split: str = ""
    task: str = SEGMENTATION
    class_names: list[str]
    concepts: dict[str, str]
    ignore_index: int = IGNORE
    x_kind: str = "depth"
    x_channels: int = 1
    ids: list[str]
    align: bool = False
    empty_depth: str = "error"

    def __init__(
        self,
        ids: Sequence[str],
        *,
        size: tuple[int, int] | None = None,
        label_size: str = "native",
        cache: bool = False,
        cache_size: tuple[int, int] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        if label_size not in ("native", "input"):
            raise InputError(f"label_size is {label_size!r}; give 'native' (full resolution) or 'input' (as rgb)")
        if cache_size is not None:
            if size is not None and tuple(size) != tuple(cache_size):
                raise InputError(
                    "give size or cache_size, not two different ones: cache_size is the size of the samples"
                )
            size, label_size, cache = cache_size, "input", True
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise InputError(f"size is {size!r}; give (height, width), both positive")
        self.ids = list(ids)
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.label_size = label_size
        self.transform = transform
        self.concepts = {}
        self.cache = cache
        self._store: _Store | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, index: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        """(rgb uint8 (3, H, W), raw x (Cx, H, W), label uint8 (H, W) of 0..K-1 and 255, factor raw x -> unit)."""
        raise NotImplementedError

    def where(self, index: int, part: str = "rgb") -> str:
        """Names the `part` ("rgb", "x" or "label") of sample `index` in error messages: its file."""
        return f"{self.name} {self.ids[index]} {part}"

    def describe(self) -> dict[str, Any]:
        """Plain JSON values: name, split, n, size, ..."""
        told = ("size", "label_size", "num_classes", "class_names", "x_kind", "x_channels", "ignore_index", "concepts")
        first = {"name": self.name, "split": self.split, "n": len(self)}
        return first | {key: encode(getattr(self, key)) for key in told}

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(index)  # the sequence protocol ends iteration with it
        index %= len(self)
        self.prepare_cache()
        store = self._store
        rgb, raw, label, factor = self._sized(index) if store is None else store.get(index, self._sized)
        sample: Sample = {
            "rgb": rgb,
            "x": torch.from_numpy(raw.astype(np.float32) * np.float32(factor)),
            "label": torch.from_numpy(label.astype(np.int64)),
            "id": self.ids[index],
        }
        return sample if self.transform is None else self.transform(sample)

    def prepare_cache(self) -> None:
        """Reserves the cache, once. Call it before workers start, so that they fill one cache together (fork)."""
        if self.cache and self._store is None and len(self):
            self._store = _Store(len(self), self._sized(0))

    def _sized(self, index: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        """`load`, checked and resized."""
        rgb, raw, label, factor = self.load(index)
        size = (rgb.shape[-2], rgb.shape[-1])
        whole = self.task == CLASSIFICATION
        label = label if whole else fitted(label, size, self.align, self.where(index, "label"), "label")
        raw = fitted(raw, size, self.align, self.where(index, "x"))
        x = torch.from_numpy(raw.astype(np.float32) * np.float32(factor))
        check_pair(rgb, x, self.x_kind, self.where(index, "x"), self.empty_depth == "keep")
        if self.size is not None:
            rgb = resize_rgb(rgb, self.size)
            raw = nearest(raw, self.size)
            if self.label_size == "input" and not whole:
                label = nearest(label, self.size)
        return rgb, raw, label, factor

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}  # the cache is memory of this process and of its forks


class _Store:
    """Decoded samples in anonymous shared memory, in their stored dtypes; forked workers share it.

    Anonymous because a container's /dev/shm is often 64 MB. The system commits pages as they are filled. With a
    `folder`, in files there that have no name any more: they go with the last process that has them.
    """

    def __init__(self, n: int, first: tuple[Tensor, np.ndarray, np.ndarray, float], folder: str = "") -> None:
        rgb, raw, label, _ = first
        self.rgb = _shared((n, *rgb.shape), np.uint8, folder)
        self.raw = _shared((n, *raw.shape), raw.dtype, folder)
        self.label = _shared((n, *label.shape), np.uint8, folder)
        self.factor = _shared((n,), np.float64)
        self.filled = _shared((n,), np.uint8)

    def get(
        self, index: int, load: Callable[[int], tuple[Tensor, np.ndarray, np.ndarray, float]]
    ) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        """Sample `index`: a copy of the kept one, or loaded and kept. One of another size or dtype is not kept."""
        if not self.filled[index]:
            rgb, raw, label, factor = load(index)
            pairs = ((self.rgb, rgb.numpy()), (self.raw, raw), (self.label, label))
            if any(kept.shape[1:] != new.shape or kept.dtype != new.dtype for kept, new in pairs):
                return rgb, raw, label, factor
            self.rgb[index], self.raw[index], self.label[index], self.factor[index] = rgb.numpy(), raw, label, factor
            self.filled[index] = 1
        rgb = torch.from_numpy(self.rgb[index].copy())
        return rgb, self.raw[index], self.label[index], float(self.factor[index])


def _shared(shape: tuple[int, ...], dtype: Any, folder: str = "") -> np.ndarray:
    count = int(np.prod(shape))
    size = max(1, count * np.dtype(dtype).itemsize)
    if not folder:
        return np.frombuffer(mmap.mmap(-1, size), dtype, count).reshape(shape)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is met here, and not by a signal in the middle
            return np.frombuffer(mmap.mmap(file.fileno(), size), dtype, count).reshape(shape)
    except OSError as error:
        raise InputError(f"cannot keep {size / (1 << 30):.2f} GiB of images in {folder}: {error.strerror}") from error


class Wrapper(Dataset[Sample]):
    """Around a dataset; attributes that are not its own are the dataset's."""

    dataset: Any

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # while unpickling, `dataset` is not there yet
            raise AttributeError(name)
        return getattr(self.dataset, name)


class WithTransform(Wrapper):
    """`dataset` with `fn` called on each sample; every other attribute is the dataset's own."""

    def __init__(self, dataset: Any, fn: Callable[[Sample], Sample]) -> None:
        self.dataset = dataset
        self.fn = fn

    def __getitem__(self, index: int) -> Sample:
        return self.fn(self.dataset[index])


class Cached(Wrapper):
    """Any `dataset` of samples of one size, each made once and then kept (rgb and label uint8, x as float32).

    For datasets that have no `cache=` of their own, such as `Planted`.

    Args:
        folder: "" keeps them in memory; else in files in this folder, which are mapped into memory.
    """

    def __init__(self, dataset: Any, folder: str = "") -> None:
        self.dataset, self.folder = dataset, folder
        self._scenes: np.ndarray | None = None
        self._store: _Store | None = self._reserved() if len(dataset) else None

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        if self._store is None:
            self._store = self._reserved()
        rgb, x, label, _ = self._store.get(index, self._make)
        sample = {"rgb": rgb, "x": torch.from_numpy(x.copy()), "label": torch.from_numpy(label.astype(np.int64))}
        sample["id"] = self.dataset.ids[index]
        return sample if self._scenes is None else {**sample, "scene": torch.tensor(int(self._scenes[index]))}

    def _reserved(self) -> _Store:
        if data_scenes(self.dataset):
            self._scenes = _shared((len(self),), np.int64)
        return _Store(len(self), self._make(0), self.folder)

    def _make(self, index: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        sample = self.dataset[index]
        if self._scenes is not None:
            self._scenes[index] = int(sample["scene"])
        return sample["rgb"], sample["x"].float().numpy(), sample["label"].numpy().astype(np.uint8), 1.0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None, "_scenes": None}
