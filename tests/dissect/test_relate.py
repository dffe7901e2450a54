"""Similarities and commonality of a dissection against NumPy on all features held at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fusionzoo.dissect import dissect
from fusionzoo.dissect.measures.base import PointInfo, Setup, thinned
from fusionzoo.dissect.split import Split
from tests.dissect.test_engine import blurred, features
from tests.dissect.toy import Toy, ToyData

N = 20


@pytest.fixture(scope="module")
def both():
    """The dissection, and per stream and view the rows of every image (N, rows, C)."""
    data, model = blurred(N), Toy().eval()
    seen, _ = features(model, data)
    rows = {}
    for stream in ("rgb", "x", "fused"):
        maps = seen[f"{stream}_at"].double().numpy()
        rows[stream, "pix"] = maps.transpose(0, 2, 3, 1).reshape(N, -1, maps.shape[1])
        rows[stream, "gap"] = maps.mean((2, 3))[:, None]
    return dissect(model, data, metrics=["similarity"], progress=False), rows


def hsic(k, l):  # noqa: E741
    """The unbiased estimator from Gram matrices, term by term."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    one = np.ones(n)
    cross = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ l) + cross - 2 / (n - 2) * one @ k @ l @ one) / (n * (n - 3))


def cka(x, y):
    k, l = x @ x.T, y @ y.T  # noqa: E741
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def angle(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return np.arccos(np.linalg.norm(x.T @ y, "nuc") / (np.linalg.norm(x) * np.linalg.norm(y)))


def r2(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - (rest**2).sum() / (y**2).sum()


def kept(rows, images):
    return rows[images].reshape(-1, rows.shape[2])


@pytest.mark.parametrize("view", ["gap", "pix"])
@pytest.mark.parametrize("pair", [("rgb", "x"), ("rgb", "fused"), ("x", "fused")])
def test_measures_of_each_pair(both, pair, view):
    found, rows = both
    got = found.rows[0].similarity.pairs["_".join(pair)][view]
    a, b = (kept(rows[s, view], range(N)) for s in pair)
    assert got.n == len(a)
    assert got.cka.value == pytest.approx(cka(a, b), abs=1e-9)
    assert got.angular.value == pytest.approx(angle(a, b), abs=1e-6)
    assert got.predicts.value == pytest.approx(r2(a, b), abs=1e-3)  # ours has a small ridge
    assert got.predicted.value == pytest.approx(r2(b, a), abs=1e-3)
    assert 0 < got.rcca.value < 1 and got.rcca.error is None
    if pair == ("rgb", "x"):
        # one channel of each stream varies: its only canonical correlation is the correlation
        assert got.svcca.value == pytest.approx(abs(np.corrcoef(a[:, 0], b[:, 0])[0, 1]), abs=1e-9)
        value = getattr(found.rows[0].similarity.cka, view)
        assert value.unbiased == got.cka.value and value.n == got.n


@pytest.mark.parametrize("view", ["gap", "pix"])
def test_errors_are_those_of_leaving_image_groups_out(both, view):
    found, rows = both
    split = Split.of(N)
    groups = sorted({split.group(i, 8) for i in range(N)})
    assert len(groups) == 8
    for name, measure in (("cka", cka), ("angular", angle), ("predicts", r2)):
        left = []
        for group in groups:
            images = [i for i in range(N) if split.group(i, 8) != group]
            left.append(measure(kept(rows["x", view], images), kept(rows["fused", view], images)))
        error = np.sqrt(7 / 8 * ((np.array(left) - np.mean(left)) ** 2).sum())
        got = getattr(found.rows[0].similarity.pairs["x_fused"][view], name)
        assert got.error == pytest.approx(error, rel=2e-3, abs=1e-6) and got.error > 0


def test_commonality_is_that_of_regressions(both):
    found, rows = both
    shares = found.rows[0].similarity.commonality["pix"]
    rgb, x, fused = (kept(rows[s, "pix"], range(N)) for s in ("rgb", "x", "fused"))
    n = len(rgb)
    adjusted = lambda v, p: 1 - (1 - v) * (n - 1) / (n - 1 - p)  # noqa: E731
    one, two, three = (
        adjusted(r2(rgb, fused), 2),
        adjusted(r2(x, fused), 2),
        adjusted(r2(np.hstack([rgb, x]), fused), 4),
    )
    assert shares.n == n and shares.adjusted
    assert shares.unique_rgb.value == pytest.approx(three - two, abs=1e-4)
    assert shares.unique_x.value == pytest.approx(three - one, abs=1e-4)
    assert shares.redundant.value == pytest.approx(one + two - three, abs=1e-4)
    assert shares.rest.value == pytest.approx(1 - three, abs=1e-4) and abs(shares.rest.value) < 1e-3  # fused is both
    assert shares.unique_rgb.value > 0.05 and shares.unique_x.value > 0.05 and shares.unique_x.error > 0


def test_matrix_of_all_points_is_that_of_the_pairs(both):
    found, _ = both
    matrix = found.matrices[0]
    assert (matrix.measure, matrix.view, matrix.n, matrix.channels) == ("cka", "gap", N, None)
    assert matrix.points == ["rgb_at", "x_at", "fused_at"]
    assert matrix.names == ["stage 1 rgb", "stage 1 x", "stage 1 fused"]
    for i, a in enumerate(("rgb", "x", "fused")):
        for j, b in enumerate(("rgb", "x", "fused")):
            if i < j:
                want = found.rows[0].similarity.pairs[f"{a}_{b}"]["gap"].cka.value
                assert matrix.values[i][j] == matrix.values[j][i] == pytest.approx(want, abs=1e-9)
        assert matrix.values[i][i] == pytest.approx(1, abs=1e-9)


def test_measures_that_need_the_images_themselves(both):
    found, rows = both
    matrices = {m.measure: m for m in found.matrices}
    assert list(matrices) == ["cka", "rbf_cka", "rsa", "mutual_knn"] and {m.n for m in matrices.values()} == {N}
    gap = [rows[s, "gap"][:, 0] for s in ("rgb", "x", "fused")]
    near = []
    for g in gap:
        unit = g / np.linalg.norm(g, axis=1, keepdims=True)
        inner = unit @ unit.T  # by cosine
        np.fill_diagonal(inner, -np.inf)
        near.append([set(np.argsort(-row)[:10]) for row in inner])
    shared = np.mean([len(a & b) / 10 for a, b in zip(near[1], near[2], strict=True)])
    assert matrices["mutual_knn"].values[1][2] == matrices["mutual_knn"].values[2][1] == pytest.approx(shared, abs=1e-9)
    assert all(m.values[i][i] == pytest.approx(1, abs=1e-9) for m in matrices.values() for i in range(3))


def test_permutations_tell_related_from_unrelated_features(both):
    found, _ = both
    cka = found.matrices[0]
    assert cka.p[1][2] == 0.01 and cka.values[1][2] > cka.bound[1][2]  # x is a part of fused
    unrelated = dissect(Toy(), ToyData(N), metrics=["similarity"], progress=False).matrices[0]
    assert (
        unrelated.p[0][1] > 0.05 and unrelated.values[0][1] < unrelated.bound[0][1]
    )  # colour and depth are drawn apart
    few = dissect(Toy(), ToyData(8), metrics=["similarity"], progress=False).matrices
    assert [m.measure for m in few] == ["cka"] and few[0].p == []


def test_wide_sets_are_projected_only_to_compare_all_with_all():
    info = {"narrow": PointInfo(8), "wide": PointInfo(2000), "other": PointInfo(2200)}
    settings = Setup(3, info)
    made = settings.projections(list(info))
    assert {name: tuple(p.shape) for name, p in made.items()} == {"wide": (2000, 256), "other": (2200, 256)}
    assert torch.equal(made["wide"], settings.projections(list(info))["wide"])  # on every process the same
    assert Setup(3, {"narrow": PointInfo(8), "wide": PointInfo(2000)}).projections(["narrow", "wide"]) == {}
    g = torch.Generator().manual_seed(1)
    hidden = torch.randn(300, 10, generator=g)
    wide = hidden[:, :5] @ torch.randn(5, 2000, generator=g) + torch.randn(300, 2000, generator=g)
    other = hidden @ torch.randn(10, 2200, generator=g) + torch.randn(300, 2200, generator=g)
    whole, short = (
        cka(wide.numpy(), other.numpy()),
        cka((wide.double() @ made["wide"]).numpy(), (other.double() @ made["other"]).numpy()),
    )
    assert 0.2 < whole < 0.9 and short == pytest.approx(whole, abs=0.06)


def test_projections_are_applied(both, monkeypatch):
    red = torch.eye(4, dtype=torch.float64)[:, :2]  # fused is (red, 1, depth, 1), rgb is (red, 1)
    monkeypatch.setattr(Setup, "projections", lambda self, points: {"fused_at": red})
    matrices = dissect(Toy(), blurred(N), metrics=["similarity"], progress=False).matrices
    found, _ = both
    for matrix in matrices:
        assert matrix.channels == 256
        assert matrix.values[0][2] == pytest.approx(1, abs=1e-6), matrix.measure
    assert found.matrices[0].values[0][2] < 0.99


def test_levels_too_wide_for_four_groups_have_no_error():
    points = {f"p{i}": PointInfo(c) for i, c in enumerate((64, 256, 400, 640, 768))}
    settings = Setup(3, points)
    assert [settings.moment_groups([p] * 3) for p in points] == [8, 8, 5, 1, 1]


def test_one_group_gives_the_same_values(both, monkeypatch):
    monkeypatch.setattr(Setup, "moment_groups", lambda self, points: 1)
    found, _ = both
    again = dissect(Toy(), blurred(N), metrics=["similarity"], progress=False).rows[0]
    for pair, views in found.rows[0].similarity.pairs.items():
        for view, want in views.items():
            got = again.similarity.pairs[pair][view]
            for name in ("cka", "angular", "svcca", "rcca", "predicts", "predicted"):
                assert getattr(got, name).value == pytest.approx(getattr(want, name).value, abs=1e-9)
                assert getattr(got, name).error is None
    assert again.similarity.commonality["pix"].redundant.error is None


@pytest.mark.parametrize(
    ("size", "positions"), [((6, 8), 48), ((60, 80), 1024), ((7, 100), 64), ((1, 5), 2), ((120, 160), 1024)]
)
def test_thinned_positions_are_even_and_no_more_than_asked(size, positions):
    maps = torch.arange(size[0] * size[1]).float().view(1, 1, *size)
    few = thinned(maps, positions)[0, 0]
    assert few.numel() <= positions and few.numel() > positions / 4
    rows, columns = few[:, 0] // size[1], few[0] % size[1]
    for at, total in ((rows, size[0]), (columns, size[1])):
        assert len(set(at.diff().tolist())) <= 1
        assert abs(float(at[0]) - (total - 1 - float(at[-1]))) <= 1  # centred
    if size[0] * size[1] <= positions:
        assert torch.equal(few, maps[0, 0]) and few.data_ptr() != maps.data_ptr()


class Uneven(Toy):
    """Its x stream is half as fine as its rgb stream."""

    def scores(self, rgb, x):
        red, depth = F.avg_pool2d(rgb[:, :1], 4), F.avg_pool2d(x, 8)
        red, depth = self.rgb_at(red.repeat(1, 2, 1, 1)), self.x_at(depth.repeat(1, 2, 1, 1))
        self.gate(torch.ones_like(red))
        fused = self.fused_at(torch.cat([red, F.interpolate(depth, red.shape[2:])], 1))
        return torch.stack([0 * fused[:, 0], fused[:, 0], fused[:, 2]], 1)


def test_maps_of_other_sizes_are_compared_by_images_only():
    found = dissect(Uneven(), ToyData(6), metrics=["similarity"], progress=False).rows[0]
    assert {pair: set(views) for pair, views in found.similarity.pairs.items()} == dict.fromkeys(
        ("rgb_x", "rgb_fused", "x_fused"), {"gap"}
    )
    assert found.similarity.cka.pix is None and found.similarity.cka.gap.n == 6
