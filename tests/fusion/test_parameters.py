"""Parameter counts of the published blocks at every width that was measured on the originals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import fusionzoo.fusion  # noqa: F401  fills the registry
from fusionzoo.fusion.acnet import ACNet
from fusionzoo.fusion.asymformer import CrossModalAttention, FeatureSelection, SelectAndAttend
from fusionzoo.fusion.cmnext import ParallelPoolingMixer, SelfQueryHub
from fusionzoo.fusion.cmx import FeatureFusion, FeatureRectify
from fusionzoo.fusion.dformer import DFormerAttention
from fusionzoo.fusion.eaef import EAEF
from fusionzoo.fusion.gemini import GeminiFusion
from fusionzoo.fusion.hdbformer import MIIM
from fusionzoo.fusion.prompt import Prompt, TokenPrompt
from fusionzoo.fusion.sagate import SAGate
from fusionzoo.fusion.se_add import SEAdd
from fusionzoo.fusion.sigma import ConcatScan, CrossScan
from fusionzoo.fusion.stitchfusion import Adapter, Mix
from fusionzoo.fusion.token_exchange import TokenExchange
from fusionzoo.fusion.tuni import TUNIAttention
from fusionzoo.registry import fusions

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
    TUNIAttention: {(48, 1, 0): 20_784, (96, 2): 95_856, (192, 4): 362_208, (384, 8): 1_406_400},
    MIIM: {(128,): 123_264, (256,): 484_096, (512,): 1_918_464, (1024,): 7_638_016},
    CrossScan: {(96,): 86_400, (192,): 329_472, (384,): 1_285_632, (768,): 5_078_016},
    ConcatScan: {(96,): 97_536, (192,): 370_176, (384,): 1_440_768, (768,): 5_683_200},
    Prompt: {(64,): 3_168, (128,): 12_480, (320,): 77_280, (512,): 197_376},
    TokenPrompt: {(64, 1): 4_870, (128, 2): 10_700, (320, 5): 34_334, (512, 8): 67_184},
    Adapter: {(64,): 1_168, (128,): 2_256, (320,): 5_520, (512,): 8_784},
    Mix: {(64,): 31_168, (128,): 112_512, (64, 4): 39_360, (128, 4): 145_280},
    EAEF: {(64,): 31_563, (256,): 347_427, (512,): 1_284_675, (1024,): 4_928_643, (2048,): 19_294_467},
}


@pytest.mark.parametrize(
    ("kind", "arguments", "count"), [(k, a, n) for k, sizes in MEASURED.items() for a, n in sizes.items()]
)
def test_measured_count(kind: Callable[..., nn.Module], arguments: tuple[int, ...], count: int) -> None:
    with torch.device("meta"):
        block = kind(*arguments)
    assert sum(p.numel() for p in block.parameters()) == count


FORMULAS: dict[str, Callable[[int], float]] = {
    "acnet": lambda c: 2 * (c * c + c),
    "asymformer": lambda c: 5.5 * c * c + 10.5 * c,  # LAFS of 2 C: 3 C^2 / 2, join 2 C^2 + 2 C, CMA 2 C^2 + 8.5 C
    "attention_fusion": lambda c: 2 * c * c + 6 * c + 2,
    "cddfuse": lambda c: 4 * c * c + 2 * c,
    "channel_exchange": lambda c: 4 * c,
    "cmnext": lambda c: 60 * c * c + 181 * c + 5,  # PPX 17 C^2 + 146 C + 3, and CMX's
    "cmx": lambda c: 43 * c * c + 35 * c + 2,  # FRM 26 C^2 + 9 C + 2, FFM 17 C^2 + 26 C
    "concat": lambda c: 2 * c * c + 2 * c,
    "cross_attention": lambda c: 6 * c * c + 13 * c,
    "dformer": lambda c: 17.25 * c * c + 159 * c,  # without the global path: level 1
    "dformerv2": lambda c: 12 * c * c + 90 * c + 3,
    "eaef": lambda c: 4.5 * c * c + 205.125 * c + 3,
    "emsaformer": lambda c: c * c + 3 * c,
    "film": lambda c: 2 * c * c + 2 * c,
    "fusenet": lambda c: 0,
    "gate": lambda c: 2 * (2 * c * max(8, c // 16) + max(8, c // 16) + c),
    "gemini": lambda c: 11 * c * c + 14 * c,
    "hdbformer": lambda c: 7.25 * c * c + 35 * c,
    "hybrid": lambda c: 3.5 * c * c + 8 * c + 1 + 2 * (max(8, min(c // 8, 32)) * (c + 13) + 1),
    "hybrid_exchange": lambda c: 3 * c * c + 3 * c,
    "hybrid_trust": lambda c: 4.25 * c * c + 23 * c + 192,
    "low_rank_tensor": lambda c: 8 * (c * c + c) + 4 + c,
    "mfnet": lambda c: 18 * c * c + 3 * c,
    "mmsformer": lambda c: 6.125 * c * c + 95 * c,
    "prompt": lambda c: 0.75 * c * c + 1.5 * c,
    "rednet": lambda c: 0,
    "rtfnet": lambda c: 0,
    "sagate": lambda c: 3 * c * c / 8 + 49 * c / 8 + 2,
    "se_add": lambda c: c * c / 4 + 17 * c / 8,
    "se_add_uni_rgb": lambda c: c * c / 4 + 17 * c / 8,
    "shapeconv": lambda c: 18 * c * c + 164 * c + 1,  # convolution 18 C^2, M 2 C 81, b, norm 2 C
    "shaspec": lambda c: 21 * c * c + 8 * c + 2,
    "sigma": lambda c: 18 * c * c + 188 * c,  # CroMB 8.5 C^2 + 84 C, ConMB 9.5 C^2 + 104 C
    "spnet": lambda c: 54 * c * c + 11 * c,
    "sum": lambda c: 0,
    "token_exchange": lambda c: 3.25 * c * c + 8.5 * c + 4,
    "tuni": lambda c: 17.75 * c * c + 184 * c,  # without the global path: level 1
    "xmsnet": lambda c: 4 * c * c + 6 * c + 198 + 2 * (max(4, c // 16) * (3 * c + 1) + c),
}
"""Added up from each strategy's equations, C a multiple of 64."""


@pytest.mark.parametrize("channels", [64, 128, 320])
@pytest.mark.parametrize("name", sorted(fusions))
def test_every_strategy_counts_as_its_formula(name: str, channels: int) -> None:
    with torch.device("meta"):
        block = fusions.get(name)(channels)
    assert sum(p.numel() for p in block.parameters()) == FORMULAS[name](channels)
