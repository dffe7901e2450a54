"""Refuses samples that nothing can be measured on, by name; leaves out or keeps images without any x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fusionzoo.data.base import Sample, Wrapper
from fusionzoo.data.pair import check_pair
from fusionzoo.errors import InputError
from fusionzoo.modalities import split
from fusionzoo.preprocess import missing_x

__all__ = ["EMPTY", "Selected", "checked", "has_labels", "no_x", "sorted_out", "without_x"]

EMPTY = ("refuse", "skip", "keep")
"""What may be done with images without any valid x: refuse them, leave them out, or keep them for their rgb."""


def checked(sample: Sample, data: Any) -> Sample:
    """The sample itself. InputError names it when rgb and x are no pair, or a label is out of range."""
    where, label = f"{data.name} {sample['id']}", sample["label"]
    check_pair(sample["rgb"], sample["x"], data.x_kind, where, getattr(data, "empty_depth", "error") == "keep")
    known = label[label != data.ignore_index]
    if known.numel() and not 0 <= int(known.min()) <= int(known.max()) < data.num_classes:
        wrong = int(known.min()) if int(known.min()) < 0 else int(known.max())
        raise InputError(
            f"{where}: label {wrong} is out of range; wanted 0..{data.num_classes - 1} or {data.ignore_index} (ignored)"
        )
    return sample


class Selected(Wrapper):
    """Some samples of `dataset`, by their indices, such without any x included; all else is the dataset's own.

    Args:
        note: why these, in one sentence.
    """

    empty_depth = "keep"

    def __init__(self, dataset: Any, indices: Sequence[int], note: str = "") -> None:
        self.dataset, self.indices, self.empty_note = dataset, list(indices), note
        self.ids = [_name(dataset, i) for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self.dataset[self.indices[index]]
        return sample

    def describe(self) -> dict[str, Any]:
        """What the dataset says of itself, the number of images being what is left."""
        return {**self.dataset.describe(), "n": len(self), "selected": self.empty_note}


def no_x(x: Tensor, x_kind: str) -> bool:
    """Whether raw x (Cx, H, W) has no valid value: none measured, or 0 everywhere (HHA and grey pictures of no depth);
    of several modalities, whether one of them has none.

    >>> import torch
    >>> no_x(torch.tensor([[[0.0, float("nan")]]]), "depth"), no_x(torch.tensor([[[0.0, 3.0]]]), "thermal")
    (True, False)
    """
    return any(not bool((~missing_x(own, part.kind) & (own != 0)).any()) for part, own in split(x, x_kind))


def without_x(data: Any) -> list[int]:
    """Indices of the images of `data` without any valid x; where the dataset can, x alone is read."""
    read = getattr(data, "load_x", None) or (lambda i: data[i]["x"])
    return [i for i in range(len(data)) if no_x(read(i), data.x_kind)]


def sorted_out(data: Any, empty: Sequence[int], policy: str, role: str = "") -> tuple[Any, str]:
    """(data, one sentence or "") with its images `empty`, those without any valid x, handled as `policy` says.

    Args:
        policy: one of EMPTY.
        role: what the images are for ("training"); by default their split.

    Raises:
        InputError: there are some and the policy is to refuse them, or nothing is left; another policy.
    """
    if policy not in EMPTY:
        raise InputError(f"empty is {policy!r}; give {', '.join(EMPTY)}")
    if not empty:
        return data, ""
    names = ", ".join(_name(data, i) for i in empty[:5]) + (", ..." if len(empty) > 5 else "")
    what = f"{len(empty)} of {len(data)} {role or data.split} images have no valid {data.x_kind} in any pixel ({names})"
    if policy == "refuse":
        raise InputError(f"{what}; --empty skip leaves them out, --empty keep uses their rgb")
    if policy == "keep":
        note = f"{what}: kept, their x counts as absent"
        return Selected(data, range(len(data)), note), note
    if len(empty) == len(data):
        raise InputError(f"{what}: none is left; --empty keep uses their rgb")
    gone, note = set(empty), f"{what}: left out"
    return Selected(data, [i for i in range(len(data)) if i not in gone], note), note


def has_labels(data: Any) -> bool:
    """Whether any pixel of any image has a label that counts; reads images until one has."""
    return any(bool((data[i]["label"] != data.ignore_index).any()) for i in range(len(data)))


def _name(data: Any, index: int) -> str:
    ids = getattr(data, "ids", None)
    return str(index if ids is None else ids[index])
