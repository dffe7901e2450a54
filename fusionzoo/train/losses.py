"""Losses of segmentation training, and what they need to know about the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss, JaccardLoss, LovaszLoss
from torch import Tensor

__all__ = ["Criterion", "class_weights", "on_grid", "on_side_grid", "padded", "scene_loss", "total"]

LOG_OFFSET = 1.02
"""c of the weights 1 / ln(c + frequency): they lie between 1.4 and 50.5."""


@dataclass(frozen=True)
class Criterion:
    """The segmentation loss: cross-entropy, Dice, IoU and Lovász-Softmax, weighted; ignored pixels count in none.

    Cross-entropy is the mean over labelled pixels, weighted by class as torch's is, with label smoothing; with `ohem`
    it is the mean over the hardest pixels alone. Dice (Milletari et al. 2016), IoU (1 - soft intersection / union,
    Rahman and Wang 2016; the mean over classes, of which absent ones lose nothing) and Lovász-Softmax (Berman et al.
    2018, classes that are present) are smp's, over the batch.

    Of two classes, as in saliency, cross-entropy is the binary cross-entropy of the difference of both logits: so
    {"cross_entropy": 1, "iou": 1} is the BCE + IoU of that field, whose IoU is of the salient class alone.

    Args:
        factors: of "cross_entropy", "dice", "iou" and "lovasz"; what is not named is left out.
        weight: (K,) class weights of cross-entropy, or None.
        ohem: share of the labelled pixels that count, those of the largest cross-entropy (online hard example mining);
            0: all of them.
        smoothing: of the labels, 0..1: the target is 1 - smoothing + smoothing / K.
        ignore_index: label of pixels that no loss counts.

    >>> criterion = Criterion({"cross_entropy": 1.0, "dice": 0.5})
    >>> right = 20 * F.one_hot(torch.tensor([[[0, 1]]])).permute(0, 3, 1, 2).float()  # (B, H, W, K) -> (B, K, H, W)
    >>> round(float(criterion(right, torch.tensor([[[0, 1]]]))), 4)
    0.0
    """

    factors: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0})
    weight: Tensor | None = None
    ohem: float = 0.0
    smoothing: float = 0.0
    ignore_index: int = 255

    def share(self, label: Tensor) -> Tensor:
        """What cross-entropy is divided by: the summed class weights of the labelled pixels of (B, h, w); a scalar."""
        return self._weights(label).sum()

    def __call__(self, logits: Tensor, label: Tensor, whole: Tensor | None = None, fraction: float = 1.0) -> Tensor:
        """The loss of a batch, or of a part of one, so that the losses of all parts add up to that of the batch.

        Args:
            logits: (B, K, h, w). label: (B, h, w) int64 on the same grid (`on_grid`).
            whole: `share` of the whole batch, where this is a part of it: cross-entropy is then exact.
            fraction: images of this part / images of the batch. Dice, IoU, Lovász and `ohem` look at one part at a
                time: the batch's is the mean of its parts', by images.

        Returns:
            Scalar; 0 where no pixel is labelled.
        """
        logits = logits.float()
        loss = logits.new_zeros(())
        if factor := self.factors.get("cross_entropy", 0.0):
            loss = factor * self._cross_entropy(logits, label, whole, fraction)
        if factor := self.factors.get("dice", 0.0):
            loss = loss + factor * fraction * DiceLoss("multiclass", ignore_index=self.ignore_index)(logits, label)
        if factor := self.factors.get("iou", 0.0):
            loss = loss + factor * fraction * JaccardLoss("multiclass", ignore_index=self.ignore_index)(logits, label)
        if factor := self.factors.get("lovasz", 0.0):
            loss = loss + factor * fraction * self._lovasz(logits, label)
        return loss

    def _weights(self, label: Tensor) -> Tensor:
        """(B, h, w): the weight of each pixel's class, 0 where it is ignored."""
        kept = label != self.ignore_index
        return kept.float() if self.weight is None else torch.where(kept, self.weight[label.where(kept, 0)], 0.0)

    def _cross_entropy(self, logits: Tensor, label: Tensor, whole: Tensor | None, fraction: float) -> Tensor:
        losses = F.cross_entropy(logits, label, self.weight, ignore_index=self.ignore_index, reduction="none",
                                 label_smoothing=self.smoothing)  # fmt: skip
        if not self.ohem:
            return losses.sum() / (self.share(label) if whole is None else whole).clamp(min=1e-6)
        weights = self._weights(label).flatten()
        most = math.ceil(self.ohem * int((label != self.ignore_index).sum()))
        hard = losses.flatten().topk(most)
        return fraction * hard.values.sum() / weights[hard.indices].sum().clamp(min=1e-6)

    def _lovasz(self, logits: Tensor, label: Tensor) -> Tensor:
        if not bool((label != self.ignore_index).any()):
            return logits.sum() * 0.0  # smp's is not a number then
        loss: Tensor = LovaszLoss("multiclass", ignore_index=self.ignore_index)(logits, label)
        return loss


