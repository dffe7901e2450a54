"""Parameter counts of the published blocks at every width that was measured on the originals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fusionzoo.fusion.acnet import ACNet
from fusionzoo.fusion.asymformer import CrossModalAttention, FeatureSelection, SelectAndAttend
from fusionzoo.fusion.cmnext import ParallelPoolingMixer, SelfQueryHub
from fusionzoo.fusion.cmx import FeatureFusion, FeatureRectify
from fusionzoo.fusion.dformer import DFormerAttention
from fusionzoo.fusion.eaef import EAEF
from fusionzoo.fusion.gemini import GeminiFusion
from fusionzoo.fusion.sagate import SAGate
from fusionzoo.fusion.se_add import SEAdd
from fusionzoo.fusion.sigma import ConcatScan, CrossScan
from fusionzoo.fusion.token_exchange import TokenExchange

MEASURED: dict[Callable[..., nn.Module], dict[tuple[int, ...], int]] = {
    FeatureRectify: {(64,): 107_074, (128,): 427_138, (320,): 2_665_282, (512,): 6_820_354},
    FeatureFusion: {(64,): 71_296, (128, 2): 281_856, (320, 5): 1_749_120, (512, 8): 4_469_760},
    SAGate: {(256,): 26_146, (512,): 101_442, (1024,): 399_490, (2048,): 1_585_410},
    ACNet: {(64,): 8_320, (256,): 131_584, (512,): 525_312, (1024,): 2_099_200, (2048,): 8_392_704},
    SEAdd: {(64,): 1_160, (128,): 4_368, (256,): 16_928, (512,): 66_624},
    TokenExchange: {(64,): 13_860, (128,): 54_340, (320,): 335_524, (512,): 856_324},
    GeminiFusion: {(64,): 45_952, (128,): 182_016, (320,): 1_130_880, (512,): 2_890_752},
    ParallelPoolingMixer: {(64, 8): 78_979, (128, 8): 297_219, (320, 4): 954_243, (512, 4): 2_411_523},
    SelfQueryHub: {(64, 3): 2_115, (128, 3): 4_227, (320, 3): 10_563, (512, 3): 16_899},
    SelectAndAttend: {(64, 192): 70_688, (160, 384): 330_416, (256, 768): 1_118_336},
    FeatureSelection: {(256,): 24_576, (544,): 110_976, (1024,): 393_216},
    CrossModalAttention: {(64, 192): 29_600, (160, 384): 132_080, (256, 768): 462_464},
    DFormerAttention: {(64, 2, 7): 41_312, (64, 2, 0): 30_976, (128, 4, 7): 154_304, (128, 4, 0): 113_152},
    CrossScan: {(96,): 86_400, (192,): 329_472, (384,): 1_285_632, (768,): 5_078_016},
    ConcatScan: {(96,): 97_536, (192,): 370_176, (384,): 1_440_768, (768,): 5_683_200},
    EAEF: {(64,): 31_563, (256,): 347_427, (512,): 1_284_675, (1024,): 4_928_643, (2048,): 19_294_467},
}


@pytest.mark.parametrize(
    ("kind", "arguments", "count"), [(k, a, n) for k, sizes in MEASURED.items() for a, n in sizes.items()]
)
def test_measured_count(kind: Callable[..., nn.Module], arguments: tuple[int, ...], count: int) -> None:
    with torch.device("meta"):
        block = kind(*arguments)
    assert sum(p.numel() for p in block.parameters()) == count
