"""Accuracy of every image against scikit-learn; merged, stored, ignored pixels."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score

from fusionzoo.errors import InputError
from fusionzoo.metrics.segmentation import ImageAccuracy

G = torch.Generator().manual_seed(0)
LABEL = torch.randint(0, 4, (6, 5, 7), generator=G)
PRED = torch.where(torch.rand(LABEL.shape, generator=G) < 0.4, 0, LABEL)
LABEL[torch.rand(LABEL.shape, generator=G) < 0.2] = 255
LABEL[4] = 255


def test_equals_scikit_learn_in_any_order_and_in_parts() -> None:
    whole, first, second = ImageAccuracy(8), ImageAccuracy(8), ImageAccuracy(8)
    whole.update(PRED, LABEL, [7, 0, 3, 2, 1, 5])
    first.update(PRED[4:], LABEL[4:], [1, 5])
    second.update(PRED[:4], LABEL[:4], [7, 0, 3, 2])
    found = whole.compute()
    for image, place in enumerate([7, 0, 3, 2]):
        known = LABEL[image] != 255
        want = accuracy_score(LABEL[image][known], PRED[image][known])
        assert float(found[place]) == pytest.approx(want) and 0 < want < 1
    assert found.isnan().nonzero().flatten().tolist() == [1, 4, 6], "without a label, or not seen"
    again = ImageAccuracy(8)
    again.load_state_dict(first.merge(second).state_dict())
    torch.testing.assert_close(again.compute(), found, equal_nan=True)


def test_the_ignored_class_counts_neither_as_right_nor_as_labelled() -> None:
    """Of six pixels two are labelled 0, which is ignored, and predicted as 0; three of the other four are right."""
    found = ImageAccuracy(1, ignore_index=0)
    found.update(torch.tensor([[[0, 0, 1], [2, 1, 0]]]), torch.tensor([[[0, 0, 1], [2, 1, 2]]]), [0])
    assert float(found.compute()) == 0.75


def test_wrong_use() -> None:
    found = ImageAccuracy(2)
    with pytest.raises(InputError, match="image 2 is out of range, there are 2"):
        found.update(PRED[:1], LABEL[:1], [2])
    with pytest.raises(InputError, match="wanted"):
        found.update(PRED[:1], LABEL[:1], [0, 1])
    with pytest.raises(InputError, match="cannot merge"):
        found.merge(ImageAccuracy(3))
