"""Complete moments -> how alike the representations of each level are, and what the fused one takes from which.

Errors: one group of images is left out of the moments at a time (block jackknife), so they hold for positions as
samples too, which are not independent within an image. Canonical correlations have none: they cost a decomposition per
group, and their sampling error is dwarfed by their dependence on what they keep.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fusionzoo.dissect.plan import STREAMS, Task, all_points
from fusionzoo.dissect.results import (
    CKAValue,
    CKAViews,
    CommonalityShares,
    Level,
    Measured,
    PairMatrix,
    PairSimilarity,
)
from fusionzoo.dissect.tally import Tally
from fusionzoo.metrics import Grouped, LinearCKA, Moments, RowSample, commonality, null_test
from fusionzoo.metrics.base import VIEWS
from fusionzoo.metrics.similarity import CentredMoments
from fusionzoo.metrics.similarity.matrices import similarity_matrices

__all__ = ["PAIRS", "fill", "matrices", "number"]

PAIRS = (("rgb", "x"), ("rgb", "fused"), ("x", "fused"))
"""Pairs of representations that are compared at each level."""

WITH_ERROR = ("cka", "angular", "r2")
FEWEST = 16
"""With fewer images neither a neighbourhood nor a permutation says anything."""
PERMUTATIONS = 99
SHARES = ("unique_rgb", "unique_x", "redundant", "rest")


def number(value: float | Tensor) -> float | None:
    """A float, None for NaN and infinities."""
    value = float(value)
    return value if -torch.inf < value < torch.inf else None


def fill(row: Level, tally: Tally) -> None:
    """Sets `cka`, `similarity` and `commonality` of a level, as far as they were measured."""
    cka: dict[str, CKAValue | None] = {}
    streams = [s for s in STREAMS if s in row.points]
    for view in VIEWS:
        sums = tally.sums.get(Task("moments", tuple(row.points[s] for s in streams), variant=view).key)
        if isinstance(sums, Grouped):
            cka[view] = _fill_view(row, sums, streams, view)
        elif "rgb" in streams and "x" in streams:
            sums = tally.sums.get(Task("cka", (row.points["rgb"], row.points["x"]), variant=view).key)
            cka[view] = _cka(sums) if isinstance(sums, LinearCKA) else None
    row.cka = CKAViews(**cka)


def _cka(sums: LinearCKA) -> CKAValue:
    scores = sums.compute()
    return CKAValue(number(scores.unbiased), number(scores.biased), scores.n)


def _fill_view(row: Level, sums: Grouped[Moments], streams: list[str], view: str) -> CKAValue | None:
    """The measures of all pairs of one view, and the CKA of rgb and x."""
    p = len(streams)
    three = streams == list(STREAMS)

    def statistic(about: CentredMoments) -> Tensor:
        parts = [m.flatten() for m in similarity_matrices(about, WITH_ERROR).values()]
        return torch.cat([v.cpu() for v in parts] + ([_shares(about)] if three else []))

    one_group = len(sums.parts) == 1  # too wide for more, and to be copied
    whole = (sums.parts[0] if one_group else sums.merged()).centred()
    if one_group:
        values = statistic(whole)
        errors = torch.full_like(values, torch.nan)
    else:
        found = sums.jackknife(lambda moments: statistic(moments.centred()))
        values, errors = found.value, found.se
    value, error = (
        {n: v.view(p, p) for n, v in zip(WITH_ERROR, t[: 3 * p * p].split(p * p), strict=True)}
        for t in (values, errors)
    )
    plain = similarity_matrices(whole, ("cka_biased", "svcca", "rcca"))
    for a, b in PAIRS:
        if a in streams and b in streams:
            i, j = streams.index(a), streams.index(b)
            both = {n: Measured(number(value[n][i, j]), number(error[n][i, j])) for n in WITH_ERROR}
            back = Measured(number(value["r2"][j, i]), number(error["r2"][j, i]))
            cca = [Measured(number(plain[n][i, j])) for n in ("svcca", "rcca")]
            pair = PairSimilarity(whole.n, both["cka"], both["angular"], cca[0], cca[1], both["r2"], back)
            row.similarity.setdefault(f"{a}_{b}", {})[view] = pair
    if three:
        shares = [Measured(number(v), number(e)) for v, e in zip(values[-4:], errors[-4:], strict=True)]
        if shares[0].value is not None:
            row.commonality[view] = CommonalityShares(whole.n, shares[0], shares[1], shares[2], shares[3])
    if streams[:2] != ["rgb", "x"]:
        return None
    return CKAValue(number(value["cka"][0, 1]), number(plain["cka_biased"][0, 1]), whole.n)


def _shares(about: CentredMoments) -> Tensor:
    found = commonality(about, 0, 1, 2)
    return torch.tensor([getattr(found, name) for name in SHARES], dtype=torch.float64)


def matrices(tally: Tally, levels: Mapping[int, Mapping[str, str]]) -> list[PairMatrix]:
    """Similarities of all level points with all, images as samples.

    CKA is of all images; the measures that need the samples, and the permutations that show what unrelated features
    score, are of at most `Settings.sample` images, drawn by a hash of their number.
    """
    named = all_points(levels)
    sums, sample = (tally.sums.get(Task(kind, tuple(named), variant="gap").key) for kind in ("matrix", "rows"))
    if not isinstance(sums, Moments) or not isinstance(sample, RowSample):
        return []
    about, rows = sums.centred(), list(sample.compute().values())
    narrow = tally.settings.narrow if tally.projections else None
    found = []
    for measure in ("cka", "rbf_cka", "rsa", "mutual_knn"):
        if len(rows[0]) < FEWEST and measure != "cka":
            continue
        value, n, p, bound = similarity_matrices(about, ("cka",))["cka"], about.n, None, None
        if len(rows[0]) >= FEWEST:
            null = null_test(measure, rows, times=PERMUTATIONS)
            p, bound = null.p, null.bound
            value, n = (value, n) if measure == "cka" else (null.value, null.n)
        lines = [[] if t is None else [[number(v) for v in line] for line in t.tolist()] for t in (value, p, bound)]
        names = list(named.values())
        found.append(PairMatrix(measure, "gap", n, list(named), names, lines[0], narrow, lines[1], lines[2]))
    return found
