"""CEN's exchange and bottleneck (github.com/yikaiw/CEN): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.channel_exchange import CENBottleneck, ExchangeNorm
from fusionzoo.hub.originals.port import Port, port, take

EXCHANGE = {"bn_0": "rgb", "bn_1": "x"}
BOTTLENECK = {f"conv{i}.module": f"conv{i}" for i in (1, 2, 3)}
BOTTLENECK |= {f"bn{i}.{official}": f"norm{i}.{ours}" for i in (1, 2, 3) for official, ours in EXCHANGE.items()}
BOTTLENECK |= {"downsample.0.module": "shortcut"}
BOTTLENECK |= {f"downsample.1.{official}": f"shortcut_norm.{ours}" for official, ours in EXCHANGE.items()}


def cen_bn_exchange(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1) -> (x0, x1)."""
    block = ExchangeNorm(take(ctor, "C"), take(ctor, "bn_threshold", default=0.02))
    return port(block, state, EXCHANGE, _plain, what="cen_bn_exchange")


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
    return port(block, state, BOTTLENECK, _plain, what="cen_bottleneck")


def _plain(block: ExchangeNorm | CENBottleneck, x0: Tensor, x1: Tensor) -> Any:
    return block(x0, x1)


BLOCKS = {"cen_bn_exchange": cen_bn_exchange, "cen_bottleneck": cen_bottleneck}
