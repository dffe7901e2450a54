"""ACNet: a ResNet each for RGB, depth and their gated sum; RedNet's decoder on the third.

Paper: Hu et al., "ACNet: Attention Based Network to Exploit Complementary Features for RGBD Semantic Segmentation",
ICIP 2019, arXiv 1905.10089. Origin: github.com/anheidelonghu/ACNet, which states no licence; written here from the
equations and sizes.

    m_1 = g_r * r_1 + g_d * d_1,   m_k = layer_k(m_{k-1}) + g_r * r_k + g_d * d_k      (gates: `fusionzoo.fusion.acnet`)

RGB and depth never receive the merged stream. 116,628,168 parameters with ResNet-50 at 40 classes. Depth in metres,
mean 2.8424503515351494, deviation 0.9932836506164299.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor
from torchvision.models.resnet import BasicBlock, Bottleneck

from fusionzoo.fusion.acnet import ACNet as GatePair
from fusionzoo.models.published._resnet import BLOCKS, WithSideOutputs, group, he_init_, pool
from fusionzoo.models.published.rednet import ResidualDecoder
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["ACNet"]


class ACNet(WithSideOutputs):
    """ACNet.

    Args:
        depth: of the three ResNets; the name `acnet_resnet50` fixes it.
        num_classes: 40 in NYU Depth v2.
        x_channels, preprocess: see FusionModel; depth in metres by default.
    """

    def __init__(
        self, depth: int, num_classes: int = 40, x_channels: int = 1, preprocess: Preprocess | None = None
    ) -> None:
        if preprocess is None and x_channels == 1:
            preprocess = Preprocess(x_mean=(2.8424503515351494,), x_std=(0.9932836506164299,))
        super().__init__(depth, GatePair, num_classes=num_classes, x_channels=x_channels, preprocess=preprocess)
        block: Any = BasicBlock if depth < 50 else Bottleneck
        for i, count in enumerate(BLOCKS[depth]):
            layer = group(block, self.channels[i], 64 << i, count, stride=1 if i == 0 else 2)
            he_init_(layer)
            setattr(self, f"merged_layer{i + 1}", layer)
        for i, channels in enumerate(self.channels, 1):
            self.get_submodule(f"stage{i}").merged = Probe(
                channels, role="fused", modality="fused", meaning="third stream plus both gated features"
            )
        self.decoder = ResidualDecoder(self.channels, num_classes)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at the input size")

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        return {i: at | {"fused": f"stage{i}.merged"} for i, at in super().levels.items()}

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The merged stream at five stages, strides 2 to 32."""
        out: list[Tensor] = []
        for i in range(1, 6):
            stage: Stage = getattr(self, f"stage{i}")
            rgb = stage.rgb(self.rgb_encoder.stage(i, rgb))
            x = stage.x(self.x_encoder.stage(i, x))
            fused = stage.fusion(rgb, x)
            rgb, x, merged = fused.rgb, fused.x, fused.fused
            del fused
            if out:
                before = pool(out[-1]) if i == 2 else out[-1]
                merged = getattr(self, f"merged_layer{i - 1}")(before) + merged
            out.append(stage.get_submodule("merged")(merged))
        return out


for _depth in (50,):
    architectures.add(f"acnet_resnet{_depth}", partial(ACNet, _depth))
