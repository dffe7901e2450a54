"""CMX: rectify each modality by the other (FRM), then fuse through exchanged channel contexts (FFM).

Paper: Zhang et al., "CMX: Cross-Modal Fusion for RGB-X Semantic Segmentation with Transformers", IEEE T-ITS 2023, arXiv
2203.04838. Origin: github.com/huaaaliu/RGBX_Semantic_Segmentation (MIT); written here from the equations.

FRM, f = [rgb; x] (2C channels), lc = ls = 0.5:
    w = sigmoid(W2 ReLU(W1 [GAP f; GMP f])) -> w_0, w_1 in R^C
    m = sigmoid(conv1x1 ReLU conv1x1 f) -> m_0, m_1 per pixel
    rgb' = rgb + lc w_1 * x + ls m_1 * x,   x' = x + lc w_0 * rgb + ls m_0 * rgb    (index 1 goes with the RGB output)
    parameters 26 C^2 + 9 C + 2

FFM, tokens, i in {rgb, x}, j the other one, h heads of c = C / h channels:
    [y_i, u_i] = split(ReLU(W_i m_i)),  k_i, v_i = split(K_i u_i)
    ctx_i = softmax over key channels of k_i^T v_i / sqrt(c)
    o_i = LN(m_i + E_i [y_i; u_i ctx_j])            a c x c context per head, no N x N map; queries are u_i themselves
    fused = BN(R z + BN(conv1x1 ReLU dw3x3 conv1x1 z)),  z = [o_rgb; o_x]
    parameters 17 C^2 + 26 C

Differs: initialisation. The original draws the spatial gate's last layer with standard deviation 1, which saturates it
from the start; here both gates start near one half and move with the input. The logits of the contexts grow with the
number of pixels: K_i starts so small that they are about 0.7 on a 320 x 480 image. `original_init` asks for the
original's values.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.fusion._mit import mit_init_
from fusionzoo.fusion._parts import gate_init_, gate_probe, require_divisible, to_map, to_tokens
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["CMX", "FeatureFusion", "FeatureRectify"]


class FeatureRectify(nn.Module):
    """FRM: (rgb, x), each (B, C, H, W) -> both rectified, same shapes.

    Args:
        channels: C.
        reduction: of both hidden layers.
        lambda_c, lambda_s: weights of the channel and of the spatial gate.

    >>> sum(p.numel() for p in FeatureRectify(64).parameters())
    107074
    """

    def __init__(self, channels: int, reduction: int = 1, lambda_c: float = 0.5, lambda_s: float = 0.5) -> None:
        super().__init__()
        self.lambda_c, self.lambda_s = lambda_c, lambda_s
        self.channel = nn.Sequential(
            nn.Linear(4 * channels, 4 * channels // reduction),
            nn.ReLU(),
            nn.Linear(4 * channels // reduction, 2 * channels),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(2 * channels, channels // reduction, 1), nn.ReLU(), nn.Conv2d(channels // reduction, 2, 1)
        )
        gate_init_(self.channel[0], self.channel[2], self.spatial[0], self.spatial[2])
        told = "how much of RGB goes into x (0), of x into RGB (1), by"
        self.channel_gate = gate_probe(2, "", f"{told} channel", "B 2 channels")
        self.spatial_gate = gate_probe(2, "", f"{told} pixel")

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([rgb, x], dim=1)  # (B, 2C, H, W)
        pooled = torch.cat([both.mean((2, 3)), both.amax((2, 3))], dim=1)  # (B, 4C)
        w = self.channel_gate(self.channel(pooled).sigmoid().unflatten(1, (2, -1)))  # (B, 2, C)
        m = self.spatial_gate(self.spatial(both).sigmoid())  # (B, 2, H, W)
        into_x, into_rgb = (
            self.lambda_c * w[:, i, :, None, None] + self.lambda_s * m[:, i : i + 1] for i in (0, 1)
        )  # (B, C, H, W) each
        return torch.addcmul(rgb, into_rgb, x), torch.addcmul(x, into_x, rgb)


class _Half(nn.Module):
    """One stream's layers of the FFM's cross path."""

    def __init__(self, channels: int, width: int, modality: str) -> None:
        super().__init__()
        self.split = nn.Linear(channels, 2 * width)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.end = nn.Linear(2 * width, channels)
        self.norm = nn.LayerNorm(channels)
        told = "y: the part that stays in its stream", "u: the part that meets the other"
        self.kept = Probe(width, role="kept", modality=modality, meaning=told[0], low=0.0)
        self.crossing = Probe(width, role="crossing", modality=modality, meaning=told[1], low=0.0)
        self.context = Probe(
            None, role="attention", modality=modality, low=0.0, high=1.0, sums_to_one=2, axes="B heads c c",
            meaning="this stream's key channels x value channels; each column sums to 1",
        )  # fmt: skip
        read = "a: u read through the context of " + {"rgb": "x", "x": "RGB"}[modality]
        self.attended = Probe(width, role="attended", modality=modality, meaning=read, low=0.0)
        self.joined = Probe(channels, role="joined", modality=modality, meaning="o: the stream after the exchange")


@torch.no_grad()
def _embed_init_(layers: nn.Module) -> None:
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in")
            if layer.bias is not None:
                layer.bias.zero_()


class FeatureFusion(nn.Module):
    """FFM: (rgb, x), each (B, C, H, W) -> fused (B, C, H, W).

    Args:
        channels: C, divisible by heads.
        heads: h; the original uses 1, 2, 5, 8 for 64, 128, 320, 512 channels.
        reduction: of the cross path's width and of the embedding's hidden layer.
        pixels: H W of the maps on which the contexts shall start neither flat nor with one channel alone.

    >>> sum(p.numel() for p in FeatureFusion(64).parameters())
    71296
    """

    def __init__(self, channels: int, heads: int = 1, reduction: int = 1, pixels: int = 2400) -> None:
        super().__init__()
        width = channels // reduction
        require_divisible(width, heads, "heads")
        self.heads = heads
        self.rgb = _Half(channels, width, "rgb")
        self.x = _Half(channels, width, "x")
        with torch.no_grad():
            for half in (self.rgb, self.x):
                half.key_value.weight.mul_((300 / pixels) ** 0.5)  # as drawn, the logits are about 0.7 at 300 pixels
        self.residual = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.embed = nn.Sequential(
            nn.Conv2d(2 * channels, width, 1),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.norm = nn.BatchNorm2d(channels)
        _embed_init_(self.residual)
        _embed_init_(self.embed)

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        size = (rgb.shape[2], rgb.shape[3])
        tokens = to_tokens(rgb), to_tokens(x)  # (B, N, C) each
        halves = self.rgb, self.x
        kept, crossing, context = zip(
            *(self._read(half, t, size) for half, t in zip(halves, tokens, strict=True)), strict=True
        )
        joined = []
        for i, half in enumerate(halves):
            heads = rearrange(crossing[i], "b n (heads c) -> b heads n c", heads=self.heads)
            a = rearrange(heads @ context[1 - i], "b heads n c -> b n (heads c)")
            a = to_tokens(half.attended(to_map(a, size)))
            o = half.norm(tokens[i] + half.end(torch.cat([kept[i], a], dim=2)))
            joined.append(half.joined(to_map(o, size)))
        z = torch.cat(joined, dim=1)  # (B, 2C, H, W)
        return self.norm(self.residual(z) + self.embed(z))

    def _read(self, half: _Half, tokens: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        y, u = half.split(tokens).relu().chunk(2, dim=2)
        y, u = to_tokens(half.kept(to_map(y, size))), to_tokens(half.crossing(to_map(u, size)))
        k, v = rearrange(half.key_value(u), "b n (two heads c) -> two b heads n c", two=2, heads=self.heads)
        scores = (k.transpose(2, 3) @ v) * k.shape[3] ** -0.5  # (B, h, c, c)
        return y, u, half.context(scores.softmax(dim=2))


@fusions.register("cmx")
class CMX(FusionBlock):
    """FRM for the streams, FFM of the rectified features for the decoder.

    Args:
        channels: C.
        heads: of the FFM; None takes C // 64 where that divides C (1, 2, 5, 8 at the original's widths), else 1.
        original_init: SegFormer's initialisation, as published: about half of the spatial gate starts at a bound.

    >>> sum(p.numel() for p in CMX(64).parameters()) == 107074 + 71296
    True
    """

    interaction = "exchange"
    family = "cross-modal"
    paper = "Zhang et al., CMX (T-ITS 2023), arXiv 2203.04838"
    licence = "MIT (ours, from the equations); original: MIT"

    def __init__(self, channels: int, *, heads: int | None = None, original_init: bool = False, **place: int) -> None:
        super().__init__(channels, **place)
        self.rectify = FeatureRectify(channels)
        self.fusion = FeatureFusion(channels, heads or default_heads(channels), pixels=pixels_at(self.level))
        if original_init:
            mit_init_(self)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        rgb, x = self.rectify(rgb, x)
        return Fused(rgb, x, self.fusion(rgb, x))


def pixels_at(stage: int) -> int:
    """Pixels of a 320 x 480 image's map at `stage`, whose stride is 2 ** stage.

    >>> [pixels_at(stage) for stage in (1, 3, 5)]
    [38400, 2400, 150]
    """
    return (320 * 480) >> (2 * stage)


def default_heads(channels: int) -> int:
    """One head for each 64 channels: 1, 2, 5, 8 for 64, 128, 320, 512; 1 where 64 does not divide.

    >>> [default_heads(c) for c in (32, 64, 128, 320, 512)]
    [1, 1, 2, 5, 8]
    """
    return channels // 64 if channels >= 64 and channels % 64 == 0 else 1
