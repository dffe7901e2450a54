"""The smallest models that an exporter can go wrong with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.models import FusionModel
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes import Probe
from fusionzoo.tasks import CLASSIFICATION


class Tiny(FusionModel):
    """Two convolutions, a sum with a probe, a third convolution, class scores at stride 4."""

    stride = 4
    architecture = "tiny"

    def __init__(self, num_classes: int = 3, x_channels: int = 1, preprocess: Preprocess | None = None) -> None:
        super().__init__(num_classes, x_channels, preprocess)
        self.of_rgb = nn.Conv2d(3, 8, 3, 2, 1)
        self.of_x = nn.Conv2d(x_channels, 8, 3, 2, 1)
        self.fused = Probe(8, meaning="sum of both")
        self.down = nn.Conv2d(8, 8, 3, 2, 1)
        self.logits = Probe(num_classes)
        self.head = nn.Conv2d(8, num_classes, 1)

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.logits(self.head(self.down(self.fused(self.of_rgb(rgb).relu() + self.of_x(x).relu())).relu()))


class OneSize(Tiny):
    """Looks at its size: a graph of it holds for that size alone."""

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return super().scores(rgb, x) * (2.0 if rgb.shape[-1] % 3 == 0 else 1.0)


class Whole(Tiny):
    """One class of a whole image."""

    task = CLASSIFICATION

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return super().scores(rgb, x).mean((2, 3), keepdim=True)


class Looks(Tiny):
    """Looks at its input's values: no graph holds that."""

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return super().scores(rgb, x if float(x.mean()) > 0 else -x)


def tiny(kind: type[Tiny] = Tiny, **options: int) -> Tiny:
    """One with weights large enough that classes differ."""
    torch.manual_seed(0)
    model = kind(**options).eval()
    for part in (model.down, model.head):
        nn.init.normal_(part.weight, std=0.5)
    return model
