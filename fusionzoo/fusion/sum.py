"""Sum: fused = rgb + x. The oldest strategy (FuseNet, RTFNet and RedNet add x into RGB); no parameters.

Here the streams stay untouched (interaction "none"); the injecting forms carry the names of their papers.
"""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions


@fusions.register("sum")
class Sum(FusionBlock):
    """fused = rgb + x, element by element.

    >>> import torch
    >>> float(Sum(1)(torch.ones(1, 1, 1, 1), 2 * torch.ones(1, 1, 1, 1)).fused)
    3.0
    """

    family = "concat"

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        return Fused(rgb, x, rgb + x)
