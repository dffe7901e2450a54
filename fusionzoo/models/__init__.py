"""Models: two-stream networks, baselines, published architectures; and their names."""

from __future__ import annotations

from fusionzoo.models import published
from fusionzoo.models.base import FusionModel
from fusionzoo.models.baselines import BASELINES, Baseline
from fusionzoo.models.classes import reset_classes
from fusionzoo.models.decoders import DECODERS
from fusionzoo.models.labels import predict_labels
from fusionzoo.models.missing import MissingX
from fusionzoo.models.mobilenet_v1 import MobileNetV1
from fusionzoo.models.presets import build, create_model, list_fusions, list_models
from fusionzoo.models.stages import build_encoder, known_encoders
from fusionzoo.models.two_stream import TwoStream

__all__ = ["BASELINES", "DECODERS", "Baseline", "FusionModel", "MissingX", "MobileNetV1", "TwoStream", "build",
           "build_encoder", "create_model", "known_encoders", "list_fusions", "list_models", "predict_labels",
           "published", "reset_classes"]  # fmt: skip
