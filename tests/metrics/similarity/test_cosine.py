"""Cosine per position against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.metrics import PositionCosine
from fusionzoo.metrics.similarity import cosine as cosine_module


@pytest.mark.parametrize("view", ["pix", "gap"])
def test_equals_a_loop_over_positions(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosine_module, "CHUNK", 20)  # several slices a batch
    g = torch.Generator().manual_seed(0)
    maps = [torch.randn(5, 3, 4, 6, generator=g) + s for s in (0.0, 1.0, -2.0)]
    maps[1][2, :, 1] = 0  # positions without a direction
    score = PositionCosine(("a", "b", "c"), view)
    for part in (slice(0, 2), slice(2, 5)):
        score.update(*(m[part] for m in maps))
    result = score.compute()
    for p in range(3):
        for q in range(3):
            values, left = [], 0
            rows = [
                m.double().mean((2, 3)) if view == "gap" else m.double().permute(0, 2, 3, 1).reshape(-1, 3)
                for m in maps
            ]
            for u, v in zip(rows[p].tolist(), rows[q].tolist(), strict=True):
                norm = math.hypot(*u) * math.hypot(*v)
                if norm == 0:
                    left += 1
                else:
                    values.append(sum(a * b for a, b in zip(u, v, strict=True)) / norm)
            assert float(result.mean[p, q]) == pytest.approx(sum(values) / len(values), abs=1e-12)
            assert float(result.std[p, q]) == pytest.approx(float(np.std(values)), abs=1e-7)
            assert int(result.n[p, q]) == len(values) and int(result.left_out[p, q]) == left
    assert int(result.left_out[0, 1]) == (6 if view == "pix" else 0)


def test_nothing_seen_and_zero_features_are_nan() -> None:
    score = PositionCosine(2)
    assert bool(score.compute().mean.isnan().all())
    score.update(torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4))
    assert math.isnan(score.compute().mean[0, 1]) and float(score.compute().mean[1, 1]) == pytest.approx(1)
    assert int(score.compute().left_out[0, 1]) == 32


def test_wrong_input() -> None:
    score = PositionCosine(2)
    for other in (torch.randn(2, 4, 4, 4), torch.randn(2, 3, 4, 2), torch.randn(2, 3, 2, 8)):
        with pytest.raises(InputError, match="same channels and positions"):
            score.update(torch.randn(2, 3, 4, 4), other)
    with pytest.raises(InputError, match="expected 2 features"):
        score.update(torch.randn(2, 3, 4, 4))
    with pytest.raises(InputError, match="not finite"):
        score.update(torch.randn(1, 3, 2, 2), torch.full((1, 3, 2, 2), float("inf")))
    with pytest.raises(InputError, match="unknown view"):
        PositionCosine(2, "flat")
