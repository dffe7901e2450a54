"""Datasets, transforms and the embedded planted set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusionzoo.data.base import WithTransform, collate
from fusionzoo.data.nyuv2 import NYUv2
from fusionzoo.data.transforms import eval_transform, train_transform

if TYPE_CHECKING:
    from fusionzoo.data.planted import Planted

__all__ = ["NYUv2", "Planted", "WithTransform", "collate", "eval_transform", "train_transform"]


def __getattr__(name: str) -> Any:
    if name == "Planted":
        from fusionzoo.data.planted import Planted

        return Planted
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
