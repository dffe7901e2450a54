"""State dicts of image classifiers (timm, torchvision, smp, their originals) -> the keys of an encoder of ours.

Two steps. A dialect says how a publisher's names are spelled in timm's, or in smp's for encoders of smp's own;
`_placed` says where that name lies in what `build_encoder` makes, which may fold timm's outer two modules into one.
What lies behind the last feature (`_BEHIND`) is left out, all else must fit: names and shapes, both ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.hub.foreign import read_weights
from fusionzoo.hub.originals.keys import squeezed
from fusionzoo.models.stages import build_encoder

__all__ = ["DIALECTS", "Fitted", "fit_encoder", "read_encoder"]

_BEHIND = re.compile(
    r"(fc|_fc|classifier|last_linear|head|head_\w+|pre_logits|conv_head|final_conv|norm_head|norm|bn2|global_pool)(\.|$)"
)
"""Names, as timm or smp spell them, behind the last feature: pooling, last norm, classifier."""

_DERIVED = re.compile(r"(.*\.)?(relative_position_index|relative_coords_table|attn_mask)")
"""Buffers of windowed attention that follow from sizes alone."""

_SAME = (r"(.*)", r"\1")


@dataclass(frozen=True)
class Dialect:
    """How one publisher spells the names of some encoders.

    Args:
        name: for messages.
        encoders: pattern of the encoders' names of ours that it holds for.
        rules: (pattern of a whole official name, its spelling in timm's or smp's names), the first that matches counts.
            `{/2}`, `{+1}` and `{-1}` stand for the first group, halved, one more and one less; `{block}` for a part of
            efficientnet_pytorch's flat list of blocks.
    """

    name: str
    encoders: str
    rules: tuple[tuple[str, str], ...] = (_SAME,)


_CONVNEXT = r"tu-convnext_.*"
_SWIN = r"tu-swin_.*"

DIALECTS = (
    Dialect("smp, timm or torchvision as they are", r".*"),
    Dialect("torchvision's DenseNet of old", r"(tu-)?densenet.*", (
        (r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)", r"\1\2"), _SAME)),
    Dialect("torchvision ConvNeXt", _CONVNEXT, (
        (r"features\.0\.([01])\.(.*)", r"stem.\1.\2"),
        (r"features\.([2468])\.([01])\.(.*)", r"stages.{/2}.downsample.\2.\3"),
        (r"features\.([1357])\.(\d+)\.block\.0\.(.*)", r"stages.{/2}.blocks.\2.conv_dw.\3"),
        (r"features\.([1357])\.(\d+)\.block\.2\.(.*)", r"stages.{/2}.blocks.\2.norm.\3"),
        (r"features\.([1357])\.(\d+)\.block\.3\.(.*)", r"stages.{/2}.blocks.\2.mlp.fc1.\3"),
        (r"features\.([1357])\.(\d+)\.block\.5\.(.*)", r"stages.{/2}.blocks.\2.mlp.fc2.\3"),
        (r"features\.([1357])\.(\d+)\.layer_scale", r"stages.{/2}.blocks.\2.gamma"),
        (r"classifier\.(.*)", r"head.\1"))),
    Dialect("the original ConvNeXt", _CONVNEXT, (
        (r"downsample_layers\.0\.([01])\.(.*)", r"stem.\1.\2"),
        (r"downsample_layers\.(\d)\.([01])\.(.*)", r"stages.\1.downsample.\2.\3"),
        (r"stages\.(\d)\.(\d+)\.dwconv\.(.*)", r"stages.\1.blocks.\2.conv_dw.\3"),
        (r"stages\.(\d)\.(\d+)\.pwconv([12])\.(.*)", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
        (r"stages\.(\d)\.(\d+)\.((?:norm\.|gamma|grn\.).*)", r"stages.\1.blocks.\2.\3"),
        (r"(norm|head)\.(.*)", r"head.\1.\2"))),
    Dialect("torchvision Swin", _SWIN, (
        (r"features\.0\.0\.(.*)", r"patch_embed.proj.\1"),
        (r"features\.0\.2\.(.*)", r"patch_embed.norm.\1"),
        (r"features\.([246])\.((?:norm|reduction)\..*)", r"layers.{/2}.downsample.\2"),
        (r"features\.([1357])\.(\d+)\.mlp\.0\.(.*)", r"layers.{/2}.blocks.\2.mlp.fc1.\3"),
        (r"features\.([1357])\.(\d+)\.mlp\.3\.(.*)", r"layers.{/2}.blocks.\2.mlp.fc2.\3"),
        (r"features\.([1357])\.(\d+)\.((?:norm[12]|attn)\..*)", r"layers.{/2}.blocks.\2.\3"),
        (r"((?:norm|head)\..*)", r"\1"))),
    Dialect("the original Swin", _SWIN, (
        (r"layers\.(\d)\.downsample\.(.*)", r"layers.{+1}.downsample.\2"),
        (r"((?:patch_embed|layers\.\d\.blocks|norm|head)\..*)", r"\1"))),
    Dialect("torchvision EfficientNet", r"(tu-|timm-)efficientnet[-_]b[0-4]", (
        (r"features\.0\.0\.(.*)", r"conv_stem.\1"), (r"features\.0\.1\.(.*)", r"bn1.\1"),
        *((rf"features\.1\.(\d+)\.block\.{a}\.(.*)", rf"blocks.0.\1.{b}.\2") for a, b in (
            (r"0\.0", "conv_dw"), (r"0\.1", "bn1"), (r"1\.fc1", "se.conv_reduce"), (r"1\.fc2", "se.conv_expand"),
            (r"2\.0", "conv_pw"), (r"2\.1", "bn2"))),
        *((rf"features\.([2-7])\.(\d+)\.block\.{a}\.(.*)", rf"blocks.{{-1}}.\2.{b}.\3") for a, b in (
            (r"0\.0", "conv_pw"), (r"0\.1", "bn1"), (r"1\.0", "conv_dw"), (r"1\.1", "bn2"),
            (r"2\.fc1", "se.conv_reduce"), (r"2\.fc2", "se.conv_expand"), (r"3\.0", "conv_pwl"), (r"3\.1", "bn3"))),
        (r"features\.8\.0\.(.*)", r"conv_head.\1"), (r"features\.8\.1\.(.*)", r"bn2.\1"),
        (r"classifier\.1\.(.*)", r"classifier.\1"))),
    Dialect("efficientnet_pytorch", r"(tu-|timm-)(tf_)?efficientnet[-_].*", (
        (r"_conv_stem\.(.*)", r"conv_stem.\1"), (r"_bn0\.(.*)", r"bn1.\1"),
        (r"_conv_head\.(.*)", r"conv_head.\1"), (r"_bn1\.(.*)", r"bn2.\1"), (r"_fc\.(.*)", r"classifier.\1"),
        (r"_blocks\.(\d+)\.(.*)", r"{block}"))),
)  # fmt: skip
"""Tried in this order; the first that fits is taken."""

_BLOCK = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
          "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand", "_project_conv": "conv_pwl",
          "_bn2": "bn3"}  # fmt: skip
_FIRST = _BLOCK | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Parts of a block of efficientnet_pytorch in timm's names; of blocks that do not expand, which lack the first two."""


