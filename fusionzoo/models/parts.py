"""Parts of a model that training treats apart: its encoders, their layers from the image on, its heads.

What an encoder is, for models of every kind: modules called `encoder` or `*_encoder`; in a published model without any,
whatever lies before its decoder, fusion included, since it cannot be told apart there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from fusionzoo.models.base import FusionModel
from fusionzoo.models.families import stage_modules

__all__ = ["encoder_layers", "encoder_parts"]

_AFTER = re.compile(r"(scene_)?(decoder|head|logits.*)|share")
"""Children of models that come after the encoder."""

_FUSION = re.compile(r"stage\d+")
"""Children that hold the fusion, beside encoders of their own name."""


def encoder_parts(model: FusionModel) -> dict[str, nn.Module]:
    """The parts of the encoders by name, in the order of the model.

    >>> from fusionzoo.models import create_model
    >>> list(encoder_parts(create_model("sum_mobilenetv1-025_fpn"))), list(encoder_parts(create_model("mfnet")))
    (['rgb_encoder', 'x_encoder'], ['rgb_encoder', 'x_encoder'])
    >>> list(encoder_parts(create_model("late_mobilenetv1-025_fpn")))
    ['rgb_stream.encoder', 'x_stream.encoder']
    """
    named = {n: m for n, m in model.named_modules() if re.fullmatch(r"(.*_)?encoder", n.rpartition(".")[2])}
    children = {n: m for n, m in model.named_children() if not _AFTER.fullmatch(n) and list(m.parameters())}
    if not named:
        return children
    beside = {n: m for n, m in children.items() if not _FUSION.fullmatch(n) and not any(k.startswith(n) for k in named)}
    return named | beside


def encoder_layers(model: FusionModel) -> list[list[list[nn.Parameter]]]:
    """For each encoder its layers from the image on, each with its parameters; a layer is a block or lone convolution.

    Vectors (norms) belong to the layer before them. A parameter that two layers share is the first one's.
    """
    parts = encoder_parts(model)
    own = [part for name, part in parts.items() if name.rpartition(".")[2].endswith("encoder")]
    rest = [part for part in parts.values() if not any(part is encoder for encoder in own)]
    taken: set[int] = set()
    return [_layers(group, taken) for group in [*([encoder] for encoder in own), rest] if group]


def _layers(modules: list[nn.Module], taken: set[int]) -> list[list[nn.Parameter]]:
    out: list[list[nn.Parameter]] = []
    for module in modules:
        for unit in _in_order(module):
            parameters = [p for p in unit if id(p) not in taken]
            taken.update(map(id, parameters))
            if out and all(p.ndim < 2 for p in parameters):
                out[-1] += parameters
            elif parameters:
                out.append(parameters)
    return out


def _in_order(encoder: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Parameters of each unit, as the image meets them where that is known, then what is left over."""
    for path in [path for stage in stage_modules(encoder) or [] for path in stage]:
        module = encoder.get_submodule(path)
        for part in module.children() if _numbered(module) else [module]:
            yield from _units(part, inside=not hasattr(part, "blocks"))  # a stage with a list of blocks, or a block
    yield from _units(encoder)


def _units(module: nn.Module, *, inside: bool = False) -> Iterator[list[nn.Parameter]]:
    """Blocks: what lies in a list of modules and is no list itself; outside of lists, modules without children."""
    listed = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    children = list(module.children())
    if not children or (inside and not listed):
        yield list(module.parameters())
        return
    yield list(module.parameters(recurse=False))
    for child in children:
        yield from _units(child, inside=listed)


def _numbered(module: nn.Module) -> bool:
    """Whether it holds nothing but blocks b1, b2, ...: a stage of RegNet."""
    names = [name for name, _ in module.named_children()]
    return bool(names) and all(re.fullmatch(r"b\d+", name) for name in names)
