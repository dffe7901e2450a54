"""TokenFusion's exchange, score nets and block, called as the original is (github.com/yikaiw/TokenFusion)."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from fusionzoo.fusion._mit import Tokens
from fusionzoo.fusion.token_exchange import ScoreNet, TokenFusionBlock, exchange_tokens
from fusionzoo.hub.originals.checkpoints.tokenfusion import BLOCK
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, Sized

SCORES = {f"score_nets.{i}.{j}": f"{i}.net.{j}" for i in (0, 1) for j in (0, 1, 3, 5, 7)}


def _block(c: Arguments) -> Block:
    """(x0, x1, m0, m1): tokens (B, N, C) and masks (B, N) -> (x0, x1)."""
    block = TokenFusionBlock(
        c("dim"),
        c("num_heads"),
        sr_ratio=c("sr_ratio", 1),
        qkv_bias=c("qkv_bias", False),
        mlp_ratio=c("mlp_ratio", 4),
    )
    return Block(block, BLOCK, Sized(c))


def _exchange(threshold: float, block: nn.Module, x0: Tensor, x1: Tensor, m0: Tensor, m1: Tensor) -> Tokens:
    return exchange_tokens(x0, x1, m0, m1, threshold)


def _scores(block: nn.ModuleList, x0: Tensor, x1: Tensor) -> Tokens:
    return block[0](x0), block[1](x1)


BLOCKS: dict[str, Make] = {
    "tokenfusion_block": _block,
    # (x0, x1, m0, m1) -> (x0, x1); no parameters
    "tokenfusion_exchange": lambda c: Block(
        nn.Module(), {}, partial(_exchange, c("mask_threshold", c("threshold", 0.02)))
    ),
    # (x0, x1), tokens -> (logp0, logp1), each (B, N, 2)
    "tokenfusion_predictor": lambda c: Block(
        nn.ModuleList([ScoreNet(c("embed_dim")), ScoreNet(c("embed_dim"))]), SCORES, _scores
    ),
}
