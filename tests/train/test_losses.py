"""The losses against NumPy's arithmetic written out; a batch in parts loses what it loses whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fusionzoo.train.losses import Criterion, class_weights, on_grid

K = 4
PARTS = ("cross_entropy", "dice", "iou", "lovasz")


def batch(seed: int = 0, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    """Logits (3, K, 5, 6) and labels (3, 5, 6), a share of them 255; class 3 never occurs."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, K, 5, 6, generator=generator)
    label = torch.randint(0, K - 1, (3, 5, 6), generator=generator)
    label[torch.rand(3, 5, 6, generator=generator) < ignored] = 255
    return logits, label


def pixels(logits: Tensor, label: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) probabilities and (N,) classes of the labelled pixels, by NumPy."""
    rows = logits.double().permute(0, 2, 3, 1).reshape(-1, K).numpy()  # (B, K, h, w) -> (B h w, K)
    e = np.exp(rows - rows.max(1, keepdims=True))
    truth = label.flatten().numpy()
    return (e / e.sum(1, keepdims=True))[truth != 255], truth[truth != 255]


def test_label_smoothing_and_weights() -> None:
    logits, label = batch()
    weight = np.array([0.5, 2.0, 1.0, 3.0])
    p, truth = pixels(logits, label)
    target = np.full_like(p, 0.1 / K)
    target[np.arange(len(p)), truth] += 0.9
    wanted = -(weight * target * np.log(p)).sum() / weight[truth].sum()
    got = Criterion(weight=torch.tensor(weight, dtype=torch.float32), smoothing=0.1)(logits, label)
    assert float(got) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_ohem_is_the_mean_of_the_hardest(share: float) -> None:
    logits, label = batch()
    p, truth = pixels(logits, label)
    losses = np.sort(-np.log(p[np.arange(len(p)), truth]))[::-1]
    wanted = losses[: math.ceil(share * len(losses))].mean()
    assert float(Criterion(ohem=share)(logits, label)) == pytest.approx(wanted, rel=1e-5)
    if share == 1:
        assert float(Criterion()(logits, label)) == pytest.approx(wanted, rel=1e-5)


def test_dice_leaves_ignored_pixels_out() -> None:
    """1 - 2 |P and T| / (|P| + |T|) of each class that occurs; smp divides by all classes."""
    logits, label = batch()
    p, truth = pixels(logits, label)
    wanted = 0.0
    for k in set(truth.tolist()):
        t = truth == k
        wanted += (1 - 2 * p[t, k].sum() / (p[:, k].sum() + t.sum())) / K
    assert float(Criterion({"dice": 1.0})(logits, label)) == pytest.approx(wanted, rel=1e-5)


def test_iou_leaves_ignored_pixels_out() -> None:
    """1 - |P and T| / |P or T| of each class that occurs, over all classes, of labelled pixels."""
    logits, label = batch()
    p, truth = pixels(logits, label)
    wanted = 0.0
    for k in set(truth.tolist()):
        t = truth == k
        wanted += (1 - p[t, k].sum() / (p[:, k].sum() + t.sum() - p[t, k].sum())) / K
    assert float(Criterion({"iou": 1.0})(logits, label)) == pytest.approx(wanted, rel=1e-5)


def test_two_classes_are_the_bce_and_iou_of_saliency() -> None:
    """Cross-entropy is the binary one of the logits' difference; IoU the mean of those of object and background."""
    logits, label = batch()
    logits, label = logits[:, :2], torch.where(label == 2, 1, label)
    kept = label != 255
    single, truth = (logits[:, 1] - logits[:, 0])[kept], label[kept].float()
    bce = F.binary_cross_entropy_with_logits(single, truth)
    assert float(Criterion({"cross_entropy": 1.0})(logits, label)) == pytest.approx(float(bce), rel=1e-5)
    iou = sum(1 - (p * t).sum() / (p + t - p * t).sum() for p, t in ((single.sigmoid(), truth),
                                                                     (1 - single.sigmoid(), 1 - truth)))  # fmt: skip
    both = Criterion({"cross_entropy": 1.0, "iou": 1.0})(logits, label)
    assert float(both) == pytest.approx(float(bce) + float(iou) / 2, rel=1e-5)


