"""A measure of one's own: one class, one section, one line; from the probe to the terminal, the page and the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch

from fusionzoo.dissect import Dissection, dissect, measures
from fusionzoo.dissect.dissection import names_asked
from fusionzoo.dissect.measures.base import Measure, Metric
from fusionzoo.errors import InputError
from fusionzoo.metrics.health import ChannelMean
from fusionzoo.report import card, html, sections, terminal
from fusionzoo.report.sections.base import Section
from fusionzoo.report.table import Table
from tests.dissect.test_engine import blurred, features
from tests.dissect.toy import Toy
from tests.report.test_card import CONFIG, RECORD

THRESHOLD = 0.5


@dataclass(frozen=True)
class Bright(Measure):
    """How many values of a point lie above a threshold."""

    kind = "bright"

    def make(self, done):
        return ChannelMean(done.setup.points[self.points[0]].channels)

    def hear(self, sums, batch, point, value):
        sums.update((value > THRESHOLD).float())

    @staticmethod
    def plan(setup, wanted):
        return [Bright((point,)) for point in setup.points] if "bright" in wanted else []

    @staticmethod
    def compute(done, results: Mapping):
        sums = {point: done.get(Bright((point,))) for point in done.setup.points}
        return {p: round(float(s.state_dict()["sum"].sum())) for p, s in sums.items() if s is not None} or None


def table(d):
    counts = d.results.get("bright")
    rows = [(point, str(n)) for point, n in (counts or {}).items()]
    return Table("Bright values", ("point", "above"), tuple(rows), "<>", "Above a half.") if counts else None


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setattr(measures, "METRICS", measures.METRICS)
    lists = (measures.METRICS, sections.TERMINAL, sections.PAGE, sections.CARD)
    before = [list(each) for each in lists]
    measures.METRICS.append(Metric("bright", ("bright",), dict[str, int], Bright.plan, Bright.compute))
    sections.register(Section("bright", table))
    yield
    for each, old in zip(lists, before, strict=True):
        each[:] = old


@pytest.mark.usefixtures("added")
def test_a_new_measure_is_planned_counted_shown_and_stored(tmp_path):
    assert "bright" in names_asked(extra=False)
    data, model = blurred(8), Toy().eval()
    seen, _ = features(model, data)
    found = dissect(model, data, metrics=["segmentation", "bright"], progress=False)
    want = {name: int((value > THRESHOLD).sum()) for name, value in seen.items()}
    assert found.results["bright"] == want and torch.tensor(list(want.values())).min() > 0
    for text in (terminal(found), html(found), card(RECORD, CONFIG, found)):
        assert "fused_at" in text and str(want["fused_at"]) in text
    assert "Bright values" in terminal(found) and "Bright values" in html(found)
    found.save(tmp_path / "d.json")
    assert Dissection.load(tmp_path / "d.json") == found
    values = found.to_dict()
    values["results"]["bright"]["rgb_at"] = "many"
    with pytest.raises(InputError, match=r"results: bright\['rgb_at'\] is 'many', wanted int"):
        Dissection.from_dict(values)


def test_without_it_nothing_of_it_is_known():
    assert "bright" not in names_asked(extra=True)
    assert "bright" not in dissect(Toy(), blurred(4), metrics=["segmentation"], progress=False).results
