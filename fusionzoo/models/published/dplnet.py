"""DPLNet: a frozen Mix Transformer that prompts of depth and learned tokens turn into an RGB-X model.

Paper: Dong et al., "Efficient Multimodal Semantic Segmentation via Dual-Prompt Learning", IROS 2024, arXiv 2312.00360.
Origin: github.com/ShaohuaDong2021/DPLNet (no licence, NVIDIA's header in parts); written here from the equations.

Stage k (blocks: `fusionzoo.fusion.prompt`), p_0 the image of depth, T the tokens of the whole network:
    r = LN conv f_(k-1),  d = LN' conv' p_(k-1);  p_k = E (D_x d + D_rgb r),  r <- r + p_k
    blocks:  r <- r + attention(LN r) + token attention,  r <- r + MixFFN(LN r);   f_k = LN r
SegFormer's head, 768 wide, gives 150 scores (classes of ADE20K), a 1x1 convolution the classes.

The Mix Transformer does not learn (`requires_grad` is off from the start): with B5 7,146,271 of 88,589,279 parameters
do, with B2 5,957,515 of 30,153,803. The original starts it from SegFormer trained on ADE20K. 41 classes: number 0 is
void, n = 1 to 40 are those of NYU Depth v2. x is depth in 8 bits, three times; one channel is repeated here.

What is added starts at zero here, so that the model starts as the frozen network on RGB; the original's prompts disturb
it from the first step on (`original_init`). B0, which the original's fixed widths exclude, works here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.fusion._parts import to_map, to_tokens
from fusionzoo.fusion.prompt import Embed, Prompt, TokenPrompt
from fusionzoo.models.base import FusionModel, head
from fusionzoo.models.published._mit import HEADS, SIZES, MiT, MixBlock
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["DPLNet", "prompted"]


def prompted(block: MixBlock, prompt: TokenPrompt, rgb: Tensor, size: tuple[int, int], tokens: Tensor) -> Tensor:
    """A block of a Mix Transformer with token attention beside its own: (B, N, C) -> (B, N, C)."""
    normed = block.norm1(rgb)
    query = block.attention.query(normed)
    rgb = rgb + block.drop(block.attention.attend(query, normed, size) + prompt(query, tokens))
    return rgb + block.drop(block.mlp(block.norm2(rgb), size))


class DPLNet(FusionModel):
    """DPLNet with SegFormer's decoder.

    Args:
        size: 0 to 5, of the Mix Transformer; the names `dplnet_mit_b0` to `dplnet_mit_b5` fix it.
        num_classes: 41 in NYU Depth v2 with void.
        x_channels: 1 is repeated three times inside.
        preprocess: ImageNet's statistics, for x their mean over the channels, where None.
        width: of the decoder.
        head_classes: scores of the decoder before the last convolution.
        tokens, token_width: of the learned tokens.
        original_init: what is added starts as published, not at zero.
    """

    def __init__(
        self,
        size: int,
        num_classes: int = 41,
        x_channels: int = 1,
        preprocess: Preprocess | dict[str, Any] | None = None,
        width: int = 768,
        head_classes: int = 150,
        tokens: int = 30,
        token_width: int = 32,
        original_init: bool = False,
    ) -> None:
        if preprocess is None:
            mean, std = (0.449,) * x_channels, (0.226,) * x_channels
            preprocess = Preprocess(x_kind="grey", x_scale=1 / 255, x_mean=mean, x_std=std)
        super().__init__(num_classes, x_channels, preprocess)
        self.rgb_encoder = MiT(size).requires_grad_(False)
        self.channels = self.rgb_encoder.channels
        self.tokens = nn.Parameter(torch.empty(1, tokens, token_width))
        nn.init.trunc_normal_(self.tokens, std=0.02)
        before = 3 if x_channels == 1 else x_channels
        for i, (channels, heads, blocks) in enumerate(zip(self.channels, HEADS, self.rgb_encoder.depths, strict=True)):
            stage = Stage(channels, Prompt(channels, level=i + 2, original_init=original_init))
            stage.embed = Embed(before, channels, 4 if i == 0 else 2)
            stage.prompts = nn.ModuleList(
                TokenPrompt(channels, heads, tokens, token_width, original_init) for _ in range(blocks)
            )
            told = "prompted RGB encoder's feature, for the decoder and the next stage"
            stage.out = Probe(channels, role="output", modality="fused", meaning=told)
            setattr(self, f"stage{i + 2}", stage)
            before = channels
        self.decoder = SegFormerHead(self.channels, head_classes, width, dropout=0.5)
        nn.init.normal_(self.decoder.classify.weight, std=width**-0.5)
        self.head = head(head_classes, num_classes, 1)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 4")

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The four maps of the prompted encoder, strides 4 to 32."""
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        out = []
        for i in range(1, 5):
            stage: Any = getattr(self, f"stage{i + 1}")
            tokens, size = getattr(self.rgb_encoder, f"embed{i}")(rgb)
            fused = stage.fusion(stage.rgb(to_map(tokens, size)), stage.x(stage.embed(x)))
            tokens, x = to_tokens(fused.fused), fused.x
            for block, prompt in zip(getattr(self.rgb_encoder, f"blocks{i}"), stage.prompts, strict=True):
                tokens = prompted(block, prompt, tokens, size, self.tokens)
            rgb = stage.out(to_map(getattr(self.rgb_encoder, f"norm{i}")(tokens), size))
            out.append(rgb)
        return out

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.logits(self.head(self.decoder(self.features(rgb, x))))


for _size in SIZES:
    architectures.add(f"dplnet_mit_b{_size}", partial(DPLNet, _size))
