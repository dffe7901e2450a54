"""CMX: two Mix Transformers that rectify each other's features after every stage; SegFormer's decoder on fused ones.

Paper: Zhang et al., "CMX: Cross-Modal Fusion for RGB-X Semantic Segmentation with Transformers", IEEE T-ITS 2023, arXiv
2203.04838. Origin: github.com/huaaaliu/RGBX_Semantic_Segmentation (MIT); written here from the paper and its sizes.

    stage k of both encoders, then FRM and FFM (`fusionzoo.fusion.cmx`): the rectified maps go to the next stages, the
    fused one to the decoder;  heads of the FFM 1, 2, 5, 8

11,201,008 parameters with MiT-B0 and a decoder 256 wide at 40 classes; 512 wide: B2 66,581,424, B4 139,874,224, B5
181,074,864. Differs: the original's name `mit_b1` makes a B0 that its decoder does not fit; here B1 is B1. The batch
norm of the decoder has the usual eps; published weights need 1e-3, which the converter sets. Gates start informative,
see `fusionzoo.fusion.cmx`. x is HHA (or one channel, three times), both inputs with ImageNet's statistics.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from fusionzoo.fusion.cmx import CMX as Exchange
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._mit import HEADS, SIZES, MiT
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.published.sagate import imagenet_hha
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["CMX"]


class CMX(FusionModel):
    """CMX with SegFormer's decoder.

    Args:
        size: 0 to 5, of both Mix Transformers; the names `cmx_mit_b0` to `cmx_mit_b5` fix it.
        num_classes: 40 in NYU Depth v2.
        x_channels: 3 for HHA.
        preprocess: ImageNet's statistics for both inputs where None.
        width: of the decoder; 256 for B0 and 512 for the others where None.
        decoder_eps: of the decoder's batch norm.
        original_init: the fusion blocks start as published, with the spatial gates saturated.
    """

    def __init__(
        self,
        size: int,
        num_classes: int = 40,
        x_channels: int = 3,
        preprocess: Preprocess | dict[str, Any] | None = None,
        width: int | None = None,
        decoder_eps: float = 1e-5,
        original_init: bool = False,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess or imagenet_hha(x_channels))
        width = width or (256 if size == 0 else 512)
        self.model_args |= {"width": width}
        self.rgb_encoder, self.x_encoder = MiT(size), MiT(size, x_channels)
        self.channels = self.rgb_encoder.channels
        for i, (channels, heads) in enumerate(zip(self.channels, HEADS, strict=True), 2):
            block = Exchange(channels, level=i, heads=heads, original_init=original_init)
            setattr(self, f"stage{i}", Stage(channels, block))
        self.decoder = SegFormerHead(self.channels, num_classes, width, bias=True, eps=decoder_eps)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 4")

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The four fused maps, strides 4 to 32."""
        out = []
        for i in range(1, 5):
            stage: Stage = getattr(self, f"stage{i + 1}")
            fused = stage.fusion(stage.rgb(self.rgb_encoder.stage(i, rgb)), stage.x(self.x_encoder.stage(i, x)))
            rgb, x = fused.rgb, fused.x
            out.append(fused.fused)
        return out


for _size in SIZES:
    architectures.add(f"cmx_mit_b{_size}", partial(CMX, _size))
