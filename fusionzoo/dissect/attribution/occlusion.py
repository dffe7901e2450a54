"""Region occlusion over both inputs: windows that overlap, put out in rgb, in x, and in both at once.

With F the mean logit of a class (gradients.py): what a window is worth is F as it is minus F without it. Its
interaction, F(as it is) - F(without its rgb) - F(without its x) + F(without both), is above 0 where both together give
more than the sum of what each gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionzoo.dissect.attribution.gradients import baselines, class_score, one_image
from fusionzoo.errors import InputError, check_known
from fusionzoo.models.labels import evaluating

__all__ = ["Occlusion", "occlude"]

KINDS = ("rgb", "x", "both", "interaction")


@dataclass(frozen=True)
class Occlusion:
    """Per window what the score loses without its rgb, its x, both, and their interaction.

    Attributes:
        rgb, x, both: (N, M) losses of the windows, whose top left corners are at `tops` and `lefts`.
        score: of the image as it is. window: (height, width). size: (H, W) of the image.
    """

    rgb: Tensor
    x: Tensor
    both: Tensor
    score: float
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    window: tuple[int, int]
    size: tuple[int, int]

    @property
    def interaction(self) -> Tensor:
        """(N, M): above 0 where both together give more than the sum of what each gives."""
        return self.rgb + self.x - self.both

    def map(self, kind: str) -> Tensor:
        """(H, W): at each pixel the mean over the windows that cover it, of "rgb", "x", "both" or "interaction"."""
        check_known("map", kind, KINDS)
        values: Tensor = getattr(self, kind)
        total, count = torch.zeros(self.size), torch.zeros(self.size)
        for i, top in enumerate(self.tops):
            for j, left in enumerate(self.lefts):
                part = (slice(top, top + self.window[0]), slice(left, left + self.window[1]))
                total[part] += values[i, j]
                count[part] += 1
        return total / count


def occlude(
    model: nn.Module,
    rgb: Tensor,
    x: Tensor,
    target: int | str,
    *,
    window: int = 32,
    stride: int | None = None,
    absence: str = "mean",
    where: Tensor | None = None,
    batch_size: int = 16,
) -> Occlusion:
    """What the score of a class loses without each window of rgb, of x, and of both.

    Args:
        model, rgb, x, target, absence, where: as for `attribute`; a window gets the values of the absence policy.
        window: its height and width, in pixels.
        stride: from one to the next, half a window by default; the last one ends with the image.
        batch_size: images in one forward pass.

    Raises:
        UnknownNameError, InputError: as for `attribute`; a window that is larger than the image, or a stride beyond it.

    >>> from fusionzoo import create_model
    >>> model = create_model("concat_mobilenetv1-025_fpn", num_classes=3)
    >>> everywhere = torch.ones(64, 64).bool()
    >>> found = occlude(model, torch.randn(3, 64, 64), torch.randn(1, 64, 64), 0, where=everywhere)
    >>> found.tops, found.interaction.shape, found.map("x").shape
    ((0, 16, 32), torch.Size([3, 3]), torch.Size([64, 64]))
    """
    pair = one_image(rgb, x)
    size = (int(pair[0].shape[2]), int(pair[0].shape[3]))
    step = max(1, window // 2) if stride is None else stride
    if not 1 <= window <= min(size) or not 1 <= step <= window or batch_size < 1:
        raise InputError(
            f"window {window} and stride {step}: the window must fit into {size[0]} x {size[1]}, the stride lie in 1 to"
            " window, so that no pixel is left out"
        )
    tops, lefts = (_starts(n, window, step) for n in size)
    absent = baselines(model, pair[0], pair[1], absence)
    jobs = [(kind, top, left) for kind in KINDS[:3] for top in tops for left in lefts]
    losses = torch.zeros(len(jobs))
    with evaluating(model):
        score = class_score(model, pair[0], pair[1], target, where)
        whole = float(score(model(*pair)))
        for i in range(0, len(jobs), batch_size):
            part = jobs[i : i + batch_size]
            made = [v.repeat(len(part), 1, 1, 1) for v in pair]
            for j, (kind, top, left) in enumerate(part):
                hole = (slice(None), slice(top, top + window), slice(left, left + window))
                for stream in (0, 1):
                    if kind in (KINDS[stream], "both"):
                        made[stream][j][hole] = absent[stream][0][hole]
            losses[i : i + len(part)] = (whole - score(model(*made)).double()).float().cpu()
    grids = losses.view(3, len(tops), len(lefts))
    return Occlusion(grids[0], grids[1], grids[2], whole, tops, lefts, (window, window), size)


def _starts(length: int, window: int, step: int) -> tuple[int, ...]:
    """Where windows begin; the last ends with the image.

    >>> _starts(70, 32, 16), _starts(32, 32, 16)
    ((0, 16, 32, 38), (0,))
    """
    return tuple(dict.fromkeys([*range(0, length - window, step), length - window]))
