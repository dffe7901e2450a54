"""AsymFormer's LAFS, CMA and SCC, called as the original is (github.com/Fourier7754/AsymFormer, Apache-2.0)."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion.asymformer import CrossModalAttention, FeatureSelection, SelectAndAttend
from fusionzoo.hub.originals.checkpoints.asymformer import CMA, LAFS, SCC
from fusionzoo.hub.originals.port import Block, Make, View

VIEWS = {"fus_atten": View("select.selected"), "conv_bn": View("joined"), "cross_atten": View("attended")}


def _swapped(block: SelectAndAttend, depth: Tensor, rgb: Tensor) -> Tensor:
    return block(rgb, depth)


BLOCKS: dict[str, Make] = {
    # x, depth channels first -> out
    "asymformer_lafs": lambda c: Block(
        FeatureSelection(c("in_channels"), min_hidden=1, official_scale=True), LAFS, reshape=True
    ),
    # (x, x1, x2) = (fused, depth, rgb) -> out
    "asymformer_cma": lambda c: Block(CrossModalAttention(c("inc1"), c("inc2")), CMA, reshape=True),
    # (depth, rgb) -> fused, of depth's width
    "asymformer_scc": lambda c: Block(
        SelectAndAttend(c("inc_depth2"), c("inc_rgb"), min_hidden=1, official_scale=True), SCC, _swapped, VIEWS, True
    ),
}
