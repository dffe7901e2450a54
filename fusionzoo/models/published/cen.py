"""CEN: one ResNet for both modalities with private batch norms, channels exchanged by their scales; RefineNet.

Paper: Wang et al., "Deep Multimodal Fusion by Channel Exchanging", NeurIPS 2020, arXiv 2011.05005. Origin:
github.com/yikaiw/CEN (MIT; its model.py carries a 2-clause BSD text titled "for non-commercial purposes"); written here
from the paper and its sizes. Decoder: Lin et al., RefineNet, CVPR 2017.

    every bottleneck: `fusionzoo.fusion.channel_exchange.CENBottleneck`; all convolutions serve both modalities
    decoder (both modalities, same weights), from stride 32 to 4:
      u = 3x3(f_k); two residual units; 3x3; + the coarser result, enlarged; ReLU; chained pooling; three residual units
    scores = 3x3;   result = sum_m softmax(alpha)_m scores_m

118,201,578 parameters with ResNet-101 and 40 classes, 133,891,306 with ResNet-152. Published training stops gradients
between the weighted sum and the two predictions, which have losses of their own: `detach_ensemble`. The original's
ReLU works in place, so that the shortcut of the decoder's residual units is rectified too: `rectified_residual`. Only
the converter sets these two; by default the sum trains everything. The auxiliary loss is the paper's penalty on the
scales. The decoder has no norms: with He's deviations everywhere its sums grow tenfold a scale, from 60 to 2 million
with random weights, past float16; what is added to a shortcut or a chain starts at a tenth of it here.
There is no fused feature: the stages name both streams. x is depth / 5 in metres, repeated to three channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from fusionzoo.fusion.channel_exchange import CENBottleneck, PairBatchNorm
from fusionzoo.models.published._ensemble import STAGES, StreamEnsemble
from fusionzoo.models.published._resnet import BLOCKS, he_init_, pool
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["CEN", "ChainedPooling", "ResidualUnits"]

CHANNELS = (64, 256, 512, 1024, 2048)
WIDTHS = (256, 256, 256, 512)
"""Of the decoder at strides 4, 8, 16, 32."""


def conv3(inp: int, out: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inp, out, 3, padding=1, bias=bias)


class ResidualUnits(nn.Module):
    """`count` times x + conv(ReLU(conv(ReLU(x)))), 3x3 without norms; ReLU(x) + ... where `rectified`."""

    def __init__(self, channels: int, count: int, rectified: bool = False) -> None:
        super().__init__()
        self.rectified = rectified
        self.first = nn.ModuleList(conv3(channels, channels, bias=True) for _ in range(count))
        self.second = nn.ModuleList(conv3(channels, channels) for _ in range(count))

    def forward(self, feature: Tensor) -> Tensor:
        for first, second in zip(self.first, self.second, strict=True):
            positive = feature.relu()
            feature = (positive if self.rectified else feature) + second(first(positive).relu())
        return feature


class ChainedPooling(nn.Module):
    """x plus four terms, each a 5x5 max pool of stride 1 and a 3x3 convolution of the term before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv3(channels, channels) for _ in range(4))

    def forward(self, feature: Tensor) -> Tensor:
        term = feature
        for conv in self.convs:
            term = conv(max_pool2d(term, 5, 1, 2))
            feature = feature + term
        return feature


class Refine(nn.Module):
    """One scale of the decoder: (encoder's map, coarser result or None) -> result."""

    def __init__(self, inp: int, width: int, finer: int | None, coarsest: bool, rectified: bool) -> None:
        super().__init__()
        self.narrow = conv3(inp, width)
        self.adapt = ResidualUnits(width, 2, rectified)
        self.join = None if coarsest else conv3(width, width)
        self.chain = ChainedPooling(width)
        self.output = ResidualUnits(width, 3, rectified)
        self.hand_on = None if finer is None else conv3(width, finer)

    def forward(self, feature: Tensor, coarser: Tensor | None) -> Tensor:
        out = self.adapt(self.narrow(feature))
        if self.join is not None and coarser is not None:
            out = self.join(out)
            out = out + interpolate(coarser, size=out.shape[-2:], mode="bilinear", align_corners=True)
        out = self.output(self.chain(out.relu()))
        return out if self.hand_on is None else self.hand_on(out)


