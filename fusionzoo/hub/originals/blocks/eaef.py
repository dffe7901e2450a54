"""EAEF's block (github.com/FreeformRobotics/EAEFNet): official keys to ours, with the released code's gate."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionzoo.fusion.eaef import EAEF
from fusionzoo.hub.originals.port import Block, Make

TABLE = {
    "T_c": "temperature",
    "mlp_pool.down": "embed.0",
    "mlp_pool.up": "embed.2",
    "dwconv": "mix",
    "cse.down": "excite.reduce",
    "cse.up": "excite.expand",
    "sse_r.conv1": "score_rgb",
    "sse_t.conv1": "score_x",
}


def _stacked(block: EAEF, x: Tensor) -> Tensor:
    out = block(*x.chunk(2, dim=1))
    return torch.cat([out.rgb, out.x], dim=1)


BLOCKS: dict[str, Make] = {
    # [rgb; thermal] (B, 2C, H, W) -> [rgb'; thermal'] (B, 2C, H, W)
    "eaef": lambda c: Block(EAEF(c("dim"), min_hidden=1, official_diagonal=True), TABLE, _stacked, reshape=True),
}