@dataclass(frozen=True)
class Fitted:
    """The state dict of an encoder of ours, and whose names it was read by."""

    state: dict[str, Tensor]
    dialect: str
    note: str = ""


def read_encoder(path: Path, encoder: str, key: str | None = None) -> Fitted:
    """The weights of the encoder called `encoder` (see `fusionzoo.models.build_encoder`) in the file `path`.

    Args:
        key: which set of weights, where the file holds several (see `fusionzoo.hub.foreign.read_weights`).

    Raises:
        UnknownNameError: no such encoder.
        InputError: no weights, or of another network: what is missing and what is left over is named.
    """
    wanted = _wanted(encoder)
    weights = read_weights(path, lambda state: any(not t for t, _ in _attempts(state, encoder, wanted)), key)
    return Fitted(*_best(weights.state, encoder, wanted, str(path)), note=weights.note(path))


def fit_encoder(state: Mapping[str, Tensor], encoder: str, what: str) -> Fitted:
    """The same from a state dict; `what` names it in an error."""
    return Fitted(*_best(state, encoder, _wanted(encoder), what))


def _wanted(encoder: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(build_encoder(encoder, 3).state_dict())


def _best(state: Mapping[str, Tensor], encoder: str, wanted: Mapping[str, Tensor], what: str) -> tuple[Any, str]:
    """(state dict of ours, name of the dialect); InputError with the closest dialect's trouble where none fits."""
    closest: tuple[int, str] | None = None
    for trouble, (dialect, placed) in _attempts(state, encoder, wanted):
        if not trouble:
            out = {}
            for key, target in wanted.items():
                value = placed.get(key)
                if value is None:  # a counter that files of old PyTorch lack
                    value = torch.zeros((), dtype=target.dtype)
                if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                    raise InputError(f"{what}: {key} holds NaN or infinite values")
                out[key] = value.reshape(target.shape).to(target.dtype).contiguous()
            return out, dialect
        count = sum(len(names) for names in trouble.values())
        if closest is None or count < closest[0]:
            listed = "; ".join(f"{len(n)} {k}: {', '.join(n[:3])}{', ...' if len(n) > 3 else ''}"
                               for k, n in trouble.items())  # fmt: skip
            closest = count, f"{what} does not fit the encoder {encoder} (names as of {dialect}): {listed}"
    assert closest is not None  # the first dialect is tried for every encoder
    raise InputError(f"{closest[1]}; name the network that the file is of: --encoder NAME")


def _attempts(
    state: Mapping[str, Tensor], encoder: str, wanted: Mapping[str, Tensor]
) -> Iterator[tuple[dict[str, list[str]], tuple[str, dict[str, Tensor]]]]:
    """For each dialect (trouble, (its name, tensors by our keys)); no trouble: it fits."""
    blocks = sorted({tuple(map(int, m.groups())) for k in wanted if (m := re.match(r".*?blocks\.(\d+)\.(\d+)\.", k))})
    for dialect in DIALECTS:
        if not re.fullmatch(dialect.encoders, encoder):
            continue
        placed: dict[str, Tensor] = {}
        over: list[str] = []
        for key, value in state.items():
            if _DERIVED.fullmatch(key) and not _placed(key, wanted):
                continue
            theirs = _spelled(key, dialect, blocks, state)
            ours = _placed(theirs, wanted) if theirs is not None else None
            if ours is not None and ours not in placed:
                placed[ours] = value
            elif theirs is None or ours is not None or not _BEHIND.match(theirs):
                over.append(key)
        missing = [k for k in wanted if k not in placed and not k.endswith("num_batches_tracked")]
        other = [
            f"{k} is {tuple(v.shape)}, wanted {tuple(wanted[k].shape)}"
            for k, v in placed.items()
            if squeezed(v.shape, 1) != squeezed(wanted[k].shape, 1)
        ]
        found = {"missing": missing, "left over": over, "of another shape": other}
        yield {what: names for what, names in found.items() if names}, (dialect.name, placed)


def _spelled(key: str, dialect: Dialect, blocks: list[tuple[int, ...]], state: Mapping[str, Tensor]) -> str | None:
    """An official name in timm's or smp's spelling; None where no rule covers it."""
    for pattern, spelling in dialect.rules:
        if (match := re.fullmatch(pattern, key)) is None:
            continue
        if spelling == "{block}":
            number, (part, _, rest) = int(match[1]), match[2].partition(".")
            names = _BLOCK if f"_blocks.{number}._expand_conv.weight" in state else _FIRST
            if number >= len(blocks) or part not in names:
                return None
            return f"blocks.{blocks[number][0]}.{blocks[number][1]}.{names[part]}.{rest}"
        for sign, change in _NUMBERS.items():
            if sign in spelling:
                spelling = spelling.replace(sign, str(change(int(match[1]))))
        return match.expand(spelling)
    return None


_NUMBERS: dict[str, Callable[[int], int]] = {
    "{/2}": lambda n: n // 2, "{+1}": lambda n: n + 1, "{-1}": lambda n: n - 1,
}  # fmt: skip
"""What a rule may do with the number that its first group is."""


def _placed(name: str, wanted: Mapping[str, Tensor]) -> str | None:
    """Our key of timm's or smp's `name`: itself, or in smp's wrapper of timm's, whose outer two modules may be one."""
    first, _, rest = name.partition(".")
    for candidate in (name, f"model.{name}", f"model.{first}_{rest}", f"model.model.{name}"):
        if candidate in wanted:
            return candidate
    return None
