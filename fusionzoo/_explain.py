"""Which modality drives a prediction, pixel by pixel: one pair of images under every subset of modalities, or what
each pixel of both inputs gives to the score of a class (gradients, occlusion).

The image goes the way of `fusionzoo.predict`, and what stands for a modality that is taken away is that of
`fusionzoo.check`; so the maps are those of its report.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from fusionzoo._predict import Pair, Predictor, Ready
from fusionzoo.data.inputs import name_of
from fusionzoo.dissect.attribution import Attribution, Occlusion, attribute, occlude
from fusionzoo.dissect.attribution.gradients import class_number
from fusionzoo.dissect.conditions import OF_ONE, Reader, fitted
from fusionzoo.dissect.pictures.examples import look
from fusionzoo.dissect.results.examples import Example
from fusionzoo.errors import InputError, check_known
from fusionzoo.files import atomic_write
from fusionzoo.models import FusionModel
from fusionzoo.report.attribution import attribution_sheet
from fusionzoo.report.panels import sheet
from fusionzoo.report.pictures import encoded
from fusionzoo.tasks import CLASSIFICATION

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["METHODS", "Explanation", "check_method", "explain", "explained"]

Told = tuple[list[str], dict[str, Any], dict[str, torch.Tensor]]
"""Words, facts and maps of an `Explanation`."""

METHODS = ("modality", "gradient", "integrated", "occlusion")
WINDOWS = 4
"""An occluded window is this part of the shorter side, so that a picture takes some 200 forward passes."""


@dataclass(frozen=True)
class Explanation:
    """What drives the prediction of one pair.

    `example` has the predictions with and without each modality as arrays: `.predicted_class.rgb` and
    `.predicted_class.x` are the Shapley values of the two modalities for the probability of the predicted class at each
    pixel, `.predicted["without_x"]` a class map, ...

    Attributes:
        method: one of METHODS. target: the class whose score is attributed; "" for "modality".
        maps: title -> (H, W) float32, above 0 where the pixel speaks for the class; none for "modality".
        words: what the maps are and what they sum to. facts: the same as numbers.
    """

    example: Example
    method: str = "modality"
    target: str = ""
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def picture(self) -> Picture:
        """Inputs, predictions, maps and legends, as a PIL image."""
        return attribution_sheet(self.example, self.maps, self.target, self.words) if self.maps else sheet(self.example)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture as PNG, all or nothing; InputError where that is not possible."""
        atomic_write(path, encoded(self.picture(), "PNG"))


