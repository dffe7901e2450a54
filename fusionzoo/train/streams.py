"""Stream supervision: each encoder's own features must tell the classes, a training-time term for any strategy.

A loss on the fused scores alone lets one modality do the work and leaves the other's encoder half trained. Here every
stream is asked by itself, without a head, by the prototypes of the batch; nothing of it is left at inference. With f
the features of one modality at one stage, each channel brought to mean 0 and variance 1 over the labelled positions of
the batch, z = f / |f| at each position i of class k_i, and n_k positions of class k:

    P_k  = m_k / |m_k|,  m_k = mean of z over the positions of k              the prototype; gradients go through it
    loss = sum_i u_i CE(softmax_k(z_i . P_k / tau), k_i),  u_i ~ n_{k_i}^(-1/2), sum of u_i = 1,  tau = 0.1
    streams = mean of the loss over the modalities and over the last 3 stages

Classes that are not in the batch have no prototype and take no part. The weights u are those of `balance` 0.5 within a
batch, without their limits. The batch is what one process sees at once: the parts of `--accumulate` and other processes
have prototypes of their own. An input that `--drop-modality` took away is asked all the same, as zeros.

Prototypes as classifiers: Snell et al., "Prototypical Networks for Few-shot Learning" (NeurIPS 2017), arXiv 1703.05175;
against one modality's dominance: Fan et al., "PMR: Prototypical Modal Rebalance" (CVPR 2023), arXiv 2211.07089, whose
factor per modality and penalty on entropy are left out. Dense features, weights and stages are ours, chosen on a
validation part (`benchmarks/README.md`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.models import FusionModel
from fusionzoo.train.cells import at_cells, standard

__all__ = ["STREAMS", "prototype_loss", "stream_loss", "stream_points"]

STREAMS = "streams"
"""Name of the term among the auxiliary losses."""
STAGES = 3
"""The last so many stages are asked."""
TEMPERATURE = 0.1
FAINT = 1e-2
"""Shorter features, of a stream that is all but dead, are not brought to unit length: their direction is rounding."""


def stream_points(model: FusionModel) -> list[list[str]]:
    """The probes of each modality's features at the last stages, before the fusion of that stage.

    Where a strategy exchanges features or injects them, they carry what earlier stages brought in.

    Raises:
        InputError: a model without such features.

    >>> from fusionzoo import create_model
    >>> stream_points(create_model("rgb_only_mobilenetv1-025_fpn", num_classes=2))[-1]
    ['rgb_stream.stage5.rgb']
    """
    found = [[at[name] for name in _own(at)] for at in model.levels.values()]
    if not any(found):
        raise InputError(f"{model.architecture} has no stream of one modality to supervise; train it without `streams`")
    return [names for names in found if names][-STAGES:]


def _own(at: Collection[str]) -> list[str]:
    """The modalities that a stage has by themselves: with several beside rgb, not what they become together."""
    names = [name for name in at if name != "fused"]
    return [name for name in names if name != "x" or set(names) <= {"rgb", "x"}]


def stream_loss(stages: Sequence[Sequence[Tensor]], label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Mean over the stages and their modalities of `prototype_loss`, in float32 also under autocast.

    Args:
        stages: features (B, C, h, w) of each modality at each stage.
        label: (B, H, W) int64 of what the features cover, the images as they are padded.
    """
    with torch.autocast(label.device.type, enabled=False):
        terms = [
            torch.stack([prototype_loss(v, label, num_classes, ignore_index) for v in features]).mean()
            for features in stages
        ]
    return torch.stack(terms).mean()


def prototype_loss(features: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Cross-entropy of one stream's positions by the batch's own class prototypes, a scalar >= 0.

    0 without a labelled position, and where there is one class only.

    Args:
        features: (B, C, h, w).
        label: (B, H, W) int64; sampled at the centres of the features' cells.

    >>> v = torch.eye(2).view(1, 2, 1, 2)  # two positions that point apart, each a class
    >>> round(float(prototype_loss(v, torch.tensor([[[0, 1]]]), 2)), 4)  # log(1 + e^-20)
    0.0
    """
    classes, known = at_cells(label, features, ignore_index)
    if not bool(known.any()):
        return features.sum() * 0
    z = standard(features.float().movedim(1, -1).flatten(0, 2)[known])  # (N, C)
    z = F.normalize(z, dim=1, eps=FAINT)
    member = F.one_hot(classes, num_classes).to(z.dtype)  # (N, K)
    count = member.sum(0)  # (K,)
    prototypes = F.normalize(member.t() @ z / count.clamp(min=1)[:, None], dim=1)  # (K, C)
    scores = (z @ prototypes.t() / TEMPERATURE).masked_fill(count == 0, float("-inf"))  # (N, K)
    weight = count.clamp(min=1).rsqrt()[classes]  # (N,)
    return (F.cross_entropy(scores, classes, reduction="none") * weight).sum() / weight.sum()
