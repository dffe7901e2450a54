"""MultiMAE: one transformer over the patches of all modalities, a ConvNeXt head for segmentation.

Paper: Bachmann et al., "MultiMAE: Multi-modal Multi-task Masked Autoencoders", ECCV 2022, arXiv 2204.01678. Origin:
github.com/EPFL-VILAB/MultiMAE (CC BY-NC 4.0, weights too); written here from the paper, the equations and its sizes.

    tokens of a modality = 16x16 patches through a convolution, + fixed sine and cosine positions (bicubic to the grid)
    sequence = [rgb; x; global token], through the transformer's blocks (LN eps 1e-6), no norm after the last
    head: the tokens of `main_tasks` alone, side by side, Lin(-> 16 c), each token laid out as 4x4 pixels of c channels,
    four ConvNeXt blocks (dw 7x7, LN, Lin(c -> 4c), GELU, Lin(4c -> c), shortcut), 1x1, bilinear to the input's size

There is one token stream and no fusion block: x reaches the prediction through self-attention alone. Stage 1 holds the
tokens as embedded, stages 2 to 5 those after each quarter of the blocks, split into RGB's and x's and laid out as maps,
all of stride 16; x's after the last block are not read. A missing x is zeros, as in every model here, so that its
probes stay; `drop_missing` leaves its tokens out of the sequence instead, as published. A missing RGB, which the head
reads, is zeros either way. The positions are parameters without gradient, as in the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import attention, drop_path, require_divisible, to_map, to_tokens
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._swin import trunc_init_
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["PATCH", "SIZES", "MultiMAE"]

PATCH = 16
"""Side of a patch."""

SIZES = {"tiny": (192, 3, 3, 64, 768), "base": (768, 12, 12, 640, 6144), "large": (1024, 24, 16, 640, 6144)}
"""Name -> (width, blocks, heads, side of the image that the positions are made for, width of the head). Base is the
released model, tiny one for tests."""


def sine_positions(width: int, grid: tuple[int, int]) -> Tensor:
    """Fixed positions (1, width, *grid): sines and cosines of the row, then of the column; width a multiple of 4."""
    omega = 10000.0 ** -(torch.arange(width // 4) / (width // 4))
    row, column = (torch.outer(torch.arange(n, dtype=torch.float32), omega).T for n in grid)  # (width / 4, n)
    across = torch.cat([column.sin(), column.cos()]).unsqueeze(1).expand(-1, grid[0], -1)
    down = torch.cat([row.sin(), row.cos()]).unsqueeze(2).expand(-1, -1, grid[1])
    return torch.cat([down, across]).unsqueeze(0)


class PatchTokens(nn.Module):
    """One modality's tokens as a map: (B, Cin, H, W) -> (B, width, H/16, W/16)."""

    def __init__(self, in_channels: int, width: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, width, PATCH, stride=PATCH)
        grid = (image_size[0] // PATCH, image_size[1] // PATCH)
        self.positions = nn.Parameter(sine_positions(width, grid), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        out = self.project(image)
        return out + F.interpolate(self.positions, size=out.shape[2:], mode="bicubic", align_corners=False)


class Block(nn.Module):
    """Self-attention and a feed-forward part, LN before each: (B, N, C) -> same shape."""

    def __init__(self, width: int, heads: int, drop: float) -> None:
        super().__init__()
        require_divisible(width, heads, "heads")
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.drop = drop_path(drop)

    def forward(self, tokens: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(tokens))
        q, k, v = rearrange(qkv, "b n (three heads d) -> three b heads n d", three=3, heads=self.heads)
        seen = rearrange(attention(q, k, v), "b heads n d -> b n (heads d)")
        tokens = tokens + self.drop(self.leave(seen))
        return tokens + self.drop(self.narrow(F.gelu(self.widen(self.norm2(tokens)))))


class ConvNeXtBlock(nn.Module):
    """(B, C, H, W) -> same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, feature: Tensor) -> Tensor:
        out = self.norm(self.conv(feature).movedim(1, 3))
        return feature + self.narrow(F.gelu(self.widen(out))).movedim(3, 1)


class Decoder(nn.Module):
    """Maps of the main modalities, (B, width, h, w) each -> class scores at stride 16 / pixels."""

    def __init__(self, inp: int, width: int, pixels: int, depth: int, num_classes: int) -> None:
        super().__init__()
        self.pixels = pixels
        require_divisible(width, pixels**2, "pixels of a patch")
        channels = width // pixels**2
        self.project = nn.Linear(inp, width)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(channels) for _ in range(depth)))
        self.out = Probe(channels, role="output", modality="fused", meaning="decoder's last feature, at stride 4")
        self.classify = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        out = self.project(torch.cat(list(features), dim=1).movedim(1, 3))  # (B, h, w, pixels^2 c)
        side = self.pixels
        out = rearrange(out, "b h w (down right c) -> b c (h down) (w right)", down=side, right=side)
        return self.classify(self.out(self.blocks(out)))


class MultiMAE(FusionModel):
    """MultiMAE's encoder with the ConvNeXt head.

    Args:
        size: a name of SIZES, which gives what is None below; the names `multimae_base`, `multimae_large` fix it.
        num_classes: 40 in NYU Depth v2.
        x_channels: 1 for depth.
        preprocess: depth in metres with NYU Depth v2's mean and deviation where None. The original standardises each
            depth map by itself, with the mean and deviation of the pixels between its 10th and 90th percentile.
        width, depth, heads: of the transformer.
        image_size: (H, W) or one side, multiples of 16: the grid of the stored positions. Inputs may have any size.
        head_width, head_pixels, head_depth: width of a token in the head, pixels along a patch's side there, blocks.
        main_tasks: whose tokens the head reads, of "rgb" and "depth".
        drop: stochastic depth of the last block, rising linearly from 0 (published: 0.1).
        drop_missing: `model(rgb, None)` is `model.without_x(rgb)`; the probes of x then do not fire.

    Raises:
        InputError: sizes that do not divide, a main task that is not an input, or one that may not be dropped.
    """

    stride: ClassVar[int] = PATCH

    def __init__(
        self,
        size: str,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        image_size: int | Sequence[int] | None = None,
        head_width: int | None = None,
        head_pixels: int = 4,
        head_depth: int = 4,
        main_tasks: Sequence[str] = ("rgb",),
        drop: float = 0.0,
        drop_missing: bool = False,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess)
        usual = SIZES[size]
        width, depth, heads = width or usual[0], depth or usual[1], heads or usual[2]
        sides = usual[3] if image_size is None else image_size
        height, breadth = (sides, sides) if isinstance(sides, int) else sides
        head_width = head_width or usual[4]
        if not main_tasks or not set(main_tasks) <= {"rgb", "depth"}:
            raise InputError(f"main_tasks is {list(main_tasks)}; give 'rgb', 'depth' or both")
        if drop_missing and "depth" in main_tasks:
            raise InputError("drop_missing: the head reads depth's tokens, which cannot be left out")
        require_divisible(width, 4, "parts of a position")
        for side in (height, breadth):
            require_divisible(side, PATCH, "pixels of a patch's side")
        self.model_args |= {"width": width, "depth": depth, "heads": heads, "head_width": head_width}
        self.model_args |= {"image_size": [height, breadth]}
        self.drop_missing = drop_missing
        self.main_tasks = tuple(main_tasks)
        self.rgb_patches = PatchTokens(3, width, (height, breadth))
        self.x_patches = PatchTokens(x_channels, width, (height, breadth))
        self.global_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.trunc_normal_(self.global_token, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads, drop * i / max(1, depth - 1)) for i in range(depth))
        parts = min(4, depth)
        self._ends = {-(-depth * (i + 1) // parts): i + 2 for i in range(parts)}  # blocks so far -> stage
        for stage in range(1, parts + 2):
            setattr(self, f"stage{stage}", Stage(width, None))
        self.decoder = Decoder(width * len(main_tasks), head_width, head_pixels, head_depth, num_classes)
        trunc_init_(self)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 4")

    def _on_grid(self, rgb: Tensor | None, x: Tensor | None, step: int, sides: bool) -> list[Tensor]:
        if rgb is not None and x is None and self.drop_missing:
            return [self.without_x(rgb, step)]
        return super()._on_grid(rgb, x, step, sides)

    def without_x(self, rgb: Tensor, step: int = 1) -> Tensor:
        """Logits of RGB's tokens alone, (B, K, H, W), or on a grid `step` times coarser."""
        rgb, _ = self.inputs(rgb, None)
        height, width = rgb.shape[-2:]
        rgb = F.pad(rgb, (0, -width % PATCH, 0, -height % PATCH), mode="replicate")
        size = (rgb.shape[-2] // step, rgb.shape[-1] // step)
        out = F.interpolate(self.scores(rgb, None), size=size, mode="bilinear", align_corners=False)
        return out[..., : -(-height // step), : -(-width // step)]

    def features(self, rgb: Tensor, x: Tensor | None) -> list[Tensor]:
        """The tokens after the last block as maps (B, width, H/16, W/16): RGB's, and x's if it is there."""
        maps = [self.rgb_patches(rgb)] + ([] if x is None else [self.x_patches(x)])
        size = (maps[0].shape[2], maps[0].shape[3])
        tokens = self._watched(1, maps, self.global_token.expand(rgb.shape[0], -1, -1))
        for i, block in enumerate(self.blocks, 1):
            tokens = block(tokens)
            if (stage := self._ends.get(i)) is not None:
                count = size[0] * size[1]
                maps = [to_map(t, size) for t in tokens[:, :-1].split(count, dim=1)]
                if i < len(self.blocks):
                    tokens = self._watched(stage, maps, tokens[:, -1:])
        last: Stage = getattr(self, f"stage{max(self._ends.values())}")
        return [point(m) for point, m in zip((last.rgb, last.x), maps, strict=False)]

    def _watched(self, number: int, maps: Sequence[Tensor], rest: Tensor) -> Tensor:
        """The sequence [rgb; x; rest] after both maps have passed the probes of stage `number`."""
        stage: Stage = getattr(self, f"stage{number}")
        points = (stage.rgb, stage.x)[: len(maps)]
        return torch.cat([*(to_tokens(p(m)) for p, m in zip(points, maps, strict=True)), rest], dim=1)

    def scores(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """As every model's; without x, its tokens are left out."""
        seen = dict(zip(("rgb", "depth"), self.features(rgb, x), strict=False))
        return self.logits(self.decoder([seen[task] for task in self.main_tasks]))


for _size in SIZES:
    architectures.add(f"multimae_{_size}", partial(MultiMAE, _size))
