"""Distillation: a trained teacher, frozen, shows a student its class scores and its features.

    L = L_student + a T^2 mean_p KL(softmax(t_p / T) || softmax(s_p / T))                        (logits)
                  + b mean_i ||W_i f_i - g_i||^2 / ||g_i||^2                                     (features)

over all pixels p of the student's grid of logits and the stages i that both models have. s and t are the logits of
student and teacher, f_i and g_i their fused maps (the RGB stream's where nothing is fused), g_i resized to f_i's grid;
W_i is a 1x1 convolution that learns with the student and is thrown away afterwards. T is the temperature. The term of
the logits is of Hinton et al. (2015), that of the features of FitNets (Romero et al. 2015); PrimKD teaches CMX by both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import FusionModel
from fusionzoo.probes.tape import probe
from fusionzoo.tasks import model_for
from fusionzoo.train.terms import losses

__all__ = ["Shown", "Student", "Teacher", "feature_loss", "logit_loss", "stage_probes"]


@dataclass(frozen=True)
class Shown:
    """What a teacher gives for a batch: logits (B, K, h, w), and (B, C, h, w) of each stage."""

    logits: Tensor
    features: Mapping[int, Tensor]


def stage_probes(model: FusionModel) -> dict[int, str]:
    """Stage -> name of the probe behind its fused map, or its RGB stream where nothing is fused."""
    found = {i: at.get("fused", at.get("rgb")) for i, at in model.levels.items()}
    return {i: name for i, name in found.items() if name is not None}


class Teacher:
    """A checkpoint that is not trained any more.

    Args:
        name: of a checkpoint (bundled name, folder, Hub id).
        data: the training data, whose classes and kind of x it must know.

    Raises:
        InputError: other classes or another order of them, another kind or number of channels of x.
    """

    def __init__(self, name: str, data: Any) -> None:
        self.model = model_for(from_pretrained(name).eval().requires_grad_(False), data)
        for what, ours, theirs in (
            ("classes", data.num_classes, self.model.num_classes),
            ("x channels", data.x_channels, self.model.x_channels),
            ("kind of x", *(k.replace("inverse_depth", "depth") for k in (data.x_kind, self.model.preprocess.x_kind))),
        ):
            if ours != theirs:
                raise InputError(f"teacher {name} has {what} {theirs}, the data {ours}; name one trained on such data")
        known = list(self.model.class_names)
        if known != [f"class {i}" for i in range(len(known))]:  # one that names none is taken for the data's
            for i, (ours, theirs) in enumerate(zip(data.class_names, known, strict=True)):
                if ours != theirs:
                    order = " (the same classes in another order)" if set(known) == set(data.class_names) else ""
                    raise InputError(
                        f"class {i} is {theirs!r} to teacher {name} and {ours!r} in the data{order}; its scores are"
                        " compared class by class: name a teacher of these classes in this order"
                    )
        self.probes = stage_probes(self.model)

    @torch.no_grad()
    def __call__(self, rgb: Tensor, x: Tensor, *, amp: bool = False) -> Shown:
        """What it makes of a raw batch: uint8 (B, 3, H, W) and x (B, Cx, H, W) as the data gives them."""
        inputs = self.model.preprocess(rgb, x)
        half = torch.autocast(rgb.device.type, torch.bfloat16, enabled=amp)
        with half, probe(self.model, *self.probes.values()) as seen:
            logits = self.model(*inputs)
        return Shown(logits.float(), {i: seen[name] for i, name in self.probes.items()})


class Student(nn.Module):
    """A model with all that is computed from a batch in one pass: logits, auxiliary losses, side heads, distillation.

    One module, because torch.compile and DistributedDataParallel hang on a module's `forward`.

    Args:
        model: what is trained.
        auxiliary: factors of auxiliary losses in place of the model's own; they decide what is computed.
        teacher: None: no distillation, no parameters beside the model's.
        temperature: T.
        features: whether features are compared, too.
    """

    def __init__(
        self,
        model: FusionModel,
        auxiliary: Mapping[str, float],
        teacher: Teacher | None = None,
        *,
        temperature: float = 1.0,
        features: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.auxiliary = {**model.loss_factors, **auxiliary}
        self.temperature = temperature
        self.projections = nn.ModuleDict()
        self.probes: dict[int, str] = {}
        if teacher is None or not features:
            return
        mine, theirs = stage_probes(model), teacher.probes
        self.probes = {i: name for i, name in mine.items() if i in theirs}
        if not self.probes:
            raise InputError(f"teacher {teacher.model.architecture} has no stage in common with {model.architecture};"
                             " --distill logits=1 compares the logits alone")  # fmt: skip
        for i, name in self.probes.items():
            c, d = model.probe_points()[name].channels, teacher.model.probe_points()[theirs[i]].channels
            assert c is not None and d is not None  # of stage maps they are fixed
            self.projections[str(i)] = nn.Conv2d(c, d, 1, bias=False)

    def forward(
        self, rgb: Tensor, x: Tensor, label: Tensor, shown: Shown | None = None, scene: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor], dict[str, Tensor]]:
        """(logits on half the grid, auxiliary losses, scores of side heads, distillation losses) of normalised inputs.

        Args:
            label: (B, H, W). scene: (B,) types, of a joint model.
        """
        if shown is None or not self.probes:
            logits, auxiliary, sides = losses(self.model, rgb, x, label, self.auxiliary, step=2, scene=scene)
            found = {} if shown is None else {"logits": logit_loss(logits, shown.logits, self.temperature)}
            return logits, auxiliary, sides, found
        with probe(self.model, *self.probes.values(), detach=False, clone=False, trace=True) as seen:
            logits, auxiliary, sides = losses(self.model, rgb, x, label, self.auxiliary, step=2, scene=scene)
        pairs = [(self.projections[str(i)](seen[name]), shown.features[i]) for i, name in self.probes.items()]
        found = {"features": torch.stack([feature_loss(mine, theirs) for mine, theirs in pairs]).mean()}
        return logits, auxiliary, sides, found | {"logits": logit_loss(logits, shown.logits, self.temperature)}


def logit_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean over pixels of KL(teacher || student) at temperature T.

    Args:
        student: logits (B, K, h, w). teacher: logits (B, K, H, W), resized bilinearly to the student's grid.

    >>> float(logit_loss(torch.ones(1, 2, 1, 1), torch.ones(1, 2, 1, 1), 4.0))
    0.0
    """
    teacher = _resized(teacher, student)
    mine, theirs = ((v.float() / temperature).log_softmax(1) for v in (student, teacher))
    divergence = F.kl_div(mine, theirs, log_target=True, reduction="none").sum(1)  # (B, h, w)
    return temperature**2 * divergence.mean()


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """||student - teacher||^2 / ||teacher||^2 of (B, C, h, w), the teacher's resized bilinearly to the student's."""
    teacher = _resized(teacher.float(), student)
    return (student.float() - teacher).square().sum() / teacher.square().sum().clamp(min=1e-12)


def _resized(value: Tensor, like: Tensor) -> Tensor:
    if value.shape[-2:] == like.shape[-2:]:
        return value
    return F.interpolate(value, size=like.shape[-2:], mode="bilinear", align_corners=False)
