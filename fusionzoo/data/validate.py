"""Refuses samples that nothing can be measured on, by name; finds those without any depth."""

from __future__ import annotations

from typing import Any

from fusionzoo.data.base import Sample
from fusionzoo.data.pair import check_pair
from fusionzoo.errors import InputError

__all__ = ["checked"]


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
