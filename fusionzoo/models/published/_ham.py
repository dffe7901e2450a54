"""The LightHam decoder of DFormer and DFormerv2: three maps joined at stride 8, global context by a factorisation.

Papers: Geng et al., "Is Attention Better Than Matrix Decomposition?", ICLR 2021, arXiv 2109.04553 (Hamburger); Guo et
al., "SegNeXt", NeurIPS 2022, arXiv 2209.08575 (the light form). Updates: Lee and Seung, "Algorithms for Non-negative
Matrix Factorization", NIPS 2000. Written here from the equations.

    s    = ReLU BN(conv1x1 [f3; up f4; up f5])                      512, bilinear to f3's size, no bias
    X    = ReLU(conv1x1 s) as (D, N): D = 512 channels, N pixels, nothing negative
    X   ~= V C^T, V (D, R), C (N, R), R = 64:   C0 = softmax_R(X^T V0), then 7 times (6 in training)
             C <- C * (X^T V) / (C V^T V + e),  V <- V * (X C) / (V C^T C + e);   last C once more;  e = 1e-6
    out  = ReLU BN(conv1x1 ReLU(s + BN(conv1x1 V C^T)));  scores = conv1x1 dropout out

Differs: the bases V0. The originals draw new ones for every image at every call, in evaluation too, so their
predictions never repeat. Here one draw serves for all images and calls: it is a constant, and a seed names it.
`random_bases` is the published way.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.probes.point import Probe

__all__ = ["Factorise", "HamDecoder", "draw_bases"]

WIDTH = 512
RANK = 64
EPS = 1e-6


def draw_bases(seed: int, batch: int = 1, channels: int = WIDTH, rank: int = RANK) -> Tensor:
    """Uniform numbers in [0, 1), each basis of Euclidean length 1: (batch, channels, rank). NumPy's frozen generator.

    >>> draw_bases(7).shape, round(float(draw_bases(7)[0, :, 0].norm()), 6)
    (torch.Size([1, 512, 64]), 1.0)
    """
    values = np.random.RandomState(seed).rand(batch, channels, rank).astype(np.float32)
    return F.normalize(torch.from_numpy(values), dim=1)


class Factorise(nn.Module):
    """X -> V C^T, the non-negative approximation of rank 64: (B, D, H, W) >= 0 -> the same shape. No parameters.

    Args:
        channels: D.
        seed: of the bases.
        random_bases: new bases for every image and call, as published; nothing repeats then.
    """

    def __init__(self, channels: int = WIDTH, seed: int = 7, random_bases: bool = False) -> None:
        super().__init__()
        self.random_bases = random_bases
        self.bases = draw_bases(seed, 1, channels)  # a constant, not a buffer: checkpoints have no place for it
        self.codes = Probe(
            RANK, role="code", modality="fused", low=0.0, meaning="C: share of each of the 64 bases in a pixel"
        )

    def forward(self, feature: Tensor) -> Tensor:
        kind, size = feature.device.type, feature.shape[-2:]
        # ratios of sums over all pixels: half precision is too coarse; the meta device has no autocast
        with nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False):
            codes, bases = self.factors(feature.float().flatten(2))
            codes = self.codes(codes.transpose(1, 2).unflatten(2, size)).flatten(2)  # (B, R, N)
            return (bases @ codes).unflatten(2, size).to(feature.dtype)

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D, N) -> C (B, N, R), V (B, D, R)."""
        if self.random_bases:
            bases = F.normalize(torch.rand(x.shape[0], x.shape[1], RANK, device=x.device), dim=1)
        else:
            bases = self.bases.to(x.device).expand(x.shape[0], -1, -1)
        codes = (x.transpose(1, 2) @ bases).softmax(dim=2)
        for _ in range(6 if self.training else 7):
            codes = self._step(codes, x.transpose(1, 2), bases)
            bases = self._step(bases, x, codes)
        return self._step(codes, x.transpose(1, 2), bases), bases

    @staticmethod
    def _step(factor: Tensor, x: Tensor, other: Tensor) -> Tensor:
        """The multiplicative update of one factor of x ~= factor other^T; the error never grows."""
        return factor * (x @ other) / (factor @ (other.transpose(1, 2) @ other) + EPS)


def _conv_norm(inp: int, out: int, eps: float) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inp, out, 1, bias=False), nn.BatchNorm2d(out, eps=eps))


class HamDecoder(nn.Module):
    """Maps of strides 8, 16, 32 -> class scores at stride 8.

    Args:
        channels: of the three maps.
        num_classes: K.
        out_channels: of the last feature.
        norm_eps: of the batch norms; the published 1e-3.
        seed, random_bases: see Factorise.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        out_channels: int = WIDTH,
        norm_eps: float = 1e-3,
        seed: int = 7,
        random_bases: bool = False,
    ) -> None:
        super().__init__()
        self.squeeze = _conv_norm(sum(channels), WIDTH, norm_eps)
        self.ham_in = nn.Conv2d(WIDTH, WIDTH, 1)
        self.ham = Factorise(WIDTH, seed, random_bases)
        self.ham_out = _conv_norm(WIDTH, WIDTH, norm_eps)
        self.align = _conv_norm(WIDTH, out_channels, norm_eps)
        self.drop = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(out_channels, num_classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(self.classify.weight, std=0.01)
        self.squeezed = Probe(WIDTH, role="feature", modality="fused", low=0.0, meaning="s: the three maps joined")
        self.context = Probe(WIDTH, role="context", modality="fused", low=0.0, meaning="s with the factorised context")
        self.out = Probe(out_channels, role="output", modality="fused", low=0.0, meaning="decoder's last feature")

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = features[0].shape[-2:]
        same = [F.interpolate(f, size=size, mode="bilinear", align_corners=False) for f in features]
        s = self.squeezed(self.squeeze(torch.cat(same, dim=1)).relu())
        seen = self.ham_out(self.ham(self.ham_in(s).relu()))
        context = self.context((s + seen).relu())
        return self.classify(self.drop(self.out(self.align(context).relu())))
