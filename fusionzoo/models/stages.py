"""Encoders run stage by stage, so that a fusion block can sit between two stages and feed the next one.

`build_encoder(name, in_channels)` gives smp's encoders, timm's through smp (`tu-NAME`) and `mobilenetv1-WWW` (WWW =
width in hundredths). `run_stage(encoder, number, previous feature)` gives the feature of one stage; smp has no such
thing, so the families are taken apart here, each the way its own `forward` runs. What is run is looked up in the
encoder at each call: nothing is kept beside the module tree. A family that is not known (`has_stages`) runs as a whole,
which serves interaction "none" only.
"""

from __future__ import annotations

import re
from typing import cast

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError, closest, unknown
from fusionzoo.models.mobilenet_v1 import MobileNetV1
from fusionzoo.probes.point import Probe

__all__ = ["Stage", "build_encoder", "encoder_token", "has_stages", "known_encoders", "out_channels", "run_stage"]


class Stage(nn.Module):
    """The probes of one stage of both streams, and what fuses or runs them there, if anything does.

    Args:
        rgb_channels, x_channels: of the two streams' features; equal where `x_channels` is None.
        fusion: any module; the architecture knows how to call it.
    """

    fusion: nn.Module

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


def _full_name(token: str) -> str:
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

    Never downloads: initial weights are a separate, explicit step. Under `torch.device("meta")` smp's encoders are
    built on the CPU and lose their storage then: they read values while they are built.
    """
    full = _full_name(name)
    if full.startswith("mobilenetv1-"):
        return MobileNetV1(int(full[-3:]) / 100, in_channels)
    from segmentation_models_pytorch.encoders import get_encoder

    device = torch.get_default_device()
    try:
        with torch.device("cpu" if device.type == "meta" else device):
            encoder = get_encoder(full, in_channels=in_channels, depth=5, weights=None)
    except ValueError as error:  # smp's: strides that are no pyramid's
        raise InputError(f"encoder {full!r} gives no five stages: {error} Take a resnet, mit or convnext") from error
    return encoder.to("meta") if device.type == "meta" else encoder


def has_stages(encoder: nn.Module) -> bool:
    """Whether `run_stage` can run this encoder."""
    return isinstance(encoder, MobileNetV1) or _stages(encoder) is not None


def run_stage(encoder: nn.Module, number: int, x: Tensor) -> Tensor:
    """The feature of stage `number` (1..5) from that of the stage before, (B, C, H, W); stage 1 starts from the image.

    Raises:
        InputError: an encoder of a family that is not known here.
    """
    if isinstance(encoder, MobileNetV1):
        return encoder.stage(number, x)
    stages = _stages(encoder)
    if stages is None:
        raise InputError(
            f"{type(encoder).__name__} cannot run stage by stage; take a resnet, mit, mobilenet or convnext encoder"
        )
    for path in stages[number - 1]:
        x = encoder.get_submodule(path)(x)
    return x.contiguous() if _is_mix_transformer(encoder) else x


def _is_mix_transformer(encoder: nn.Module) -> bool:
    return hasattr(encoder, "patch_embed4") and hasattr(encoder, "block4")


def _stages(encoder: nn.Module) -> list[list[str]] | None:
    """For each of the five stages the submodules that lead to it, by name; None where the family is not known."""
    if _is_mix_transformer(encoder):  # nothing at stage 1 (an empty feature); stage 2 starts from the image
        return [[], *([f"patch_embed{i}", f"block{i}", f"norm{i}"] for i in range(1, 5))]
    later = [["layer2"], ["layer3"], ["layer4"]]
    if hasattr(encoder, "layer0") and hasattr(encoder, "layer0_pool"):  # SENet family
        return [["layer0"], ["layer0_pool", "layer1"], *later]
    if hasattr(encoder, "layer4") and hasattr(encoder, "maxpool"):  # ResNet, ResNeXt, SKNet
        return [["conv1", "bn1", "relu" if hasattr(encoder, "relu") else "act1"], ["maxpool", "layer1"], *later]
    if hasattr(encoder, "_out_indexes") and isinstance(getattr(encoder, "features", None), nn.Sequential):
        # MobileNet v2; VGG marks its feature at full size too, which lies within stage 1 here
        ends = [0, *(i + 1 for i in cast("list[int]", encoder._out_indexes)[-5:])]
        return [[f"features.{i}" for i in range(a, b)] for a, b in zip(ends, ends[1:], strict=False)]
    inner = getattr(encoder, "model", None)
    if isinstance(inner, nn.ModuleDict) and hasattr(inner, "return_layers"):
        return _timm_stages(encoder, inner)
    return None


def _timm_stages(encoder: nn.Module, inner: nn.ModuleDict) -> list[list[str]] | None:
    """timm's FeatureListNet is a flat dict of modules with marks where features leave."""
    if getattr(encoder, "_is_channel_last", False):
        return None
    groups: list[list[str]] = [[]]
    leaves = cast("dict[str, str]", inner.return_layers)
    for name in inner:
        groups[-1].append(f"model.{name}")
        if name in leaves:
            groups.append([])
    groups = groups[:-1]
    if getattr(encoder, "_is_transformer_style", False):
        groups.insert(0, [])
    return groups if len(groups) == 5 else None


def out_channels(encoder: nn.Module) -> list[int]:
    """Channels of the image (index 0) and of the feature of each stage."""
    return list(cast("list[int]", encoder.out_channels))


def empty_like_stage1(image: Tensor) -> Tensor:
    """The empty stage-1 feature of encoders that start at stride 4: (B, 0, H/2, W/2)."""
    b, _, h, w = image.shape
    return torch.empty(b, 0, h // 2, w // 2, dtype=image.dtype, device=image.device)
