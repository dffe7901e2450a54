"""Depth data as the kind of second input that a model takes: metric depth, HHA or a grey picture."""

from __future__ import annotations

from typing import Any

import torch

from fusionzoo.data.base import Sample, Wrapper
from fusionzoo.data.grey import WithGrey
from fusionzoo.data.hha import Intrinsics, WithHHA
from fusionzoo.errors import InputError
from fusionzoo.modalities import names_of, parts_of, split

__all__ = ["WithSome", "as_kind"]


class WithSome(Wrapper):
    """`dataset` with x of some of its several modalities."""

    def __init__(self, dataset: Any, x_kind: str) -> None:
        self.dataset, self.x_kind, self.x_channels = dataset, x_kind, parts_of(x_kind)[-1].stop
        self.concepts: dict[str, str] = {}  # what all of them show need not show here

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self.dataset[index]
        parts = {part.name: own for part, own in split(sample["x"], self.dataset.x_kind)}
        return {**sample, "x": torch.cat([parts[name] for name in names_of(self.x_kind)])}

    def describe(self) -> dict[str, Any]:
        return {**self.dataset.describe(), "x_kind": self.x_kind, "x_channels": self.x_channels}


def as_kind(data: Any, x_kind: str, camera: Intrinsics | None = None) -> Any:
    """`data` with x as `x_kind`: of several modalities those that are wanted, or made from depth.

    Args:
        data: a dataset of `fusionzoo.data`.
        x_kind: as of `Preprocess`. "depth" and "inverse_depth" are the same data.
        camera: for HHA; None: `data.camera`, which NYU Depth v2 has.

    Raises:
        InputError: HHA without a camera, or a kind that cannot be made of what the data has.
    """
    wanted, given = (k.replace("inverse_depth", "depth") for k in (x_kind, data.x_kind))
    if wanted == given:
        return data
    if set(wanted.split("+")) <= set(given.split("+")):
        return WithSome(data, wanted)
    if given == "depth" and wanted == "grey":
        return WithGrey(data)
    if given == "depth" and wanted == "hha":
        camera = camera if camera is not None else getattr(data, "camera", None)
        if camera is None:
            raise InputError(
                f"the model takes HHA, which needs the camera of {data.name}: wrap it in"
                " fusionzoo.data.WithHHA(data, camera), or make the images with fusionzoo hha"
            )
        return WithHHA(data, camera)
    raise InputError(
        f"the model takes {wanted}, {data.name} has {given}, of which it cannot be made; fusionzoo finetune"
        " makes a model of these data"
    )
