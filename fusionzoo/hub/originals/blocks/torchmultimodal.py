"""TorchMultimodal's attention fusion (github.com/facebookresearch/multimodal, BSD-3-Clause): official keys to ours."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.torchmultimodal import VectorAttention
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make


def _attention(c: Arguments) -> Block:
    """One value for each modality, in the order of the constructor's widths -> fused.

    The constructor arguments are the widths by modality, or hold them under `channel_to_encoder_dim`.
    """
    widths = c("channel_to_encoder_dim", default=None)
    if widths is None:
        widths = {k: v for k, v in c.items() if k != "encoding_projection_dim"}
    if not widths:
        raise InputError("the constructor arguments lack the width of each modality, for example {'rgb': 128}")
    names = sorted(widths)  # the original concatenates by name
    block = VectorAttention([widths[n] for n in names], c("encoding_projection_dim", default=None))
    table = {"attention.0": "score"} | {f"encoding_projection.{n}": f"project.{i}" for i, n in enumerate(names)}
    return Block(block, table, _Ordered(tuple(list(widths).index(n) for n in names)))


class _Ordered:
    """Calls the block with its inputs in another order."""

    def __init__(self, order: tuple[int, ...]) -> None:
        self.order = order

    def __call__(self, block: VectorAttention, *inputs: Tensor) -> Tensor:
        return block(*(inputs[i] for i in self.order))


BLOCKS: dict[str, Make] = {
    "torchmultimodal_attention_fusion": _attention,
}
