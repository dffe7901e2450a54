"""Checkpoints in, curves out."""

from __future__ import annotations

import pytest
import torch

from fusionzoo.dissect import dissect
from fusionzoo.dissect.evolution import dissect_checkpoints
from fusionzoo.dissect.results import Evolution
from fusionzoo.errors import InputError
from tests.compare import close
from tests.dissect.test_engine import plain
from tests.dissect.toy import Toy, ToyData


class Learning(Toy):
    """Reads depth by a share that grows over the training; before, its x stream is red, as its rgb stream is."""

    def __init__(self, share):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(float(share)))

    def scores(self, rgb, x):
        mixed = self.share * x + (1 - self.share) * rgb[:, :1]
        return super().scores(rgb, mixed)


SHARES = {"start": 0.0, "middle": 0.5, "end": 1.0}


@pytest.fixture(scope="module")
def learnt():
    checkpoints = {name: (lambda share=share: Learning(share)) for name, share in SHARES.items()}
    steps, epochs = {"start": 0, "end": 200}, {"end": 4.0}
    return dissect_checkpoints(checkpoints, ToyData(16), steps=steps, epochs=epochs, tau=None, progress=False)


def test_each_checkpoint_is_its_dissection(learnt):
    for row in learnt.checkpoints:
        alone = plain(dissect(Learning(SHARES[row.name]), ToyData(16), tau=None, progress=False))
        one = learnt.to_dict()["checkpoints"][list(SHARES).index(row.name)]
        assert len(alone["results"]) == 9 and close(one["results"], alone["results"], 1e-6)
    assert [(c.name, c.step, c.epoch) for c in learnt.checkpoints] == [
        ("start", 0, None), ("middle", None, None), ("end", 200, 4.0),
    ]  # fmt: skip
    assert learnt.model.name == "toy" and learnt.data.n == 16


def test_curves_show_the_specialty_that_grows(learnt):
    curves = learnt.curves()
    value = {name: [m.value for m in curve] for name, curve in curves.items()}
    assert value["stage 1 cka pix"][0] == pytest.approx(1, abs=1e-6)
    assert value["stage 1 cka pix"][0] > value["stage 1 cka pix"][1] > value["stage 1 cka pix"][2]
    # the fused feature holds both streams: what only x gives grows, what either gives goes
    assert value["stage 1 unique_x"][0] == pytest.approx(0, abs=1e-3) and value["stage 1 unique_x"][2] > 0.05
    assert value["stage 1 redundant"][0] > 0.99 and value["stage 1 redundant"][2] < 0.2
    assert value["stage 1 semantic variance"][0] == 0 < value["stage 1 semantic variance"][2]
    assert value["stage 1 x-specific"][0] == value["stage 1 rgb-specific"][0] == 0
    assert ["dent" in c.specificity.stages[0].x for c in learnt.checkpoints] == [False, True, True]
    assert value["shapley x"][0] < value["shapley x"][2] and curves["shapley x"][2].error > 0
    assert value["miou"][0] < value["miou"][2]
    assert learnt.curve(lambda c: c.segmentation["both"].miou) == value["miou"]


def test_stages_as_curves(learnt):
    found = dissect(Toy(), ToyData(16), tau=None, progress=False)
    over = found.over_stages()
    assert over["cka gap"] == [found.rows[0].similarity.pairs["rgb_x"]["gap"].cka]
    assert over["unique_x"] == [found.rows[0].similarity.commonality["pix"].unique_x]
    assert {len(curve) for curve in over.values()} == {1} and over["consistent"][0].value == 1
    only = dissect(Toy(), ToyData(8), metrics=["segmentation"], progress=False)
    assert only.over_stages() == {}


def test_roundtrip(learnt, tmp_path):
    learnt.save(tmp_path / "e.json")
    assert Evolution.load(tmp_path / "e.json") == learnt


def test_states_are_kept_for_each_checkpoint(tmp_path):
    made = [("a", Learning(0.1)), ("b", Learning(0.2))]
    options = {"metrics": ["segmentation"], "progress": False, "state": tmp_path / "s"}
    first = dissect_checkpoints(made, ToyData(8), **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.0", "s.1"]
    rest = ToyData(8)
    assert dissect_checkpoints(made, rest, **options).checkpoints == first.checkpoints
    assert rest.read == 2  # one image each, to learn shapes


def test_refusals():
    data = ToyData(4)
    with pytest.raises(InputError, match="one or more checkpoints with different names, got \\[\\]"):
        dissect_checkpoints({}, data)
    with pytest.raises(InputError, match="different names, got \\['a', 'a'\\]"):
        dissect_checkpoints([("a", Toy()), ("a", Toy())], data)
    with pytest.raises(InputError, match="steps names 'b', which is none of the checkpoints a"):
        dissect_checkpoints({"a": Toy()}, data, steps={"b": 1})
    other = Toy()
    other.architecture = "other"
    with pytest.raises(InputError, match="b is no checkpoint of the model of a: architecture other, not toy"):
        dissect_checkpoints({"a": Toy(), "b": other}, data, metrics=["segmentation"], progress=False)
