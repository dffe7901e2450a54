"""S-measure, E-measure, F-measure and mean absolute error over a data set: means over its images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator, MetricInfo, accumulates, float_state, int_state
from fusionzoo.metrics.saliency.measures import THRESHOLDS, e_measure, f_measure, mae, s_measure, stretched

__all__ = ["SaliencyMeasures", "SaliencyScores"]


@dataclass(frozen=True)
class SaliencyScores:
    """Scores of saliency maps, means over images (NaN without any).

    Attributes:
        s_measure: structure, alpha 0.5.
        e_adaptive, e_mean, e_max: E-measure at each image's adaptive threshold; mean and largest value of `e_curve`.
        f_adaptive, f_mean, f_max: the same of the F-measure.
        mae: mean absolute error, 0 is best.
        n_images: images seen.
        e_curve, f_curve: (256,) float64, the mean over images at each of the thresholds 0 .. 255.
    """

    s_measure: float
    e_adaptive: float
    e_mean: float
    e_max: float
    f_adaptive: float
    f_mean: float
    f_max: float
    mae: float
    n_images: int
    e_curve: Tensor
    f_curve: Tensor

    def numbers(self) -> dict[str, float]:
        """Name -> value, without the curves and the number of images."""
        return {name: value for name, value in vars(self).items() if isinstance(value, float)}


class SaliencyMeasures(Accumulator):
    """Sums the four measures of saliency over images.

    Args:
        stretch: bring each map to 0..1 first, its smallest value to 0 and its largest to 1, as the field's evaluation
            code does with the pictures it reads; False: take the values as they are.

    >>> import torch
    >>> measures, mask = SaliencyMeasures(), torch.tensor([[[0, 1], [0, 1]]])
    >>> measures.update(mask.double(), mask)
    >>> round(measures.compute().s_measure, 4), measures.compute().f_max, measures.compute().mae
    (1.0, 1.0, 0.0)
    """

    info = MetricInfo(
        name="S-measure, E-measure, F-measure, MAE", low=0.0, high=2.0, larger_is="better",
        invariant_to=("order of images",), cost="state 2 x 256 + 5 numbers; O(pixels)",
        source="Fan et al. 2017 and 2018, Achanta et al. 2009, Perazzi et al. 2012",
    )  # fmt: skip
    choices = ("stretch",)

    def __init__(self, stretch: bool = True) -> None:
        super().__init__()
        self.stretch = stretch
        self._state = float_state(
            s_measure=(), e_adaptive=(), f_adaptive=(), mae=(), e_curve=(THRESHOLDS,), f_curve=(THRESHOLDS,)
        ) | int_state(n=())

    @accumulates
    def update(self, saliency: Tensor, mask: Tensor) -> None:
        """Adds a batch.

        Args:
            saliency: (B, H, W) floating point, 0 to 1: the probability that a pixel is of the object.
            mask: (B, H, W) bool, or 0 and 1.

        Raises:
            InputError: shapes that differ, values out of range, a mask of other values.
        """
        if saliency.shape != mask.shape or saliency.ndim != 3:
            shapes = f"saliency {tuple(saliency.shape)} and masks {tuple(mask.shape)}"
            raise InputError(f"{shapes} must be (B, H, W), both of the masks' size")
        for values, object_ in zip(saliency, mask, strict=True):
            found = {"mae": mae(values, object_)}  # which checks both
            if self.stretch:
                values = stretched(values)
                found["mae"] = mae(values, object_)
            found["s_measure"] = s_measure(values, object_)
            found["e_adaptive"], found["e_curve"] = e_measure(values, object_)
            found["f_adaptive"], found["f_curve"] = f_measure(values, object_)
            for name, value in found.items():
                self._state[name] += value
            self._state["n"] += 1

    def compute(self) -> SaliencyScores:
        """Scores of everything seen so far."""
        state = {name: value.cpu() for name, value in self._state.items()}
        n = state.pop("n")
        mean = {name: value / n for name, value in state.items()}
        e_curve, f_curve = mean.pop("e_curve"), mean.pop("f_curve")
        return SaliencyScores(
            **{name: float(value) for name, value in mean.items()},
            e_mean=float(e_curve.mean()), e_max=float(e_curve.max()),
            f_mean=float(f_curve.mean()), f_max=float(f_curve.max()),
            n_images=int(n), e_curve=e_curve, f_curve=f_curve,
        )  # fmt: skip
