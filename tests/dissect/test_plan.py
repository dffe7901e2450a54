"""Plans: the fewest passes, fair splits."""

from __future__ import annotations

import itertools

import pytest

from fusionzoo.dissect.plan import ABSENT, METRICS, Split, Task, make_plan
from fusionzoo.errors import InputError, UnknownNameError

LEVELS = {1: {"rgb": "a.rgb", "x": "a.x", "fused": "a.f"}, 2: {"rgb": "b.rgb", "fused": "b.f"}}


def longest_chain(tasks, key):
    needs = next(t.needs for t in tasks if t.key == key)
    return 1 + max((longest_chain(tasks, n) for n in needs), default=0)


@pytest.mark.parametrize("binarise", [True, False])
@pytest.mark.parametrize("metrics", [c for r in (1, 2, 3, 6) for c in itertools.combinations(METRICS, r)])
def test_passes_are_as_few_as_the_needs_allow(metrics, binarise):
    plan = make_plan(metrics, LEVELS, ["a.rgb"], binarise=binarise)
    assert len(plan.passes) == max(longest_chain(plan.tasks, t.key) for t in plan.tasks)
    assert len(plan.passes) == (1 if "concepts" not in metrics else 3 if binarise else 2)
    before: set[str] = set()
    for each in plan.passes:
        assert all(before.issuperset(t.needs) for t in each.tasks)
        before |= {t.key for t in each.tasks}
    assert len({t.key for t in plan.tasks}) == len(plan.tasks)


def test_what_each_pass_reads():
    first, second, third = make_plan(None, LEVELS).passes
    assert first.conditions == ("both", "no_rgb", "no_x", "none", "other_rgb", "other_x")
    assert second.conditions == third.conditions == ("both",)
    assert first.roles == third.roles == {"half0", "half1", "held"}
    assert second.roles == {"half0", "half1"}  # held-out images are not even read when weights are solved
    assert [t.points for t in first.tasks if t.kind == "moments"] == [
        ("a.rgb", "a.x", "a.f"), ("a.rgb", "a.x", "a.f"), ("b.rgb", "b.f"), ("b.rgb", "b.f"),
    ]  # fmt: skip
    assert [t.points for t in first.tasks if t.kind == "matrix"] == [("a.rgb", "a.x", "a.f", "b.rgb", "b.f")]
    assert not any(t.kind == "cka" for t in first.tasks)  # comes with the moments
    (only,) = make_plan(["cka"], LEVELS).passes
    assert [(t.kind, t.points) for t in only.tasks] == [("cka", ("a.rgb", "a.x"))] * 2  # level 2 has no x


def test_scores_wanted_decide_the_conditions():
    assert make_plan(["segmentation"], LEVELS).passes[0].conditions == ("both", "no_rgb", "no_x")
    assert make_plan(["contribution"], LEVELS, permuted=False).passes[0].conditions == ABSENT
    kinds = [(t.kind, t.variant) for t in make_plan(["similarity"], LEVELS, uneven=[1]).tasks]
    assert kinds == [("moments", "gap"), ("moments", "gap"), ("moments", "pix"), ("matrix", "gap"), ("rows", "gap")]


@pytest.mark.parametrize("n", [2, 3, 37])
def test_the_cycle_lends_every_image_once_and_never_to_itself(n):
    order = Split.of(n).cycle(3)
    lender = dict(zip(order, order[1:] + order[:1], strict=True))
    assert sorted(lender) == sorted(lender.values()) == list(range(n))
    assert all(a != b for a, b in lender.items())
    assert order == Split.of(n).cycle(3) and (n < 37 or order != Split.of(n).cycle(4))


def test_weights_never_see_held_out_images():
    for task in make_plan(None, LEVELS).tasks:
        if task.kind == "statistics":
            assert task.roles == {task.variant} and task.variant in ("half0", "half1")
        if task.kind == "curve" and task.variant != "full":
            assert task.roles == {task.variant, "held"}


def test_a_point_of_two_levels_is_measured_once():
    plan = make_plan(["concepts"], {1: {"fused": "p"}, 2: {"fused": "p"}})
    assert sum(t.kind == "quantiles" for t in plan.tasks) == 1


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
        make_plan(["concept"], LEVELS)
    with pytest.raises(InputError, match="nothing to dissect: the model has no probe points for cka"):
        make_plan(["cka"], {1: {"rgb": "a"}})


def test_keys_tell_tasks_apart():
    assert Task("cka", ("a", "b"), variant="gap").key == "cka/both/a+b/gap"
