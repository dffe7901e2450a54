"""How well a saliency map of one image fits its mask, as the evaluation code of the measures' authors computes it.

A map holds a number of [0, 1] for each pixel, a mask is true where the object is. E- and F-measure look at the map cut
at a threshold: at each of the 256 values of an 8-bit picture (a value v counts as floor(255 v)), and at the adaptive
one, twice the map's mean but at most 1. A pixel is marked where it reaches the threshold.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo, check_finite

__all__ = ["INFO", "THRESHOLDS", "e_measure", "f_measure", "mae", "s_measure", "stretched"]

THRESHOLDS = 256
_EPS = torch.finfo(torch.float64).eps

INFO = {
    "s_measure": MetricInfo(
        name="S-measure", low=0.0, high=1.0, larger_is="better", cost="O(pixels)",
        source="Fan et al. 2017 (ICCV), Structure-measure, alpha 0.5",
    ),
    "e_measure": MetricInfo(  # n / (n - 1) for a perfect map of n pixels, 2 at n = 2
        name="E-measure", low=0.0, high=2.0, larger_is="better", cost="O(pixels)",
        source="Fan et al. 2018 (IJCAI), Enhanced-alignment measure",
    ),
    "f_measure": MetricInfo(
        name="F-measure", low=0.0, high=1.0, larger_is="better", cost="O(pixels)",
        source="Achanta et al. 2009 (CVPR), beta^2 = 0.3",
    ),
    "mae": MetricInfo(
        name="mean absolute error", low=0.0, high=1.0, larger_is="worse", cost="O(pixels)",
        source="Perazzi et al. 2012 (CVPR)",
    ),
}  # fmt: skip


def stretched(saliency: Tensor) -> Tensor:
    """A map with its smallest value at 0 and its largest at 1, float64; a constant map is left as it is.

    >>> stretched(torch.tensor([[0.2, 0.6]])), stretched(torch.tensor([[0.25, 0.25]]))
    (tensor([[0., 1.]], dtype=torch.float64), tensor([[0.2500, 0.2500]], dtype=torch.float64))
    """
    values = saliency.double()
    low, high = values.aminmax()
    return values if bool(low == high) else (values - low) / (high - low)


def mae(saliency: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of a map (H, W) and its mask (H, W), a number.

    >>> mae(torch.tensor([[0.5, 1.0]]), torch.tensor([[False, True]]))
    tensor(0.2500, dtype=torch.float64)
    """
    values, object_ = _pair(saliency, mask)
    return (values - object_.double()).abs().mean()


def s_measure(saliency: Tensor, mask: Tensor, alpha: float = 0.5) -> Tensor:
    """Structural similarity of a map (H, W) and its mask (H, W), a number of [0, 1].

    `alpha` weighs the object's similarity against that of the four blocks around the object's centre. Of an empty mask
    it is 1 minus the map's mean, of a full one the mean. A block without pixels has no weight.

    >>> mask = torch.tensor([[False, True], [False, True]])
    >>> round(float(s_measure(mask.double(), mask)), 9), float(s_measure(1 - mask.double(), mask))
    (1.0, 0.0)
    """
    values, object_ = _pair(saliency, mask)
    share = object_.double().mean()
    if not bool(object_.any()):
        return 1 - values.mean()
    if bool(object_.all()):
        return values.mean()
    parts = share * _object(values[object_]) + (1 - share) * _object(1 - values[~object_])
    return (alpha * parts + (1 - alpha) * _region(values, object_)).clamp(min=0)


