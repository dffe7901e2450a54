"""CMNeXt's hub and PPX; its FRM and FFM are CMX's. Called as the original is (github.com/jamycheung/DELIVER)."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion.cmnext import ParallelPoolingMixer, SelfQueryHub
from fusionzoo.hub.originals.checkpoints.cmnext import PPX
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, View, as_tokens

VIEWS = {"attn": View("mixed"), "c_nets": View("channel_gate", as_tokens)}


def _hub(c: Arguments) -> Block:
    count = c("num_modals")
    table = {f"score_nets.{i}.{j}": f"score.{i}.{j}" for i in range(count) for j in (0, 1)}
    views = {f"score_nets.{i}": View(f"gates.{i}") for i in range(count)}
    return Block(SelfQueryHub(c("embed_dim"), count), table, _merged, views)


def _merged(block: SelfQueryHub, *maps: Tensor) -> Tensor:
    return block(maps)[0]


BLOCKS: dict[str, Make] = {
    # (x0, x1, ...) -> hub feature
    "cmnext_hub": _hub,
    # x -> out
    "cmnext_ppx": lambda c: Block(ParallelPoolingMixer(c("dim"), c("mlp_ratio")), PPX, views=VIEWS),
}
