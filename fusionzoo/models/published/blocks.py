"""The modules of published originals that models and converters are built from, under one name.

`fusionzoo.hub` may import models but not the fusion room: it finds them here.
"""

from __future__ import annotations

from fusionzoo.fusion._mit import Tokens
from fusionzoo.fusion.acnet import ACNet
from fusionzoo.fusion.asymformer import CrossModalAttention, FeatureSelection, SelectAndAttend
from fusionzoo.fusion.channel_exchange import CENBottleneck, ExchangeNorm
from fusionzoo.fusion.cmnext import ParallelPoolingMixer, SelfQueryHub
from fusionzoo.fusion.cmx import FeatureFusion, FeatureRectify
from fusionzoo.fusion.dformer import DFormerAttention, DFormerBlock
from fusionzoo.fusion.dformerv2 import DFormerV2Block
from fusionzoo.fusion.eaef import EAEF
from fusionzoo.fusion.emsaformer import JointPatchEmbed
from fusionzoo.fusion.gemini import GeminiAttention, GeminiBlock
from fusionzoo.fusion.sagate import SAGate
from fusionzoo.fusion.se_add import SEAdd, SEAddUniRGB
from fusionzoo.fusion.shapeconv import ShapeConv2d
from fusionzoo.fusion.sigma import ConcatScan, CrossScan
from fusionzoo.fusion.spnet import Aggregation, CrossIntegration
from fusionzoo.fusion.token_exchange import ScoreNet, TokenFusionBlock, exchange_tokens
from fusionzoo.fusion.torchmultimodal import VectorAttention
from fusionzoo.probes.point import Probe

__all__ = [
    "ACNet",
    "Aggregation",
    "CENBottleneck",
    "ConcatScan",
    "CrossIntegration",
    "CrossModalAttention",
    "CrossScan",
    "DFormerAttention",
    "DFormerBlock",
    "DFormerV2Block",
    "EAEF",
    "ExchangeNorm",
    "FeatureFusion",
    "FeatureRectify",
    "FeatureSelection",
    "GeminiAttention",
    "GeminiBlock",
    "JointPatchEmbed",
    "ParallelPoolingMixer",
    "Probe",
    "SAGate",
    "SEAdd",
    "SEAddUniRGB",
    "ScoreNet",
    "SelectAndAttend",
    "SelfQueryHub",
    "ShapeConv2d",
    "TokenFusionBlock",
    "Tokens",
    "VectorAttention",
    "exchange_tokens",
]
