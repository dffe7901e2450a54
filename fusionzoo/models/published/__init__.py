"""Published architectures ported whole, one file each. Importing this package registers them (explicit list below)."""

from __future__ import annotations

from fusionzoo.models.published import (
    acnet,
    asymformer,
    cen,
    cmnext,
    cmx,
    dformer,
    dformerv2,
    esanet,
    gemini,
    mfnet,
    multimae,
    rednet,
    rtfnet,
    sagate,
    sigma,
    tokenfusion,
)  # fmt: skip

__all__ = ["acnet", "asymformer", "cen", "cmnext", "cmx", "dformer", "dformerv2", "esanet", "gemini", "mfnet",
           "multimae", "rednet", "rtfnet", "sagate", "sigma", "tokenfusion"]  # fmt: skip
