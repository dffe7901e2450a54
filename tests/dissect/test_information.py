"""Partial information in a dissection against NumPy on all positions held at once; its finding and its table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionzoo.dissect import Dissection, dissect
from fusionzoo.dissect.findings import findings
from fusionzoo.dissect.measures.base import Measured
from fusionzoo.dissect.measures.information import (
    Atoms,
    Decomposition,
    Information,
    StageInformation,
    _decomposed,
)
from fusionzoo.dissect.split import Split
from fusionzoo.metrics import Grouped, Moments
from fusionzoo.metrics.cooperation import pid_of_covariance
from fusionzoo.report import html, terminal
from fusionzoo.report.sections.information import brief, information
from tests.dissect import made as r
from tests.dissect.test_engine import blurred, features
from tests.dissect.toy import CELL, Toy

N = 16


@pytest.fixture(scope="module")
def both():
    """The dissection of images of which some cells are unlabelled; per image rows of rgb, x, fused and the masks."""
    data, model = blurred(N), Toy().eval()
    for i in range(0, N, 3):
        label = data[i]["label"].clone()
        label[: 2 * CELL] = 255
        data.edits[i]["label"] = label
    seen, labels = features(model, data)
    rows = {s: seen[f"{s}_at"].double().numpy().transpose(0, 2, 3, 1).reshape(N, 48, -1) for s in ("rgb", "x", "fused")}
    rows["label"] = labels[:, CELL // 2 :: CELL, CELL // 2 :: CELL].reshape(N, 48).numpy()
    return dissect(model, data, metrics=["similarity", "concepts"], progress=False), rows


def decomposed(sets):
    """Of the covariance of (n, C) sets of rgb, x and target."""
    cov = np.cov(np.concatenate(sets, 1).T, bias=True)
    found = pid_of_covariance(torch.from_numpy(cov), [s.shape[1] for s in sets], ridge=0.01)
    return np.array([found.information, *found.parts, *found.shares])


def target(rows, about, images):
    """Samples of rgb, x and target of some images."""
    joined = {s: rows[s][images].reshape(48 * len(images), -1) for s in rows}
    if about == "fused":
        return [joined[s] for s in ("rgb", "x", "fused")]
    there = joined["label"][:, 0] != 255
    return [joined["rgb"][there], joined["x"][there], np.eye(3)[joined["label"][there, 0]]]


@pytest.mark.parametrize("about", ["fused", "concepts"])
def test_is_that_of_all_positions_and_its_errors_leave_out_groups_of_images(both, about):
    d, rows = both
    found = getattr(d.results["information"].stages[0], about)
    sets = target(rows, about, list(range(N)))
    assert found.n == len(sets[0]) and found.components == [1, 1, 2] and found.variance == pytest.approx([1, 1, 1])
    parts = [*vars(found.nats).values(), *vars(found.shares).values()]
    got = [found.information, *parts]
    assert [m.value for m in got] == pytest.approx(decomposed(sets), abs=1e-5)
    split = Split.of(N, 8)
    without = [decomposed(target(rows, about, [i for i in range(N) if split.group(i, 8) != g])) for g in range(8)]
    spread = np.sqrt(7 / 8 * ((np.array(without) - np.mean(without, 0)) ** 2).sum(0))
    assert [m.error for m in got] == pytest.approx(spread, rel=1e-2, abs=1e-4)
    assert min(m.value for m in parts[:2]) > 0.05, "each stream has its own: paint in rgb, dents in depth"


def test_comes_with_the_passes_that_there_are_anyway(both):
    d, _ = both
    assert d.protocol.passes == 3
    alone = dissect(Toy().eval(), blurred(4), metrics=["similarity"], progress=False)
    assert alone.protocol.passes == 1 and alone.results["information"].stages[0].concepts is None
    assert Dissection.from_dict(d.to_dict()) == d


class Dead(Toy):
    """Its x stream never varies."""

    def scores(self, rgb, x):
        return super().scores(rgb, torch.zeros_like(x))


def test_of_a_stream_that_never_varies_nothing_is_said():
    d = dissect(Dead().eval(), blurred(4), metrics=["similarity", "concepts"], progress=False)
    assert "information" not in d.results


def test_what_varies_in_one_group_of_images_alone_varies_without_it_no_more():
    """Rounding stood there, and said of a quarter of these data that the sources determine the target: an error."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rgb, x = rng.normal(size=(4, 50, 1)), rng.normal(size=(4, 50, 2))
        fused = np.concatenate([rgb + 0.7 * x[..., :1], x[..., 1:]], -1) + 0.1 * rng.normal(size=(4, 50, 2))
        for rare in (x, fused):
            rare[1:] = rng.normal(size=2)
        sums = Grouped(lambda: Moments(("rgb", "x", "fused")), 4)
        for g in range(4):
            sums.update(*(torch.from_numpy(s[g]) for s in (rgb, x, fused)), group=g)
        found = _decomposed(sums)
        wanted = decomposed([s.reshape(200, -1) for s in (rgb, x, fused)])[0]
        assert found.information.value == pytest.approx(wanted, abs=1e-6)
        assert found.information.error is None, "without the first group there is nothing to be told of"


