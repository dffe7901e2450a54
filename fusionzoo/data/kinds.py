"""Depth data as the kind of second input that a model takes: metric depth, HHA or a grey picture."""

from __future__ import annotations

from typing import Any

from fusionzoo.data.grey import WithGrey
from fusionzoo.data.hha import Intrinsics, WithHHA
from fusionzoo.errors import InputError

__all__ = ["as_kind"]


def as_kind(data: Any, x_kind: str, camera: Intrinsics | None = None) -> Any:
    """`data` with x as `x_kind`, made from its depth where it is not of that kind already.

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
    raise InputError(f"the model takes {wanted}, {data.name} has {given}, of which it cannot be made")
