"""SegFormer's all-MLP decoder, as CMX, CMNeXt, TokenFusion and GeminiFusion end in it.

Paper: Xie et al., "SegFormer", NeurIPS 2021, arXiv 2105.15203. Written here from the equations.

    u_i = enlarge(P_i f_i)   to the finest map's size, bilinear, align_corners=False;  P_i linear, C_i -> E
    out = ReLU(BN(conv1x1 [u_4; u_3; u_2; u_1]));   scores = conv1x1(dropout out)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import to_map, to_tokens
from fusionzoo.probes.point import Probe

__all__ = ["SegFormerHead"]


class SegFormerHead(nn.Module):
    """Maps of several scales -> class scores at the finest one's size.

    Args:
        channels: of the maps, finest first.
        num_classes: K.
        width: E.
        bias: whether the 1x1 convolution before the batch norm has one.
        eps: of the batch norm.
        dropout: share of channels that training drops before the scores.
        modality: of the probe `out`; "" where both streams pass at once, as one batch.

    >>> head = SegFormerHead((8, 16), num_classes=5, width=4)
    >>> head([torch.zeros(1, 8, 6, 7), torch.zeros(1, 16, 3, 4)]).shape
    torch.Size([1, 5, 6, 7])
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        width: int = 256,
        *,
        bias: bool = False,
        eps: float = 1e-5,
        dropout: float = 0.1,
        modality: str = "fused",
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.join = nn.Conv2d(width * len(channels), width, 1, bias=bias)
        self.bn = nn.BatchNorm2d(width, eps=eps)
        self.out = Probe(width, role="output", modality=modality, low=0.0, meaning="decoder's last feature")
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, 1)
        nn.init.kaiming_normal_(self.join.weight, nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.01)
        for conv in (self.join, self.classify):
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i), finest first -> (B, K, H_1, W_1)."""
        if len(features) != len(self.project):
            raise InputError(f"{len(features)} maps given, this decoder was built for {len(self.project)}")
        size = features[0].shape[-2:]
        maps = []
        for layer, feature in zip(self.project, features, strict=True):
            small = to_map(layer(to_tokens(feature)), (feature.shape[2], feature.shape[3]))
            same = small.shape[-2:] == size
            maps.append(small if same else F.interpolate(small, size=size, mode="bilinear", align_corners=False))
        out = self.out(self.bn(self.join(torch.cat(maps[::-1], dim=1))).relu())
        return self.classify(self.dropout(out))
