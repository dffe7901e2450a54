"""Logits to labels: equal to PyTorch's whole computation, in stripes as in one piece."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fusionzoo.models import predict_labels


def whole(logits: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """(labels, margin between the best and the second class) by the plain computation in float64."""
    up = F.interpolate(logits.double(), size=size, mode="bilinear", align_corners=False)
    best = up.topk(2, dim=1)
    return best.indices[:, 0], best.values[:, 0] - best.values[:, 1]


@pytest.mark.parametrize("size", [(37, 53), (6, 9), (100, 4), (1, 1), (13, 200)])
@pytest.mark.parametrize("source", [(7, 9), (1, 1), (1, 6), (5, 1), (60, 80)])
@pytest.mark.parametrize("most", [1, 400, 1 << 26])
def test_as_the_whole_computation(size: tuple[int, int], source: tuple[int, int], most: int) -> None:
    logits = torch.randn(3, 11, *source)
    expected, margin = whole(logits, size)
    found = predict_labels(logits, size, most=most)
    assert found.dtype == torch.int64 and found.shape == (3, *size)
    clear = margin > 1e-4
    assert clear.float().mean() > 0.98 or clear.numel() < 100
    assert bool((found == expected)[clear].all())


def test_the_same_size_is_argmax() -> None:
    logits = torch.randn(2, 5, 8, 9)
    assert torch.equal(predict_labels(logits, (8, 9)), logits.argmax(1))


def test_half_precision_and_small_types() -> None:
    logits = torch.randn(1, 5, 8, 9)
    found = predict_labels(logits.bfloat16(), (24, 27), dtype=torch.uint8)
    expected, margin = whole(logits.bfloat16(), (24, 27))
    assert found.dtype == torch.uint8
    assert bool((found == expected)[margin > 1e-4].all())


def test_memory_of_stripes_is_that_of_a_stripe(monkeypatch: pytest.MonkeyPatch) -> None:
    """No interpolation makes more numbers than allowed."""
    seen = []

    def counted(*args: object, **more: object) -> torch.Tensor:
        out = interpolate(*args, **more)
        seen.append(out.numel())
        return out

    interpolate = F.interpolate
    monkeypatch.setattr(F, "interpolate", counted)
    predict_labels(torch.randn(1, 40, 12, 16), (600, 800), most=1 << 18)
    assert len(seen) > 10 and max(seen) <= 1 << 18
