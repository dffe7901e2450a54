"""TUNI's attention and block in both versions, called as the originals are (github.com/xiaodonguo)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fusionzoo.fusion.tuni import TUNIAttention, TUNIBlock
from fusionzoo.hub.originals.checkpoints.tuni import ATTENTION, BLOCK
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, View, channels_last, direct


def _before_sigmoid(weight: Tensor) -> Tensor:
    return channels_last(torch.logit(weight))


VIEWS = {
    "local_rx.conv1": View("cross.consistent"),
    "local_rx.conv2": View("cross.distinct"),
    "local_rx.fc_channel.in": View("cross.similarity", channels_last),
    "local_rx.fc_channel": View("cross.weight", _before_sigmoid),
}


def attention(version: int, c: Arguments) -> Block:
    """(x, x_e), channels last -> (x, x_e)."""
    module = TUNIAttention(c("dim"), c("num_head", 8), c("window", 7), c("drop_depth", False), version)
    return Block(module, ATTENTION, direct, VIEWS, reshape=True)


def block(version: int, c: Arguments) -> Block:
    """(x, x_e), channels last -> (x, x_e)."""
    window, drop = c("window", 7), c("drop_depth", False)
    module = TUNIBlock(c("dim"), c("num_head"), c("mlp_ratio", 4), window, drop, version)
    return Block(module, BLOCK, reshape=True)


BLOCKS: dict[str, Make] = {
    f"{name}_{part}": partial(make, version)
    for version, name in ((1, "tuni"), (2, "tuni_v2"))
    for part, make in (("attn", attention), ("block", block))
}
