"""Gradient attribution for both inputs of a prediction: gradient x input, and integrated gradients.

F is the mean logit of a class over the pixels that are predicted as it. With z = (rgb, x) after normalisation and z0
the absence policy's baseline for both:

* gradient x input: (z - z0) dF/dz at z.
* integrated gradients (Sundararajan et al. 2017): (z - z0) times the mean of dF/dz along the straight path from z0 to
  z, by the midpoint rule. They add up to F(z) - F(z0) over both inputs; `residual` is what is missing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionzoo.dissect.conditions import OF_ONE, check_policy, substitute, unwrapped
from fusionzoo.errors import InputError, check_known
from fusionzoo.models.labels import evaluating

__all__ = ["METHODS", "Attribution", "Score", "attribute", "baselines", "class_number", "class_score", "one_image"]

METHODS = ("integrated", "gradient_x_input")

Score = Callable[[Tensor], Tensor]
"""Logits (B, K, H, W) -> (B,)."""


@dataclass(frozen=True)
class Attribution:
    """What each value of both inputs gives to the score of a class.

    Attributes:
        rgb, x: (C, H, W), shaped like the inputs; `map` adds up the channels.
        score, baseline: F of the inputs and of the baseline.
        residual: sum of both minus (score - baseline); near 0 for integrated gradients with enough steps.
    """

    rgb: Tensor
    x: Tensor
    score: float
    baseline: float
    residual: float

    def map(self, stream: str) -> Tensor:
        """(H, W), of "rgb" or "x"."""
        check_known("input", stream, ("rgb", "x"))
        return (self.rgb if stream == "rgb" else self.x).sum(0)

    @property
    def totals(self) -> tuple[float, float]:
        """What rgb and x give in all."""
        return float(self.rgb.double().sum()), float(self.x.double().sum())


def attribute(
    model: nn.Module,
    rgb: Tensor,
    x: Tensor,
    target: int | str,
    *,
    method: str = "integrated",
    steps: int = 32,
    absence: str = "mean",
    where: Tensor | None = None,
    batch_size: int = 8,
) -> Attribution:
    """Attributes the score of a class to both inputs of one image.

    Args:
        model: a FusionModel; it runs in eval mode.
        rgb, x: (C, H, W) or (1, C, H, W), normalised by `model.preprocess`.
        target: class, by number or name.
        method: "integrated" or "gradient_x_input".
        steps: points on the path of integrated gradients.
        absence: the baseline of both inputs: "mean", "zero", "blur" or "noise", see `fusionzoo.dissect.conditions`.
        where: (H, W) bool, pixels whose logits count; by default those that are predicted as the class.
        batch_size: points of the path in one forward pass.

    Raises:
        UnknownNameError: a method, policy or class that does not exist.
        InputError: shapes; a policy that needs another image; no pixel that counts.

    >>> from fusionzoo import create_model
    >>> _ = torch.manual_seed(0)
    >>> model = create_model("concat_mobilenetv1-025_fpn", num_classes=3)
    >>> rgb, x = torch.randn(3, 64, 64), torch.randn(1, 64, 64)
    >>> found = attribute(model, rgb, x, 0, where=torch.ones(64, 64).bool(), steps=64)
    >>> found.map("x").shape, abs(found.residual) < 0.05 * abs(found.score - found.baseline) + 1e-3
    (torch.Size([64, 64]), True)
    """
    check_known("attribution", method, METHODS)
    if steps < 1 or batch_size < 1:
        raise InputError(f"steps and batch_size start at 1, got {steps} and {batch_size}")
    end = one_image(rgb, x)
    start = baselines(model, *end, absence)
    with evaluating(model):
        score = class_score(model, *end, target, where)
        high, low = (float(score(model(*pair))) for pair in (end, start))
        at = [1.0] if method == "gradient_x_input" else [(i + 0.5) / steps for i in range(steps)]
        slopes = [torch.zeros_like(v, dtype=torch.float64) for v in end]
        for i in range(0, len(at), batch_size):
            for total, more in zip(slopes, _slopes(model, start, end, at[i : i + batch_size], score), strict=True):
                total += more
    given = [(b - a).double() * s / len(at) for a, b, s in zip(start, end, slopes, strict=True)]
    residual = sum(float(g.sum()) for g in given) - (high - low)
    return Attribution(given[0][0].float(), given[1][0].float(), high, low, residual)


def _slopes(
    model: nn.Module, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], at: list[float], score: Score
) -> list[Tensor]:
    """Sum over points of the path of dF/dz, (1, C, H, W) float64 each."""
    share = torch.tensor(at, dtype=end[0].dtype, device=end[0].device).view(-1, 1, 1, 1)
    with torch.enable_grad():
        points = [(a + share * (b - a)).detach().requires_grad_() for a, b in zip(start, end, strict=True)]
        found = torch.autograd.grad(score(model(*points)).sum(), points, allow_unused=True)
    return [
        torch.zeros_like(p[:1], dtype=torch.float64) if g is None else g.double().sum(0, keepdim=True)
        for p, g in zip(points, found, strict=True)
    ]


def one_image(rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Both inputs of an image as (1, C, H, W). InputError: several images, or of different sizes."""
    pair = tuple(v[None] if v.ndim == 3 else v for v in (rgb.detach(), x.detach()))
    if any(v.ndim != 4 or len(v) != 1 for v in pair) or pair[0].shape[2:] != pair[1].shape[2:]:
        raise InputError(f"give one image, (C, H, W) each of one size, not {tuple(rgb.shape)} and {tuple(x.shape)}")
    return pair[0], pair[1]


def baselines(model: nn.Module, rgb: Tensor, x: Tensor, absence: str) -> tuple[Tensor, Tensor]:
    """What stands for both inputs (1, C, H, W) when they are absent."""
    check_policy(absence)
    if absence not in OF_ONE:
        raise InputError(f"absence {absence!r} takes another image: for one image use {', '.join(OF_ONE)}")
    preprocess = unwrapped(model).preprocess
    return substitute(absence, "rgb", rgb, [0], preprocess), substitute(absence, "x", x, [0], preprocess)


def class_number(model: nn.Module, target: int | str) -> int:
    """Number of a class given by number or name."""
    names = list(unwrapped(model).class_names)
    if isinstance(target, str):
        check_known("class", target, names)
        return names.index(target)
    if not 0 <= target < len(names):
        raise InputError(f"class {target} does not exist: the model has 0 to {len(names) - 1}")
    return target


def class_score(model: nn.Module, rgb: Tensor, x: Tensor, target: int | str, where: Tensor | None) -> Score:
    """F: mean logit of a class over `where`, or over the pixels that are predicted as it from these inputs."""
    k = class_number(model, target)
    if where is None:
        predicted = model(rgb, x)[0].argmax(0)
        where = predicted == k
        if not bool(where.any()):
            names = unwrapped(model).class_names
            seen = ", ".join(str(names[c]) for c in predicted.unique().tolist())
            raise InputError(
                f"no pixel is predicted as {names[k]!r} (but as {seen}); choose one of these, or give where"
            )
    if tuple(where.shape) != tuple(rgb.shape[2:]) or not bool(where.any()):
        raise InputError(
            f"where must be (H, W) = {tuple(rgb.shape[2:])} with a pixel that counts, got {tuple(where.shape)}"
        )
    weight = where.to(rgb) / where.sum()
    return lambda logits: (logits[:, k] * weight.to(logits)).sum((1, 2))
