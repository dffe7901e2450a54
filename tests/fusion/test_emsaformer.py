"""Own projection and norm of each modality, side by side: against the equation, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.fusion.emsaformer import EMSAFormer
from tests.fusion.plain import Array, compare, conv1, layer_norm


def test_emsaformer_equals_its_equation() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        shares = [
            layer_norm(np.moveaxis(conv1(m, p, f"embed.embed_{name}"), 1, 3), p, f"embed.norm_{name}")
            for name, m in (("rgb", rgb), ("x", x))
        ]
        assert [s.shape[3] for s in shares] == [12, 4]
        return {"fused": np.moveaxis(np.concatenate(shares, axis=3), 3, 1)}

    compare(EMSAFormer(16), equations)
