"""Encoders run stage by stage, so that a fusion block can sit between two stages and feed the next one.

`build_encoder(name, in_channels)` gives smp's encoders, timm's through smp (`tu-NAME`) and `mobilenetv1-WWW` (WWW =
width in hundredths). `run_stage(encoder, number, previous feature)` gives the feature of one stage; smp has no such
thing, so the families are taken apart in `fusionzoo.models.families`. What is run is looked up in the encoder at each
call: nothing is kept beside the module tree. A family that is not known (`has_stages`) runs as a whole, which serves
interaction "none" only. The table of families is in fusionzoo/models/README.md.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fusionzoo.errors import InputError, closest, unknown
from fusionzoo.models.families import run_modules, stage_modules, why_whole
from fusionzoo.models.mobilenet_v1 import MobileNetV1
from fusionzoo.probes.point import Probe

__all__ = ["Stage", "build_encoder", "encoder_name", "encoder_token", "has_stages", "known_encoders", "out_channels",
           "run_stage"]  # fmt: skip


ONE_SIZE = frozenset({"byoanet", "coat", "efficientformer", "efficientformer_v2", "gcvit", "hiera", "maxxvit",
                      "swin_transformer_v2_cr"})  # fmt: skip
"""timm's files of encoders whose positions or windows fit images of one size (or of its multiples) alone."""

UNPADDED = frozenset({"inception_v3", "inception_v4", "inception_resnet_v2", "nasnet", "pnasnet"})
"""timm's files of encoders whose features are smaller than the strides say; smp's own Inceptions pad."""


class Stage(nn.Module):
    """The probes of one stage of both streams, and what fuses or runs them there, if anything does.

    Args:
        rgb_channels, x_channels: of the two streams' features; equal where `x_channels` is None.
        fusion: any module; the architecture knows how to call it.
    """

    fusion: nn.Module
    embed: nn.Module
    """What makes x's feature, where x has no encoder of its own."""

    def __init__(self, rgb_channels: int, fusion: nn.Module | None = None, x_channels: int | None = None) -> None:
        super().__init__()
        x_channels = rgb_channels if x_channels is None else x_channels
        self.rgb = Probe(rgb_channels, role="feature", modality="rgb", meaning="RGB encoder's feature at this stage")
        self.x = Probe(x_channels, role="feature", modality="x", meaning="x encoder's feature at this stage")
        if fusion is not None:
            self.fusion = fusion


def known_encoders() -> list[str]:
    """Names that `build_encoder` takes, without the open families `tu-*` and `mobilenetv1-*` at other widths."""
    from segmentation_models_pytorch.encoders import encoders

    return [f"mobilenetv1-{w:03d}" for w in (25, 50, 75, 100)] + sorted(encoders)


def encoder_token(name: str) -> str:
    """An encoder's name as it stands inside a model name, where '_' parts the pieces: `mit_b0` -> `mit-b0`."""
    return name.replace("_", "-").lower()


def encoder_name(token: str) -> str:
    """The encoder's own name from its token. UnknownNameError with the closest otherwise."""
    from segmentation_models_pytorch.encoders import encoders

    if re.fullmatch(r"mobilenetv1-\d{3}", token):
        return token
    if token.startswith("tu-"):
        import timm

        names = {encoder_token(n): n for n in timm.list_models()}
        if (found := names.get(encoder_token(token[3:]))) is not None:
            return f"tu-{found}"
        near = closest(encoder_token(token[3:]), names)
        raise unknown("timm encoder", token, [f"tu-{n}" for n in near], "timm.list_models()")
    names = {encoder_token(n): n for n in encoders}
    if (found := names.get(encoder_token(token))) is not None:
        return found
    raise unknown("encoder", token, known_encoders(), "fusionzoo.models.known_encoders()")


def build_encoder(name: str, in_channels: int) -> nn.Module:
    """An encoder with five stages and random weights; `name` as in `known_encoders` or with '-' for '_'.

    Never downloads: initial weights are a separate, explicit step. Works under `torch.device("meta")` too.

    Raises:
        UnknownNameError: no such encoder.
        InputError: an encoder without five stages at strides 2 to 32 (stage 1 may be empty).
    """
    full = encoder_name(name)
    if full.startswith("mobilenetv1-"):
        return MobileNetV1(int(full[-3:]) / 100, in_channels)
    from segmentation_models_pytorch.encoders import get_encoder

    _refuse(full)
    # any image size: timm's Swin takes the size that it was pretrained at alone otherwise
    options = {"strict_img_size": False} if re.match(r"tu-swin(v2)?_", full) else {}
    try:
        with warnings.catch_warnings(), SchedulesOnCpu():
            warnings.filterwarnings("ignore", "`timm-` encoders are deprecated", DeprecationWarning)
            encoder = get_encoder(full, in_channels=in_channels, depth=5, weights=None, **options)
    except (ValueError, AssertionError, IndexError) as error:  # strides that are no pyramid's
        why = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"encoder {full!r} gives no five stages: {why} Take a resnet, mit or convnext") from error
    # smp makes the first convolution of another number of channels on the CPU whatever the device
    return encoder.to("meta") if torch.get_default_device().type == "meta" else encoder


def _refuse(full: str) -> None:
    """InputError for an encoder of timm whose features are not at strides 2 to 32 of any image."""
    if not full.startswith("tu-"):
        return
    from timm.models import model_entrypoint

    family = model_entrypoint(full[3:]).__module__.rpartition(".")[2]
    for families, why in ((ONE_SIZE, "takes images of one size alone"), (UNPADDED, "does not pad its convolutions")):
        if family in families:
            raise InputError(f"encoder {full!r} gives no five stages: it {why}. Take a resnet, mit or convnext")


class SchedulesOnCpu(TorchFunctionMode):
    """Keeps schedules, whose values encoders read while they are built, off the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace and torch.get_default_device().type == "meta":
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def has_stages(encoder: nn.Module) -> bool:
    """Whether `run_stage` can run this encoder."""
    return stage_modules(encoder) is not None


def run_stage(encoder: nn.Module, number: int, x: Tensor, stages: list[list[str]] | None = None) -> Tensor:
    """The feature of stage `number` (1..5) from that of the stage before, (B, C, H, W); stage 1 starts from the image.

    `stages`: what `stage_modules(encoder)` gives, for callers that run several stages of one encoder.

    Raises:
        InputError: an encoder of a family that runs as a whole only.
    """
    if stages is None:
        stages = stage_modules(encoder)
    if stages is None:
        raise InputError(f"{type(encoder).__name__} {why_whole(encoder)}; take a resnet, efficientnet or mit encoder")
    return run_modules(encoder, stages, number, x)


def out_channels(encoder: nn.Module) -> list[int]:
    """Channels of the image (index 0) and of the feature of each stage."""
    return list(cast("list[int]", encoder.out_channels))


def empty_like_stage1(image: Tensor) -> Tensor:
    """The empty stage-1 feature of encoders that start at stride 4: (B, 0, H/2, W/2)."""
    b, _, h, w = image.shape
    return torch.empty(b, 0, h // 2, w // 2, dtype=image.dtype, device=image.device)
