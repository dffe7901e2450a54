"""Receptive fields of probe points, per modality: what a unit could see, and from where its gradient really comes.

* Theoretical: the pixels that the unit in the middle depends on by the strides, kernels and paddings on its way
  (extent.py): r = 1 + sum (k_i - 1) prod_{j < i} s_j along a stack of convolutions.
* Effective (Luo et al. 2016): the squared gradient of that unit with respect to each pixel, mean over images and over
  signs drawn for its channels; the radius around its centre of mass that holds 95 % of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionzoo.dissect.attribution.extent import Extent, extents
from fusionzoo.dissect.conditions import unwrapped
from fusionzoo.errors import InputError
from fusionzoo.models.labels import evaluating
from fusionzoo.probes import listen, select

__all__ = ["HELD", "ReceptiveField", "receptive_field"]

HELD = 0.95
"""Share of the squared gradient within the effective radius."""


@dataclass(frozen=True)
class ReceptiveField:
    """What the unit in the middle of a map sees of one modality.

    Attributes:
        theoretical: rows and columns of pixels that it can depend on, (0, 0) for a modality that it does not read;
            None where it is the whole image, or not known.
        radius: pixels around the centre that hold 95 % of its squared gradient; None where the gradient is zero.
        spread: standard deviation of the squared gradient along rows and columns, in pixels.
        whole: the operations on the way that read more than a window ("Mean" over positions, "Bmm" of attention), or
            of which it is not known ("View", which may lay out a map as tokens).
    """

    theoretical: tuple[int, int] | None
    radius: float | None
    spread: tuple[float, float] | None
    whole: tuple[str, ...] = ()


def receptive_field(
    model: nn.Module,
    points: str | Sequence[str] | None = None,
    *,
    inputs: Sequence[Tensor] | None = None,
    size: tuple[int, int] = (256, 256),
    images: int = 4,
    seed: int = 0,
) -> dict[str, dict[str, ReceptiveField]]:
    """Receptive fields of probe points, theoretical and effective, in each modality.

    Args:
        model: a FusionModel; it runs in eval mode on the device where it is.
        points: probe names or patterns whose values are maps; by default those of all stages.
        inputs: normalised images, one (B, C, H, W) a modality; by default `images` of normal noise of `size`. A field
            that is wider than the image is cut: the effective one is then too small.
        seed: of the noise, and of the signs with which a unit's channels are added up.

    Returns:
        Probe name -> modality -> field, in pixels of the input.

    Raises:
        UnknownNameError: a pattern that matches no probe. InputError: a chosen probe's value is no map (B, C, h, w).

    >>> from fusionzoo import create_model
    >>> model = create_model("concat_mobilenetv1-025_fpn", num_classes=3)
    >>> fields = receptive_field(model, "stage2.rgb", size=(64, 64), images=1)["stage2.rgb"]
    >>> fields["rgb"].theoretical, fields["depth"].theoretical
    ((19, 19), (0, 0))
    """
    plain = unwrapped(model)
    if points is None:
        points = [p for at in plain.levels.values() for p in at.values()]
    names = list(select(model, (points,) if isinstance(points, str) else tuple(points)))
    given = _inputs(model, inputs, size, images, seed)
    leaves = {name: value.clone().requires_grad_() for name, value in zip(plain.modalities, given, strict=True)}
    values: dict[str, Tensor] = {}
    with evaluating(model), torch.enable_grad():
        with listen(model, dict.fromkeys(names, values.__setitem__)):
            model(*leaves.values())
        odd = [name for name in names if values[name].ndim != 4]
        if odd:
            raise InputError(
                f"{odd[0]} passes {tuple(values[odd[0]].shape)}: a receptive field is of a map (B, C, h, w)"
            )
        drawn = torch.Generator().manual_seed(seed)
        return {name: _fields(values[name], leaves, drawn) for name in names}


def _inputs(
    model: nn.Module, inputs: Sequence[Tensor] | None, size: tuple[int, int], images: int, seed: int
) -> list[Tensor]:
    plain, like = unwrapped(model), next(model.parameters())
    if inputs is not None:
        if len(inputs) != len(plain.modalities):
            raise InputError(f"the model reads {', '.join(plain.modalities)}: give one tensor each, not {len(inputs)}")
        return [value.detach().to(like) for value in inputs]
    if len(plain.modalities) != 2 or images < 1:
        raise InputError(
            f"give inputs, one (B, C, H, W) for each of {', '.join(plain.modalities)}, and 1 image or more"
        )
    drawn = torch.Generator().manual_seed(seed)
    return [torch.randn(images, c, *size, generator=drawn).to(like) for c in (3, plain.x_channels)]


def _fields(value: Tensor, leaves: Mapping[str, Tensor], drawn: torch.Generator) -> dict[str, ReceptiveField]:
    row, column = value.shape[2] // 2, value.shape[3] // 2
    extent, whole = extents(value, (row, column), leaves)
    signs = (torch.randint(0, 2, value.shape[:2], generator=drawn) * 2 - 1).to(value)
    unit = (value[:, :, row, column] * signs).sum()
    gradients: Sequence[Tensor | None] = [None] * len(leaves)
    if unit.requires_grad:
        gradients = torch.autograd.grad(unit, list(leaves.values()), retain_graph=True, allow_unused=True)
    return {
        name: _field(extent.get(name, ((0, -1), (0, -1))), gradient, tuple(whole))
        for name, gradient in zip(leaves, gradients, strict=True)
    }


def _field(extent: Extent | None, gradient: Tensor | None, whole: tuple[str, ...]) -> ReceptiveField:
    seen = None if extent is None else (extent[0][1] - extent[0][0] + 1, extent[1][1] - extent[1][0] + 1)
    whole = whole if extent is None else ()
    energy = None if gradient is None else gradient.detach().double().square().sum((0, 1)).cpu()  # (H, W)
    if energy is None or not float(energy.sum()):
        return ReceptiveField(seen, None, None, whole)
    share = energy / energy.sum()
    place = [torch.arange(n, dtype=torch.float64) for n in share.shape]
    along = [share.sum(1), share.sum(0)]
    centre = [float((w * p).sum()) for w, p in zip(along, place, strict=True)]
    spread = [float((w * (p - c).square()).sum()) ** 0.5 for w, p, c in zip(along, place, centre, strict=True)]
    far = ((place[0] - centre[0])[:, None].square() + (place[1] - centre[1]).square()).sqrt().flatten()
    far, order = far.sort()
    held = share.flatten()[order].cumsum(0)
    return ReceptiveField(seen, float(far[int((held < HELD).sum())]), (spread[0], spread[1]), whole)
