"""Plans: the fewest passes, fair splits."""

from __future__ import annotations

import itertools

import pytest

from fusionzoo.dissect.conditions import SUBSETS
from fusionzoo.dissect.dissection import names_asked, plan
from fusionzoo.dissect.measures.base import PointInfo, Setup
from fusionzoo.dissect.measures.similarity import CKA
from fusionzoo.dissect.split import Split
from fusionzoo.errors import InputError, UnknownNameError

LEVELS = {1: {"rgb": "a.rgb", "x": "a.x", "fused": "a.f"}, 2: {"rgb": "b.rgb", "fused": "b.f"}}


METRICS = names_asked(extra=False)


def setup(levels=None, **more):
    levels = LEVELS if levels is None else levels
    return Setup(3, {p: PointInfo(4) for at in levels.values() for p in at.values()}, levels, **more)


def made(metrics, levels=None, **more):
    return plan(setup(levels, **more), metrics)


def conditions(measures):
    return {m.condition for m in measures}


def roles(measures):
    return set().union(*(m.roles for m in measures))


def longest_chain(measure):
    return 1 + max(map(longest_chain, measure.needs), default=0)


@pytest.mark.parametrize("tau", [0.05, None])
@pytest.mark.parametrize("metrics", [c for r in (1, 2, 3, 6) for c in itertools.combinations(METRICS, r)])
def test_passes_are_as_few_as_the_needs_allow(metrics, tau):
    passes = made(metrics, tau=tau)
    every = [m for each in passes for m in each]
    assert len(passes) == max(map(longest_chain, every))
    assert len(passes) == (1 if "concepts" not in metrics else 3 if tau else 2)
    before: set[str] = set()
    for each in passes:
        assert all(before.issuperset(n.key for n in m.needs) for m in each)
        before |= {m.key for m in each}
    assert len({m.key for m in every}) == len(every)


def test_what_each_pass_reads():
    first, second, third = made(None)
    assert conditions(first) == {"both", "without_rgb", "without_x", "neither", "other_rgb", "other_x"}
    assert conditions(second) == conditions(third) == {"both"}
    assert roles(first) == roles(third) == {"half0", "half1", "held"}
    assert roles(second) == {"half0", "half1"}  # held-out images are not even read when weights are solved
    assert [m.points for m in first if m.kind == "moments"] == [
        ("a.rgb", "a.x", "a.f"), ("a.rgb", "a.x", "a.f"), ("b.rgb", "b.f"), ("b.rgb", "b.f"),
    ]  # fmt: skip
    assert [m.points for m in first if m.kind == "matrix"] == [("a.rgb", "a.x", "a.f", "b.rgb", "b.f")]
    assert not any(m.kind == "cka" for m in first)  # comes with the moments
    (only,) = made(["cka"])
    assert [(m.kind, m.points) for m in only] == [("cka", ("a.rgb", "a.x"))] * 2  # level 2 has no x


def test_scores_wanted_decide_the_conditions():
    assert conditions(made(["segmentation"])[0]) == {"both", "without_rgb", "without_x"}
    assert conditions(made(["contribution"], permuted=False)[0]) == set(SUBSETS)
    kinds = [(m.kind, m.variant) for m in made(["similarity"], uneven=frozenset({1}))[0]]
    assert kinds == [("moments", "gap"), ("moments", "gap"), ("moments", "pix"), ("matrix", "gap"), ("rows", "gap")]


@pytest.mark.parametrize("n", [2, 3, 37])
def test_the_cycle_lends_every_image_once_and_never_to_itself(n):
    order = Split.of(n).cycle(3)
    lender = dict(zip(order, order[1:] + order[:1], strict=True))
    assert sorted(lender) == sorted(lender.values()) == list(range(n))
    assert all(a != b for a, b in lender.items())
    assert order == Split.of(n).cycle(3) and (n < 37 or order != Split.of(n).cycle(4))


def test_weights_never_see_held_out_images():
    for measure in (m for each in made(None) for m in each):
        if measure.kind == "statistics":
            assert measure.roles == {measure.variant} and measure.variant in ("half0", "half1")
        if measure.kind == "curve" and measure.variant != "full":
            assert measure.roles == {measure.variant, "held"}


def test_a_point_of_two_levels_is_measured_once():
    passes = made(["concepts"], {1: {"fused": "p"}, 2: {"fused": "p"}})
    assert sum(m.kind == "quantiles" for m in passes[0]) == 1


@pytest.mark.parametrize(("n", "block"), [(4, 8), (37, 8), (100, 8), (654, 8), (654, 1)])
def test_split_is_fair_and_keeps_neighbours_together(n, block):
    split = Split.of(n, block)
    roles = [split.role(i) for i in range(n)]
    held, half0, half1 = (roles.count(r) for r in ("held", "half0", "half1"))
    assert min(held, half0, half1) >= 1 and held + half0 + half1 == n
    assert abs(held - n / 2) <= split.block and abs(half0 - half1) <= split.block
    assert 1 <= split.block <= block
    changes = [i for i in range(1, n) if roles[i] != roles[i - 1]]
    assert all(i % split.block == 0 for i in changes)
    assert split.indices(["held"]) == [i for i in range(n) if roles[i] == "held"]
    if n >= 64:
        for chosen in (range(n), split.indices(["held"])):
            sizes = [sum(split.group(i, 8) == g for i in chosen) for g in range(8)]
            assert min(sizes) > 0 and max(sizes) <= 2 * min(sizes) + split.block


def test_refusals():
    with pytest.raises(UnknownNameError, match="unknown metric 'concept'; did you mean 'concepts'"):
        made(["concept"])
    with pytest.raises(InputError, match="nothing to dissect: the model has no probe points for cka"):
        made(["cka"], {1: {"rgb": "a"}})


def test_keys_tell_measures_apart():
    assert CKA(("a", "b"), variant="gap").key == "cka/both/a+b/gap"
