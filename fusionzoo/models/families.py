"""The modules of an encoder that lead to each of its five stages, family by family, each as its own `forward` runs.

A stage starts from the feature of the stage before, (B, C, H, W), whatever a family carries on inside: DPN's two
tensors are one feature, their concatenation; what timm keeps as (B, H, W, C) is turned at both ends of a stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.models.mobilenet_v1 import MobileNetV1

__all__ = ["as_read", "run_modules", "stage_modules", "why_whole"]

_LISTS = ("selecsls",)
"""timm's encoders whose modules hand on lists of tensors."""

_XCEPTION = ["conv1", "bn1", "relu1", "conv2", "bn2", "relu2"]
_INCEPTION_RESNET = [
    ["conv2d_1a", "conv2d_2a", "conv2d_2b"],
    ["maxpool_3a", "conv2d_3b", "conv2d_4a"],
    ["maxpool_5a", "mixed_5b", "repeat"],
    ["mixed_6a", "repeat_1"],
    ["mixed_7a", "repeat_2", "block8", "conv2d_7b"],
]


def stage_modules(encoder: nn.Module) -> list[list[str]] | None:
    """For each of the five stages the submodules that lead to it, by name; None where the family is not known."""
    own: Any = encoder
    if isinstance(encoder, MobileNetV1):
        (first, *more), *later = _spans("blocks", [0, *encoder.ends])
        return [["conv1", first, *more], *later]
    if _has(encoder, "patch_embed4", "block4"):  # MiT: nothing at stage 1 (an empty feature); stage 2 from the image
        return [[], *([f"patch_embed{i}", f"block{i}", f"norm{i}"] for i in range(1, 5))]
    rest = [["layer2"], ["layer3"], ["layer4"]]
    if _has(encoder, "layer0", "layer0_pool"):  # SENet
        return [["layer0"], ["layer0_pool", "layer1"], *rest]
    if _has(encoder, "layer4", "maxpool"):  # ResNet, ResNeXt, SKNet
        return [["conv1", "bn1", "relu" if hasattr(encoder, "relu") else "act1"], ["maxpool", "layer1"], *rest]
    if _has(encoder, "stage0", "stage4"):  # MobileOne
        return [[f"stage{i}"] for i in range(5)]
    if _has(encoder, "conv2d_1a", "block8"):  # Inception-ResNet v2
        return _INCEPTION_RESNET
    if _has(encoder, "block12", "conv4"):  # Xception
        middle, last = [f"block{i}" for i in range(3, 12)], ["block12", "conv3", "bn3", "relu3", "conv4", "bn4"]
        return [_XCEPTION, ["block1"], ["block2"], middle, last]
    if _has(encoder, "_conv_stem", "_blocks"):  # EfficientNet
        ends = [0, *(i + 1 for i in own._out_indexes)]
        return [["_conv_stem", "_bn0", "_swish"], *_spans("_blocks", ends)]
    if _has(encoder, "conv_stem", "blocks"):  # EfficientNet and its Lite, timm's, at smp
        return [["conv_stem", "bn1"], *_spans("blocks", [0, 2, 3, 5, 7])]
    features = getattr(encoder, "features", None)
    if isinstance(features, nn.Sequential) and hasattr(features, "denseblock4"):  # DenseNet
        return _densenet()
    if isinstance(features, nn.Sequential) and hasattr(encoder, "_stage_idxs"):  # DPN
        names, ends = [f"features.{part}" for part in features._modules], [1, *own._stage_idxs[:4]]
        opening, *groups = [names[ends[k] : ends[k + 1]] for k in range(len(ends) - 1)]
        stem = [f"{names[0]}.{part}" for part in ("conv", "bn", "act")]
        return [stem, [f"{names[0]}.pool", *opening], *groups]
    if isinstance(features, nn.Sequential) and hasattr(encoder, "_out_indexes"):
        # MobileNet v2, Inception v4; VGG marks its feature at full size too, which lies within stage 1 here
        return _spans("features", [0, *(i + 1 for i in own._out_indexes[-5:])])
    return _timm(encoder)


