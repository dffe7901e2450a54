"""TokenFusion, its exchange, score nets and block, called as the original is (github.com/yikaiw/TokenFusion)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.fusion._mit import Tokens
from fusionzoo.fusion.token_exchange import ScoreNet, TokenFusionBlock, exchange_tokens
from fusionzoo.hub.originals.checkpoints.tokenfusion import BLOCK
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, Sized, port
from fusionzoo.models import FusionModel
from fusionzoo.models.published.tokenfusion import TokenFusion

SCORES = {f"score_nets.{i}.{j}": f"{i}.net.{j}" for i in (0, 1) for j in (0, 1, 3, 5, 7)}


def tokenfusion_block(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1, m0, m1): tokens (B, N, C) and masks (B, N) -> (x0, x1)."""
    block = TokenFusionBlock(
        take(ctor, "dim"),
        take(ctor, "num_heads"),
        sr_ratio=take(ctor, "sr_ratio", default=1),
        qkv_bias=take(ctor, "qkv_bias", default=False),
        mlp_ratio=take(ctor, "mlp_ratio", default=4),
    )
    return port(block, state, BLOCK, Sized(ctor), what="tokenfusion_block")


def tokenfusion_predictor(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1), tokens -> (logp0, logp1), each (B, N, 2)."""
    channels = take(ctor, "embed_dim")
    block = nn.ModuleList([ScoreNet(channels), ScoreNet(channels)])
    return port(block, state, SCORES, _scores, what="tokenfusion_predictor")


def tokenfusion_exchange(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1, m0, m1) -> (x0, x1); no parameters."""
    block = nn.Module()
    threshold = take(ctor, "mask_threshold", "threshold", default=0.02)
    return port(block, state, {}, _Exchange(threshold), what="tokenfusion_exchange")


class _Exchange:
    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, block: nn.Module, x0: Tensor, x1: Tensor, m0: Tensor, m1: Tensor) -> Tokens:
        return exchange_tokens(x0, x1, m0, m1, self.threshold)


def _scores(block: nn.ModuleList, x0: Tensor, x1: Tensor) -> Tokens:
    return block[0](x0), block[1](x1)


BLOCKS = {
    "tokenfusion_block": tokenfusion_block,
    "tokenfusion_exchange": tokenfusion_exchange,
    "tokenfusion_predictor": tokenfusion_predictor,
}


def _predict(model: TokenFusion, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    features, masks = model.features_and_masks(rgb, model.three_channels(x))
    first, second, both, _ = model.decode(features)
    return first, second, both, *(torch.cat([pair[m].flatten() for pair in masks]) for m in (0, 1))


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, x of three channels) -> (RGB's scores, x's, their weighted sum, RGB's masks, x's).

    The original lists a block's masks after another; here all of a stream are flattened into one vector, first block
    first.
    """
    return Port(model, _predict, {}, keys)
