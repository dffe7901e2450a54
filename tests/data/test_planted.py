"""The planted scenes: geometry against a plain loop, the planted truth against classifiers and scene surgery."""

from __future__ import annotations

import hashlib
import importlib
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from fusionzoo.data import planted
from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted import Planted
from fusionzoo.data.planted_render import Rendered, depth_sigma, render
from fusionzoo.errors import InputError, UnknownNameError

SIZE = (120, 160)
K = len(lay.CLASSES)


def surgery(index: int, **changes: object) -> tuple[Rendered, Rendered]:
    """Scene `index` of train, and the same scene with the same noise after `changes` to its layout or its slots."""
    data = Planted("train", size=SIZE)
    layout = data.layout(index)
    slots = changes.pop("slots", layout.slots)
    changed = replace(layout, slots=tuple(slots), **changes)  # type: ignore[arg-type]
    pixels = [data._generators(index)[1] for _ in range(2)]
    return render(layout, SIZE, pixels[0]), render(changed, SIZE, pixels[1])


# ---- the sample -------------------------------------------------------------------------------------------------


def test_sample_is_as_the_contract_says() -> None:
    data = Planted("val", n=3)
    assert len(data) == 3 and len(list(data)) == 3
    for index in range(3):
        sample = data[index]
        assert sample["rgb"].dtype == torch.uint8 and sample["rgb"].shape == (3, *SIZE)
        assert sample["x"].dtype == torch.float32 and sample["x"].shape == (1, *SIZE)
        assert sample["label"].dtype == torch.int64 and sample["label"].shape == SIZE
        assert sample["id"] == data.ids[index] == f"planted-val-s0-{index:05d}"
        assert 0 <= int(sample["label"].min()) and int(sample["label"].max()) < K
        metres = sample["x"][sample["x"] > 0]
        assert 0.3 < float(metres.min()) and float(metres.max()) < 8
    assert data.class_names == list(data.concepts) and data.num_classes == K == 12
    assert {kind: list(data.concepts.values()).count(kind) for kind in ("both", "rgb", "x", "joint", "none")} == {
        "both": 5, "rgb": 2, "x": 2, "joint": 2, "none": 1,
    }  # fmt: skip
    assert data.describe()["n"] == 3 and data.describe()["seed"] == 0 and data.describe()["size"] == [120, 160]


def test_defaults_and_errors() -> None:
    assert [len(Planted(split)) for split in ("train", "val", "test")] == [2000, 200, 200]
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        Planted("trian")
    for wrong, match in (({"n": 0}, "n is 0"), ({"size": (16, 160)}, "at least 32"), ({"seed": -1}, "negative")):
        with pytest.raises(InputError, match=match):
            Planted("test", **wrong)  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        Planted("test", n=2)[2]
    assert Planted("test", n=2)[-1]["id"] == "planted-test-s0-00001"


@pytest.mark.parametrize("name, home", [("draw_layout", "planted"), ("hsv", "planted_draw"),
                                        ("draw_scene", "planted_draw"), ("place_slots", "planted_draw")])  # fmt: skip
def test_former_places_still_work(name: str, home: str) -> None:
    with pytest.warns(FutureWarning, match=f"{name} has moved: import it from fusionzoo.data.{home}$"):
        found = getattr(lay, name)
    assert found is getattr(importlib.import_module(f"fusionzoo.data.{home}"), name)
    with pytest.raises(AttributeError, match="no attribute 'draw'"):
        lay.draw  # noqa: B018


def test_every_class_is_frequent(scenes: list[Rendered]) -> None:
    counts = np.stack([np.bincount(s.label.ravel(), minlength=K) for s in scenes])
    share, present = counts.sum(0) / counts.sum(), (counts >= 60).mean(0)
    for name, part, often in zip(lay.CLASSES, share, present, strict=True):
        assert part > 0.017 and often > 0.6, (name, part, often)
    assert share[lay.WALL] < 0.56


