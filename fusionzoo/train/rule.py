"""The rule as a training-time term for any two-stream model: consistent where both streams know a concept, else apart.

"Specificity-driven inference under consistency constraints" (Chen et al., arXiv 2308.10019) as a loss on the features
of the two encoders, stage by stage; nothing of it is left at inference. With z_m the features of modality m, each
channel brought to mean 0 and variance 1 over the labelled positions of the batch, and k a class:

    M_mk = mean of z_m over the n_k positions of k
    r_mk = |M_mk|^2 / mean of |z_m|^2 over k
    e_mk = max(0, (n_k r_mk - 1) / (n_k - 1))          how much of the feature there is the class itself, in [0, 1]
    w_k  = sqrt(e_rgb,k e_x,k)                         known to both streams; no gradient to it
    consistency   = sum_k w_k (1 - cos(M_rgb,k, M_x,k)) / sum_k w_k
    decorrelation = mean over channel pairs of the squared correlation of z_rgb with z_x, where a position of class k
                    weighs 1 - w_k
    rule = mean over the stages of consistency + decorrelation

r of features that know nothing of the class is 1 / n_k in the mean, and 1 for a class seen once; e is 0 there, so that
rare classes do not count as shared. A class seen once has e = 0. The batch is what one process sees at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.models import FusionModel
from fusionzoo.train.cells import at_cells, standard

__all__ = ["RULE", "class_share", "consistent_and_specific", "rule_loss", "stream_pairs"]

RULE = "rule"
"""Name of the term among the auxiliary losses."""


def stream_pairs(model: FusionModel) -> list[tuple[str, str]]:
    """The probes (rgb, x) of each stage whose features the rule compares.

    Raises:
        InputError: a model without two streams of equal width.
    """
    points = model.probe_points()
    found = [(names["rgb"], names["x"]) for names in model.levels.values() if {"rgb", "x"} <= set(names)]
    pairs = [(a, b) for a, b in found if points[a].channels == points[b].channels]
    if not pairs:
        raise InputError(f"{model.architecture} has no two streams of equal width for the rule; train it without")
    return pairs


def rule_loss(pairs: Sequence[Sequence[Tensor]], label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Mean over the stages of the sum of the rule's two terms, in float32 also under autocast.

    Args:
        pairs: (rgb, x) features (B, C, h, w) of each stage.
        label: (B, H, W) int64 of what the features cover, the images as they are padded.
    """
    with torch.autocast(label.device.type, enabled=False):
        terms = [consistent_and_specific(rgb, x, label, num_classes, ignore_index) for rgb, x in pairs]
    return torch.stack([consistency + decorrelation for consistency, decorrelation in terms]).mean()


def consistent_and_specific(
    rgb: Tensor, x: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255
) -> tuple[Tensor, Tensor]:
    """(consistency, decorrelation) of one stage, scalars: 0..2 and 0..1; (0, 0) without a labelled position.

    Args:
        rgb, x: (B, C, h, w).
        label: (B, H, W) int64; sampled at the centres of the features' cells.

    >>> v, label = torch.randn(2, 4, 8, 8), torch.randint(3, (2, 16, 16))
    >>> abs(float(consistent_and_specific(v, v, label, 3)[0])) < 1e-5
    True
    """
    classes, known = at_cells(label, rgb, ignore_index)
    if not bool(known.any()):
        return rgb.sum() * 0, x.sum() * 0
    z_rgb, z_x = (standard(v.float().movedim(1, -1).flatten(0, 2)[known]) for v in (rgb, x))  # (N, C)
    member = F.one_hot(classes, num_classes).to(z_rgb.dtype)  # (N, K)
    count = member.sum(0).clamp(min=1)[:, None]  # (K, 1)
    mean_rgb, mean_x = member.t() @ z_rgb / count, member.t() @ z_x / count  # (K, C)
    both = (class_share(mean_rgb, z_rgb, member, count) * class_share(mean_x, z_x, member, count)).sqrt()  # (K,)
    apart = 1 - F.cosine_similarity(mean_rgb, mean_x, dim=1)
    consistency = (both * apart).sum() / both.sum().clamp(min=1e-6)
    return consistency, _correlation(z_rgb, z_x, 1 - both[classes])


@torch.no_grad()
def class_share(mean: Tensor, z: Tensor, member: Tensor, count: Tensor) -> Tensor:
    """e of each class, (K,) in [0, 1]: the share of the features' energy that the class explains, without the bias of
    few positions; 0 for a class that is there once or not at all.

    Args:
        mean: (K, C) of each class. z: (N, C) about its mean. member: (N, K), one-hot. count: (K, 1) positions.
    """
    energy = (member.t() @ z.square().sum(1, keepdim=True) / count)[:, 0]
    share, n = mean.square().sum(1) / energy.clamp(min=1e-6), count[:, 0]
    return torch.where(n > 1, (n * share - 1) / (n - 1).clamp(min=1), 0).clamp(0, 1)


def _correlation(u: Tensor, v: Tensor, weight: Tensor) -> Tensor:
    """Mean squared correlation of the columns of u with those of v over weighted rows."""
    share = weight / weight.sum().clamp(min=1e-6)
    u, v = (t - share @ t for t in (u, v))
    scale = [(share @ t.square()).clamp(min=1e-6).sqrt() for t in (u, v)]
    return ((share[:, None] * u).t() @ v / (scale[0][:, None] * scale[1])).square().mean()
