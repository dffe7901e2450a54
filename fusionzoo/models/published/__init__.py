"""Published architectures ported whole, one file each. Importing this package registers them."""

from __future__ import annotations

import importlib

__all__ = ["acnet", "asymformer", "cen", "cmnext", "cmx", "dformer", "dformerv2", "dplnet", "dveformer", "emsaformer",
           "esanet", "gemini", "hdbformer", "mfnet", "multimae", "rednet", "rtfnet", "sagate", "sigma", "stitchfusion",
           "tokenfusion", "tuni"]  # fmt: skip

for _family in __all__:
    importlib.import_module(f"{__name__}.{_family}")
