"""Sigma's CroMB and ConMB (github.com/zifuwan/Sigma, MIT): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.port import Port, View, as_tokens, port, take
from fusionzoo.models.published.blocks import ConcatScan, CrossScan

CROMB = {
    "op.in_proj": "rgb.enter",
    "op.in_proj_modalx": "x.enter",
    "op.conv2d": "conv",
    "op.out_proj_rgb": "rgb.leave",
    "op.out_proj_e": "x.leave",
}
for _number, _half in ((1, "rgb"), (2, "x")):
    CROMB |= {
        f"op.CMA_ssm.A_log_{_number}": f"{_half}.log_a",
        f"op.CMA_ssm.D_{_number}": f"{_half}.skip",
        f"op.CMA_ssm.x_proj_{_number}": f"{_half}.select",
        f"op.CMA_ssm.dt_proj_{_number}": f"{_half}.step",
        f"op.CMA_ssm.out_norm_{_number}": f"{_half}.norm",
    }
CONMB = {
    "op.x_proj_weight": "select",
    "op.dt_projs_weight": "step_weight",
    "op.dt_projs_bias": "step_bias",
    "op.A_logs": "log_a",
    "op.Ds": "skip",
    "op.in_proj": "enter_rgb",
    "op.in_proj_modalx": "enter_x",
    "op.conv2d": "conv_rgb",
    "op.conv2d_modalx": "conv_x",
    "op.out_norm1": "norm_rgb",
    "op.out_norm2": "norm_x",
    "op.out_proj": "leave",
    "op.fc1.0": "excite_from_rgb.reduce",
    "op.fc1.2": "excite_from_rgb.expand",
    "op.fc2.0": "excite_from_x.reduce",
    "op.fc2.2": "excite_from_x.expand",
}


def _flat(gate: Tensor) -> Tensor:
    """(B, C, 1, 1) -> (B, C)."""
    return gate.flatten(1)


CROMB_VIEWS = {
    "op.CMA_ssm.0": View("rgb.scanned", as_tokens),
    "op.CMA_ssm.1": View("x.scanned", as_tokens),
}
CONMB_VIEWS = {"op.fc1": View("gate_x", _flat), "op.fc2": View("gate_rgb", _flat)}


def sigma_cromb(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x), channels last -> (rgb, x)."""
    block = CrossScan(*_arguments("sigma_cromb", ctor))
    return port(block, state, CROMB, _cross, CROMB_VIEWS, what="sigma_cromb")


def sigma_conmb(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x), channels last -> fused."""
    block = ConcatScan(*_arguments("sigma_conmb", ctor), min_hidden=1)
    return port(block, state, CONMB, _concat, CONMB_VIEWS, what="sigma_conmb", reshape=True)


def _arguments(what: str, ctor: Mapping[str, Any]) -> tuple[int, int]:
    if take(ctor, "mlp_ratio", default=0.0):
        raise InputError(f"{what}: mlp_ratio is {ctor['mlp_ratio']}; only 0, the released setting, is supported")
    return take(ctor, "hidden_dim"), take(ctor, "d_state", default=4)


def _cross(block: CrossScan, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    first, second = block(rgb.movedim(3, 1), x.movedim(3, 1))
    return first.movedim(1, 3), second.movedim(1, 3)


def _concat(block: ConcatScan, rgb: Tensor, x: Tensor) -> Tensor:
    return block(rgb.movedim(3, 1), x.movedim(3, 1)).movedim(1, 3)


BLOCKS = {"sigma_conmb": sigma_conmb, "sigma_cromb": sigma_cromb}
