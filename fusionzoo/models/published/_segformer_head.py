"""SegFormer's all-MLP decoder, as CMX, CMNeXt, TokenFusion and GeminiFusion end in it.

Paper: Xie et al., "SegFormer", NeurIPS 2021, arXiv 2105.15203. Written here from the equations.

    u_i = enlarge(P_i f_i)   to the finest map's size, bilinear, align_corners=False;  P_i linear, C_i -> E
    out = ReLU(BN(conv1x1 [u_4; u_3; u_2; u_1]));   scores = conv1x1(dropout out)

Computed as sum_i enlarge(J_i P_i f_i), J_i the part of the 1x1 convolution that reads u_i: enlarging weighs each value
by numbers that sum to 1, so it commutes with a linear map of the channels. That is the same function with a fraction of
the original's arithmetic, whose convolution of 4 E channels runs at the finest size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError
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

    >>> import torch
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
        weights = self.join.weight.flatten(1).chunk(len(features), dim=1)[::-1]  # J_i, (E, E) each
        joined: Tensor | None = None  # added up as they come: no more than two maps of the finest size at a time
        for layer, weight, feature in zip(self.project, weights, features, strict=True):
            assert isinstance(layer, nn.Linear)
            kernel = (weight @ layer.weight)[:, :, None, None]
            small = F.conv2d(feature, kernel, weight @ layer.bias)  # (B, E, H_i, W_i)
            if small.shape[-2:] != size:
                small = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
            joined = small if joined is None else joined + small
        assert joined is not None
        if self.join.bias is not None:
            joined = joined + self.join.bias.view(-1, 1, 1)
        out = self.out(self.bn(joined).relu())
        return self.classify(self.dropout(out))
