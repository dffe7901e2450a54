"""Net2Vec segmentation probes as the official 2018 code computes them: the reference recipe for concept set IoU.

Per concept c, on the train images that contain c, in fixed order (Fong and Vedaldi 2018, official code):
B_k = 1[A_k > T_k], P(A_k > T_k) = 0.005; p = sigmoid(up(sum_k w_k B_k)), up = bilinear with aligned corners, applied to
the logit map; no bias; loss without logarithms
L = -(1/N) sum_images sum_pixels [alpha L_c p + (1 - alpha)(1 - L_c)(1 - p)], alpha = 1 - mean area share of c;
SGD, learning rate 1e-4, momentum 0.9, 30 epochs, batch 16. Marked: p > 0.5. Set IoU over images that contain c.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo

__all__ = ["Net2VecResult", "net2vec_2018", "upsample_matrix"]

INFO = MetricInfo(
    name="concept set IoU (net2vec-2018)", low=0.0, high=1.0, larger_is="better encoded", invariant_to=(),
    cost="holds maps and masks; epochs x images passes per concept", source="Fong and Vedaldi 2018, official code",
)  # fmt: skip


@dataclass(frozen=True)
class Net2VecResult:
    """Net2Vec probes of one representation.

    Attributes:
        weight: (K, C) float32; NaN for concepts without train images. thresholds: (C,) float32 T_k.
        iou: (K,) float64 set IoU on validation images, the headline; NaN where the concept is absent.
        train_iou, all_iou: (K,) on train images, and on both.
        losses: (K, epochs) float64 mean batch loss; NaN where not trained.
    """

    weight: Tensor
    thresholds: Tensor
    iou: Tensor
    train_iou: Tensor
    all_iou: Tensor
    losses: Tensor


def upsample_matrix(size: int, to: int) -> Tensor:
    """(to, size) float32 matrix of linear interpolation with aligned corners.

    >>> upsample_matrix(2, 3)
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000],
            [0.0000, 1.0000]])
    """
    unit = torch.eye(size, dtype=torch.float64)[None]
    return functional.interpolate(unit, size=to, mode="linear", align_corners=True)[0].T.float()


def net2vec_2018(
    maps: Tensor,
    masks: Tensor,
    train: Tensor,
    *,
    tau: float = 0.005,
    thresholds: Tensor | None = None,
    init: Tensor | None = None,
    seed: int = 0,
    epochs: int = 30,
    batch_size: int = 16,
    lr: float = 1e-4,
    momentum: float = 0.9,
) -> Net2VecResult:
    """Trains one probe per concept by the 2018 recipe. Holds all maps: a reference for small data, not for streaming.

    Args:
        maps: (N, C, h, w) activations.
        masks: (N, K, S1, S2) bool at segmentation resolution.
        train: (N,) bool, images of the train split; the others are the validation split.
        tau: share of activations above the threshold, over all images and positions.
        thresholds: (C,) in place of the exact quantiles.
        init: (K, C) first weights; uniform in +-1/sqrt(C) from `seed` when None.

    Raises:
        InputError: shapes do not fit.
    """
    if maps.ndim != 4 or masks.ndim != 4 or len(maps) != len(masks) or train.shape != (len(maps),):
        shapes = ", ".join(str(tuple(t.shape)) for t in (maps, masks, train))
        raise InputError(f"need maps (N, C, h, w), masks (N, K, S1, S2), train (N,): got {shapes}")
    c, k = maps.shape[1], masks.shape[1]
    train, masks = train.bool(), masks.bool()
    if thresholds is None:
        rows = maps.transpose(0, 1).reshape(c, -1)
        rank = rows.shape[1] - round(tau * rows.shape[1])
        thresholds = rows.float().kthvalue(max(rank, 1), dim=1).values
    if init is None:
        generator = torch.Generator().manual_seed(seed)
        init = (2 * torch.rand(k, c, generator=generator) - 1) / c**0.5
    if tuple(init.shape) != (k, c) or tuple(thresholds.shape) != (c,):
        shapes = f"{tuple(init.shape)} and {tuple(thresholds.shape)}"
        raise InputError(f"init must be {(k, c)} and thresholds {(c,)}, got {shapes}")
    binary = (maps > thresholds[:, None, None]).float()
    up_y, up_x = upsample_matrix(maps.shape[2], masks.shape[2]), upsample_matrix(maps.shape[3], masks.shape[3])
    holds = masks.flatten(2).any(2)
    weights = torch.full((k, c), float("nan"))
    losses = torch.full((k, epochs), float("nan"), dtype=torch.float64)
    tallies = torch.zeros(k, 2, 2, dtype=torch.int64)  # concept, (validation, train), (intersection, union)
    for concept in range(k):
        chosen = (holds[:, concept] & train).nonzero().flatten()
        if not len(chosen):
            continue
        weight = init[concept].clone().float()
        velocity: Tensor | None = None
        alpha = float(1 - masks[chosen, concept].double().mean())
        inside, outside = (alpha, 1 - alpha) if alpha else (1.0, 1.0)
        for epoch in range(epochs):
            batch_losses = []
            for batch in chosen.split(batch_size):
                x, target = binary[batch], masks[batch, concept].float()
                p = _logits(x, weight, up_y, up_x).sigmoid()
                gain = inside * target - outside * (1 - target)  # d(-L)/dp per image
                batch_losses.append(float(-(gain * p + outside * (1 - target)).sum() / len(batch)))
                slope = -gain * p * (1 - p) / len(batch)
                native = up_y.T @ slope @ up_x
                gradient = (x * native[:, None]).sum((0, 2, 3))
                velocity = gradient if velocity is None else momentum * velocity + gradient
                weight = weight - lr * velocity
            losses[concept, epoch] = sum(batch_losses) / len(batch_losses)
        weights[concept] = weight
        for image in holds[:, concept].nonzero().flatten().split(64):
            marked = _logits(binary[image], weight, up_y, up_x) > 0  # sigmoid > 0.5
            target = masks[image, concept]
            both, either = (marked & target).sum((1, 2)), (marked | target).sum((1, 2))
            for split in (0, 1):
                mine = train[image] == bool(split)
                tallies[concept, split] += torch.stack([both[mine].sum(), either[mine].sum()])

    def set_iou(t: Tensor) -> Tensor:
        iou = t[:, 0].double() / t[:, 1].double()
        return torch.where(weights[:, 0].isnan(), torch.nan, iou)

    return Net2VecResult(
        weight=weights,
        thresholds=thresholds,
        iou=set_iou(tallies[:, 0]),
        train_iou=set_iou(tallies[:, 1]),
        all_iou=set_iou(tallies.sum(1)),
        losses=losses,
    )


def _logits(binary: Tensor, weight: Tensor, up_y: Tensor, up_x: Tensor) -> Tensor:
    """(N, S1, S2) upsampled logit maps of binary maps (N, C, h, w)."""
    return up_y @ torch.einsum("nchw,c->nhw", binary, weight) @ up_x.T
