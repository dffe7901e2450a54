"""Modality map: at every pixel, how much each modality raises the probability of one class.

p_S(k) is the softmax at a pixel with the modalities S present; what stands for the others is a choice that belongs to
the result. For a class k (the predicted or the true one) the marginal effect of modality i is
m_i = p_all(k) - p_{all without i}(k), and its Shapley value phi_i is that of `shapley` with V(S) = p_S(k), so that the
phi add up to p_all(k) - p_none(k). With two modalities phi_rgb - phi_x = p_{rgb}(k) - p_{x}(k), each modality alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.cooperation.shapley import shapley, subset_scores

__all__ = ["ModalityMap", "class_probability", "modality_map"]

INFO = MetricInfo(
    name="modality map", low=-1.0, high=1.0,
    larger_is="the modality speaks more for the class", invariant_to=("adding a constant to all logits of a pixel",),
    cost="2^M evaluations of the model; O(2^M K) a pixel after them",
    source="Shapley 1953, of the softmax probability at a pixel",
)  # fmt: skip


@dataclass(frozen=True)
class ModalityMap:
    """Maps (B, H, W), float64, NaN where the class is none of the logits'.

    Attributes:
        probability: modalities present -> probability of the class, 0..1.
        marginal: modality -> what the probability loses without it, the others present, -1..1.
        shapley: modality -> its Shapley value, -1..1; over modalities they add up to p_all - p_none.
    """

    probability: dict[frozenset[str], Tensor]
    marginal: dict[str, Tensor]
    shapley: dict[str, Tensor]

    @property
    def strength(self) -> Tensor:
        """Sum over modalities of |phi|: how much they matter at all, 0 to the number of modalities."""
        return torch.stack([phi.abs() for phi in self.shapley.values()]).sum(0)

    def balance(self, first: str, second: str) -> Tensor:
        """phi of `first` minus phi of `second`, -1..1 for two modalities; above 0 where `first` speaks more for the
        class."""
        return self.shapley[first] - self.shapley[second]


def class_probability(logits: Tensor, classes: Tensor) -> Tensor:
    """Softmax probability of one class at each pixel.

    Args:
        logits: (B, K, H, W). classes: (B, H, W) integers; where they are not in 0..K-1 (ignored) the result is NaN.

    Returns:
        (B, H, W) float64.

    Raises:
        InputError: shapes that do not fit.

    >>> class_probability(torch.tensor([[[[0.0, 1.0]], [[0.0, 1.0]]]]), torch.tensor([[[1, 255]]]))
    tensor([[[0.5000,    nan]]], dtype=torch.float64)
    """
    if logits.ndim != 4 or classes.shape != logits[:, 0].shape:
        raise InputError(
            f"logits are {tuple(logits.shape)} and classes {tuple(classes.shape)}, wanted (B, K, H, W) and (B, H, W)"
        )
    known = (classes >= 0) & (classes < logits.shape[1])
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    chosen = wide.gather(1, torch.where(known, classes, 0)[:, None].long())[:, 0]  # (B, H, W)
    p = (chosen - wide.logsumexp(1)).double().exp()
    return torch.where(known, p, torch.nan)


def modality_map(logits: Mapping[tuple[str, ...], Tensor], classes: Tensor | None = None) -> ModalityMap:
    """Marginal effect and Shapley value of every modality for the probability of one class, per pixel.

    Args:
        logits: modalities present (the empty tuple included) -> (B, K, H, W); all 2^M subsets are needed.
        classes: (B, H, W) integers, the class at each pixel; by default the one predicted with all modalities. The
            result is NaN where they are not in 0..K-1.

    Raises:
        InputError: a subset is missing, or shapes that differ.

    >>> apart = torch.tensor([[[[4.0]], [[0.0]]]])
    >>> even = torch.zeros(1, 2, 1, 1)
    >>> found = modality_map({("rgb", "x"): apart, ("rgb",): apart, ("x",): even, (): even})
    >>> {name: round(float(phi), 2) for name, phi in found.shapley.items()}
    {'rgb': 0.48, 'x': 0.0}
    """
    every = max(logits, key=len)
    if len({value.shape for value in logits.values()}) > 1:
        raise InputError(f"logits differ in shape: {', '.join(str(tuple(v.shape)) for v in logits.values())}")
    if classes is None:
        classes = logits[every].argmax(1)
    names, p = subset_scores({present: class_probability(value, classes) for present, value in logits.items()})
    whole = frozenset(names)
    return ModalityMap(p, {name: p[whole] - p[whole - {name}] for name in names}, shapley(p))