def run_modules(encoder: nn.Module, stages: Sequence[Sequence[str]], number: int, x: Tensor) -> Tensor:
    """(B, C, H, W) of stage `number` - 1 (the image for 1) through the modules of stage `number` -> (B, C', H', W')."""
    paths, own = stages[number - 1], cast(Any, encoder)
    last = bool(paths) and getattr(encoder, "_is_channel_last", False)
    value: Any = x.permute(0, 2, 3, 1) if last and any(stages[: number - 1]) else x  # (B, H, W, C)
    for path in paths:
        module = encoder.get_submodule(path)
        if path.startswith("_blocks."):  # EfficientNet's blocks are told how often they drop
            share = int(path.rpartition(".")[2]) / len(own._blocks)
            value = module(value, own._drop_connect_rate * share)
        else:
            value = module(value)
    out: Tensor = torch.cat(value, dim=1) if isinstance(value, tuple) else value  # (B, Ca + Cb, H, W)
    if last:
        out = out.permute(0, 3, 1, 2)  # (B, C, H, W)
    return out.contiguous() if last or _has(encoder, "patch_embed4", "block4") else out


def as_read(encoder: nn.Module, number: int, x: Tensor) -> Tensor:
    """What the encoder shows of the feature of stage `number`, in the same shape.

    Itself, but for DPN: that carries on with what lies before the rectifier.
    """
    return F.relu(x) if 2 <= number <= 4 and _has(encoder, "features", "_stage_idxs") else x


def why_whole(encoder: nn.Module) -> str:
    """Why `stage_modules` does not know this encoder, as the end of a sentence."""
    inner = getattr(encoder, "model", None)
    kind = type(inner).__name__
    if getattr(encoder, "name", "").startswith(_LISTS):
        return "cannot run stage by stage: its modules hand on lists of tensors"
    if kind == "FeatureGetterNet":
        return "cannot run stage by stage: timm gathers its features within one forward pass"
    if kind == "FeatureHookNet":
        return "cannot run stage by stage: timm takes its features from inside modules, by hooks"
    if kind.startswith("HighResolutionNet"):
        return "cannot run stage by stage: its resolutions run side by side to the end"
    return "cannot run stage by stage"


def _timm(encoder: nn.Module) -> list[list[str]] | None:
    """timm's encoders: a flat dict of modules, or EfficientNet's and MobileNet's blocks, with marks at the features."""
    inner: Any = getattr(encoder, "model", None)
    groups: list[list[str]] = [[]]
    if isinstance(inner, nn.ModuleDict) and hasattr(inner, "return_layers"):
        if getattr(encoder, "name", "").startswith(_LISTS):
            return None
        layers: Any = inner.return_layers
        leaves = set(layers)
        names = list(inner)
    elif hasattr(inner, "_stage_out_idx") and getattr(inner, "feature_hooks", None) is None:
        names = [n for n in ("conv_stem", "bn1", "act1") if hasattr(inner, n)]
        leaves = {f"blocks.{i - 1}" if i else names[-1] for i in inner._stage_out_idx}
        names += [f"blocks.{i}" for i in range(len(inner.blocks))]
    else:
        return None
    for name in names:
        groups[-1].append(f"model.{name}")
        if name in leaves:
            groups.append([])
    groups = groups[:-1]
    if getattr(encoder, "_is_transformer_style", False):
        groups.insert(0, [])
    if getattr(encoder, "_is_vgg_style", False):  # its feature at full size lies within stage 1
        groups = [groups[0] + groups[1], *groups[2:]]
    return groups if len(groups) == 5 else None


def _densenet() -> list[list[str]]:
    stages = [["features.conv0", "features.norm0", "features.relu0"]]
    before = ["features.pool0"]
    for i in range(1, 5):
        after = [f"features.transition{i}.norm", f"features.transition{i}.relu"] if i < 4 else ["features.norm5"]
        stages.append([*before, f"features.denseblock{i}", *after])
        before = [f"features.transition{i}.conv", f"features.transition{i}.pool"]
    return stages


def _spans(name: str, ends: Sequence[int]) -> list[list[str]]:
    """Items of the list `name` between neighbouring `ends`.

    >>> _spans("blocks", [0, 2, 3])
    [['blocks.0', 'blocks.1'], ['blocks.2']]
    """
    return [[f"{name}.{i}" for i in range(ends[k], ends[k + 1])] for k in range(len(ends) - 1)]


def _has(module: nn.Module, *names: str) -> bool:
    return all(hasattr(module, name) for name in names)
