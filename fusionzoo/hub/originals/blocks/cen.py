"""CEN, and its exchange and bottleneck, called as the original is (github.com/yikaiw/CEN)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.channel_exchange import CENBottleneck, ExchangeNorm
from fusionzoo.hub.originals.checkpoints.cen import BOTTLENECK, EXCHANGE
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, direct, port
from fusionzoo.models import FusionModel
from fusionzoo.models.published.cen import CEN


def cen_bn_exchange(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1) -> (x0, x1)."""
    block = ExchangeNorm(take(ctor, "C"), take(ctor, "bn_threshold", default=0.02))
    return port(block, state, EXCHANGE, direct, what="cen_bn_exchange")


def cen_bottleneck(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1) -> (x0, x1)."""
    if take(ctor, "num_parallel", default=2) != 2:
        raise InputError(f"cen_bottleneck: num_parallel is {ctor['num_parallel']}; the exchange is defined for 2")
    block = CENBottleneck(
        take(ctor, "inplanes"),
        take(ctor, "planes"),
        stride=take(ctor, "stride", default=1),
        threshold=take(ctor, "bn_threshold", default=0.02),
    )
    return port(block, state, BOTTLENECK, direct, what="cen_bottleneck")


BLOCKS = {"cen_bn_exchange": cen_bn_exchange, "cen_bottleneck": cen_bottleneck}


def _scores(model: CEN, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return model.all_scores(rgb, x)


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, x of three channels) -> ([RGB's scores, x's, their weighted sum], the two weights)."""
    return Port(model, _scores, {}, keys)
