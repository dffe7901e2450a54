"""TokenFusion whole, and its exchange, score nets and block (github.com/yikaiw/TokenFusion): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.errors import unknown
from fusionzoo.fusion._mit import Tokens
from fusionzoo.fusion.token_exchange import ScoreNet, TokenFusionBlock, exchange_tokens
from fusionzoo.hub.originals.checkpoint import Source
from fusionzoo.hub.originals.gemini import BODY, mit_table
from fusionzoo.hub.originals.port import Port, Sized, blank, port, take
from fusionzoo.models import FusionModel
from fusionzoo.models.published.tokenfusion import TokenFusion

ATTENTION = {
    "q.module": "query",
    "kv.module": "key_value",
    "proj.module": "project",
    "sr.module": "reduce",
    "norm.ln_0": "norm.rgb",
    "norm.ln_1": "norm.x",
}
BLOCK = BODY | {f"attn.{official}": f"attention.{ours}" for official, ours in ATTENTION.items()}
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


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out = mit_table([model.get_submodule(f"stage{i}.fusion.blocks") for i in range(2, 6)], BLOCK, "fusion.blocks")
    for i in range(4):
        for m, ours in enumerate(("rgb", "x")):
            nets = f"encoder.score_predictor.{i}.score_nets.{m}"
            out |= {f"{nets}.{j}": f"stage{i + 2}.fusion.score_{ours}.net.{j}" for j in (0, 1, 3, 5, 7)}
    return out


def tokenfusion(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x of three channels) -> (RGB's scores, x's, their weighted sum, RGB's masks, x's).

    The original lists a block's masks after another; here all of a stream are flattened into one vector, first block
    first.
    """
    backbone = str(take(ctor, "backbone"))
    if f"tokenfusion_{backbone}" not in MODELS:
        raise unknown("backbone", backbone, [k.removeprefix("tokenfusion_") for k in MODELS])
    name = f"tokenfusion_{backbone}"
    model = blank(
        name,
        num_classes=take(ctor, "num_classes"),
        embedding_dim=take(ctor, "embedding_dim", default=256),
        detach_ensemble=True,
    )
    return port(model, state, table(model), _predict, what=name)


def _predict(model: TokenFusion, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    features, masks = model.features_and_masks(rgb, model.three_channels(x))
    first, second, both, _ = model.decode(features)
    return first, second, both, *(torch.cat([pair[m].flatten() for pair in masks]) for m in (0, 1))


MODELS = {f"tokenfusion_mit_b{size}": tokenfusion for size in range(6)}
SOURCES = {
    name: Source(
        kind=name,
        family="tokenfusion",
        ctor={"backbone": name.removeprefix("tokenfusion_"), "embedding_dim": 256},
        classes=("num_classes", "decoder.linear_pred.weight"),
        licence="other",
        licence_note="The original repository's licence is MIT; its mix_transformer.py carries NVIDIA's non-commercial"
        " source code licence, and its encoders start from NVIDIA's ImageNet weights, non-commercial too.",
        origin="github.com/yikaiw/TokenFusion",
        citation="Wang et al., TokenFusion, CVPR 2022, arXiv 2204.08721",
        notes="Depth: millimetres / 5000, repeated to three channels; the model repeats one channel itself.",
        input_size=(480, 640),
    )
    for name in MODELS
}
