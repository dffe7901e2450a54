"""DFormerv2's block: depth is no stream but a geometry prior on RGB's self-attention.

Paper: Yin et al., "DFormerv2: Geometry Self-Attention for RGBD Semantic Segmentation", CVPR 2025, arXiv 2504.04701.
Origin: github.com/VCIP-RGBD/DFormer (MIT file, while its README says "non-commercial use only"); written here from the
equations. Channels last, x (B, H, W, C); D is depth resized to (H, W).

    decay of head h: d_h = log(1 - 2^(-v - range h / heads)) < 0, v = 2; w = (w0, w1) learned, 1 at the start
    full:       bias_ij = d_h (w0 (|dy| + |dx|) + w1 |D_i - D_j|),  out = softmax(q~ k~^T + bias) v
    decomposed: the same along the rows (|dx| only), then along the columns (|dy| only), one after the other on v
    q~, k~: rotary by the pixel's row-major index, k scaled by d^-1/2 before;  y = Lin_out(out + dw5x5 v)
    block: x += dw3x3 x;  x += y(LN x);  x += FFN(LN x);  FFN: Lin, GELU, + dw3x3 skip, Lin;  LN eps 1e-6

w is all that depends on depth: two scalars a block. The first three stages are decomposed, the last one is full.

As a strategy (ours): the "depth" of a stage is conv1x1(C -> 1) of the x stream's feature; RGB carries on with the
block's output, which is also `fused`; decomposed at every stage, so memory is B heads H W (H + W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.fusion._parts import attention, drop_path, gate_init_, require_divisible
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["DFormerV2", "DFormerV2Block", "GeometryPrior", "GeometryAttention"]


class GeometryPrior(nn.Module):
    """Rotary angles and attention biases from positions and depth.

    Args:
        channels, heads: C / heads is the width of a head, even.
        start, spread: v and range of the decays.
    """

    decay: Tensor
    angle: Tensor

    def __init__(self, channels: int, heads: int, start: float = 2.0, spread: float = 4.0) -> None:
        super().__init__()
        require_divisible(channels, 2 * heads, "heads of even width")
        frequencies = 10000 ** -torch.linspace(0, 1, channels // heads // 2)
        self.register_buffer("angle", frequencies.repeat_interleave(2))  # (d,)
        powers = -start - spread * torch.arange(heads, dtype=torch.float32) / heads
        self.register_buffer("decay", torch.log(1 - 2**powers))  # (heads,)
        self.weight = nn.Parameter(torch.ones(2, 1, 1, 1))
        self.mixing = Probe(
            2, role="weight", axes="B 2", meaning="what pixel distance (0) and depth difference (1) weigh in the bias"
        )

    def rotation(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """sin and cos of index times angle, (H, W, d) each."""
        index = torch.arange(size[0] * size[1], dtype=self.angle.dtype, device=self.angle.device)
        phase = (index[:, None] * self.angle).unflatten(0, size)
        return phase.sin(), phase.cos()

    def weights(self, batch: int) -> Tensor:
        """w as (B, 2). Copies: FlopCounterMode cannot follow a view of a parameter where no gradients are kept."""
        return self.mixing(self.weight.view(1, 2).repeat(batch, 1))

    def along(self, depth: Tensor, weights: Tensor) -> Tensor:
        """Biases along the last axis of depth (B, L, S): (B, L, heads, S, S)."""
        position = torch.arange(depth.shape[2], dtype=depth.dtype, device=depth.device)
        return self._bias((position[:, None] - position).abs(), depth, weights)

    def full(self, depth: Tensor, weights: Tensor) -> Tensor:
        """Biases between all pixels of depth (B, H, W): (B, heads, HW, HW)."""
        height, width = depth.shape[1:]
        y = torch.arange(height, dtype=depth.dtype, device=depth.device)[:, None].expand(height, width).flatten()
        x = torch.arange(width, dtype=depth.dtype, device=depth.device).expand(height, width).flatten()
        distance = (y[:, None] - y).abs() + (x[:, None] - x).abs()
        return self._bias(distance, depth.flatten(1)[:, None], weights).squeeze(1)

    def _bias(self, distance: Tensor, depth: Tensor, weights: Tensor) -> Tensor:
        apart = (depth.unsqueeze(3) - depth.unsqueeze(2)).abs()  # (B, L, S, S)
        w0, w1 = weights.view(-1, 2, 1, 1, 1).unbind(1)
        return (w0 * distance + w1 * apart).unsqueeze(2) * self.decay.view(-1, 1, 1)


def rotate(value: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Rotates each pair of neighbouring channels by its angle."""
    turned = torch.stack([-value[..., 1::2], value[..., ::2]], dim=-1).flatten(-2)
    return value * cos + turned * sin


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention along each line: (B, L, S, h, d) three times, bias (B, L, h, S, S) -> (B, L, S, h, d).

    Lines are one batch: fused attention takes four dimensions, and falls back to the plain form at five.
    """
    batch = q.shape[0]
    q, k, v = (rearrange(t, "b line s heads d -> (b line) heads s d") for t in (q, k, v))
    out = attention(q, k, v, bias.flatten(0, 1).to(v.dtype), scale=1.0)
    return rearrange(out, "(b line) heads s d -> b line s heads d", b=batch)


class GeometryAttention(nn.Module):
    """(x (B, H, W, C), depth (B, H, W), prior) -> (B, H, W, C).

    Args:
        channels, heads: C and number of heads.
        decomposed: rows then columns; else between all pixels.
    """

    def __init__(self, channels: int, heads: int, decomposed: bool = True) -> None:
        super().__init__()
        require_divisible(channels, heads, "heads")
        self.heads = heads
        self.decomposed = decomposed
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.local = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.out = nn.Linear(channels, channels)
        told = "geometry bias on the scores, 0 on a pixel itself"
        if decomposed:
            self.bias_rows = Probe(None, role="bias", modality="x", meaning=told, axes="B H heads W W")
            self.bias_columns = Probe(None, role="bias", modality="x", meaning=told, axes="B W heads H H")
        else:
            self.bias = Probe(heads, role="bias", modality="x", meaning=told, axes="B C HW HW")

    def forward(self, x: Tensor, depth: Tensor, prior: GeometryPrior) -> Tensor:
        sin, cos = (t.unsqueeze(2) for t in prior.rotation((x.shape[1], x.shape[2])))  # (H, W, 1, d)
        plain = self.value(x)
        values = self.query(x), self.key(x), plain
        q, k, v = (rearrange(t, "b h w (heads d) -> b h w heads d", heads=self.heads) for t in values)
        q = rotate(q, sin, cos)
        k = rotate(k * k.shape[4] ** -0.5, sin, cos)
        weights = prior.weights(x.shape[0])
        if self.decomposed:
            rows = self.bias_rows(prior.along(depth, weights))
            columns = self.bias_columns(prior.along(depth.transpose(1, 2), weights))
            v = attend(q, k, v, rows)
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # (B, W, H, heads, d)
            seen = rearrange(attend(q, k, v, columns), "b w h heads d -> b h w (heads d)")
        else:
            bias = self.bias(prior.full(depth, weights))
            q, k, v = (rearrange(t, "b h w heads d -> b heads (h w) d") for t in (q, k, v))
            v = attention(q, k, v, bias.to(v.dtype), scale=1.0)
            seen = rearrange(v, "b heads (h w) d -> b h w (heads d)", h=x.shape[1])
        return self.out(seen + self.local(plain.movedim(3, 1)).movedim(1, 3))


class DFormerV2Block(nn.Module):
    """(x (B, H, W, C), depth (B, 1, H', W')) -> (B, H, W, C); depth is resized bilinearly.

    Args:
        channels, heads, decomposed: as of the attention.
        hidden: width of the feed-forward layer.
        start, spread: of the decays.
        scale: layer scales at the start, None for none (the original: stages 3, 4 of its larger models).
        drop: probability of stochastic depth.

    >>> sum(p.numel() for p in DFormerV2Block(64, 4, 256).parameters())
    54850
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        hidden: int,
        decomposed: bool = True,
        start: float = 2.0,
        spread: float = 4.0,
        scale: float | None = None,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.prior = GeometryPrior(channels, heads, start, spread)
        self.attention = GeometryAttention(channels, heads, decomposed)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.narrow = nn.Linear(hidden, channels)
        self.drop = drop_path(drop)
        self.scaled = scale is not None
        if scale is not None:
            self.scale1 = nn.Parameter(torch.full((1, 1, 1, channels), scale))
            self.scale2 = nn.Parameter(torch.full((1, 1, 1, channels), scale))
        self.attended = Probe(channels, role="attended", modality="rgb", meaning="output of the geometry attention")

    def forward(self, x: Tensor, depth: Tensor) -> Tensor:
        size = (x.shape[1], x.shape[2])
        depth = F.interpolate(depth, size, mode="bilinear", align_corners=False).squeeze(1)  # (B, H, W)
        x = x + self.position(x.movedim(3, 1)).movedim(1, 3)
        seen = self.attention(self.norm1(x), depth, self.prior)
        seen = self.attended(seen.movedim(3, 1)).movedim(1, 3)
        x = x + self.drop(self.scale1 * seen if self.scaled else seen)
        wide = F.gelu(self.widen(self.norm2(x)))
        out = self.narrow(wide + self.depthwise(wide.movedim(3, 1)).movedim(1, 3))
        return x + self.drop(self.scale2 * out if self.scaled else out)


@fusions.register("dformerv2")
class DFormerV2(FusionBlock):
    """One decomposed block on RGB, its depth a learned 1-channel reading of the x stream.

    Args:
        channels: C.
        heads: None takes 4 where 8 divides C, else 1.
        mlp_ratio: hidden width of the feed-forward layer over C.
    """

    interaction = "inject"
    family = "attention"
    paper = "Yin et al., DFormerv2 (CVPR 2025), arXiv 2504.04701"
    licence = "MIT (ours, from the equations); original: MIT file, README: non-commercial use only"

    def __init__(self, channels: int, *, heads: int | None = None, mlp_ratio: float = 4.0, **place: int) -> None:
        super().__init__(channels, **place)
        self.read = nn.Conv2d(channels, 1, 1)
        gate_init_(self.read)
        told = "the depth-like map that the prior is made from"
        self.geometry = Probe(1, role="geometry", modality="x", meaning=told)
        self.block = DFormerV2Block(channels, heads or (4 if channels % 8 == 0 else 1), int(channels * mlp_ratio))

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        fused = self.block(rgb.movedim(1, 3), self.geometry(self.read(x))).movedim(3, 1)
        return Fused(fused, x, fused)
