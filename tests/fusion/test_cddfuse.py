"""Base and detail: against the equations, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from fusionzoo.fusion.cddfuse import CDDFuse, correlation
from tests.fusion.plain import Array, batch_norm, compare, conv1, features, relu

WINDOW = 5


def low(m: Array) -> Array:
    """Mean over the part of the window that lies in the map."""
    out, reach = np.empty_like(m), WINDOW // 2
    for i in range(m.shape[2]):
        for j in range(m.shape[3]):
            rows, columns = slice(max(0, i - reach), i + reach + 1), slice(max(0, j - reach), j + reach + 1)
            out[:, :, i, j] = m[:, :, rows, columns].mean((2, 3))
    return out


def pearson(u: Array, v: Array) -> float:
    """Over the positions of each channel and image, averaged."""
    values = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for m, n in zip(u, v, strict=True) for a, b in zip(m, n)]  # noqa: B905
    return float(np.mean(values))


def test_cddfuse_equals_its_equations() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        base = {name: conv1(low(m), p, "to_base") for name, m in (("rgb", rgb), ("x", x))}
        detail = {name: conv1(m - low(m), p, "to_detail") for name, m in (("rgb", rgb), ("x", x))}
        both = np.concatenate([base["rgb"] + base["x"], detail["rgb"] + detail["x"]], axis=1)
        return {
            **{f"base_{name}": value for name, value in base.items()},
            **{f"detail_{name}": value for name, value in detail.items()},
            "fused": relu(batch_norm(conv1(both, p, "join"), p, "norm")),
        }

    def losses(p: Mapping[str, Array], v: Mapping[str, Array]) -> dict[str, float]:
        apart, alike = pearson(v["detail_rgb"], v["detail_x"]), pearson(v["base_rgb"], v["base_x"])
        return {"decomposition": apart**2 / (1.01 + alike)}

    compare(CDDFuse(8, window=WINDOW), equations, losses, size=(6, 7))


def test_correlation_equals_numpy_and_a_constant_has_none() -> None:
    u, v = features(3)
    assert float(correlation(*map(torch.from_numpy, (u, v)))) == pytest.approx(pearson(u, v), abs=1e-6)
    assert float(correlation(torch.from_numpy(u), torch.ones(u.shape))) == 0.0
