"""How images are dealt to jackknife groups."""

from __future__ import annotations

import itertools

import pytest

from fusionzoo.errors import InputError
from fusionzoo.metrics.stats.resample import group_of


@pytest.mark.parametrize(("n", "groups"), [(10, 3), (12, 4), (100, 7), (5, 5)])
def test_neighbours_stay_together_in_groups_of_even_size(n: int, groups: int) -> None:
    """Frames of a video are alike: a group is one run of them, or its error would be too small."""
    dealt = [group_of(i, n, groups) for i in range(n)]
    runs = [(g, len(list(run))) for g, run in itertools.groupby(dealt)]
    assert [g for g, _ in runs] == list(range(groups))
    sizes = [size for _, size in runs]
    assert max(sizes) - min(sizes) <= 1
    with pytest.raises(InputError):
        group_of(n, n, groups)
