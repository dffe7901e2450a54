"""Unit dissection against a plain loop over units, concepts and images."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError
from fusionzoo.metrics import ConceptStatistics, UnitDissection

C, K = 4, 3


def _data() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(8, C, 4, 5, generator=g)
    masks = (torch.rand(8, K, 12, 15, generator=g) < 0.4) & (torch.rand(8, K, 1, 1, generator=g) < 0.6)
    masks[:, 2] = False  # never occurs
    valid = torch.rand(8, 12, 15, generator=g) < 0.9
    return maps, masks, valid, torch.tensor([0.2, 0.5, 1.0, 99.0]), torch.arange(8) // 2


def _by_hand(unit: int, concept: int, images: list[int]) -> float:
    maps, masks, valid, thresholds, _ = _data()
    both = either = 0
    for i in images:
        big = functional.interpolate(maps[i : i + 1], size=(12, 15), mode="bilinear", align_corners=False)[0, unit]
        marked, label = (big > thresholds[unit]) & valid[i], masks[i, concept] & valid[i]
        if bool(label.any()):
            both += int((marked & label).sum())
            either += int((marked | label).sum())
    return both / either if either else math.nan


def test_equals_a_loop_with_its_errors() -> None:
    maps, masks, valid, thresholds, group = _data()
    units = UnitDissection(C, K, thresholds, groups=4)
    for part in (slice(0, 3), slice(3, 8)):
        units.update(maps[part], masks[part], valid[part], group=group[part])
    result = units.compute()
    for c in range(C):
        for k in range(2):
            assert float(result.iou[c, k]) == pytest.approx(_by_hand(c, k, list(range(8))), abs=1e-12)
            without = [_by_hand(c, k, [i for i in range(8) if int(group[i]) != g]) for g in range(4)]
            se = math.sqrt(3 / 4 * sum((w - sum(without) / 4) ** 2 for w in without))
            assert float(result.iou_se[c, k]) == pytest.approx(se, abs=1e-12)
    assert bool(result.iou[:, 2].isnan().all()) and result.images[2] == 0
    held = (masks & valid[:, None]).flatten(2).any(2)
    assert result.images.tolist() == held.sum(0).tolist()


def test_best_units_and_detectors() -> None:
    maps, masks, valid, thresholds, _ = _data()
    units = UnitDissection(C, K, thresholds)
    units.update(maps, masks, valid)
    result = units.compute()
    table = result.iou[:, :2]
    assert result.concept.tolist() == table.argmax(1).tolist() and torch.equal(result.best, table.amax(1))
    assert result.unit.tolist() == [*table.argmax(0).tolist(), -1] and math.isnan(result.unit_best[2])
    for bound in (0.04, 0.2):
        want = [sum(1 for c in range(C) if int(table[c].argmax()) == k and table[c].max() > bound) for k in range(2)]
        assert result.detectors(bound).tolist() == [*want, 0]
        assert result.unique_detectors(bound) == sum(w > 0 for w in want)
    assert float(result.best[3]) == 0  # a unit that never fires


def test_at_the_maps_own_size_it_is_the_by_product_of_the_ridge() -> None:
    maps, _, _, thresholds, _ = _data()
    masks = torch.rand(8, K, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.3
    units, statistics = UnitDissection(C, K, thresholds), ConceptStatistics(C, K, thresholds)
    units.update(maps, masks)
    statistics.update(maps, masks)
    torch.testing.assert_close(units.compute().iou.T, statistics.unit_iou())


def test_nothing_seen() -> None:
    result = UnitDissection(2, 2, torch.zeros(2)).compute()
    assert bool(result.iou.isnan().all()) and result.concept.tolist() == [-1, -1] and result.unit.tolist() == [-1, -1]
    assert result.unique_detectors() == 0


def test_wrong_input() -> None:
    maps, masks, valid, thresholds, _ = _data()
    units = UnitDissection(C, K, thresholds, groups=2)
    with pytest.raises(InputError, match="keeps 2 groups"):
        units.update(maps, masks, group=2)
    with pytest.raises(InputError, match="maps must be"):
        units.update(maps[:, :2], masks)
    with pytest.raises(InputError, match="masks must be"):
        units.update(maps, masks[:, :2])
    with pytest.raises(InputError, match="valid must be"):
        units.update(maps, masks, valid[:, :3])
    with pytest.raises(InputError, match="not finite"):
        units.update(maps * math.nan, masks)
    with pytest.raises(InputError, match="one threshold per channel"):
        UnitDissection(C, K, thresholds[:2])
