"""MultiMAE with its ConvNeXt head (github.com/EPFL-VILAB/MultiMAE, CC BY-NC 4.0): official keys to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
from fusionzoo.models import FusionModel

_FIXED = {
    "global_tokens": "global_token",
    "input_adapters.rgb.pos_emb": "rgb_patches.positions",
    "input_adapters.rgb.proj": "rgb_patches.project",
    "input_adapters.depth.pos_emb": "x_patches.positions",
    "input_adapters.depth.proj": "x_patches.project",
    "output_adapters.semseg.proj_dec": "decoder.project",
    "output_adapters.semseg.final_layer": "decoder.classify",
}
_BLOCK = {
    "norm1": "norm1",
    "attn.qkv": "qkv",
    "attn.proj": "leave",
    "norm2": "norm2",
    "mlp.fc1": "widen",
    "mlp.fc2": "narrow",
}
_HEAD_BLOCK = {"dwconv": "conv", "norm": "norm", "pwconv1": "widen", "pwconv2": "narrow"}


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    head = listed(model, "output_adapters.semseg.blocks", "decoder.blocks", _HEAD_BLOCK)
    return _FIXED | listed(model, "encoder", "blocks", _BLOCK) | head


def head(ctor: Mapping[str, Any]) -> dict[str, Any]:
    """Our arguments of the head, from `output`, its constructor call as text, or from arguments of their own.

    >>> head({"output": "ConvNeXtAdapter(40, 768, preds_per_patch 16, depth 4)"})["head_width"]
    768
    """
    given = Arguments(ctor, "multivit")
    if "output" in ctor:
        call = re.fullmatch(r"\s*ConvNeXtAdapter\((.*)\)\s*", str(ctor["output"]))
        if call is None:
            raise InputError(f"multivit: the output is {ctor['output']!r}; only a ConvNeXtAdapter(...) is supported")
        positional = re.match(r"\s*(?:num_classes\W+)?(\d+)\s*,\s*(?:embed_dim\W+)?(\d+)", call[1])
        if positional is None:
            raise InputError(f"multivit: {ctor['output']!r} does not begin with numbers of classes and of channels")
        given |= {"num_classes": int(positional[1]), "embed_dim": int(positional[2])}
        for ours, name in (("preds_per_patch", "preds_per_patch"), ("decoder_depth", "depth"), ("patch", "patch_size")):
            if found := re.search(rf"\b{name}\W+(\d+)", call[1]):
                given[ours] = int(found[1])
        if found := re.search(r"\bmain_tasks\W+(.*)", call[1]):
            given["main_tasks"] = tuple(t for t in ("rgb", "depth") if re.search(rf"\b{t}\b", found[1]))
    pixels = round(given("preds_per_patch", 16) ** 0.5)
    if pixels**2 != given("preds_per_patch", 16):
        raise InputError(f"multivit: preds_per_patch is {given['preds_per_patch']}, no square number")
    for name in ("patch", "patch_size"):
        if given(name, default=16) != 16:
            raise InputError(f"multivit: {name} is {given[name]}; only patches of 16 are supported")
    return {
        "num_classes": given("num_classes"),
        "head_width": given("embed_dim", 6144),
        "head_pixels": pixels,
        "head_depth": given("decoder_depth", 4),
        "main_tasks": given("main_tasks", ("rgb",)),
        "drop_missing": given("drop_missing", False),
    }


def multivit(size: str, state: State, ctor: Arguments) -> Loaded:
    """Sizes that `ctor` does not name are those of `size`."""
    sizes = {"width": "dim_tokens", "depth": "depth", "heads": "num_heads", "image_size": "image_size"}
    own = {ours: ctor(name, default=None) for ours, name in sizes.items()}
    own["x_channels"] = ctor("depth_channels", 1)
    return load_model(f"multimae_{size}", state, table, **own, **head(ctor))


MODELS = {f"multivit_{size}": partial(multivit, size) for size in ("tiny", "base", "large")}
SOURCES = {
    f"multimae_{size}": Source(
        kind=f"multivit_{size}",
        ctor={
            "dim_tokens": width,
            "depth": depth,
            "num_heads": heads,
            "image_size": 640,
            "embed_dim": 6144,
            "preds_per_patch": 16,
            "decoder_depth": 4,
            "main_tasks": ["rgb"],
            "drop_missing": False,
        },
        classes=("num_classes", "output_adapters.semseg.final_layer.weight"),
        licence="cc-by-nc-4.0",
        licence_note="CC BY-NC 4.0 for code and weights, as the original repository states.",
        origin="github.com/EPFL-VILAB/MultiMAE",
        citation="Bachmann et al., MultiMAE, ECCV 2022, arXiv 2204.01678",
        notes="x is depth, 1 channel. The original standardises each depth map by itself: mean and deviation of the"
        " pixels between its 10th and 90th percentile. rgb / 255 and normalised with ImageNet's mean and deviation.",
        input_size=(640, 640),
    )
    for size, width, depth, heads in (("base", 768, 12, 12), ("large", 1024, 24, 16))
}
