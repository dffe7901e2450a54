"""Which modality drives a prediction, pixel by pixel: one pair of images under every subset of modalities.

The image goes the way of `fusionzoo.predict`, and what stands for a modality that is taken away is that of
`fusionzoo.check`; so the maps are those of its report.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fusionzoo._predict import Pair, Predictor, Ready
from fusionzoo.data.inputs import name_of
from fusionzoo.dissect.conditions import OF_ONE, Reader, fitted
from fusionzoo.dissect.examples import look
from fusionzoo.dissect.results.examples import Example
from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write
from fusionzoo.models import FusionModel
from fusionzoo.report.panels import sheet
from fusionzoo.report.pictures import encoded

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["Explanation", "check_absence", "explain", "explained"]


@dataclass(frozen=True)
class Explanation:
    """The modality map of one pair, with the predictions it is made of.

    `example` has all of it as arrays: `.predicted_class.rgb` and `.predicted_class.x` are the Shapley values of the two
    modalities for the probability of the predicted class at each pixel, `.predicted["without_x"]` a class map, ...
    """

    example: Example

    def picture(self) -> Picture:
        """Inputs, predictions with both modalities and without either, modality map and legends, as a PIL image."""
        return sheet(self.example)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture as PNG, all or nothing; InputError where that is not possible."""
        atomic_write(path, encoded(self.picture(), "PNG"))


def explain(
    model: FusionModel | str | os.PathLike[str], rgb: Any, x: Any, *, absence: str = "mean", **options: Any
) -> Explanation:
    """Modality map of one pair of images: how much each modality raises the probability of the predicted class.

    Args:
        model, rgb, x, options: as of `fusionzoo.predict`, for one image; both modalities are needed.
        absence: what stands for a modality that is taken away: "mean", "zero", "noise" or "blur", see
            `fusionzoo.dissect.conditions`.

    Raises:
        InputError: as of `predict`; no x, or x without any valid value; a policy that needs other images.
        CheckFailed: the model's output is not finite.

    >>> import fusionzoo
    >>> from fusionzoo.data import Planted
    >>> scene = Planted("test", n=1)[0]
    >>> found = fusionzoo.explain("concat_mobilenetv1-025_fpn.planted", scene["rgb"], scene["x"])
    >>> found.example.predicted_class.rgb.shape
    (120, 160)
    """
    if options.get("without") is not None:
        raise InputError("explain takes each modality away by itself; leave out without=")
    predictor = Predictor(model, **options)
    return explained(predictor, predictor.only(Pair(name_of(rgb, 0), rgb, x)), absence)


def explained(predictor: Predictor, ready: Ready, absence: str = "mean") -> Explanation:
    """`explain` with a predictor, for an input that it has read."""
    check_absence(absence)
    if "x" not in ready.fed:
        raise InputError(f"{ready.id}: no x, or none with a valid value; to explain a prediction takes both modalities")
    label = torch.full(ready.fed["rgb"].shape[-2:], 255)
    data = fitted(predictor.model, [{**ready.fed, "label": label, "id": ready.id}])
    return Explanation(look(Reader(predictor.model, data, absence), [data[0]]))


def check_absence(policy: str) -> None:
    """InputError for a policy that there is not, or that needs other images."""
    if policy not in OF_ONE:
        raise InputError(
            f"absence (--absence) is {policy!r}; of one image it can be {', '.join(OF_ONE)}"
            + (" (permute takes it from another image)" if policy == "permute" else "")
        )
