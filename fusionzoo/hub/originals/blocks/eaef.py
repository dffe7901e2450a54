"""EAEF's block (github.com/FreeformRobotics/EAEFNet): official keys to ours, with the released code's gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fusionzoo.fusion.eaef import EAEF
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, port

BLOCK = {
    "T_c": "temperature",
    "mlp_pool.down": "embed.0",
    "mlp_pool.up": "embed.2",
    "dwconv": "mix",
    "cse.down": "excite.reduce",
    "cse.up": "excite.expand",
    "sse_r.conv1": "score_rgb",
    "sse_t.conv1": "score_x",
}


def eaef(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """[rgb; thermal] (B, 2C, H, W) -> [rgb'; thermal'] (B, 2C, H, W)."""
    block = EAEF(take(ctor, "dim"), min_hidden=1, official_diagonal=True)
    return port(block, state, BLOCK, _stacked, what="eaef", reshape=True)


def _stacked(block: EAEF, x: Tensor) -> Tensor:
    out = block(*x.chunk(2, dim=1))
    return torch.cat([out.rgb, out.x], dim=1)


BLOCKS = {"eaef": eaef}
