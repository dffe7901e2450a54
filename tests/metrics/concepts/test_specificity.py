"""Roles of concepts, the error of semantic variance: constructed scores, plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from fusionzoo.metrics import ConceptCurve, concept_roles
from fusionzoo.metrics.concepts import compare_curves, fused_roles

NAMES = ["both", "rgb", "x", "neither", "far better by rgb", "missing"]
"""What the two made-up streams below encode."""
SHOWN = {
    "rgb": (3.0, 3.0, 0.0, 0.0, 4.0, 3.0),
    "x": (3.0, 0.0, 3.0, 0.0, 1.5, 3.0),
    "fused": (5.0, 1.5, 3.0, 0.0, 4.0, 3.0),
}


def scored(stream, n=48, groups=8, keep=None, seed=0, shown=SHOWN):
    """Curve of one stream: scores are noise, higher by SHOWN where the concept is. Even images are held out."""
    curve = ConceptCurve(6, groups=groups)
    for i in range(n):
        drawn = torch.Generator().manual_seed(100 + i)
        masks = torch.rand(1, 6, 12, 16, generator=drawn) < 0.2
        masks[:, 5] = False
        noise = torch.randn(
            1, 6, 12, 16, generator=torch.Generator().manual_seed(10_000 * (1 + list(SHOWN).index(stream)) + seed + i)
        )
        scores = noise + masks * torch.tensor(shown[stream])[:, None, None]
        group = i // 2 % groups
        if i % 2 or keep is None or group in keep:
            curve.update(scores, masks, train=bool(i % 2), group=group)
    return curve


def floors(*values):
    return [torch.full((6,), v).double() for v in values]


def role_of(found, name):
    return found.roles[NAMES.index(name)]


def test_each_concept_goes_where_it_was_made_to():
    found = concept_roles(scored("rgb"), scored("x"), floors(0.01, 0.01))
    assert found.roles == ("consistent", "rgb", "x", "unencoded", "rgb", "absent")
    assert math.isnan(found.difference[5]) and math.isnan(found.chance[5])
    assert float(found.chance[0]) == pytest.approx(0.2, abs=0.02)
    rgb, x = scored("rgb").compute().iou, scored("x").compute().iou
    assert float(found.difference[1]) == pytest.approx(float(rgb[1] - x[1]), abs=1e-12)


def test_swapping_the_streams_swaps_the_roles():
    one, two = scored("rgb"), scored("x")
    there, back = concept_roles(one, two, floors(0.01, 0.02)), concept_roles(two, one, floors(0.02, 0.01))
    swap = {"rgb": "x", "x": "rgb"}
    assert tuple(swap.get(role, role) for role in there.roles) == back.roles
    torch.testing.assert_close(there.difference, -back.difference, rtol=0, atol=1e-15, equal_nan=True)


def test_what_the_fusion_gains_and_loses():
    curves = [scored(s) for s in ("rgb", "x", "fused")]
    wanted = ("gained", "lost", "kept", "kept", "kept", "absent")
    assert fused_roles(*curves, floors(0.01, 0.01, 0.01)) == wanted
    # below the noise of the fused representation
    assert set(fused_roles(*curves, floors(0, 0, 0.9))) == {"kept", "absent"}
    back_to_rgb = fused_roles(curves[0], curves[1], curves[0], floors(0, 0, 0))
    assert back_to_rgb == ("kept", "kept", "lost", "kept", "kept", "absent")


def test_a_difference_that_is_real_but_small_is_no_specialty():
    shown = {"rgb": (3.0,) * 6, "x": (2.4, 2.0, 1.5, 1.0, 0.5, 0.0)}
    curves = [scored(s, n=200, shown=shown) for s in ("rgb", "x")]
    gains = [c.compute() for c in curves]
    share = (gains[1].iou - gains[1].curve[:, 0]) / (gains[0].iou - gains[0].curve[:, 0])
    assert float(share[0]) > 0.55 > 0.45 > float(share[3])
    found = concept_roles(*curves, floors(0.01, 0.01))
    assert found.difference[0] > 5 * found.error[0]
    for k, role in enumerate(found.roles[:5]):
        assert role == ("consistent" if share[k] >= 0.5 else "rgb"), NAMES[k]


def test_a_difference_below_the_noise_is_never_specific():
    rgb, x = scored("rgb"), scored("x")
    found = concept_roles(rgb, x, floors(0.9, 0.9))
    assert not {"rgb", "x"} & set(found.roles) and role_of(found, "rgb") == "unencoded"
    # noise of the x stream alone: rgb encodes the concept, but whether x does not is not known
    found = concept_roles(rgb, x, floors(0.01, 0.9))
    assert "rgb" not in found.roles and role_of(found, "rgb") == "undecided"
    # one draw of noise that happens to be small does not pass for certainty: the mean over concepts counts
    uneven = [torch.tensor([0.9, 0.0, 0.9, 0.9, 0.9, math.nan]).double()] * 2
    assert role_of(concept_roles(rgb, x, uneven), "rgb") == "unencoded"


def test_the_same_stream_has_no_specific_concept():
    one = scored("rgb")
    found = concept_roles(one, one, floors(0, 0))
    assert found.roles == ("consistent", "consistent", "unencoded", "unencoded", "consistent", "absent")
    assert not found.difference[:5].any()


def spread(values):
    g, mean = len(values), sum(values) / len(values)
    return math.sqrt((g - 1) / g * sum((v - mean) ** 2 for v in values))


def test_errors_are_those_of_leaving_groups_out():
    whole = [scored("rgb"), scored("x")]
    found = concept_roles(*whole, floors(0, 0))
    variance = compare_curves(*whole)
    gaps, variances = [], []
    for group in range(8):
        keep = set(range(8)) - {group}
        rgb, x = (scored(s, keep=keep).compute().iou for s in ("rgb", "x"))
        gaps.append(float(rgb[1] - x[1]))
        variances.append(float((rgb - x).abs().nanmean()))
    assert float(found.error[1]) == pytest.approx(spread(gaps), rel=1e-9)
    assert variance.se == pytest.approx(spread(variances), rel=1e-9) and variance.se > 0
    rgb, x = (c.compute().iou for c in whole)
    assert variance.value == pytest.approx(float((rgb - x).abs().nanmean()), abs=1e-12)


def test_interval_covers_the_value_that_more_images_give():
    exact = compare_curves(scored("rgb", 500), scored("x", 500)).value
    inside = 0
    for draw in range(12):
        found = compare_curves(scored("rgb", seed=5000 * draw), scored("x", seed=5000 * draw))
        inside += abs(found.value - exact) < 1.96 * found.se
    assert inside >= 9
