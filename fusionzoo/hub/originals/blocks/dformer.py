"""DFormer, its attention and its block, called as the original is (github.com/VCIP-RGBD/DFormer).

The original's decoder draws new bases at every call. Our module has constant ones; called as the original is, a batch
gets the bases that NumPy's generator of seed 7 draws for it, which for one image are the module's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from fusionzoo.fusion.dformer import DFormerAttention, DFormerBlock
from fusionzoo.hub.originals.checkpoints.dformer import ATTENTION, BLOCK, SIZES, arguments, named, table
from fusionzoo.hub.originals.keys import blank, take
from fusionzoo.hub.originals.port import Port, View, direct, port
from fusionzoo.models import FusionModel
from fusionzoo.models.published._ham import Factorise, draw_bases
from fusionzoo.models.published.dformer import DFormer
from fusionzoo.models.published.dformerv2 import DFormerV2

HEAD_VIEWS = {
    "decode_head.squeeze": View("decoder.squeezed"),
    "decode_head.hamburger": View("decoder.context"),
    "decode_head.align": View("decoder.out"),
    "decode_head": View("logits"),
}
VIEWS = dict(HEAD_VIEWS)
VIEWS |= {f"backbone.downsample_layers.{i}": View(f"stage{i + 2}.rgb") for i in range(4)}
VIEWS |= {f"backbone.downsample_layers_e.{i}": View(f"stage{i + 2}.x") for i in range(4)}


def dformer_attn(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x, x_e), channels last -> (x, x_e)."""
    block = DFormerAttention(
        take(ctor, "dim"),
        take(ctor, "num_head", default=8),
        take(ctor, "window", default=7),
        take(ctor, "drop_depth", default=False),
    )
    return port(block, state, ATTENTION, direct, what="dformer_attn")


def dformer_block(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x, x_e), channels last -> (x, x_e)."""
    block = DFormerBlock(
        take(ctor, "dim"),
        take(ctor, "num_head"),
        take(ctor, "mlp_ratio", default=4),
        take(ctor, "window", default=7),
        take(ctor, "drop_depth", default=False),
    )
    return port(block, state, BLOCK, direct, what="dformer_block")


def run(model: FusionModel, rgb: Tensor, x: Tensor) -> Tensor:
    """(rgb, x), of which the first channel counts -> class scores at the input size."""
    ham = model.get_submodule("decoder.ham")
    assert isinstance(ham, Factorise)
    own, ham.bases = ham.bases, draw_bases(7, rgb.shape[0])
    try:
        out = model.scores(rgb, x[:, :1])
    finally:
        ham.bases = own
    return interpolate(out, size=rgb.shape[-2:], mode="bilinear", align_corners=False)


def run_backbone(model: FusionModel, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """(rgb, x), of which the first channel counts -> the maps of the four stages."""
    assert isinstance(model, DFormer | DFormerV2)
    features = model.features(rgb, x[:, :1])
    model.logits(model.decoder(features[1:]))  # not asked for, but its probes fire at every call
    return tuple(features)


def backbone(size: str, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x) -> the maps of the four stages. The state dict is that of the whole model, decoder included."""
    name = named(size, ctor)
    model = blank(name, **arguments(name, ctor))
    return port(model, state, table(model), run_backbone, what=f"backbone_{name}")


BLOCKS: dict[str, Callable[..., Port]] = {f"backbone_dformer_{size}": partial(backbone, size) for size in SIZES}
BLOCKS |= {"dformer_attn": dformer_attn, "dformer_block": dformer_block}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, x) -> class scores at the input size."""
    return Port(model, run, VIEWS, keys)
