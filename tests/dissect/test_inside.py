"""Inside the streams: colours against scikit-learn's PCA, detectors and weights against what the toy makes them be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from fusionzoo.dissect import dissect
from fusionzoo.dissect.measures.concepts import StageConcepts
from fusionzoo.dissect.pictures.examples import chosen_examples
from fusionzoo.dissect.pictures.inside import told_apart
from fusionzoo.dissect.pictures.insight import insight, palettes, shown_stages
from fusionzoo.metrics import Moments
from fusionzoo.probes import Probe
from tests.dissect.toy import Toy, ToyData


def test_the_colours_are_principal_components_of_all_points_together():
    g = torch.Generator().manual_seed(0)
    mix = torch.randn(6, 6, generator=g, dtype=torch.float64)
    one = torch.randn(500, 6, generator=g, dtype=torch.float64) @ mix + 5
    two = 30 * torch.randn(500, 6, generator=g, dtype=torch.float64) @ mix.flip(0) - 100
    other = torch.randn(500, 2, generator=g, dtype=torch.float64)
    moments = Moments(("a", "b", "c"), "pix")
    moments.update(one, two, other)
    made = palettes(moments.centred(), ("a", "b", "c"))
    assert made["a"] is made["b"] and made["c"] is not made["a"], "one basis for points of equally many channels"
    standard = [(v - v.mean(0)) / (v - v.mean(0)).square().sum(1).mean().sqrt() for v in (one, two)]
    pca = PCA(3).fit(torch.cat(standard).numpy())
    directions = made["a"].directions.numpy()
    np.testing.assert_allclose(np.abs((directions * pca.components_.T).sum(0)), 1, atol=1e-8)
    assert (np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0) > 0).all(), "signs are fixed"
    np.testing.assert_allclose(made["a"].held, pca.explained_variance_ratio_.sum())
    np.testing.assert_allclose(made["a"].spread, np.sqrt(pca.explained_variance_), rtol=1e-3)
    # the mean is the middle grey, two standard deviations along one component the end of its colour
    step = made["b"].scale["b"] * made["b"].spread[1] * made["b"].directions[:, 1]
    for far, green in ((0, 127.5), (2.1, 255), (-1, 63.75), (-3, 0)):
        colour = made["b"].colours("b", (two.mean(0) + far * step).view(-1, 1, 1))[0, 0]
        np.testing.assert_allclose(colour, [127.5, green, 127.5], atol=1)
    # like directions have like colours at both points, whatever their means and scales
    where = one[:6].T.reshape(6, 2, 3)
    there = (where - one.mean(0).view(6, 1, 1)) / made["a"].scale["a"] * made["a"].scale["b"] + two.mean(0).view(
        6, 1, 1
    )
    assert torch.equal(made["a"].colours("a", where), made["b"].colours("b", there))
    assert made["c"].colours("c", other[:2].T.reshape(2, 1, 2))[..., 2].tolist() == [[128, 128]], "no third component"


def test_a_point_that_never_varies_is_grey():
    moments = Moments(("a", "b"), "pix")
    moments.update(torch.ones(9, 4), torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))
    made = palettes(moments.centred(), ("a", "b"))
    assert made["a"].colours("a", torch.ones(4, 2, 2)).unique().tolist() == [128]


class Padded(Toy):
    """The toy, which pads 24 rows to 32: a quarter of its maps is not of the image. It has all kinds of weights."""

    stride = 16

    def __init__(self):
        super().__init__()
        limits = {"low": 0.0, "high": 1.0}
        self.share = Probe(2, role="attention", sums_to_one=1, **limits)
        self.own = Probe(4, role="attention", modality="x", sums_to_one=2, axes="B C 2 H W", **limits)
        self.agreement = Probe(3, role="agreement", meaning="how alike", **limits)
        self.channels = Probe(6, role="gate", axes="B C 1 1", **limits)
        self.swapped = Probe(6, role="exchange", axes="B C 1 1", **limits)
        self.kept = Probe(1, role="gate", replaced_below=0.3, **limits)
        self.image = Probe(2, role="attention", sums_to_one=1, axes="B 2", **limits)
        self.heads = Probe(None, role="attention", axes="B heads d HW", **limits)
        self.scaled = Probe(1, role="scale")
        self.unused = Probe(1, role="gate", **limits)  # nothing passes it

    def scores(self, rgb, x):
        b, _, h, w = rgb[..., ::4, ::4].shape
        level = torch.linspace(0, 1, h).view(1, 1, h, 1).expand(b, 1, h, w)
        self.share(torch.cat([level, 1 - level], 1))
        self.own(torch.stack([level, 1 - level], 2).expand(b, 4, 2, h, w))
        self.agreement(torch.cat([level, level, level * 0 + 0.3], 1))
        row = torch.linspace(0, 1, 6).view(1, 6, 1, 1).expand(b, 6, 1, 1)
        self.channels(row), self.swapped((row > 0.7).float())
        self.kept(level), self.image(rgb.new_full((b, 2), 0.5)), self.heads(rgb.new_zeros(b, 2, 3, h * w))
        self.scaled(level)
        return super().scores(rgb, x)


@pytest.fixture(scope="module")
def examples():
    data, model, learned = ToyData(24), Toy().eval(), []
    found = dissect(
        model, data, metrics=["segmentation", "similarity", "concepts"], tau=None, progress=False,
        then=lambda done: learned.append(insight(done)),
    )  # fmt: skip
    return chosen_examples(model, data, found, *learned), found, data, model, learned[0]


def test_each_stream_sees_its_own_concept(examples):
    for e in examples[0]:
        sights = {s.concept: s for s in e.inside.concepts}
        assert list(sights) == ["paint", "dent", "wall"], "rgb's, depth's, then what both see"
        for name, own, other in (("paint", "rgb", "x"), ("dent", "x", "rgb")):
            s = sights[name]
            np.testing.assert_array_equal(s.mask, e.label == e.class_names.index(name))
            np.testing.assert_array_equal(s.unknown, e.label == 255)
            mask = s.mask[2::4, 2::4]
            # the middle of each cell of 4x4 pixels
            middle = {k: m.reshape(6, 4, 8, 4)[:, 1:3, :, 1:3].mean((1, 3)) for k, m in s.margin.items()}
            area = {k: roc_auc_score(mask.ravel(), m.ravel()) for k, m in middle.items()}
            assert area[own] > 0.99 and area["fused"] > 0.99 and area[other] < 0.9
            yes = middle[own] >= 0
            assert yes[mask].all() and yes[~mask].mean() < 0.6, "the threshold lies between"
            assert s.iou[own] > 0.95 and s.iou[other] < 0.4
            assert s.margin[own].shape == e.label.shape and set(s.margin) == {"rgb", "x", "fused"}


def test_features_and_weights_of_the_image_alone():
    """What the model pads is no part of a picture; every kind of weight has the values that passed its probe."""
    level, data, model, learned = np.linspace(0, 1, 8, dtype=np.float32)[:6], ToyData(8), Padded().eval(), []
    found = dissect(model, data, metrics=["segmentation", "similarity"], progress=False,
                    then=lambda done: learned.append(insight(done)))  # fmt: skip
    for e in chosen_examples(model, data, found, *learned):
        (view,) = e.inside.stages
        assert {s: p.shape for s, p in view.features.items()} == dict.fromkeys(("rgb", "x", "fused"), (6, 8, 3))
        assert view.apart == ["fused"] and view.held["rgb"] == pytest.approx(1)
        w = {weight.name: weight for weight in view.weights}
        assert list(w) == ["share", "own", "agreement", "channels", "swapped", "kept", "gate 0", "gate 1"]
        assert (w["gate 0"].values == 1).all() and (w["gate 1"].values == 0.5).all()
        for name, want in (("share", level), ("own", 1 - level), ("agreement", (2 * level + 0.3) / 3), ("kept", level)):
            np.testing.assert_allclose(w[name].values, np.tile(want[:, None], (1, 8)), atol=1e-6)
            assert w[name].mixture == (name in ("share", "own")) and not w[name].of_channels
        np.testing.assert_array_equal(w["kept"].replaced, w["kept"].values < 0.3)
        np.testing.assert_allclose(w["channels"].values, np.linspace(0, 1, 6)[None], atol=1e-6)
        assert w["channels"].replaced is None and w["swapped"].replaced.tolist() == [[False] * 4 + [True] * 2]
        assert w["channels"].of_channels and w["agreement"].meaning == "how alike"


def test_features_of_paint_have_another_colour(examples):
    """A red cell moves along the first component of rgb, and depth's picture does not change with it."""
    for e in examples[0]:
        (view,) = e.inside.stages
        label = np.where(e.label == 255, 0, e.label)[2::4, 2::4]
        first = {s: view.features[s][..., 0].astype(float) for s in ("rgb", "x")}
        for stream, own in (("rgb", 1), ("x", 2)):
            apart = abs(first[stream][label == own].mean() - first[stream][label == 0].mean())
            assert apart > 60 and abs(first[stream][label == 3 - own].mean() - first[stream][label == 0].mean()) < 15


