"""Parameter counts of the encoders with the decoder of their published models, at every published size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionzoo.hub.originals.dformer import HeldHead
from fusionzoo.models.published.dformer_encoder import DFormerEncoder
from fusionzoo.models.published.dformerv2_encoder import DFormerV2Encoder


@pytest.mark.parametrize(
    ("kind", "size", "published"),
    [
        (DFormerEncoder, "tiny", 6_003_912),
        (DFormerEncoder, "small", 18_747_144),
        (DFormerEncoder, "base", 29_524_840),
        (DFormerEncoder, "large", 39_030_392),
        (DFormerV2Encoder, "small", 26_686_018),
        (DFormerV2Encoder, "base", 53_923_050),
        (DFormerV2Encoder, "large", 95_266_426),
    ],
)
def test_parameters_of_every_size(kind: type[nn.Module], size: str, published: int) -> None:
    with torch.device("meta"):
        encoder = kind(size)
        head = HeldHead(sum(encoder.channels[1:]))
    assert sum(p.numel() for m in (encoder, head) for p in m.parameters()) == published
