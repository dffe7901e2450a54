"""Sigma, its CroMB and its ConMB, called as the original is (github.com/zifuwan/Sigma, MIT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.sigma import ConcatScan, CrossScan
from fusionzoo.hub.originals.blocks.calls import at_input_size
from fusionzoo.hub.originals.checkpoints.sigma import CONMB, CROMB
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, View, as_tokens, port
from fusionzoo.models import FusionModel


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


MODEL_VIEWS = {f"backbone.{i}": View(f"stage{i + 2}.fusion.fused") for i in range(4)}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, x) -> class scores at the input size.

    Sides that are no multiples of 4 lose their last pixels in the patches; the scores are stretched over them.
    """
    return Port(model, at_input_size, MODEL_VIEWS, keys)
