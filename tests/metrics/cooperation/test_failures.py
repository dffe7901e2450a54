"""Expected scores against drawn failures one by one, retention against NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.metrics.cooperation import expected_score, retention


@pytest.mark.parametrize("m", [1, 2, 3])
def test_expected_score_equals_the_sum_over_patterns_of_failure(m: int) -> None:
    names = [f"m{i}" for i in range(m)]
    g = torch.Generator().manual_seed(m)
    subsets = [frozenset(c) for k in range(m + 1) for c in itertools.combinations(names, k)]
    v = {subset: torch.rand(2, generator=g).double() for subset in subsets}
    for probability in (0.0, 0.3, 1.0):
        total = torch.zeros(2).double()
        for alive in itertools.product([False, True], repeat=m):
            chance = math.prod(1 - probability if a else probability for a in alive)
            total += chance * v[frozenset(n for n, a in zip(names, alive, strict=True) if a)]
        torch.testing.assert_close(expected_score(v, probability), total)
    torch.testing.assert_close(expected_score(v, 0.0), v[frozenset(names)])
    torch.testing.assert_close(expected_score(v, 1.0), v[frozenset()])
    with pytest.raises(InputError, match="probability"):
        expected_score(v, 1.1)
    with pytest.raises(InputError, match="every subset"):
        expected_score({s: t for s, t in v.items() if s}, 0.1)


def test_retention_is_the_mean_over_severities_against_the_clean_score() -> None:
    mean, kept = retention([0.8, 0.7, 0.3, 0.1])
    assert mean == pytest.approx(np.mean([0.7, 0.3, 0.1])) and kept == pytest.approx(mean / 0.8)
    assert retention([0.5, 0.5, 0.5]) == (0.5, 1.0)
    assert retention([0.8, math.nan, 0.4]) == (0.4, 0.5)
    assert math.isnan(retention([0.0, 0.0])[1]) and retention([0.0, 0.2])[0] == 0.2
    assert all(map(math.isnan, retention([0.5]))) and math.isnan(retention([math.nan, 0.2])[1])
