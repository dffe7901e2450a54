"""Datasets, transforms and the embedded planted set.

Every dataset yields `{"rgb": uint8 (3, H, W), "x": float32 (Cx, H, W), "label": int64 (H, W), "id": str}`; see `base`.
"""

from __future__ import annotations

from fusionzoo.data.adapt import Adapted, adapt
from fusionzoo.data.auxiliary import XFormat, read_x
from fusionzoo.data.base import Cached, SegmentationDataset, WithTransform, collate
from fusionzoo.data.folder import Folder
from fusionzoo.data.geometry import WithGeometry, geometry_concepts
from fusionzoo.data.grey import WithGrey
from fusionzoo.data.hha import WithHHA
from fusionzoo.data.images import read_label, read_rgb
from fusionzoo.data.inspection import Inspection
from fusionzoo.data.kinds import as_kind
from fusionzoo.data.look import inspect
from fusionzoo.data.nyuv2 import NYUv2
from fusionzoo.data.planted import Planted
from fusionzoo.data.spec import parse_spec
from fusionzoo.data.transforms import eval_transform, train_transform

__all__ = ["Adapted", "Cached", "Folder", "Inspection", "NYUv2", "Planted", "SegmentationDataset",
           "WithGeometry", "WithGrey", "WithHHA", "WithTransform", "XFormat", "adapt", "as_kind",
           "collate", "eval_transform", "geometry_concepts", "inspect", "parse_spec", "read_label",
           "read_rgb", "read_x", "train_transform"]  # fmt: skip
