"""How whole originals are called, family by family, and which of their inner values are shown.

Several take one stacked map, or scores at the input size; `CALLS` has one line a family with the inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fusionzoo.hub.originals.port import View, as_tokens, channels_last
from fusionzoo.models import FusionModel
from fusionzoo.models.published._ham import Factorise, draw_bases

__all__ = ["CALLS"]


def _plain(model: FusionModel, rgb: Tensor, x: Tensor) -> Tensor:
    return model.scores(rgb, x)


def _stacked(model: FusionModel, image: Tensor) -> Tensor:
    return model.scores(image[:, :3], image[:, 3:])


def _at_input_size(model: FusionModel, rgb: Tensor, *others: Tensor) -> Tensor:
    """Class scores enlarged to the size of `rgb`; the other modalities one by one."""
    x = torch.cat(others, dim=1) if others else rgb
    return interpolate(model.scores(rgb, x), size=rgb.shape[-2:], mode="bilinear", align_corners=False)


def _four_times(model: FusionModel, rgb: Tensor, x: Tensor) -> Tensor:
    """Class scores of four times the stage-1 map: the input's size, rounded up to fours."""
    return interpolate(model.scores(rgb, x), scale_factor=4, mode="bilinear", align_corners=False)


def _dformer(model: FusionModel, rgb: Tensor, x: Tensor) -> Tensor:
    """Of x the first channel counts. The original's decoder draws new bases at every call, ours has constant ones: a
    batch gets those that NumPy's generator of seed 7 draws for it, which for one image are the module's own."""
    ham = model.get_submodule("decoder.ham")
    assert isinstance(ham, Factorise)
    own, ham.bases = ham.bases, draw_bases(7, rgb.shape[0])
    try:
        return _at_input_size(model, rgb, x[:, :1])
    finally:
        ham.bases = own


def _tuni_scores(model: FusionModel, rgb: Tensor, x: Tensor) -> Tensor:
    """Of x the first channel counts."""
    return _four_times(model, rgb, x[:, :1])


def _all_scores(model: Any, rgb: Tensor, x: Tensor) -> Any:
    return model.all_scores(rgb, x)


def _three_scores(model: Any, rgb: Tensor, x: Tensor) -> Any:
    return model.all_scores(rgb, x)[:3]