# ---- determinism ------------------------------------------------------------------------------------------------


def digest(samples: Sequence[dict]) -> str:
    h = hashlib.sha256()
    for s in samples:
        for key in ("rgb", "x", "label"):
            h.update(s[key].numpy().tobytes())
    return h.hexdigest()


def test_same_in_another_process() -> None:
    code = (
        "import hashlib\nfrom fusionzoo.data.planted import Planted\nh = hashlib.sha256()\n"
        "d = Planted('test', n=40, seed=3)\n"
        "for i in (7, 2):\n    for k in ('rgb', 'x', 'label'):\n        h.update(d[i][k].numpy().tobytes())\n"
        "print(h.hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    data = Planted("test", n=8, seed=3)  # another n, in order: neither matters
    assert there == digest([data[7], data[2]])


def test_splits_seeds_and_indices_never_coincide() -> None:
    rooms = {}
    for seed in (0, 1):
        for split in ("train", "val", "test"):
            data = Planted(split, n=100, seed=seed)
            rooms.update({(seed, split, i): data.layout(i).room for i in range(100)})
    assert len(set(rooms.values())) == len(rooms) == 600
    samples = [Planted(split, n=1, seed=seed)[0] for seed in (0, 1) for split in ("train", "val", "test")]
    assert len({digest([s]) for s in samples}) == 6


def test_size_changes_resolution_only() -> None:
    small, large = Planted("train", size=(60, 80)), Planted("train", size=(240, 320))
    for index in range(4):
        assert small.layout(index) == large.layout(index)
        coarse, fine = small.render(index), large.render(index)
        assert (coarse.label == fine.label[2::4, 2::4]).mean() > 0.93
        mean = fine.rgb.reshape(60, 4, 80, 4, 3).mean((1, 3))
        assert np.abs(coarse.rgb - mean).mean() < 8


def figures(sample: dict) -> dict[str, list[float]]:
    """What a stored sample is recognised by: means, shares; insensitive to a changed last bit."""
    rgb, x, label = sample["rgb"].double(), sample["x"].double(), sample["label"]
    blocks = torch.nn.functional.adaptive_avg_pool2d(x, (2, 2)).flatten()
    return {
        "rgb_mean": [round(float(v), 1) for v in rgb.mean((1, 2))],
        "rgb_std": [round(float(v), 1) for v in rgb.std((1, 2))],
        "x_blocks": [round(float(v), 2) for v in blocks],
        "holes": [round(float((x == 0).double().mean() * 100), 2)],
        "label": torch.bincount(label.flatten(), minlength=K).tolist(),
    }


GOLDEN: dict[tuple[str, int, int], dict[str, list[float]]] = {
    ("train", 0, 0): {
        "rgb_mean": [106.7, 108.9, 105.2],
        "rgb_std": [39.5, 37.2, 40.3],
        "x_blocks": [2.98, 3.16, 2.96, 3.01],
        "holes": [2.38],
        "label": [2726, 11122, 1138, 0, 556, 460, 313, 390, 1013, 357, 553, 572],
    },
    ("test", 0, 0): {
        "rgb_mean": [126.5, 124.9, 114.2],
        "rgb_std": [42.4, 44.2, 37.5],
        "x_blocks": [3.49, 3.24, 2.98, 2.91],
        "holes": [2.72],
        "label": [1983, 11336, 472, 1257, 610, 352, 688, 684, 753, 0, 563, 502],
    },
    ("test", 7, 11): {
        "rgb_mean": [103.3, 103.7, 92.6],
        "rgb_std": [26.2, 33.7, 31.0],
        "x_blocks": [2.9, 3.09, 3.06, 3.35],
        "holes": [0.95],
        "label": [2120, 13170, 2370, 0, 0, 296, 0, 544, 0, 341, 359, 0],
    },
}


@pytest.mark.parametrize("key", GOLDEN)
def test_scenes_stay_what_they_were(key: tuple[str, int, int]) -> None:
    """Trained checkpoints and recorded numbers rest on these very scenes."""
    split, seed, index = key
    now = figures(Planted(split, n=index + 1, seed=seed)[index])
    for name, slack in (("rgb_mean", 0.2), ("rgb_std", 0.2), ("x_blocks", 0.02), ("holes", 0.15), ("label", 25)):
        assert np.allclose(now[name], GOLDEN[key][name], rtol=0, atol=slack), name


# ---- geometry ---------------------------------------------------------------------------------------------------


def loop_depth_and_label(layout: lay.Layout, row: float, col: float) -> tuple[float, int]:
    """Plain float64 oracle for one pixel (row, col in 0..1): nearest of room, boxes, balls; then slots on the room."""
    cam = layout.camera
    pitch = np.array(
        [[1, 0, 0], [0, math.cos(cam.pitch), math.sin(cam.pitch)], [0, -math.sin(cam.pitch), math.cos(cam.pitch)]]
    )
    yaw = np.array([[math.cos(cam.yaw), 0, math.sin(cam.yaw)], [0, 1, 0], [-math.sin(cam.yaw), 0, math.cos(cam.yaw)]])
    ray = yaw @ pitch @ np.array([(2 * col - 1) * cam.half_a, (2 * row - 1) * cam.half_b, 1.0])
    x0, x1, y0, y1, z0, z1 = layout.room
    planes = {  # face -> (axis, offset, label)
        lay.LEFT: (0, x0, lay.WALL), lay.RIGHT: (0, x1, lay.WALL), lay.BACK: (2, z1, lay.WALL),
        lay.DOWN: (1, y1, lay.FLOOR), lay.UP: (1, y0, lay.CEILING), lay.FRONT: (2, z0, lay.WALL),
    }  # fmt: skip
    hits = {f: offset / ray[axis] for f, (axis, offset, _) in planes.items() if offset / ray[axis] > 0}
    face = min(hits, key=lambda f: hits[f])
    depth, label = hits[face], planes[face][2]
    where = ray * depth
    for slot in layout.slots:
        if slot.face != face:
            continue
        u, v = {lay.DOWN: (where[0], where[2]), lay.BACK: (where[0], where[1])}.get(face, (where[2], where[1]))
        p, q = (u - slot.u) / slot.half_u, (v - slot.v) / slot.half_v
        rho = math.hypot(p, q) if slot.round else max(abs(p), abs(q))
        if rho < 1:
            label = slot.concept
            lift = slot.relief * ((1 - rho**2) if slot.curved else 1.0)
            axis, offset, _ = planes[face]  # the same wall, moved by `lift` towards the camera
            depth = (offset - math.copysign(1.0, offset) * lift) / ray[axis]
    for thing in layout.objects:
        centre = np.array(thing.centre)
        if isinstance(thing, lay.Ball):
            roots = np.roots([ray @ ray, -2 * ray @ centre, centre @ centre - thing.radius**2])
            if abs(roots[0].imag) < 1e-12 and roots.real.min() < depth:
                depth, label = float(roots.real.min()), lay.BALL
            continue
        turn = math.cos(thing.yaw), math.sin(thing.yaw)
        axes = [np.array([turn[0], 0, -turn[1]]), np.array([0, 1, 0]), np.array([turn[1], 0, turn[0]])]
        for axis, half in zip(axes, thing.half, strict=True):
            for side in (-half, half):  # the six rectangles, one by one
                t = (axis @ centre + side) / (axis @ ray)
                local = [abs(other @ (t * ray - centre)) for other in axes]
                if all(a <= h + 1e-9 for a, h in zip(local, thing.half, strict=True)) and 0 < t < depth:
                    depth, label = t, lay.BOX
    return depth, label


def test_render_equals_a_plain_loop() -> None:
    size, wrong, total, kinds = (45, 60), 0, 0, set()
    data = Planted("val", n=5, size=size)
    for index in range(5):
        layout, scene = data.layout(index), data.render(index)
        for row in range(size[0]):
            for col in range(size[1]):
                depth, label = loop_depth_and_label(layout, (row + 0.5) / size[0], (col + 0.5) / size[1])
                same = scene.label[row, col] == label and abs(scene.clean[row, col] - depth) < 2e-3
                wrong, total = wrong + (not same), total + 1
                kinds.add(label)
    assert kinds == set(range(K)), "every class has to be looked at"
    assert wrong <= 1e-3 * total  # float32 at outlines


def test_relief_never_reaches_an_object(layouts: list[lay.Layout]) -> None:
    for layout in layouts:
        for thing in layout.objects:
            half = (thing.radius,) * 3 if isinstance(thing, lay.Ball) else thing.half
            reach = half[0] if isinstance(thing, lay.Ball) else math.hypot(half[0], half[2])
            x, y, z = thing.centre
            left, right, _, floor, _, back = layout.room
            assert min(x - left, right - x, back - z) - reach > max(abs(s.relief) for s in layout.slots)
            assert y + half[1] == pytest.approx(floor)  # stands on the floor


# ---- the planted truth, exactly: surgery on a scene ----------------------------------------------------------------


@pytest.mark.parametrize("index", range(6))
def test_colour_carries_nothing_of_relief_and_unseen(index: int) -> None:
    slots = Planted("train").layout(index).slots
    flat = [replace(s, relief=0.0, curved=False) for s in slots]
    scene, changed = surgery(index, slots=flat)
    assert np.array_equal(scene.rgb, changed.rgb)
    assert not np.array_equal(scene.depth, changed.depth)
    blind = [s for s in slots if s.concept not in (lay.UNSEEN, lay.BUMP, lay.NICHE)]
    scene, changed = surgery(index, slots=blind)
    assert np.array_equal(scene.rgb, changed.rgb)
    assert not np.array_equal(scene.label, changed.label)


@pytest.mark.parametrize("index", range(6))
def test_depth_carries_nothing_of_paint_and_unseen(index: int) -> None:
    slots = Planted("train").layout(index).slots
    scene, changed = surgery(index, slots=[replace(s, colours=None) for s in slots])
    assert np.array_equal(scene.depth, changed.depth)
    assert not np.array_equal(scene.rgb, changed.rgb)
    seen = [s for s in slots if s.concept not in (lay.UNSEEN, lay.POSTER, lay.RUG)]
    scene, changed = surgery(index, slots=seen)
    assert np.array_equal(scene.depth, changed.depth)


@pytest.fixture(scope="module")
def layouts() -> list[lay.Layout]:
    data = Planted("train", n=400)
    return [data.layout(i) for i in range(len(data))]


def test_joint_is_an_exclusive_or_with_fair_coins(layouts: list[lay.Layout]) -> None:
    table = np.zeros((2, 2, 2), int)  # joint_b, red, raised
    for slot in (s for layout in layouts for s in layout.slots if s.concept in (lay.JOINT_A, lay.JOINT_B)):
        assert slot.colours is not None and slot.curved
        red = slot.colours[0][0] > slot.colours[0][1]
        table[slot.concept - lay.JOINT_A, int(red), int(slot.relief > 0)] += 1
    a, b = table
    assert a[0, 1] == a[1, 0] == b[0, 0] == b[1, 1] == 0
    for one, two in ((a[1, 1], a[0, 0]), (b[1, 0], b[0, 1])):
        assert abs(one - two) < 4 * math.sqrt(one + two) and one > 150


def test_place_size_and_outline_do_not_tell_the_concept(layouts: list[lay.Layout]) -> None:
    slots = [s for layout in layouts for s in layout.slots]
    for group in ((lay.RUG, lay.UNSEEN), (lay.POSTER, lay.BUMP, lay.NICHE, lay.JOINT_A, lay.JOINT_B, lay.UNSEEN)):
        on_floor = lay.RUG in group
        these = [s for s in slots if (s.face == lay.DOWN) == on_floor]
        for measure in (
            lambda s: s.bounds[0] + s.bounds[2],
            lambda s: s.bounds[1] + s.bounds[3],
            lambda s: (s.bounds[2] - s.bounds[0]) * (s.bounds[3] - s.bounds[1]),
            lambda s: s.half_u,
            lambda s: s.half_v,
            lambda s: float(s.round),
            lambda s: float(s.face),
            lambda s: float(s.pattern),
        ):
            whole = np.array([measure(s) for s in these])
            for concept in group:
                part = np.array([measure(s) for s in these if s.concept == concept])
                z = (part.mean() - whole.mean()) / max(float(whole.std()) / math.sqrt(len(part)), 1e-9)
                assert len(part) > 25 and abs(z) < 4, (concept, z)


def test_every_concept_gets_every_place_alike() -> None:
    """Places found later are smaller and squeezed between the others, so their order must not tell the concept."""
    rng, room = np.random.default_rng(0), Planted("train").layout(0).room
    places = [(lay.BACK, float(i), 0.0, 0.1, 0.1, True, (0.0, 0.0, 0.1, 0.1)) for i in range(4)]
    concepts = [lay.POSTER, lay.BUMP, lay.NICHE, lay.JOINT_A]
    met = np.zeros((4, 4), int)
    for _ in range(2000):
        for slot in planted.assign(rng, places, concepts, room):
            met[int(slot.u), concepts.index(slot.concept)] += 1
    assert met.sum() == 8000 and np.abs(met - 500).max() < 5 * math.sqrt(500 * 0.75)


def test_a_bare_stretch_is_more_often_just_bare(layouts: list[lay.Layout], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who guesses from the gaps between visible things where the unseen patches are is wrong more often than right."""
    monkeypatch.setattr(planted, "KEPT", 1.0)
    data, kept, possible = Planted("train", n=len(layouts)), 0, 0
    for index, layout in enumerate(layouts):
        slots = data.layout(index).slots
        assert set(layout.slots) <= set(slots) and all(s.concept == lay.UNSEEN for s in set(slots) - set(layout.slots))
        kept += sum(s.concept == lay.UNSEEN for s in layout.slots)
        possible += sum(s.concept == lay.UNSEEN for s in slots)
    assert possible > 500 and kept / possible == pytest.approx(0.45, abs=4 * 0.5 / math.sqrt(possible))


# ---- the planted truth, as a learner meets it --------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes() -> list[Rendered]:
    data = Planted("train", n=240, size=SIZE)
    return [data.render(i) for i in range(len(data))]


def mean_filter(image: np.ndarray, reach: int) -> np.ndarray:
    """Mean over (2 reach + 1)^2 neighbours, edges repeated."""
    padded = np.pad(image.astype(np.float64), reach, mode="edge")
    total = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    k = 2 * reach + 1
    return (total[k:, k:] - total[:-k, k:] - total[k:, :-k] + total[:-k, :-k]) / k**2


def colour_features(scene: Rendered) -> np.ndarray:
    """(H, W, 9): local mean and spread of each channel, and the mean against a wide neighbourhood."""
    maps = []
    for channel in scene.rgb.transpose(2, 0, 1).astype(np.float64):
        mean = mean_filter(channel, 2)
        maps += [mean, mean_filter(channel**2, 2) - mean**2, mean - mean_filter(channel, 12)]
    return np.stack(maps, -1)


def depth_features(scene: Rendered) -> np.ndarray:
    """(H, W, 6): offset from the bare room, its spread, holes, offset against its surroundings, depth gradients."""
    valid = (scene.depth > 0).astype(np.float64)
    share = np.maximum(mean_filter(valid, 2), 0.04)
    offset = np.where(valid > 0, scene.bare - scene.depth, 0.0)
    mean = mean_filter(offset, 2) / share
    wide = mean_filter(offset, 6) / np.maximum(mean_filter(valid, 6), 0.01)
    filled = mean_filter(scene.depth, 2) / share
    maps = [mean, mean_filter(offset**2, 2), share, mean - wide, *np.gradient(filled)]
    return np.stack(maps, -1)


@pytest.fixture(scope="module")
def pixels(scenes: list[Rendered]) -> dict[str, np.ndarray]:
    """A sample of pixels: up to 24 of each class a scene, their features, label, scene; class 12: unseen floor."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[np.ndarray]] = {"rgb": [], "x": [], "label": [], "scene": []}
    for number, scene in enumerate(scenes):
        label = np.where((scene.label == lay.UNSEEN) & (scene.base == lay.FLOOR), K, scene.label).ravel()
        order = rng.permutation(label.size)
        pick = np.concatenate([order[label[order] == c][:24] for c in range(K + 1)])
        rows["rgb"].append(colour_features(scene).reshape(label.size, -1)[pick])
        rows["x"].append(depth_features(scene).reshape(label.size, -1)[pick])
        rows["label"].append(label[pick])
        rows["scene"].append(np.full(len(pick), number))
    return {key: np.concatenate(values) for key, values in rows.items()}


def auc(pixels: dict[str, np.ndarray], view: str, one: Sequence[int], two: Sequence[int]) -> float:
    """Area under the ROC curve of a forest that tells classes `one` from `two`, learnt on half the scenes."""
    trees = pytest.importorskip("sklearn.ensemble", reason="scikit-learn is not installed")
    from sklearn.metrics import roc_auc_score

    data = np.hstack([pixels["rgb"], pixels["x"]]) if view == "both" else pixels[view]
    truth, known = np.isin(pixels["label"], one), np.isin(pixels["label"], [*one, *two])
    half = pixels["scene"] < pixels["scene"].max() / 2
    forest = trees.ExtraTreesClassifier(30, min_samples_leaf=8, random_state=0, class_weight="balanced")
    forest.fit(data[known & half], truth[known & half])
    return float(roc_auc_score(truth[known & ~half], forest.predict_proba(data[known & ~half])[:, 1]))


FLOOR_UNSEEN = [K]
EASY, CHANCE = 0.95, 0.07


@pytest.mark.parametrize(
    ("one", "two", "view"),
    [
        ([lay.POSTER], [lay.WALL], "rgb"),
        ([lay.POSTER], [lay.UNSEEN], "rgb"),
        ([lay.RUG], [lay.FLOOR], "rgb"),
        ([lay.RUG], FLOOR_UNSEEN, "rgb"),
        ([lay.BUMP], [lay.WALL, lay.UNSEEN], "x"),
        ([lay.NICHE], [lay.WALL, lay.UNSEEN], "x"),
        ([lay.BUMP], [lay.JOINT_A, lay.JOINT_B], "x"),
        ([lay.NICHE], [lay.JOINT_A, lay.JOINT_B], "x"),
        ([lay.BOX], [lay.FLOOR, lay.WALL], "rgb"),
        ([lay.BOX], [lay.FLOOR, lay.WALL], "x"),
        ([lay.BALL], [lay.FLOOR, lay.WALL], "rgb"),
        ([lay.BALL], [lay.FLOOR, lay.WALL], "x"),
        ([lay.FLOOR], [lay.WALL, lay.CEILING], "rgb"),
        ([lay.FLOOR], [lay.WALL, lay.CEILING], "x"),
        ([lay.CEILING], [lay.WALL], "x"),
        ([lay.JOINT_A], [lay.JOINT_B], "both"),
    ],
)
def test_what_can_be_seen_is_seen(pixels: dict[str, np.ndarray], one: list[int], two: list[int], view: str) -> None:
    assert auc(pixels, view, one, two) > EASY


@pytest.mark.parametrize(
    ("one", "two", "view"),
    [
        ([lay.POSTER], [lay.UNSEEN], "x"),
        ([lay.RUG], FLOOR_UNSEEN, "x"),
        ([lay.BUMP], [lay.UNSEEN], "rgb"),
        ([lay.NICHE], [lay.UNSEEN], "rgb"),
        ([lay.BUMP], [lay.NICHE], "rgb"),
        ([lay.JOINT_A], [lay.JOINT_B], "rgb"),
        ([lay.JOINT_A], [lay.JOINT_B], "x"),
    ],
)
def test_what_cannot_be_seen_is_a_coin_toss(
    pixels: dict[str, np.ndarray], one: list[int], two: list[int], view: str
) -> None:
    """Against `unseen`, whose places are drawn alike: any surplus over 1/2 would be a trace."""
    assert abs(auc(pixels, view, one, two) - 0.5) < CHANCE


# ---- the sensor -------------------------------------------------------------------------------------------------


def test_depth_noise_grows_as_stated(scenes: list[Rendered]) -> None:
    clean = np.concatenate([s.clean.ravel() for s in scenes[:80]])
    depth = np.concatenate([s.depth.ravel() for s in scenes[:80]])
    error = np.where(depth > 0, depth - clean, np.nan)
    for low in (1.6, 2.4, 3.2, 4.0):
        here = error[(clean >= low) & (clean < low + 0.2)]
        sigma = 0.0012 + 0.0019 * (low + 0.1 - 0.4) ** 2
        assert np.nanstd(here) == pytest.approx(sigma, rel=0.06)
        assert abs(np.nanmean(here)) < 0.15 * sigma
    assert float(depth_sigma(np.float32(2.4))) == pytest.approx(0.0088, rel=1e-5)
    assert np.allclose(depth * 1000, np.round(depth * 1000), atol=1e-3)  # whole millimetres


def test_holes_lie_where_they_should(scenes: list[Rendered]) -> None:
    hole = np.stack([s.depth == 0 for s in scenes])
    label = np.stack([s.label for s in scenes])
    clean = np.stack([s.clean for s in scenes])
    jump = np.zeros(hole.shape, bool)
    jump[:, :, 1:] = np.abs(np.diff(clean, axis=2)) > 0.2
    plain = np.zeros(hole.shape, bool)
    plain[:, 2:-2, 2:-2] = (label == lay.WALL)[:, 2:-2, 2:-2] & ~near_step(clean)
    assert 0.01 < hole.mean() < 0.06
    assert 0.45 < hole[jump].mean() < 0.7
    assert hole[plain].mean() < 0.012


def test_dark_things_return_less_but_dark_paint_does_not() -> None:
    rates = {}
    for value in (0.05, 0.8):
        lost = total = 0
        for index in range(12):
            things = Planted("train").layout(index).objects
            _, scene = surgery(index, objects=[replace(t, colour=(value, value, value)) for t in things])
            inside = np.isin(scene.label, [lay.BOX, lay.BALL])[2:-2, 2:-2] & ~near_step(scene.clean[None], 0.12)[0]
            lost, total = lost + int((scene.depth[2:-2, 2:-2] == 0)[inside].sum()), total + int(inside.sum())
        rates[value] = lost / total
    assert rates[0.05] == pytest.approx(0.004 + 0.25 * (0.3 - 0.05), rel=0.15) and rates[0.8] < 0.015
    black = ((0.01, 0.01, 0.01), (0.0, 0.0, 0.0))
    slots = Planted("train").layout(0).slots
    scene, changed = surgery(0, slots=[replace(s, colours=black if s.colours else None) for s in slots])
    assert np.array_equal(scene.depth, changed.depth)


def near_step(clean: np.ndarray, step: float = 0.3) -> np.ndarray:
    """True within two pixels of a depth step; (N, H - 4, W - 4)."""
    views = np.lib.stride_tricks.sliding_window_view(clean, (5, 5), axis=(1, 2))
    return (views.max((-1, -2)) - views.min((-1, -2))) > step
