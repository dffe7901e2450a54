"""A guess at x for images that have none: a small network in front of a trained model that stays as it is.

    x' = g(rgb) where all of x is zero, the substitute that stands for a missing modality; x elsewhere
    g: 3x3 convolutions of stride 2, 2 and 2 and one with dilation 2, group norm and ReLU after each; 1x1; enlarged

g starts at zero, so that the model starts as the one it is made of. It learns what helps that model, not what x was:

    MissingX.of(from_pretrained(NAME)).save_pretrained("guess")
    fusionzoo finetune guess --data SPEC --out runs/guess --drop-modality 1 --val-split ''

(without validation, which gives both inputs and sees no difference, the last weights are kept)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fusionzoo.errors import InputError
from fusionzoo.fusion.prompt import start_at_zero_
from fusionzoo.modalities import names_of
from fusionzoo.models.base import FORMAT_VERSION, FusionModel
from fusionzoo.models.presets import build
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import wrappers

__all__ = ["Guess", "MissingX"]


class Guess(nn.Module):
    """Normalised rgb (B, 3, H, W) -> normalised x (B, Cx, H, W), smooth: it is made at an eighth of the size.

    Args:
        x_channels: Cx.
        width: channels after the first convolution, a multiple of 4; later ones have two and four times as many.
    """

    def __init__(self, x_channels: int, width: int = 16) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise InputError(f"width {width} is no multiple of 4")
        layers: list[nn.Module] = []
        for inp, out, stride in ((3, 1, 2), (1, 2, 2), (2, 4, 2), (4, 4, 1)):
            dilation = 2 if stride == 1 else 1
            before = inp if not layers else inp * width
            layers += [nn.Conv2d(before, out * width, 3, stride=stride, padding=dilation, dilation=dilation)]
            layers += [nn.GroupNorm(4, out * width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(4 * width, x_channels, 1)
        start_at_zero_(self.last)

    def forward(self, rgb: Tensor) -> Tensor:
        small = self.last(self.layers(rgb))  # (B, Cx, H/8, W/8)
        return interpolate(small, size=rgb.shape[-2:], mode="bilinear", align_corners=False)


@wrappers.register("missing_x")
class MissingX(FusionModel):
    """A frozen model with a guess at x in front of it; make one with `MissingX.of(model)`.

    Args:
        of: architecture of the model.
        of_args: its arguments; the number of classes is `num_classes`.
        num_classes, preprocess: of the model.
        width: see `Guess`.

    Raises:
        InputError: a model of several modalities beside rgb: all of x being zero would say that none of them is there.

    >>> from fusionzoo.models import create_model
    >>> model = MissingX.of(create_model("sum_mobilenetv1-025_fpn"))
    >>> model(torch.zeros(1, 3, 32, 32), None).shape
    torch.Size([1, 13, 32, 32])
    """

    architecture = "missing_x"

    def __init__(
        self,
        of: str,
        of_args: Mapping[str, Any],
        num_classes: int,
        preprocess: Preprocess | dict[str, Any] | None = None,
        width: int = 16,
    ) -> None:
        if isinstance(preprocess, dict):
            preprocess = Preprocess.from_dict(preprocess)
        preprocess = preprocess or Preprocess()
        if len(names := names_of(preprocess.x_kind)) > 1:
            raise InputError(
                f"MissingX stands for the one x of a model where an image has none, and {of} reads {', '.join(names)}"
                " beside rgb; take a model of one, or train with images that lack some: finetune --drop-modality 0.5"
            )
        super().__init__(num_classes, preprocess.x_channels, preprocess)
        model_args = {**of_args, "num_classes": num_classes}
        config = {"format_version": FORMAT_VERSION, "architecture": of, "model_args": model_args}
        self.model = build({**config, "preprocess": preprocess.to_dict()}).requires_grad_(False)
        self.stride = self.model.stride  # type: ignore[misc]
        self.task = self.model.task
        self.guess = Guess(preprocess.x_channels, width)
        told = "what stands for x where an image has none"
        self.substitute = Probe(preprocess.x_channels, role="substitute", modality="x", meaning=told)

    @classmethod
    def of(cls, model: FusionModel, width: int = 16) -> Self:
        """`model`, copied, behind a new guess at x.

        Raises:
            InputError: a model that does not read x, that reads several, that says scene types beside the classes of
                pixels, or that no config makes again.
        """
        if "x" not in model.needs or "rgb" not in model.needs:
            raise InputError(f"{model.architecture} reads {' and '.join(model.needs)} alone; take a model of rgb and x")
        if getattr(model, "num_scenes", 0):
            raise InputError(
                f"{model.architecture} says scene types beside the classes of pixels, and MissingX one of both; leave"
                " one out first: fusionzoo.models.classes.reset_scenes(model, []) or scenes_alone(model)"
            )
        args = {key: value for key, value in model.model_args.items() if key != "num_classes"}
        made = cls(model.architecture, args, model.num_classes, model.preprocess, width)
        made.model.load_state_dict(model.state_dict())
        made.set_classes(model.class_names)
        made.input_size = model.input_size
        return made.eval()

    def train(self, mode: bool = True) -> Self:
        """Training mode for the guess alone: the norms of the model keep their statistics."""
        super().train(mode)
        self.model.eval()
        return self

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        return {i: {name: f"model.{p}" for name, p in at.items()} for i, at in self.model.levels.items()}

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        absent = (x == 0).flatten(1).all(dim=1)[:, None, None, None]
        return self.model.scores(rgb, torch.where(absent, self.substitute(self.guess(rgb)), x))
