"""Segmentation scores against scikit-learn, and the jackknife against leaving groups out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score

from fusionzoo.errors import InputError
from fusionzoo.metrics import ConfusionMatrix


def _data(k: int, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(k)
    label = torch.randint(0, k, (n, 9, 11), generator=g)
    pred = torch.where(torch.rand(n, 9, 11, generator=g) < 0.6, label, torch.randint(0, k, (n, 9, 11), generator=g))
    label[torch.rand(n, 9, 11, generator=g) < 0.1] = 255
    return pred, label


@pytest.mark.parametrize("k", [2, 13, 40])
def test_equals_scikit_learn(k: int) -> None:
    pred, label = _data(k)
    matrix = ConfusionMatrix(k)
    matrix.update(pred[:2], label[:2])
    matrix.update(pred[2:].to(torch.uint8), label[2:].to(torch.int32))
    scores = matrix.compute()
    keep = label.flatten().numpy() != 255
    true, guess = label.flatten().numpy()[keep], pred.flatten().numpy()[keep]
    assert np.array_equal(scores.confusion.numpy(), confusion_matrix(true, guess, labels=range(k)))
    iou = jaccard_score(true, guess, labels=range(k), average=None)
    np.testing.assert_allclose(scores.iou.numpy(), iou, rtol=0, atol=1e-15)
    assert scores.miou == pytest.approx(iou.mean(), abs=1e-14)
    assert scores.pixel_accuracy == pytest.approx(accuracy_score(true, guess), abs=1e-14)
    assert scores.mean_accuracy == pytest.approx(balanced_accuracy_score(true, guess), abs=1e-14)
    weighted = jaccard_score(true, guess, labels=range(k), average="weighted")
    assert scores.frequency_weighted_iou == pytest.approx(weighted, abs=1e-14)
    assert (scores.n_images, scores.n_pixels) == (6, int(keep.sum()))


def test_absent_classes_are_nan_and_left_out_and_false_ones_count() -> None:
    label = torch.tensor([[[0, 0, 1, 1]]])
    pred = torch.tensor([[[0, 0, 1, 2]]])  # class 2 predicted, never labelled; class 3 in neither
    matrix = ConfusionMatrix(4)
    matrix.update(pred, label)
    scores = matrix.compute()
    assert scores.iou.tolist()[:3] == [1.0, 0.5, 0.0] and math.isnan(scores.iou[3])
    assert scores.miou == pytest.approx(0.5) and scores.mean_accuracy == pytest.approx(0.75)


def test_nothing_labelled_is_nan() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), 255))
    scores = matrix.compute()
    assert math.isnan(scores.miou) and math.isnan(scores.pixel_accuracy) and scores.n_images == 1


def test_jackknife_error_is_that_of_leaving_out_groups_by_hand() -> None:
    pred, label = _data(3, n=8)
    matrix = ConfusionMatrix(3, groups=4)
    for i in range(8):
        matrix.update(pred[i : i + 1], label[i : i + 1], group=i // 2)
    without = []
    for group in range(4):
        rest = ConfusionMatrix(3)
        keep = [i for i in range(8) if i // 2 != group]
        rest.update(pred[keep], label[keep])
        without.append(rest.compute().miou)
    want = math.sqrt(3 / 4 * sum((v - np.mean(without)) ** 2 for v in without))
    assert matrix.compute().miou_se == pytest.approx(want, rel=1e-12)
    assert math.isnan(ConfusionMatrix(3).compute().miou_se)


@pytest.mark.parametrize(
    ("pred", "label", "words"),
    [
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64), "integer class indices"),
        (torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 4, 4, dtype=torch.int64), "upsample the logits"),
        (torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.int64), r"must be \(B, H, W\)"),
        (torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), 40), r"labels out of range: 40 with 3 classes"),
        (torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), -1), "labels out of range: -1"),
        (torch.full((1, 2, 2), 3), torch.zeros(1, 2, 2, dtype=torch.int64), "predictions out of range: 3"),
    ],
)
def test_wrong_input_is_one_clear_line(pred: torch.Tensor, label: torch.Tensor, words: str) -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(InputError, match=words) as caught:
        matrix.update(pred, label)
    assert "\n" not in str(caught.value) and caught.value.exit_status == 2
    assert matrix.compute().n_images == 0


@pytest.mark.parametrize("classes", [3, 181, 182, 300])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_counts_are_a_plain_loop_s_for_any_width_of_integer(classes: int, dtype: torch.dtype) -> None:
    """k x k around the range of 16-bit integers; at ignored positions any prediction is accepted."""
    generator = torch.Generator().manual_seed(classes)
    most = min(classes, 255)
    label = torch.randint(0, most, (2, 5, 7), generator=generator).to(dtype)
    pred = torch.randint(0, most, (2, 5, 7), generator=generator)
    label[0, 0] = 255
    if classes == 300:
        label[label == 255] = 0  # then 255 is a class
    pred[0, 0] = torch.tensor([-1, 10**6, 0, 1, 2, -7, 40_000]) if classes < 255 else pred[0, 0]
    matrix = ConfusionMatrix(classes, ignore_index=255 if classes < 255 else -1)
    matrix.update(pred, label)
    want = torch.zeros(classes, classes, dtype=torch.int64)
    for t, p in zip(label.flatten().tolist(), pred.flatten().tolist(), strict=True):
        if t != 255 or classes >= 255:
            want[t, p] += 1
    assert torch.equal(matrix.compute().confusion, want)
