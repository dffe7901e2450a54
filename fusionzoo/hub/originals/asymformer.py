"""AsymFormer's LAFS, CMA and SCC (github.com/Fourier7754/AsymFormer, Apache-2.0): official keys to ours.

Releases before 2026 hold 1x1 convolutions where later ones hold linear layers; both shapes are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.hub.originals.port import Port, View, port, take
from fusionzoo.models.published.blocks import CrossModalAttention, FeatureSelection, SelectAndAttend

LAFS = {
    "fc_spatial.0": "spatial.reduce",
    "fc_spatial.2": "spatial.expand",
    "fc_channel.0": "channel.reduce",
    "fc_channel.2": "channel.expand",
}
CMA = {
    "bn_x1": "norm_x",
    "bn_x2": "norm_rgb",
    "kq1": "key_query_x",
    "kq2": "key_query_rgb",
    "v_conv": "value",
    "out_conv": "out",
    "bn_last": "norm",
}
SCC = {f"fus_atten.{official}": f"select.{ours}" for official, ours in LAFS.items()}
SCC |= {"conv_bn.0": "join.0", "conv_bn.1": "join.1"}
SCC |= {f"cross_atten.{official}": f"attend.{ours}" for official, ours in CMA.items()}

SCC_VIEWS = {"fus_atten": View("select.selected"), "conv_bn": View("joined"), "cross_atten": View("attended")}


def asymformer_lafs(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """x, depth channels first -> out."""
    block = FeatureSelection(take(ctor, "in_channels"), min_hidden=1, official_scale=True)
    return port(block, state, LAFS, _plain, what="asymformer_lafs", reshape=True)


def asymformer_cma(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x, x1, x2) = (fused, depth, rgb) -> out."""
    block = CrossModalAttention(take(ctor, "inc1"), take(ctor, "inc2"))
    return port(block, state, CMA, _plain, what="asymformer_cma", reshape=True)


def asymformer_scc(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(depth, rgb) -> fused, of depth's width."""
    block = SelectAndAttend(take(ctor, "inc_depth2"), take(ctor, "inc_rgb"), min_hidden=1, official_scale=True)
    return port(block, state, SCC, _swapped, SCC_VIEWS, what="asymformer_scc", reshape=True)


def _plain(block: FeatureSelection | CrossModalAttention, *inputs: Tensor) -> Tensor:
    return block(*inputs)


def _swapped(block: SelectAndAttend, depth: Tensor, rgb: Tensor) -> Tensor:
    return block(rgb, depth)


BLOCKS = {"asymformer_cma": asymformer_cma, "asymformer_lafs": asymformer_lafs, "asymformer_scc": asymformer_scc}
