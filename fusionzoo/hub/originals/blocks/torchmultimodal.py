"""TorchMultimodal's attention fusion (github.com/facebookresearch/multimodal, BSD-3-Clause): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.torchmultimodal import VectorAttention
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, port


def attention_fusion(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """One value for each modality, in the order of the constructor's widths -> fused.

    The constructor arguments are the widths by modality, or hold them under `channel_to_encoder_dim`.
    """
    widths = take(ctor, "channel_to_encoder_dim", default=None)
    if widths is None:
        widths = {k: v for k, v in ctor.items() if k != "encoding_projection_dim"}
    if not widths:
        raise InputError("the constructor arguments lack the width of each modality, for example {'rgb': 128}")
    names = sorted(widths)  # the original concatenates by name
    block = VectorAttention([widths[n] for n in names], take(ctor, "encoding_projection_dim", default=None))
    table = {"attention.0": "score"} | {f"encoding_projection.{n}": f"project.{i}" for i, n in enumerate(names)}
    order = tuple(list(widths).index(n) for n in names)
    return port(block, state, table, _Ordered(order), what="torchmultimodal_attention_fusion")


class _Ordered:
    """Calls the block with its inputs in another order."""

    def __init__(self, order: tuple[int, ...]) -> None:
        self.order = order

    def __call__(self, block: VectorAttention, *inputs: Tensor) -> Tensor:
        return block(*(inputs[i] for i in self.order))


BLOCKS = {"torchmultimodal_attention_fusion": attention_fusion}
