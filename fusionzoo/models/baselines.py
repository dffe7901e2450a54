"""The baselines of every comparison: RGB alone, x alone, early fusion (inputs joined), late fusion (logits averaged).

Same encoders, decoders and heads as TwoStream. `rgb_only` and `x_only` ignore the other input, so that one training
command and one dissection serve them all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.errors import check_known
from fusionzoo.models.base import FusionModel, head
from fusionzoo.models.decoders import build_decoder, decoder_task
from fusionzoo.models.stages import build_encoder, out_channels
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe

__all__ = ["BASELINES", "Baseline"]

BASELINES = ("rgb_only", "x_only", "early", "late")
_STREAMS = {"rgb_only": ("rgb",), "x_only": ("x",), "early": ("fused",), "late": ("rgb", "x")}


class Stream(nn.Module):
    """Encoder, decoder and head of one input, with probes `stage{i}.{modality}`, `decoder.out`."""

    def __init__(
        self, encoder: str, decoder: str, channels: int, num_classes: int, modality: str, options: dict[str, Any]
    ) -> None:
        super().__init__()
        self.modality = modality
        self.encoder = build_encoder(encoder, channels)
        counts = out_channels(self.encoder)
        self.stages = [i for i, count in enumerate(counts) if i and count > 0]
        for i, count in enumerate(counts[1:], 1):
            stage = nn.Module()
            stage.add_module(modality, Probe(count, role="feature", modality=modality, meaning="encoder's feature"))
            setattr(self, f"stage{i}", stage)
        self.decoder = build_decoder(decoder, counts, options)
        self.head = head(self.decoder.out_channels, num_classes, self.decoder.head_kernel)

    def forward(self, image: Tensor) -> Tensor:
        features = list(self.encoder(image))
        for i in self.stages:
            features[i] = getattr(getattr(self, f"stage{i}"), self.modality)(features[i])
        return self.head(self.decoder(features))


class Baseline(FusionModel):
    """One of BASELINES.

    Args:
        fusion: "rgb_only", "x_only", "early" or "late".
        encoder, decoder, num_classes, x_channels, decoder_args, preprocess: as in TwoStream.

    >>> Baseline("early", "mobilenetv1-025", "fpn", num_classes=4)(torch.zeros(1, 3, 64, 64), None).shape
    torch.Size([1, 4, 64, 64])
    """

    interaction = "none"

    def __init__(
        self,
        fusion: str,
        encoder: str = "mobilenetv1-050",
        decoder: str = "fpn",
        *,
        num_classes: int = 13,
        x_channels: int = 1,
        decoder_args: dict[str, Any] | None = None,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess)
        check_known("baseline", fusion, BASELINES)
        self.model_args |= {"decoder_args": dict(decoder_args or {})}
        self.kind, self.task = fusion, decoder_task(decoder)
        if fusion in ("rgb_only", "x_only"):
            self.needs = _STREAMS[fusion]
        channels = {"rgb": 3, "x": x_channels, "fused": 3 + x_channels}
        for name in _STREAMS[fusion]:
            stream = Stream(encoder, decoder, channels[name], num_classes, name, dict(decoder_args or {}))
            self.add_module(f"{name}_stream", stream)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores before upsampling")

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        streams: dict[str, Stream] = {n: getattr(self, f"{n}_stream") for n in _STREAMS[self.kind]}
        any_stream = next(iter(streams.values()))
        return {i: {n: f"{n}_stream.stage{i}.{n}" for n in streams} for i in any_stream.stages if i > 1}

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        """The mean of the streams' class scores."""
        images = {"fused": torch.cat([rgb, x], dim=1)} if self.kind == "early" else {"rgb": rgb, "x": x}
        first, *others = [getattr(self, f"{name}_stream")(images[name]) for name in _STREAMS[self.kind]]
        return self.logits((first + others[0]) / 2 if others else first)
