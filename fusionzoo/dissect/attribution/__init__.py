"""What each input pixel does: receptive fields, gradient attribution and occlusion, over both inputs at once."""

from __future__ import annotations

from fusionzoo.dissect.attribution.field import ReceptiveField, receptive_field
from fusionzoo.dissect.attribution.gradients import Attribution, attribute
from fusionzoo.dissect.attribution.occlusion import Occlusion, occlude

__all__ = ["Attribution", "Occlusion", "ReceptiveField", "attribute", "occlude", "receptive_field"]