def _tokenfusion(model: Any, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """The original lists a block's masks after another; here all of a stream are one vector, first block first."""
    features, masks = model.features_and_masks(rgb, model.three_channels(x))
    return *model.decode(features)[:3], *(torch.cat([pair[m].flatten() for pair in masks]) for m in (0, 1))


def _multimae(model: Any, rgb: Any, depth: Tensor | None = None) -> Any:
    """Two maps, or one mapping with these names; a depth that is not given has no tokens."""
    if isinstance(rgb, Mapping):
        rgb, depth = rgb["rgb"], rgb.get("depth")
    return model(rgb, depth) if depth is not None else model.without_x(rgb)


def _of_stages(official: str, ours: str, number: int = 4) -> dict[str, View]:
    """Views of values that the original counts from 0, ours by the last `number` of five stages."""
    return {official.format(i): View(ours.format(i + 6 - number)) for i in range(number)}


_FUSED = _of_stages("backbone.{}", "stage{}.fusion.fused")
_SKIPS = _of_stages("agant{}", "decoder.skip{}", 5)
_HAM = {
    "decode_head.squeeze": View("decoder.squeezed"),
    "decode_head.hamburger": View("decoder.context"),
    "decode_head.align": View("decoder.out"),
    "decode_head": View("logits"),
}


_CONTEXT = {"context_module.0": View("context.out")} | {
    f"context_module.{i + 1}": View(f"context.pooled.{i}") for i in (0, 1)
}
_PASSES = {
    f"backbone.ffb{i}.{2 * n + k}": View(f"stage{i + 1}.fusion.miim.passes.{n}.{name}")
    for i in range(1, 5)
    for n in (0, 1)
    for k, name in enumerate(("rgb_out", "x_out"))
}
"""Both outputs of both passes."""
_TUNI = _of_stages("encoder.{}", "stage{}.fusion.fused")
_THERMAL = {f"encoder.{i + 4}": View(f"stage{i + 2}.fusion.x_out") for i in range(4)}


def _tuni(model: FusionModel) -> dict[str, View]:
    """Version 2 lists the thermal maps after RGB's."""
    return _TUNI if model.architecture == "tuni_s" else _TUNI | _THERMAL


def _cmnext(model: FusionModel) -> dict[str, View]:
    return _FUSED if hasattr(model, "branch1") else _of_stages("backbone.{}", "stage{}.rgb")


CALLS: dict[str, tuple[Callable[..., Any], Mapping[str, View] | Callable[[FusionModel], Mapping[str, View]]]] = {
    "acnet": (_plain, _SKIPS),  # (rgb, depth) -> class scores
    "asymformer": (  # (rgb, depth) -> class scores at the input size
        _at_input_size,
        {f"down_sample_{i}.0": View(f"stage{i + 1}.rgb") for i in range(1, 5)}
        | {f"down_sample_{i}.1": View(f"stage{i + 1}.fusion.fused") for i in range(2, 5)}
        | {"down_sample_1.1": View("stage2.x"), "Decoder": View("logits")},
    ),
    # (rgb, x of three channels) -> ([RGB's scores, x's, their weighted sum], the two weights)
    "cen": (_all_scores, {}),
    "cmnext": (_at_input_size, _cmnext),  # (rgb, other, ...), as many as the model has -> scores at the input size
    "cmx": (_at_input_size, _FUSED),  # (rgb, x) -> class scores at the input size
    "dformer": (  # (rgb, x) -> class scores at the input size
        _dformer,
        _HAM
        | _of_stages("backbone.downsample_layers.{}", "stage{}.rgb")
        | _of_stages("backbone.downsample_layers_e.{}", "stage{}.x"),
    ),
    "dformerv2": (  # (rgb, x) -> class scores at the input size
        _dformer,
        _HAM | {f"backbone.extra_norms.{i}": View(f"stage{i + 3}.fusion.fused", channels_last) for i in range(3)},
    ),
    # (rgb, depth of three channels) -> class scores at four times the finest map's size
    "dplnet": (_four_times, {f"ada{i}": View(f"stage{i + 1}.fusion.prompt", as_tokens) for i in range(1, 5)}),
    # (rgb, depth) -> embeddings (full: at the input size, reduced: at stride 4), or class scores of a probe
    "dveformer": (_plain, {}),
    "emsaformer": (_plain, _CONTEXT),  # (rgb, depth) -> class scores
    "esanet": (  # (rgb, depth) -> class scores
        _plain,
        _of_stages("se_layer{}", "stage{}.fusion.fused", 5) | {"context_module": View("decoder.context.out")},
    ),
    "gemini": (_three_scores, {}),  # (rgb, x of three channels) -> (RGB's scores, x's, their weighted sum)
    "hdbformer": (_at_input_size, _PASSES),  # (rgb, x of three channels) -> class scores at the input size
    "mfnet": (_stacked, {}),  # (x (B, 4, H, W): RGB and thermal / 255) -> class scores
    "multimae": (_multimae, {}),  # (rgb, depth) -> class scores at the input size
    "rednet": (_plain, _SKIPS),  # (rgb, depth) -> class scores
    "rtfnet": (_stacked, {}),  # (x (B, 4, H, W): RGB and thermal / 255) -> class scores
    "sagate": (  # (rgb, hha) -> class scores
        _plain,
        _of_stages("backbone.sagates.{}.0.0", "stage{}.fusion.rgb_out")
        | _of_stages("backbone.sagates.{}.0.1", "stage{}.fusion.x_out")
        | _of_stages("backbone.sagates.{}.1", "stage{}.fusion.fused"),
    ),
    # (rgb, x) -> class scores at the input size. Sides that are no multiples of 4 lose their last pixels in the
    # patches; the scores are stretched over them.
    "sigma": (_at_input_size, _FUSED),
    "stitchfusion": (_at_input_size, _FUSED),  # (rgb, other, ...) -> class scores at the input size
    # (rgb, x of three channels) -> (RGB's scores, x's, their weighted sum, RGB's masks, x's)
    "tokenfusion": (_tokenfusion, {}),
    "tuni": (_tuni_scores, _tuni),  # (rgb, x of three channels) -> class scores
}
"""Family of whole models -> (call, views or what gives them for a model)."""
