"""Sigma's CroMB and ConMB, called as the original is (github.com/zifuwan/Sigma, MIT)."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion.sigma import ConcatScan, CrossScan
from fusionzoo.hub.originals.checkpoints.sigma import CONMB, CROMB
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, View, as_tokens


def _flat(gate: Tensor) -> Tensor:
    """(B, C, 1, 1) -> (B, C)."""
    return gate.flatten(1)


CROMB_VIEWS = {
    "op.CMA_ssm.0": View("rgb.scanned", as_tokens),
    "op.CMA_ssm.1": View("x.scanned", as_tokens),
}
CONMB_VIEWS = {"op.fc1": View("gate_x", _flat), "op.fc2": View("gate_rgb", _flat)}


def _arguments(c: Arguments) -> tuple[int, int]:
    """Only `mlp_ratio` 0 is the released setting."""
    c.only(mlp_ratio=0)
    return c("hidden_dim"), c("d_state", 4)


def _cross(block: CrossScan, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    first, second = block(rgb.movedim(3, 1), x.movedim(3, 1))
    return first.movedim(1, 3), second.movedim(1, 3)


def _concat(block: ConcatScan, rgb: Tensor, x: Tensor) -> Tensor:
    return block(rgb.movedim(3, 1), x.movedim(3, 1)).movedim(1, 3)


BLOCKS: dict[str, Make] = {
    # (rgb, x), channels last -> (rgb, x)
    "sigma_cromb": lambda c: Block(CrossScan(*_arguments(c)), CROMB, _cross, CROMB_VIEWS),
    # (rgb, x), channels last -> fused
    "sigma_conmb": lambda c: Block(ConcatScan(*_arguments(c), min_hidden=1), CONMB, _concat, CONMB_VIEWS, reshape=True),
}
