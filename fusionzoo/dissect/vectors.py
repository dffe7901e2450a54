"""Complete concept sums -> what carries a concept, how its vectors compare between points, what each modality gives it.

* One channel alone: best set IoU of a single binarised channel (network dissection).
* Channels that carry it: how few of those that weigh most a refitted detector needs for 90 % of the R2 of all.
* Vectors of two points have no common channels; the correlation of the two detectors' scores over positions of held-out
  images is their cosine under the covariance of the data.
* Contribution to a concept: set IoU at the fused representation with modalities absent, the detector and its threshold
  staying those of the model with both; then as for the class IoU (metrics/cooperation.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fusionzoo.dissect.agree import at_thresholds
from fusionzoo.dissect.plan import ABSENT, FITS, STREAMS, Task, all_points, solved_by
from fusionzoo.dissect.relate import PAIRS, number
from fusionzoo.dissect.results import Estimate, Level, PairMatrix
from fusionzoo.dissect.tally import Tally
from fusionzoo.metrics import ConceptAgreement, ConceptCurve, interactions, jackknife, shapley
from fusionzoo.metrics.concepts import minimum_channels

__all__ = ["contributions", "fill", "matrices"]

MOST = 128  # channels that a detector of few may use


def fill(row: Level, tally: Tally, levels: Mapping[int, Mapping[str, str]]) -> None:
    """Sets `unit_iou`, `concept_channels` and `concept_correlation` of a level whose concepts were measured."""
    for stream in (s for s in STREAMS if s in row.concept_iou):
        statistics = tally.statistics(solved_by(row.points[stream]))
        ridge = tally.settings.ridge
        counts = [2**i for i in range(8) if 2**i <= min(MOST, statistics.channels)]
        r2 = torch.stack([statistics.solve_top(count, ridge).r2 for count in counts])
        least = minimum_channels(counts, r2, statistics.solve(ridge).r2)
        row.concept_channels[stream] = [int(c) or None for c in least]
        if statistics.thresholds is not None:
            row.unit_iou[stream] = [number(v) for v in statistics.unit_iou().amax(1)]
    found = _correlation(tally, levels)
    if found is None:
        return
    place = {point: i for i, point in enumerate(all_points(levels))}
    for a, b in PAIRS:
        if a in row.points and b in row.points:
            values = found[0][:, place[row.points[a]], place[row.points[b]]]
            row.concept_correlation[f"{a}_{b}"] = [number(v) for v in values]


def _correlation(tally: Tally, levels: Mapping[int, Mapping[str, str]]) -> tuple[Tensor, int] | None:
    """(K, P, P) correlations of the detectors' scores of all level points, and the number of positions."""
    points = tuple(all_points(levels))
    needs = tuple(key for p in points for key in solved_by(p))
    sums = tally.sums.get(Task("vectors", points, needs=needs).key)
    if not isinstance(sums, ConceptAgreement):
        return None
    scores = sums.compute()
    return scores.correlation, scores.n


def matrices(tally: Tally, levels: Mapping[int, Mapping[str, str]]) -> list[PairMatrix]:
    """Mean over concepts of the correlation of the detectors' scores, all level points with all."""
    found = _correlation(tally, levels)
    if found is None:
        return []
    named = all_points(levels)
    values = [[number(v) for v in line] for line in found[0].nanmean(0).tolist()]
    return [PairMatrix("concept correlation", "pix", found[1], list(named), list(named.values()), values)]


def contributions(tally: Tally, levels: Mapping[int, Mapping[str, str]]) -> dict[str, dict[str, Estimate]]:
    """Level -> "rgb", "x", "interaction": of the concepts' set IoU at the fused representation; empty unless asked
    for."""
    made = {}
    for level in sorted(levels):
        point = levels[level].get("fused", "")
        curves = {c: tally.sums.get(Task("curve", (point,), c, FITS[0], solved_by(point)).key) for c in ABSENT}
        found = {c: sums for c, sums in curves.items() if isinstance(sums, ConceptCurve)}
        if len(found) == len(ABSENT):
            made[str(level)] = _contribution(found)
    return made


def _contribution(curves: Mapping[str, ConceptCurve]) -> dict[str, Estimate]:
    read, _, absent = at_thresholds(curves["both"])
    counts = [curves[c].state_dict()["counts"][1:] for c in ("both", "no_x", "no_rgb", "none")]
    subsets = (("rgb", "x"), ("rgb",), ("x",), ())

    def statistic(*sums: Tensor) -> Tensor:
        iou = [torch.where(absent, torch.nan, read(c)) for c in sums]
        table = {s: torch.cat([v.nanmean()[None], v]) for s, v in zip(subsets, iou, strict=True)}
        shares = shapley(table)
        return torch.stack([shares["rgb"], shares["x"], next(iter(interactions(table).values()))])

    value, error = jackknife(statistic, counts)
    rows = zip(("rgb", "x", "interaction"), value.tolist(), error.tolist(), strict=True)
    return {
        name: Estimate(number(v[0]), number(e[0]), [number(t) for t in v[1:]], [number(t) for t in e[1:]])
        for name, v, e in rows
    }
