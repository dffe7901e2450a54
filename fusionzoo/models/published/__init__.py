"""Published architectures ported whole, one file each. Importing this package registers them (explicit list below)."""

from __future__ import annotations

from fusionzoo.models.published import acnet, cen, cmnext, cmx, esanet, mfnet, rednet, rtfnet, sagate

__all__ = ["acnet", "cen", "cmnext", "cmx", "esanet", "mfnet", "rednet", "rtfnet", "sagate"]