class Decoder(nn.Module):
    """Four maps of one modality, strides 4 to 32 -> class scores at stride 4."""

    def __init__(self, num_classes: int, rectified: bool) -> None:
        super().__init__()
        for i, width in enumerate(WIDTHS, 1):
            finer = None if i == 1 else WIDTHS[i - 2]
            setattr(self, f"refine{i}", Refine(CHANNELS[i], width, finer, i == 4, rectified))
        self.drop = nn.Dropout(0.5)
        self.out = Probe(WIDTHS[0], role="output", meaning="decoder's last feature, RGB's samples and then x's")
        self.classify = conv3(WIDTHS[0], num_classes, bias=True)
        he_init_(self)
        parts = {ResidualUnits: "second", ChainedPooling: "convs"}  # what is added to a feature
        added = [getattr(part, parts[type(part)]) for part in self.modules() if type(part) in parts]
        with torch.no_grad():
            for convs in added:
                for weight in convs.parameters():
                    weight.mul_(0.1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        out: Tensor | None = None
        for i in range(4, 0, -1):
            feature = self.drop(features[i - 1]) if i > 2 else features[i - 1]
            out = getattr(self, f"refine{i}")(feature, out)
        assert out is not None
        return self.classify(self.out(self.drop(out)))


class CEN(StreamEnsemble):
    """CEN with RefineNet.

    Args:
        depth: of the ResNet; the names `cen_resnet50`, `cen_resnet101`, `cen_resnet152` fix it.
        num_classes, x_channels, preprocess: see StreamEnsemble; 40 classes in NYU Depth v2.
        threshold: below this scale a channel is replaced by the other modality's.
        detach_ensemble, rectified_residual: see the module's text.

    Raises:
        InputError: x_channels is neither 1 nor 3: both modalities share the first convolution.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        threshold: float = 0.02,
        detach_ensemble: bool = False,
        rectified_residual: bool = False,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess, detach_ensemble)
        self.conv1 = nn.Conv2d(3, CHANNELS[0], 7, stride=2, padding=3, bias=False)
        self.norm1 = PairBatchNorm(CHANNELS[0])
        self.stage1 = Stage(CHANNELS[0])
        for i, count in enumerate(BLOCKS[depth]):
            blocks = nn.ModuleList()
            for j in range(count):
                inp, stride = (CHANNELS[i], 2 if i else 1) if j == 0 else (CHANNELS[i + 1], 1)
                blocks.append(CENBottleneck(inp, 64 << i, stride, threshold))
            setattr(self, f"stage{i + 2}", Stage(CHANNELS[i + 1], blocks))
        he_init_(self)
        self.add_decoder(Decoder(num_classes, rectified_residual))

    def features(self, rgb: Tensor, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        rgb, x = self.norm1(self.conv1(rgb), self.conv1(x))
        rgb, x = pool(self.stage1.rgb(rgb.relu())), pool(self.stage1.x(x.relu()))
        out = []
        for i in STAGES:
            stage: Stage = getattr(self, f"stage{i}")
            for block in stage.fusion.children():
                rgb, x = block(rgb, x)
            rgb, x = stage.rgb(rgb), stage.x(x)
            out.append((rgb, x))
        return out

    @property
    def loss_factors(self) -> dict[str, float]:
        return {"sparsity": 1.0}

    def losses(self, rgb: Tensor, x: Tensor, *, step: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
        """(logits, sparsity: 2e-4 times the penalty on the exchange's scales, summed over all blocks)."""
        logits, losses = super().losses(rgb, x, step=step)
        blocks = [b for b in self.modules() if isinstance(b, CENBottleneck)]
        penalties = torch.stack([b.norm2.penalty() for b in blocks])
        return logits, losses | {"sparsity": 2e-4 * penalties.sum()}


for _depth in (50, 101, 152):
    architectures.add(f"cen_resnet{_depth}", partial(CEN, _depth))