def explain(
    model: FusionModel | str | os.PathLike[str],
    rgb: Any,
    x: Any,
    *,
    absence: str = "mean",
    method: str = "modality",
    target: int | str | None = None,
    **options: Any,
) -> Explanation:
    """What drives the prediction of one pair of images.

    Args:
        model, rgb, x, options: as of `fusionzoo.predict`, for one image; both modalities are needed.
        absence: what stands for a modality, or a window of it, that is taken away, and where the path of integrated
            gradients begins: "mean", "zero", "noise" or "blur", see `fusionzoo.dissect.conditions`.
        method: "modality", how much each modality raises the probability of the predicted class at each pixel; or what
            each pixel of both inputs gives to the mean logit of a class where it is predicted: "gradient" (gradient x
            input), "integrated" (gradients) or "occlusion" (of overlapping windows), see
            `fusionzoo.dissect.attribution`.
        target: that class, by number or name; by default the one predicted most.

    Raises:
        InputError: as of `predict`; no x, or x without any valid value; a policy that needs other images; a class that
            is not predicted, or given for "modality".
        UnknownNameError: no such method or class.
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
    check_method(method, absence, target)
    predictor = Predictor(model, **options)
    return explained(predictor, predictor.only(Pair(name_of(rgb, 0), rgb, x)), absence, method, target)


def explained(
    predictor: Predictor,
    ready: Ready,
    absence: str = "mean",
    method: str = "modality",
    target: int | str | None = None,
) -> Explanation:
    """`explain` with a predictor, for an input that it has read."""
    check_method(method, absence, target)
    if len(predictor.modalities) > 2:
        raise InputError(f"explanations are for two modalities, and the model takes {', '.join(predictor.modalities)}")
    if predictor.task == CLASSIFICATION:
        name = predictor.model.architecture
        raise InputError(f"explanations are of pixels, and {name} says one class of a whole image")
    if "x" not in ready.fed:
        raise InputError(f"{ready.id}: no x, or none with a valid value; to explain a prediction takes both modalities")
    label = torch.full(ready.fed["rgb"].shape[-2:], 255)
    _, data = fitted(predictor.model, [{**ready.fed, "label": label, "id": ready.id}])
    example = look(Reader(predictor.model, data, absence), [data[0]])
    if method == "modality":
        return Explanation(example)
    most = int(np.bincount(example.predicted["both"].ravel()).argmax())
    k = most if target is None else class_number(predictor.model, target)
    name, x = predictor.class_names[k], predictor.modalities[1]
    made = predictor.normalised(ready.fed)
    if method == "occlusion":
        window = max(1, min(made["rgb"].shape[-2:]) // WINDOWS)
        lost = occlude(predictor.model, made["rgb"], made["x"], k, window=window, absence=absence)
        words, facts, maps = _occluded(lost, name, x, absence)
    else:
        way = {"gradient": "gradient_x_input", "integrated": "integrated"}[method]
        found = attribute(predictor.model, made["rgb"], made["x"], k, method=way, absence=absence)
        words, facts, maps = _attributed(found, method == "integrated", name, x, absence)
    arrays = {title: value.float().cpu().numpy() for title, value in maps.items()}
    return Explanation(example, method, name, arrays, words, {"method": method, "class": name, **facts})


def _attributed(found: Attribution, integrated: bool, name: str, x: str, absence: str) -> Told:
    (of_rgb, of_x), change = found.totals, found.score - found.baseline
    words = [
        f"{'Integrated gradients' if integrated else 'Gradient x input'}: what each pixel gives to the mean"
        f" logit of {name!r} over the pixels predicted as it, which is {found.score:.2f}, and {found.baseline:.2f} with"
        f" neither modality (absence: {absence}).",
        f"In all rgb gives {of_rgb:+.2f} and {x} {of_x:+.2f} of {change:+.2f}; they miss it by {found.residual:+.2f}"
        + ("." if integrated else ", since this method need not add up."),
    ]
    facts = {"score": found.score, "baseline": found.baseline, "rgb": of_rgb, "x": of_x, "residual": found.residual}
    return words, facts, {"rgb": found.map("rgb"), x: found.map("x")}


def _occluded(lost: Occlusion, name: str, x: str, absence: str) -> Told:
    kinds = {"rgb": "rgb", x: "x", "both": "both", "interaction": "interaction"}
    words = [
        f"Occlusion: what the mean logit of {name!r} over the pixels predicted as it, {lost.score:.2f}, loses without a"
        f" window of {lost.window[0]} x {lost.window[1]} pixels of rgb, of {x}, or of both (absence:"
        f" {absence}).",
        "Interaction: above 0 where both together give more than the sum of what each gives.",
    ]
    facts = {"score": lost.score, "window": list(lost.window)}
    return words, facts, {title: lost.map(kind) for title, kind in kinds.items()}


def check_method(method: str, absence: str, target: int | str | None = None) -> None:
    """InputError or UnknownNameError for a method or a policy that there is not, a policy that needs other images, and
    a class for a method that has none."""
    check_known("method", method, METHODS)
    if method == "modality" and target is not None:
        raise InputError(f"target (--class) belongs to {', '.join(METHODS[1:])}; method (--method) is 'modality'")
    if absence not in OF_ONE:
        raise InputError(
            f"absence (--absence) is {absence!r}; of one image it can be {', '.join(OF_ONE)}"
            + (" (permute takes it from another image)" if absence == "permute" else "")
        )
