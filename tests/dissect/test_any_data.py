"""All experiments on any source of samples, and on as few as one image."""

from __future__ import annotations

import pytest
from torch.utils.data import ConcatDataset, Subset

from fusionzoo.dissect import dissect
from fusionzoo.dissect.effects import Effects
from fusionzoo.dissect.findings import findings
from fusionzoo.dissect.robustness import robustness
from fusionzoo.dissect.trace import trace
from fusionzoo.errors import InputError
from fusionzoo.report import html, terminal
from tests.compare import close
from tests.dissect.test_engine import plain
from tests.dissect.toy import CLASSES, Toy, ToyData


def clean(result):
    """to_dict without what names the data and the time that it took."""
    values = plain(result)
    values.pop("data")
    return values


def test_a_list_a_subset_and_a_concatenation_give_the_numbers_of_the_same_images():
    data = ToyData(8)
    whole = clean(dissect(Toy(), data, progress=False))
    parts = [Subset(data, [0, 1, 2]), Subset(data, range(3, 8))]
    for same in (Subset(data, range(8)), ConcatDataset(parts), Subset(ConcatDataset(parts), range(8))):
        assert close(clean(dissect(Toy(), same, progress=False)), whole, 1e-6)
    listed = dissect(Toy(), [data[i] for i in range(8)], progress=False)
    assert listed.planted is None and listed.data.class_names == list(CLASSES)  # a list does not say what is planted
    found = clean(listed)
    found["results"]["planted"] = whole["results"]["planted"]
    assert close(found, whole, 1e-6)


def test_trace_and_robustness_take_them_too():
    data = ToyData(6)
    part = Subset(ToyData(9), range(6))
    for run in (lambda d: trace(Toy(), d, progress=False), lambda d: robustness(Toy(), d, progress=False)):
        one, two = run(data).to_dict(), run(part).to_dict()
        for values in (one, two):
            values["setting"].pop("seconds")
        assert close(one, two)


def test_classes_that_the_model_does_not_have_are_refused():
    class Four(ToyData):
        def __init__(self, n):
            super().__init__(n)
            self.class_names = ["a", "b", "c", "d"]
            self.num_classes = 4

    with pytest.raises(InputError, match="predicts 3 classes, toy has 4"):
        dissect(Toy(), Subset(Four(6), range(5)), progress=False)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_images_give_what_they_can(n):
    found = dissect(Toy(), ToyData(n), progress=False)
    assert found.data.n == n and found.segmentation["both"].miou > 0.5 and found.health
    assert "concepts" not in found.protocol.metrics and "segmentation" in found.protocol.metrics
    assert all(not level.concepts.iou and not level.concepts.variance for level in found.rows)
    assert found.rows[0].similarity.cka.pix.unbiased is not None
    assert (found.contribution.shapley["rgb"].miou_error is None) == (n < 3)
    found.effects = Effects(trace(Toy(), ToyData(n), progress=False), robustness(Toy(), ToyData(n), progress=False))
    assert ("swap" in found.effects.trace.edits) == (n > 1)
    said = findings(found)
    assert any(f"with {n} image" in f.text and "concepts" in f.text for f in said)
    if n < 3:  # one group of images (neighbours) has no error, so nothing is claimed either way
        assert "cannot be told" in said[0].text and not any("measurabl" in f.text for f in said)
    for text in (terminal(found, None, said), html(found, None, said)):
        assert "mIoU" in text and "nan" not in text.lower().replace("nano", "")
    type(found).from_dict(found.to_dict())


def test_what_few_images_cannot_give_is_refused_when_asked_for():
    with pytest.raises(InputError, match="concepts need at least 4 images, here are 3"):
        dissect(Toy(), ToyData(3), metrics=["concepts"], progress=False)
    with pytest.raises(InputError, match="needs at least 2"):
        trace(Toy(), ToyData(1), edits=["swap"], progress=False)
    assert not any("with 4 images" in f.text for f in findings(dissect(Toy(), ToyData(4), progress=False)))