def e_measure(saliency: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Enhanced alignment of a map (H, W) and its mask (H, W).

    The alignment of all n pixels is divided by n - 1, as in the authors' code: a perfect map has n / (n - 1).

    Returns:
        (at the adaptive threshold, a number; at each of the thresholds 0 .. 255, (256,)), float64.

    >>> mask = torch.tensor([[False, True], [False, True]])
    >>> adaptive, curve = e_measure(mask.double(), mask)
    >>> adaptive, curve[0], curve[255]
    (tensor(1.3333, dtype=torch.float64), tensor(0.3333, dtype=torch.float64), tensor(1.3333, dtype=torch.float64))
    """
    hits, marked, size, total = _counts(*_pair(saliency, mask))
    if total == 0 or total == size:
        aligned = marked if total else size - marked
    else:
        rate, share = marked / size, total / size
        cells = (  # pixels, and how far map and mask lie from their means there
            (hits, 1 - rate, 1 - share),
            (marked - hits, 1 - rate, -share),
            (total - hits, -rate, 1 - share),
            (size - marked - total + hits, -rate, -share),
        )
        parts = [n * (2 * a * b / (a.square() + b**2 + _EPS) + 1).square() / 4 for n, a, b in cells]
        aligned = torch.stack(parts).sum(0)
    found = aligned / max(size - 1, 1)
    return found[-1], found[:-1]


def f_measure(saliency: Tensor, mask: Tensor, beta2: float = 0.3) -> tuple[Tensor, Tensor]:
    """F-measure of a map (H, W) and its mask (H, W); 0 where no pixel is hit, and so for every empty mask.

    Args:
        beta2: weight of recall against precision, squared.

    Returns:
        (at the adaptive threshold, a number; at each of the thresholds 0 .. 255, (256,)), float64.

    >>> mask = torch.tensor([[False, True], [False, True]])
    >>> adaptive, curve = f_measure(mask.double(), mask)
    >>> adaptive, curve[0], curve[255]
    (tensor(1., dtype=torch.float64), tensor(0.5652, dtype=torch.float64), tensor(1., dtype=torch.float64))
    """
    hits, marked, _, total = _counts(*_pair(saliency, mask))
    found = (1 + beta2) * hits / (beta2 * total + marked).clamp(min=1e-300)
    return found[-1], found[:-1]


def _pair(saliency: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(float64 map, boolean mask), checked."""
    if saliency.shape != mask.shape or saliency.ndim != 2 or not saliency.numel():
        raise InputError(
            f"a saliency map {tuple(saliency.shape)} and its mask {tuple(mask.shape)} must be (H, W) of one size"
        )
    if not saliency.is_floating_point():
        raise InputError(f"a saliency map must be floating point of 0..1, got {saliency.dtype}; divide by 255")
    if mask.dtype != torch.bool:
        strange = mask[(mask != 0) & (mask != 1)]
        if strange.numel():
            what = f"a saliency mask has the value {strange[0].item()} in {strange.numel()} pixels"
            raise InputError(f"{what}; it is bool, or 0 and 1 (no pixel can be left out)")
    check_finite(saliency, "a saliency map has")
    low, high = (float(v) for v in saliency.aminmax())
    if low < 0 or high > 1:
        raise InputError(f"a saliency map has values {low:g} to {high:g}; they are probabilities, 0 to 1")
    return saliency.double(), mask.bool()


def _counts(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, int, int]:
    """(marked pixels of the object (257,), marked pixels (257,), pixels, pixels of the object): at the thresholds 0 ..
    255, then at the adaptive one; counts as float64."""
    cell = (255 * values).to(torch.int64) + THRESHOLDS * mask  # (H, W): below 256 outside the object
    found = torch.bincount(cell.flatten(), minlength=2 * THRESHOLDS).view(2, THRESHOLDS).double()
    reached = found.flip(1).cumsum(1).flip(1)  # (2, 256): pixels of the threshold's value and above
    adaptive = values >= (2 * values.mean()).clamp(max=1)
    hits = torch.cat([reached[1], (adaptive & mask).sum()[None].double()])
    marked = torch.cat([reached.sum(0), adaptive.sum()[None].double()])
    return hits, marked, mask.numel(), int(mask.sum())


def _object(values: Tensor) -> Tensor:
    """How near to 1, and how uniform, the values (n,) of a part are."""
    mean = values.mean()
    spread = values.std() if values.numel() > 1 else torch.zeros_like(mean)
    return 2 * mean / (mean.square() + 1 + spread + _EPS)


def _region(values: Tensor, mask: Tensor) -> Tensor:
    """Similarity of the four blocks around the centre of the object, by their areas."""
    rows, columns = mask.nonzero(as_tuple=True)
    top, left = (int(at.double().mean().round()) + 1 for at in (rows, columns))
    found = torch.zeros((), dtype=torch.float64, device=values.device)
    for here in (slice(None, top), slice(top, None)):
        for there in (slice(None, left), slice(left, None)):
            block = values[here, there]
            if block.numel():
                found = found + block.numel() / values.numel() * _ssim(block, mask[here, there].double())
    return found


def _ssim(values: Tensor, mask: Tensor) -> Tensor:
    """Similarity of a block by mean, contrast and structure; 1 where both are constant and equally so."""
    x, y, n = values.mean(), mask.mean(), values.numel() - 1 + _EPS
    own = ((values - x).square().sum() + (mask - y).square().sum()) / n
    shared = ((values - x) * (mask - y)).sum() / n
    alike, scale = 4 * x * y * shared, (x.square() + y.square()) * own
    if bool(alike != 0):
        return alike / (scale + _EPS)
    return (scale == 0).double()
