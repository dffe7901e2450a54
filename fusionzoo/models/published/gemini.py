"""GeminiFusion: one Transformer for both modalities, in every block each pixel attends to itself and its counterpart.

Paper: Jia et al., "GeminiFusion: Efficient Pixel-wise Multimodal Fusion for Vision Transformer", ICML 2024, arXiv
2406.01210. Origin: github.com/JiaDingCN/GeminiFusion (MIT file; its mix_transformer.py carries NVIDIA's non-commercial
header); written here from the equations and sizes, no code taken.

    Mix Transformer: weights shared, layer norms private; `fusionzoo.fusion.gemini.GeminiBlock` (the fusion stands
                     between attention and its projection)
    Swin:            weights and the blocks' norms shared, norms of the patch embedding and of the stages private; the
                     fusion takes what attention gives, projected, before the residual is added: `_swin`
    decoder and weighted sum of both predictions: `_ensemble`

Parameters with 40 classes: MiT-B0 5,863,562, B3 74,551,274, B5 137,209,322; Swin-T 51,950,180, S 92,796,788, L with
windows of 12 (trained at 384) 369,215,966. There is no auxiliary loss. x is depth / 5 in metres, repeated to three
channels.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from fusionzoo.fusion._mit import mit_init_
from fusionzoo.fusion.gemini import GeminiBlock, GeminiFusion
from fusionzoo.models.published._ensemble import STAGES, PairedPatchEmbed, StreamEnsemble, StreamStage
from fusionzoo.models.published._mit import SIZES, drop_rates
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.published._swin import SWINS, PatchMerge, SwinStage, trunc_init_
from fusionzoo.preprocess import Preprocess
from fusionzoo.registry import architectures

__all__ = ["GeminiMiT", "GeminiSwin"]


class GeminiMiT(StreamEnsemble):
    """GeminiFusion on a Mix Transformer, with SegFormer's head.

    Args:
        size: of the Mix Transformer; the names `gemini_mit_b0` to `gemini_mit_b5` fix it.
        num_classes, x_channels, preprocess: see StreamEnsemble; 40 classes in NYU Depth v2.
        embedding_dim: width of the head.
        fusion_heads: of the pixel-wise attention, in all stages.
        drop_path: stochastic depth of the last block; published trainings have 0.1 to 0.35.
        detach_ensemble: see StreamEnsemble.
    """

    def __init__(
        self,
        size: int,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        embedding_dim: int = 256,
        detach_ensemble: bool = False,
        fusion_heads: int = 8,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess, detach_ensemble)
        self.add_mit(size, embedding_dim, drop_path, partial(_blocks, fusion_heads))

    def features(self, rgb: Tensor, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        out = []
        for i in STAGES:
            tokens, size = getattr(self, f"embed{i}")(rgb, x)
            stage: StreamStage = getattr(self, f"stage{i}")
            for block in stage.fusion.children():
                tokens = block(*tokens, size)
            rgb, x = stage(*tokens, size)
            out.append((rgb, x))
        return out


def _blocks(fusion_heads: int, channels: int, heads: int, reduction: int, drops: list[float]) -> nn.ModuleList:
    """The blocks of one stage, the Mix Transformer's initialisation round their fusion."""
    blocks = nn.ModuleList(GeminiBlock(channels, heads, reduction, fusion_heads=fusion_heads, drop=d) for d in drops)
    for block in blocks:
        _init_around_fusion(block)
    return blocks


def _init_around_fusion(block: nn.Module) -> None:
    """The Mix Transformer's initialisation for all of a block but its fusion."""
    for part in block.children():
        if not isinstance(part, GeminiFusion):
            if any(isinstance(inner, GeminiFusion) for inner in part.modules()):
                _init_around_fusion(part)
            else:
                mit_init_(part)


class GeminiSwin(StreamEnsemble):
    """GeminiFusion on a Swin Transformer, with SegFormer's head.

    Args:
        size: "tiny", "small", "large" or "large_384" (windows of 12 instead of 7); the names `gemini_swin_tiny` to
            `gemini_swin_large_384` fix it.
        num_classes, x_channels, preprocess, embedding_dim, fusion_heads, detach_ensemble: see GeminiMiT.
        drop_path: stochastic depth of the last block.
    """

    def __init__(
        self,
        size: str,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        embedding_dim: int = 256,
        detach_ensemble: bool = False,
        fusion_heads: int = 8,
        drop_path: float = 0.2,
    ) -> None:
        first, depths, heads, window = SWINS[size]
        channels = tuple(first << i for i in range(4))
        super().__init__(num_classes, x_channels, preprocess, detach_ensemble)
        self.add_decoder(SegFormerHead(channels, num_classes, embedding_dim, modality=""))
        self.embed2 = PairedPatchEmbed(nn.Conv2d(3, first, 4, stride=4))
        rates = drop_rates(depths, drop_path)
        for i, width in enumerate(channels):
            stage = SwinStage(width, heads[i], window, fusion_heads, rates[i])
            setattr(self, f"stage{STAGES[i]}", StreamStage(width, stage))
            if i < 3:
                merge = PatchMerge(width)
                trunc_init_(merge)
                setattr(self, f"merge{STAGES[i]}", merge)

    def features(self, rgb: Tensor, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        down, right = -rgb.shape[2] % 4, -rgb.shape[3] % 4
        if down or right:
            rgb, x = (nn.functional.pad(v, (0, right, 0, down)) for v in (rgb, x))
        tokens, size = self.embed2(rgb, x)
        both = torch.cat(tokens).unflatten(1, size)  # (2B, H, W, C)
        out = []
        for i in STAGES:
            stage: StreamStage = getattr(self, f"stage{i}")
            both = stage.fusion(both)
            size = (both.shape[1], both.shape[2])
            out.append(stage(*both.flatten(1, 2).unflatten(0, (2, -1)).unbind(), size))
            if i < STAGES[-1]:
                both = getattr(self, f"merge{i}")(both)
        return out


for _size in SIZES:
    architectures.add(f"gemini_mit_b{_size}", partial(GeminiMiT, _size))
for _name in SWINS:
    architectures.add(f"gemini_swin_{_name}", partial(GeminiSwin, _name))