def on_grid(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels (B, H, W) at the centres of a coarser grid's cells: (B, h, w), or up to a row and a column less.

    Training at half the input's resolution costs a quarter and moves no class boundary by more than a pixel.

    >>> on_grid(torch.arange(16).view(1, 4, 4), (2, 2)).tolist()
    [[[5, 7], [13, 15]]]
    """
    step_h, step_w = -(-label.shape[-2] // size[0]), -(-label.shape[-1] // size[1])
    return label[..., step_h // 2 :: step_h, step_w // 2 :: step_w]


def on_side_grid(label: Tensor, size: tuple[int, int], stride: int, ignore_index: int = 255) -> Tensor:
    """`on_grid` of labels that are padded as a model of this `stride` pads its images, where `ignore_index` stands.

    >>> on_side_grid(torch.arange(6).view(1, 2, 3), (1, 2), 4).tolist()
    [[[255, 255]]]
    """
    return on_grid(padded(label, stride, ignore_index), size)


def padded(label: Tensor, stride: int, ignore_index: int = 255) -> Tensor:
    """Labels (B, H, W) with `ignore_index` below and to the right, where a model of this `stride` pads its images.

    >>> padded(torch.zeros(1, 1, 3).long(), 2).tolist()
    [[[0, 0, 0, 255], [255, 255, 255, 255]]]
    """
    down, right = -label.shape[-2] % stride, -label.shape[-1] % stride
    return F.pad(label, (0, right, 0, down), value=ignore_index)


def scene_loss(logits: Tensor, scene: Tensor, ignore_index: int = 255) -> Tensor:
    """Sum of the cross-entropies of the images whose type is known / number of images: so parts of a batch, weighted by
    their images, add up to the loss of the batch.

    Args:
        logits: (B, S, 1, 1). scene: (B,) int64, `ignore_index` where it is not known.

    >>> round(float(scene_loss(torch.zeros(2, 4, 1, 1), torch.tensor([3, 255]))), 4)  # ln(4) / 2
    0.6931
    """
    losses = F.cross_entropy(logits.float().flatten(1), scene, ignore_index=ignore_index, reduction="sum")
    return losses / len(scene)


def class_weights(pixels: Tensor, power: float, by: str = "median") -> Tensor:
    """Weights of the classes against their unequal frequencies, to the power given.

    Args:
        pixels: (K,) labelled pixels per class in the training data.
        power: 0 gives no weighting, 1 the weights as published.
        by: "median": median frequency / frequency (Eigen and Fergus, ICCV 2015), clipped to [0.2, 5], so that the mean
            loss stays of order 1. "log": 1 / ln(1.02 + frequency) (Paszke et al. 2016, ENet).

    Returns:
        (K,) float32. A class without pixels gets weight 1: it never occurs in the loss.

    >>> class_weights(torch.tensor([100, 25, 0]), 0.5).tolist()
    [0.5, 1.0, 1.0]
    >>> [round(w, 3) for w in class_weights(torch.tensor([90, 10, 0]), 1.0, "log").tolist()]
    [1.533, 8.824, 1.0]
    """
    counts = pixels.double()
    present = counts > 0
    if not bool(present.any()):
        return torch.ones(len(pixels))
    if by == "log":
        inverse = 1 / (LOG_OFFSET + counts / counts.sum()).log()
        return torch.where(present, inverse, torch.ones_like(counts)).pow(power).float()
    median = counts[present].quantile(0.5, interpolation="lower")
    ratio = torch.where(present, median / counts.clamp(min=1), torch.ones_like(counts))
    return ratio.pow(power).clamp(0.2, 5).float()


def total(main: Tensor, auxiliary: Mapping[str, Tensor], factors: Mapping[str, float]) -> Tensor:
    """main + sum of factor * auxiliary; an auxiliary loss without a factor is left out."""
    for name, value in auxiliary.items():
        if name in factors:
            main = main + factors[name] * value
    return main
