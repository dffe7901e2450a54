"""The dictionary in a dissection: on the toy, whose paint is in rgb alone and whose dents are in depth alone."""

from __future__ import annotations

import re

import pytest
import torch

from fusionzoo.dissect import Dissection, dissect
from fusionzoo.dissect.dissection import names_asked, plan
from fusionzoo.dissect.measures.base import PointInfo, Setup
from fusionzoo.dissect.measures.dictionary import Element, Place, StageDictionary
from fusionzoo.dissect.pictures.exemplars import exemplars, worth_showing
from fusionzoo.errors import InputError
from fusionzoo.report import html, terminal
from tests.dissect.toy import CELL, Toy, ToyData

N = 16


def measured(model, data, **options):
    return dissect(model.eval(), data, metrics=["dictionary"], progress=False, **options)


@pytest.fixture(scope="module")
def found():
    return measured(Toy(), ToyData(N))


def test_each_stream_has_its_own_element_and_its_places_show_the_class(found):
    (row,) = found.results["dictionary"].stages
    by_kind = {e.kind: e for e in row.elements}
    assert sorted(by_kind) == ["rgb", "x"] and len(row.elements) == 2 and row.n == N * 48 and row.dead == 0
    data = ToyData(N)
    for kind, concept in (("rgb", 1), ("x", 2)):
        e = by_kind[kind]
        own, other = (e.rgb, e.x) if kind == "rgb" else (e.x, e.rgb)
        assert own > 0.95 and other < 0.1 and e.again > 0.99 and 0.1 < e.active < 0.3
        assert len({p.image for p in e.places}) == len(e.places) == 6
        for p in e.places:
            assert int(data[p.image]["label"][int(p.top * 24), int(p.left * 32)]) in (concept, 255)
    assert row.held_rgb == pytest.approx(1, abs=1e-6) and row.held_x == pytest.approx(1, abs=1e-6)


def test_equal_streams_share_their_element():
    (row,) = measured(Toy(same=True), ToyData(4)).results["dictionary"].stages
    assert [e.kind for e in row.elements] == ["shared"] and row.elements[0].x > 0.95


def test_batches_make_no_difference_and_the_file_holds_it(found, tmp_path):
    one, other = found.results["dictionary"], measured(Toy(), ToyData(N), batch_size=3).results["dictionary"]
    assert [(e.kind, e.places) for e in one.stages[0].elements] == [
        (e.kind, e.places) for e in other.stages[0].elements
    ]
    assert [e.rgb for e in one.stages[0].elements] == pytest.approx([e.rgb for e in other.stages[0].elements], abs=1e-6)
    found.save(tmp_path / "d.json")
    assert Dissection.load(tmp_path / "d.json") == found


def test_it_is_asked_for_and_needs_one_pass(found):
    assert "dictionary" not in names_asked(extra=False) and "dictionary" in names_asked(extra=True)
    assert found.protocol.passes == 1 and found.protocol.metrics == ["dictionary"]
    assert "dictionary" not in dissect(Toy(), ToyData(4), metrics=["segmentation"], progress=False).results


def test_without_a_stage_of_two_streams_it_is_refused():
    for stage in ({"rgb": "a", "fused": "b"}, {}):
        setup = Setup(3, {"a": PointInfo(4), "b": PointInfo(4)}, {1: stage})
        with pytest.raises(InputError, match="a dictionary needs a stage with maps of rgb and of x"):
            plan(setup, ["segmentation", "dictionary"])


class Lower(ToyData):
    """Two rows of pixels less: the model pads them to its stride."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return {k: v[..., :22, :] if isinstance(v, torch.Tensor) else v for k, v in sample.items()}


def test_positions_whose_middle_is_padding_are_left_out():
    (row,) = measured(Toy(), Lower(N)).results["dictionary"].stages
    assert row.n == N * 5 * 8
    tops = {round(p.top * 22, 1) for e in row.elements for p in e.places}
    assert all(abs(top % CELL - CELL / 2) < 0.1 for top in tops), "middles of cells of four pixels"


def test_exemplars_show_the_places_in_both_modalities(found):
    shown = exemplars(Toy(), ToyData(N), found)
    by_kind = {e.element.kind: e for e in shown}
    assert (
        sorted(by_kind) == ["rgb", "x"]
        and by_kind["x"].rgb.shape == (6, 5, 5, 3)
        and by_kind["x"].x.shape[1:] == (1, 5, 5)
    )
    assert by_kind["rgb"].rgb[:, 2, 2, 0].min() > 0.7 * 255, "paint is red"
    assert by_kind["x"].x[:, 0, 2, 2].min() > 2.9, "dents are far"
    page = html(found, exemplars=shown)
    assert len(re.findall('<img src="data:image/jpeg[^>]*alt="Stage 1, element ', page)) == 2
    assert "img-src data:" in page and "What the elements look like" in page
    assert "<img" not in html(found)
    assert exemplars(Toy(), ToyData(4), dissect(Toy(), ToyData(4), metrics=["segmentation"], progress=False)) == []


def test_shown_are_the_first_of_each_kind_that_are_found_again():
    def of(kind, again, places=1):
        return Element(kind, 0.9, 0.9, 0.1, 0.1, 0.1, again, [Place(0, 0.5, 0.5)] * places)

    elements = [of("rgb", 0.5), of("mixed", 1.0), of("rgb", 0.9), of("shared", 0.9), of("rgb", 0.9), of("rgb", 0.9)]
    assert worth_showing(StageDictionary(1, 100, [*elements, of("x", 0.9, 0)], 1.0, 1.0)) == [3, 2, 4]


def test_the_table_counts_kinds(found):
    text = terminal(found)
    line = next(t for t in text.splitlines() if re.match(r"\s*1\s+768", t))
    assert line.split() == ["1", "768", "2", "0", "1", "1", "0", "2", "0", "100.0", "100.0"]
    assert "What the streams share, without labels" in text