def test_images_of_another_dissection(examples):
    made, found, data, model, _ = examples
    again = chosen_examples(model, data, found, images=[c.__class__(c.index, ["x"], {}) for c in found.images])
    assert [e.id for e in again] == [e.id for e in made] and all(e.inside is None for e in again)
    for a, b in zip(again, made, strict=True):
        assert a.chosen.accuracy == pytest.approx(b.chosen.accuracy, abs=2e-3)


def test_what_was_not_measured_is_left_out():
    data, model, learned = ToyData(8), Toy().eval(), []
    found = dissect(model, data, metrics=["segmentation"], progress=False, then=lambda d: learned.append(insight(d)))
    assert (learned[0].palettes, learned[0].detectors) == ({}, {})
    assert learned[0].stages == {1: {"rgb": "rgb_at", "x": "x_at", "fused": "fused_at"}}
    e = chosen_examples(model, data, found, *learned)[0]
    assert e.inside.concepts == [] and [w.name for w in e.inside.stages[0].weights] == ["gate 0", "gate 1"]
    assert shown_stages({3: {}, 4: {}}) == [3, 4]


def test_which_concepts():
    row = lambda **iou: StageConcepts(1, iou)  # noqa: E731
    pick = lambda **iou: told_apart(dict.fromkeys(range(len(next(iter(iou.values())))), row(**iou)))  # noqa: E731
    assert pick(rgb=[0.1, 0.9, 0.5, 0.2], x=[0.1, 0.2, 0.5, 0.6], fused=[1.0] * 4) == [1, 3, 2]
    assert pick(rgb=[0.5, 0.52], x=[0.5, 0.5]) == [0, 1], "none that one stream sees better"
    assert pick(rgb=[0.9, 0.8, None], x=[0.1, 0.7, None]) == [0, 1, 2]
    assert pick(fused=[0.1, 0.4, 0.2, 0.3]) == [1, 3, 2] and told_apart({}) == []
