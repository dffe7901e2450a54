"""AsymFormer, and its LAFS, CMA and SCC, called as the original is (github.com/Fourier7754/AsymFormer, Apache-2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.fusion.asymformer import CrossModalAttention, FeatureSelection, SelectAndAttend
from fusionzoo.hub.originals.blocks.calls import at_input_size
from fusionzoo.hub.originals.checkpoints.asymformer import CMA, LAFS, SCC
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, View, direct, port
from fusionzoo.models import FusionModel

SCC_VIEWS = {"fus_atten": View("select.selected"), "conv_bn": View("joined"), "cross_atten": View("attended")}


def asymformer_lafs(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """x, depth channels first -> out."""
    block = FeatureSelection(take(ctor, "in_channels"), min_hidden=1, official_scale=True)
    return port(block, state, LAFS, direct, what="asymformer_lafs", reshape=True)


def asymformer_cma(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x, x1, x2) = (fused, depth, rgb) -> out."""
    block = CrossModalAttention(take(ctor, "inc1"), take(ctor, "inc2"))
    return port(block, state, CMA, direct, what="asymformer_cma", reshape=True)


def asymformer_scc(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(depth, rgb) -> fused, of depth's width."""
    block = SelectAndAttend(take(ctor, "inc_depth2"), take(ctor, "inc_rgb"), min_hidden=1, official_scale=True)
    return port(block, state, SCC, _swapped, SCC_VIEWS, what="asymformer_scc", reshape=True)


def _swapped(block: SelectAndAttend, depth: Tensor, rgb: Tensor) -> Tensor:
    return block(rgb, depth)


BLOCKS = {"asymformer_cma": asymformer_cma, "asymformer_lafs": asymformer_lafs, "asymformer_scc": asymformer_scc}


MODEL_VIEWS = {f"down_sample_{i}.0": View(f"stage{i + 1}.rgb") for i in range(1, 5)}
MODEL_VIEWS |= {f"down_sample_{i}.1": View(f"stage{i + 1}.fusion.fused") for i in range(2, 5)}
MODEL_VIEWS |= {"down_sample_1.1": View("stage2.x"), "Decoder": View("logits")}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, depth) -> class scores at the input size."""
    return Port(model, at_input_size, MODEL_VIEWS, keys)
