"""StitchFusion's adapter, block and fusion, called as the original is (github.com/LiBingyu01/StitchFusion)."""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.fusion.stitchfusion import Adapter, Mix
from fusionzoo.hub.originals.checkpoints import cmx
from fusionzoo.hub.originals.checkpoints.stitchfusion import ADAPTER, MIX, stitch_table
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, MapSize, View
from fusionzoo.models.published._mit import MixBlock
from fusionzoo.models.published.stitchfusion import Stitch, stitched

ADAPTERS = {"pair": "pair", "one": "shared", "directed": "directed"}
"""What the constructor calls the variants -> our names."""


class _Stitched(MapSize):
    """Calls a block of a Mix Transformer and its adapters with the tokens of all modalities."""

    def __call__(self, both: nn.ModuleDict, *streams: Tensor) -> tuple[Tensor, ...]:
        block, stitch = both["block"], both["stitch"]
        assert isinstance(block, MixBlock) and isinstance(stitch, Stitch)
        return tuple(stitched(block, stitch, list(streams), self.of(streams[0])))


def _block(variant: str, c: Arguments) -> Block:
    """(x0, x1, ...), tokens (B, N, C) -> the same."""
    channels, heads, reduction, count = c("dim"), c("num_heads"), c("sr_ratio", 1), c("num_modalities")
    stitch = Stitch(channels, count, ADAPTERS[c("adapters", variant)], in_order=True, original_init=True)
    block = MixBlock(channels, heads, reduction, eps=1e-5, expansion=c("mlp_ratio", 4))
    table = {a: f"block.{b}" for a, b in (cmx.BLOCK | (cmx.REDUCED if reduction > 1 else {})).items()}
    table |= {a: f"stitch.{b}" for a, b in stitch_table(stitch).items()}
    return Block(nn.ModuleDict({"block": block, "stitch": stitch}), table, _Stitched(c), _uses(stitch))


def _uses(stitch: Stitch) -> dict[str, View]:
    """The outputs of each adapter after the attention and the MixFFN, in the order of its uses."""
    out: dict[str, View] = {}
    for place, theirs, shared in (("attention", "adap_t_att", "adap_t"), ("mlp", "adap_t_mlp", "adap2_t")):
        uses: dict[str, int] = {}
        for (i, j), name in getattr(stitch, place).names.items():
            official = shared if name == "all" else theirs + name.replace("_", "")
            uses[official] = uses.get(official, -1) + 1
            out[f"{official}.{uses[official]}"] = View(f"stitch.{place}.given.{i}_{j}")
    return out


def _mix(c: Arguments) -> Block:
    """(x0, x1, ...), maps -> fused."""
    table = {a.format(0): b for a, b in MIX.items()}
    views = {"channel_attns.0.fc": View("gate", lambda gate: gate.flatten(1))}
    return Block(Mix(c("channels"), c("num_modals")), table, _all, views, reshape=True)


def _all(mix: Mix, *maps: Tensor) -> Tensor:
    return mix(maps)


BLOCKS: dict[str, Make] = {
    # x -> what the adapter gives, tokens
    "stitch_adapter": lambda c: Block(Adapter(c("dim")), ADAPTER),
    "stitch_block": lambda c: _block("pair", c),
    "stitch_block_directed": lambda c: _block("directed", c),
    "stitch_block_shared": lambda c: _block("one", c),
    "stitch_mix": _mix,
}
