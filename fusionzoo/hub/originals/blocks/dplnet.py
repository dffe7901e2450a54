"""DPLNet's prompt and prompted block, called as the original is (github.com/ShaohuaDong2021/DPLNet)."""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.fusion.prompt import Prompt, TokenPrompt
from fusionzoo.hub.originals.checkpoints import cmx
from fusionzoo.hub.originals.checkpoints.dplnet import ADA, TOKENS
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, MapSize, View, as_tokens
from fusionzoo.models.published._mit import MixBlock
from fusionzoo.models.published.dplnet import prompted

VIEWS = {"attn.attn_drop_prompt": View("prompt.attention"), "attn.proj_prompt": View("prompt.added")}


def _as_map(tokens: Tensor) -> Tensor:
    """(B, N, C) -> (B, C, N, 1): a prompt looks at each pixel alone, so that any shape will do."""
    return tokens.transpose(1, 2).unsqueeze(3)


def _ada(block: Prompt, depth: Tensor, rgb: Tensor) -> Tensor:
    return as_tokens(block(_as_map(rgb), _as_map(depth)).x)


class _Prompted(MapSize):
    """Calls a block of a Mix Transformer and its token attention with the tokens of a batch."""

    def __call__(self, both: nn.ModuleDict, x: Tensor, tokens: Tensor) -> Tensor:
        block, prompt = both["block"], both["prompt"]
        assert isinstance(block, MixBlock) and isinstance(prompt, TokenPrompt)
        return prompted(block, prompt, x, self.of(x), tokens)


def _block(c: Arguments) -> Block:
    """(x, prompt): tokens (B, N, C) of the image and (B, T, W) -> x."""
    c.only(qkv_bias=True)
    channels, heads, reduction = c("dim"), c("num_heads"), c("sr_ratio", 1)
    eps, expansion = c("ln_eps", 1e-6), c("mlp_ratio", 4)
    block = MixBlock(channels, heads, reduction, eps=eps, expansion=expansion)
    both = nn.ModuleDict({"block": block, "prompt": TokenPrompt(channels, heads)})
    table = {a: f"block.{b}" for a, b in (cmx.BLOCK | (cmx.REDUCED if reduction > 1 else {})).items()}
    table |= {a: f"prompt.{b}" for a, b in TOKENS.items()}
    return Block(both, table, _Prompted(c), VIEWS)


BLOCKS: dict[str, Make] = {
    # (p, x): tokens of the embedded depth or previous prompt, and of RGB -> the prompt
    "dplnet_ada": lambda c: Block(Prompt(c("dim")), ADA, _ada, reshape=True),
    "dplnet_block": _block,
}
