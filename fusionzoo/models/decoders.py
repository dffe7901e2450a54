"""smp's decoders, and `pool`, behind one interface: a feature list in, one map out, and which stages they use.

Constructor facts from segmentation-models-pytorch 0.6. Stages are 1..5 (strides 2..32); a stage that a decoder does not
use is not fused either, unless a stream needs it for its next stage.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError, check_known, first_line
from fusionzoo.probes.point import Probe
from fusionzoo.schema import check_option, refuse_unknown
from fusionzoo.tasks import CLASSIFICATION, SEGMENTATION

__all__ = ["DECODERS", "Decoder", "Pool", "build_decoder", "decoder_task"]


@dataclass(frozen=True)
class _Kind:
    cls: str
    stages: tuple[int, ...]
    options: dict[str, Any]  # what a user may override, with defaults
    out: Callable[[Sequence[int], dict[str, Any]], int]
    head_kernel: int
    channels_only: bool = False  # constructor takes the last channel count instead of the list
    depth: bool = True  # constructor takes encoder_depth
    home: str = "segmentation_models_pytorch.decoders.{}.decoder"  # module of the class, by the decoder's name
    task: str = SEGMENTATION  # what a model with it says of an image


def _last(channels: Sequence[int], options: dict[str, Any]) -> int:
    return options["decoder_channels"][-1]


_UNET = {"decoder_channels": (256, 128, 64, 32, 16)}
DECODERS: dict[str, _Kind] = {
    "unet": _Kind("UnetDecoder", (1, 2, 3, 4, 5), _UNET, _last, 3, depth=False),
    "unetplusplus": _Kind("UnetPlusPlusDecoder", (1, 2, 3, 4, 5), _UNET, _last, 3, depth=False),
    "manet": _Kind("MAnetDecoder", (1, 2, 3, 4, 5), _UNET | {"reduction": 16, "pab_channels": 64}, _last, 3,
                   depth=False),
    "linknet": _Kind("LinknetDecoder", (1, 2, 3, 4, 5), {"prefinal_channels": 32},
                     lambda c, o: o["prefinal_channels"], 1, depth=False),
    "fpn": _Kind("FPNDecoder", (2, 3, 4, 5),
                 {"pyramid_channels": 256, "segmentation_channels": 128, "dropout": 0.2, "merge_policy": "add"},
                 lambda c, o: o["segmentation_channels"] * (4 if o["merge_policy"] == "cat" else 1), 1),
    "upernet": _Kind("UPerNetDecoder", (2, 3, 4, 5), {"decoder_channels": 256},
                     lambda c, o: o["decoder_channels"], 1),
    "segformer": _Kind("SegformerDecoder", (2, 3, 4, 5), {"segmentation_channels": 256},
                       lambda c, o: o["segmentation_channels"], 1),
    "pspnet": _Kind("PSPDecoder", (5,), {"out_channels": 512, "dropout": 0.2},
                    lambda c, o: o["out_channels"], 3, depth=False),
    "deeplabv3": _Kind("DeepLabV3Decoder", (5,),
                       {"out_channels": 256, "atrous_rates": (12, 24, 36), "aspp_separable": False,
                        "aspp_dropout": 0.5},
                       lambda c, o: o["out_channels"], 1, channels_only=True, depth=False),
    "pool": _Kind("Pool", (2, 3, 4, 5), {"dropout": 0.2}, lambda c, o: sum(c[2:]), 1, depth=False, home=__name__,
                  task=CLASSIFICATION),
}  # fmt: skip


class _GroupNorm(nn.GroupNorm):
    """Group norm that takes groups of one value too: a narrow decoder's smallest map of an image of one stride.

    PyTorch refuses them for one image and takes them for two, where each value becomes the bias.
    """

    def forward(self, input: Tensor) -> Tensor:
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class Pool(nn.Module):
    """Classification of whole images: the mean over the positions of each stage's map, side by side, with dropout.

    Args:
        channels: of the feature list, the image first.
        dropout: probability of each value in training.

    >>> Pool([3, 8, 16])([torch.zeros(2, 3, 32, 32), torch.zeros(2, 8, 16, 16), torch.ones(2, 16, 8, 8)]).shape
    torch.Size([2, 16, 1, 1])
    """

    def __init__(self, channels: Sequence[int], dropout: float = 0.2) -> None:
        super().__init__()
        self.stages = [i for i, count in enumerate(channels) if i > 1 and count > 0]
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(B, C_i, h_i, w_i) of each stage -> (B, the sum of all C_i from stage 2 on, 1, 1)."""
        pooled: Tensor = self.dropout(torch.cat([features[i].mean((2, 3), keepdim=True) for i in self.stages], 1))
        return pooled


class Decoder(nn.Module):
    """An smp decoder, or `Pool`, with a probe on its output.

    Args:
        name: one of DECODERS.
        encoder_channels: channels of the feature list, the image first.
        options: overrides of the constructor's defaults; unknown ones are refused with the closest.

    Raises:
        InputError: options that no decoder can be built with.
    """

    def __init__(self, name: str, encoder_channels: Sequence[int], options: dict[str, Any]) -> None:
        super().__init__()
        kind = _kind(name)
        refuse_unknown(options, kind.options, f"decoder {name!r}", " has no option")
        for key, value in options.items():
            check_option(f"decoder {name!r}", key, value, kind.options[key])
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in (kind.options | options).items()}
        cls = getattr(importlib.import_module(kind.home.format(name)), kind.cls)
        channels = list(encoder_channels)
        first: Any = channels[-1] if kind.channels_only else channels
        if kind.depth:
            given["encoder_depth"] = len(channels) - 1
        if name == "segformer" and channels[1] > 0:  # give it the four stages that its paper uses
            first, given["encoder_depth"] = [channels[0], *channels[2:]], len(channels) - 2
        try:
            self.net = cls(first, **given)
        except (TypeError, ValueError, ArithmeticError, RuntimeError, LookupError) as error:
            if not options:
                raise
            raise InputError(f"decoder {name!r} cannot be built with {options}: {first_line(error)}") from error
        for module in self.net.modules():
            if type(module) is nn.GroupNorm:
                module.__class__ = _GroupNorm
        self.skip_stage_1 = name == "segformer" and channels[1] > 0
        self.out_channels = kind.out(channels, given)
        self.head_kernel = kind.head_kernel
        self.out = Probe(self.out_channels, role="decoded", modality="fused", meaning="what the head receives")

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature list [image, stage 1, ..., stage 5] -> (B, out_channels, h, w)."""
        if self.skip_stage_1:
            features = [features[0], *features[2:]]
        return self.out(self.net(features))


def _kind(name: str) -> _Kind:
    check_known("decoder", name, DECODERS, "fusionzoo.models.DECODERS")
    return DECODERS[name]


def decoder_task(name: str) -> str:
    """What a model with this decoder says of an image: a class of each pixel, or with `pool` one of the whole.

    >>> decoder_task("pool"), decoder_task("fpn")
    ('classification', 'segmentation')
    """
    return _kind(name).task


def used_stages(name: str, encoder_channels: Sequence[int]) -> tuple[int, ...]:
    """Stages of the encoder that the decoder reads and that are not empty."""
    return tuple(i for i in _kind(name).stages if encoder_channels[i] > 0)


def build_decoder(name: str, encoder_channels: Sequence[int], options: dict[str, Any] | None = None) -> Decoder:
    """The decoder called `name`; UnknownNameError with the closest otherwise."""
    return Decoder(name, encoder_channels, dict(options or {}))
