"""A small two-input network with probes, and a plain loop that says what must pass each of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.probes import Probe


class Twin(nn.Module):
    """Two levels of two convolutions and a sum; a probe before an in-place ReLU, as in real encoders."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb_conv = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)])
        self.x_conv = nn.ModuleList([nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)])
        self.stage1 = nn.ModuleDict({name: Probe(4, modality=name) for name in ("rgb", "x", "fused")})
        self.stage2 = nn.ModuleDict({name: Probe(4, modality=name) for name in ("rgb", "x", "fused")})
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Conv2d(4, 5, 1)

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        for conv_rgb, conv_x, stage in zip(self.rgb_conv, self.x_conv, (self.stage1, self.stage2), strict=True):
            rgb = self.relu(stage["rgb"](conv_rgb(rgb)))
            x = self.relu(stage["x"](conv_x(x)))
            fused = stage["fused"](rgb + x)
            rgb = fused
        return self.head(fused)


NAMES = ["stage1.rgb", "stage1.x", "stage1.fused", "stage2.rgb", "stage2.x", "stage2.fused"]


@torch.no_grad()
def by_hand(net: Twin, rgb: Tensor, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """(what passes each probe, logits), with functional calls only: no probes, nothing in place."""
    seen: dict[str, Tensor] = {}
    for i in range(2):
        a = nn.functional.conv2d(rgb, net.rgb_conv[i].weight, net.rgb_conv[i].bias, padding=1)
        b = nn.functional.conv2d(x, net.x_conv[i].weight, net.x_conv[i].bias, padding=1)
        rgb, x = a.clamp(min=0), b.clamp(min=0)
        fused = rgb + x
        seen |= {f"stage{i + 1}.rgb": a, f"stage{i + 1}.x": b, f"stage{i + 1}.fused": fused}
        rgb = fused
    return seen, nn.functional.conv2d(fused, net.head.weight, net.head.bias)


def twin(batch: int = 3) -> tuple[Twin, Tensor, Tensor]:
    """(network in eval mode, rgb (B, 3, 6, 7), x (B, 1, 6, 7)), the same for each call."""
    torch.manual_seed(0)
    return Twin().eval(), torch.randn(batch, 3, 6, 7), torch.randn(batch, 1, 6, 7)