def test_lovasz_is_the_lovasz_extension_of_the_jaccard_loss() -> None:
    """The extension, by its definition as an integral: the Jaccard loss of the errors above a threshold, over all
    thresholds, here a sum over the sorted errors."""
    logits, label = batch()
    p, truth = pixels(logits, label)
    losses = []
    for k in sorted(set(truth.tolist())):
        t = truth == k
        errors = np.where(t, 1 - p[:, k], p[:, k])
        levels = np.concatenate([[0.0], np.sort(errors)])
        total = 0.0
        for low, high in zip(levels[:-1], levels[1:], strict=True):
            wrong = errors >= high  # mispredicted at thresholds in (low, high]
            predicted = t ^ wrong
            union = (t | predicted).sum()
            total += (high - low) * (1 - (t & predicted).sum() / union)
        losses.append(total)
    assert float(Criterion({"lovasz": 1.0})(logits, label)) == pytest.approx(np.mean(losses), rel=1e-4)


def test_factors_add_up() -> None:
    logits, label = batch()
    parts = {name: float(Criterion({name: 1.0})(logits, label)) for name in PARTS}
    factors = dict(zip(PARTS, (2.0, 0.5, 1.5, 3.0), strict=True))
    mixed = Criterion(factors)(logits, label)
    assert float(mixed) == pytest.approx(sum(factors[name] * parts[name] for name in PARTS), rel=1e-5)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("options", [{}, {"ohem": 0.5}, {"smoothing": 0.2}])
def test_nothing_labelled_is_no_loss(name: str, options: dict[str, float]) -> None:
    logits = torch.randn(1, K, 3, 3, requires_grad=True)
    loss = Criterion({name: 1.0}, **options)(logits, torch.full((1, 3, 3), 255))
    loss.backward()
    assert loss.shape == () and float(loss.detach()) == 0
    assert logits.grad is not None and float(logits.grad.abs().max()) == 0


def test_what_is_ignored_has_no_gradient() -> None:
    logits, label = batch()
    logits.requires_grad_()
    mixed = Criterion(dict.fromkeys(PARTS, 1.0), smoothing=0.1)
    mixed(logits, label).backward()
    assert logits.grad is not None
    size = logits.grad.abs().amax(1)
    assert float(size[label == 255].max()) == 0 and float(size[label != 255].min()) > 0


def test_parts_of_unequal_labels_add_up_to_the_batch() -> None:
    logits, label = batch()
    label[0, :4] = 255  # the first image has few labelled pixels: a mean of means would count them too much
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0])
    criterion = Criterion(weight=weight, smoothing=0.1)
    whole = criterion.share(label)
    parts = [criterion(logits[i : i + 1], label[i : i + 1], whole, 1 / 3) for i in range(3)]
    assert float(sum(parts)) == pytest.approx(float(criterion(logits, label)), rel=1e-6)
    dice = Criterion({"dice": 1.0})
    of_parts = [float(dice(logits[i : i + 1], label[i : i + 1])) for i in range(3)]
    assert float(sum(dice(logits[i : i + 1], label[i : i + 1], None, 1 / 3) for i in range(3))) == pytest.approx(
        sum(of_parts) / 3, rel=1e-6
    )


def test_weights_of_frequencies() -> None:
    counts = torch.tensor([600, 300, 100, 0])
    assert class_weights(counts, 1.0).tolist() == pytest.approx([0.5, 1.0, 3.0, 1.0])
    assert class_weights(counts, 0.5).tolist() == pytest.approx([0.5**0.5, 1.0, 3.0**0.5, 1.0])
    log = [1 / math.log(1.02 + share) for share in (0.6, 0.3, 0.1)]
    assert class_weights(counts, 1.0, "log").tolist() == pytest.approx([*log, 1.0])
    assert class_weights(counts, 2.0, "log").tolist() == pytest.approx([*(w * w for w in log), 1.0])


def test_labels_are_sampled_at_the_middle() -> None:
    label = torch.arange(35).view(1, 5, 7)
    assert on_grid(label, (3, 4)).tolist() == [[[8, 10, 12], [22, 24, 26]]]
    assert on_grid(label, (5, 7)).tolist() == label.tolist()