def test_a_source_that_varies_in_one_group_of_images_alone_tells_nothing_without_it():
    rng = np.random.default_rng(0)
    rgb, x = rng.normal(size=(4, 50, 1)), rng.normal(size=(4, 50, 1))
    x[1:] = 1 / 3
    fused = rgb + 0.7 * x + 0.1 * rng.normal(size=(4, 50, 1))
    sums = Grouped(lambda: Moments(("rgb", "x", "fused")), 4)
    for g in range(4):
        sums.update(*(torch.from_numpy(s[g]) for s in (rgb, x, fused)), group=g)
    r2 = np.corrcoef(rgb[1:].ravel(), fused[1:].ravel())[0, 1] ** 2 / 1.01  # the ridge is a hundredth of the variance
    kept = [decomposed([np.delete(s, g, 0).reshape(150, 1) for s in (rgb, x, fused)])[0] for g in (1, 2, 3)]
    without = np.array([-np.log(1 - r2) / 2, *kept])
    spread = np.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    assert _decomposed(sums).information.error == pytest.approx(spread, rel=1e-4)


def made(stages):
    return r.dissection(
        r.ModelInfo("m", "m", 1, ["rgb", "depth"]), r.DataInfo("nyuv2", "test", 100, ["a", "b"], [120, 160]),
        r.RunInfo("mean", "fast", 0.005), [r.stage(s.stage, {"rgb": "a", "x": "b"}) for s in stages],
        information=Information(stages),
    )  # fmt: skip


def of(nats, shares, error=0.01, few=False):
    four = Atoms(*(Measured(v, error) for v in shares))
    return Decomposition(5000, Measured(nats, 0.1), four, four, [16, 16, 8], [0.9, 0.8, 0.7], few)


def test_the_table_states_shares_beside_what_was_kept():
    four = (0.1, 0.2, 0.3, 0.4)
    d = made([StageInformation(2, of(3.0, four)), StageInformation(3, None, of(1.0, four[::-1], few=True))])
    table = information(d)
    assert table.columns[3:7] == ("rgb alone %", "either %", "depth alone %", "only both %")
    first = "2 fused 3.00+-0.10 10.0+-1.0 30.0+-1.0 20.0+-1.0 40.0+-1.0 85.0 70.0".replace("+-", " ±").split(" ")
    assert " ".join(table.rows[0]).split(" ") == first
    assert table.rows[1][1:3] == ("concepts", "1.00 ±0.10~") and table.rows[1][3:5] == ("40.0 ±1.0", "20.0 ±1.0")
    assert (
        "~: too few positions" in table.note and "~" not in information(made([StageInformation(2, of(3.0, four))])).note
    )
    assert "What each modality tells of the concepts" in html(d)
    assert information(made([])) is None


def test_the_terminal_has_a_row_a_stage_about_the_concepts() -> None:
    stages = [
        StageInformation(2, of(9.0, (0.7, 0.1, 0.1, 0.1)), of(1.0, (0.4, 0.3, 0.2, 0.1))),
        StageInformation(3, None, of(2.0, (0.4, 0.2, 0.3, 0.1), error=0.04)),
    ]
    lines = terminal(made(stages), colour=False).splitlines()
    at = lines.index("What each modality tells of the concepts")
    assert lines[at + 1].split() == "stage nats rgb alone % either % depth alone % only both %".split()
    assert [line.split()[:2] for line in lines[at + 3 : at + 5]] == [["2", "1.00"], ["3", "2.00"]]
    table = brief(made(stages))
    assert table is not None and table.rows[1][2:] == ("40.0 ±4.0", "30.0 ±4.0", "20.0 ±4.0", "10.0 ±4.0")
    fused = [StageInformation(2, of(9.0, (0.7, 0.1, 0.1, 0.1)), None)]
    table = brief(made(fused))
    assert table is not None and table.title == "What each modality tells of the fused features"
    assert brief(made([])) is None


def test_a_finding_only_where_both_together_tell_more():
    said = lambda d: [f.text for f in findings(d) if "only both together" in f.text]  # noqa: E731
    stages = [
        StageInformation(2, None, of(1.0, (0.4, 0.3, 0.2, 0.1))),
        StageInformation(3, None, of(2.0, (0.4, 0.2, 0.3, 0.1))),
    ]
    (text,) = said(made(stages))
    assert text == (
        "what the streams tell of the concepts, most at stage 3 (2.0 nats): rgb alone 40.0 %, depth alone 20.0 %,"
        " either 30.0 %, only both together 10.0 %"
    )
    stages[1] = StageInformation(3, None, of(2.0, (0.4, 0.2, 0.3, 0.1), error=0.04))
    assert not said(made(stages)), "within three errors"
    stages[1] = StageInformation(3, of(2.0, (0.4, 0.2, 0.3, 0.1)), None)
    assert "most at stage 2 (1.0 nats)" in said(made(stages))[0]
