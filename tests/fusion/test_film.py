"""Feature-wise linear modulation of RGB by x, against the equation, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from fusionzoo.fusion.film import FiLM
from tests.fusion.plain import Array, compare, conv1, gap


@pytest.mark.parametrize("pooled", [False, True])
def test_film_equals_its_equation(pooled: bool) -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        gamma, beta = np.split(conv1(gap(x) if pooled else x, p, "condition"), 2, axis=1)
        fused = (1 + gamma) * rgb + beta
        return {"scale": 1 + gamma, "shift": beta, "rgb": fused, "fused": fused}

    compare(FiLM(8, pooled=pooled), equations)
