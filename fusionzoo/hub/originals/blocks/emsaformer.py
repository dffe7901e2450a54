"""EMSAFormer's embedding, encoder and MLP decoder, called as the originals are (github.com/TUI-NICR, Apache-2.0)."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.emsaformer import JointPatchEmbed
from fusionzoo.hub.originals.checkpoints.emsaformer import EMBED, MLP, constants, encoder_table
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, channels_last
from fusionzoo.models.published._swin_v2 import JointSwin
from fusionzoo.models.published.emsaformer import MLPDecoder


def _four_channels(block: JointPatchEmbed, x: Tensor) -> Tensor:
    return block(x[:, :3], x[:, 3:])


def _encode(model: JointSwin, rgb: Tensor, depth: Tensor) -> tuple[Tensor, ...]:
    *skips, deepest = model.features(rgb, depth)
    return *(channels_last(v) for v in skips), deepest


def _decode(decoder: MLPDecoder, deepest: Tensor, *skips: Tensor) -> Tensor:
    return decoder(deepest, [v.movedim(3, 1) for v in reversed(skips)])


def encoder(c: Arguments) -> Block:
    """(rgb, depth) -> maps of strides 4, 8, 16, channels last, and of stride 32."""
    if (c("name"), c("n_input_channels")) != ("swin-multi-t-v2-128", 4):
        raise InputError(f"{c.what}: only swin-multi-t-v2-128 of 4 input channels is supported, not {dict(c)}")
    return Block(JointSwin(), encoder_table(), _encode, constants=constants())


def head(c: Arguments) -> Block:
    """(context, maps of strides 16, 8, 4, channels last) -> class scores at stride 1."""
    c.only(n_channels_in=1024, n_channels=[256, 128, 64, 64], fusion="swin-ln-select")
    c.only(prediction_upsampling="learned-3x3-zeropad")
    return Block(MLPDecoder((128, 256, 512, 1024), c("n_classes")), MLP, _decode)


BLOCKS: dict[str, Make] = {
    # [rgb; depth] (B, 4, H, W) -> tokens (B, H / p, W / p, C)
    "emsaformer_patch_embed": lambda c: Block(
        JointPatchEmbed(c("rgb_embed_dim"), c("depth_embed_dim"), tuple(c("patch_size", (4, 4)))),
        EMBED,
        _four_channels,
    ),
    "emsaformer_encoder": encoder,
    "emsaformer_head": head,
}
