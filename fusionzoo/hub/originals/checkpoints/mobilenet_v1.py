"""MobileNet v1 (ImageNet-1k) from TensorFlow.js layer files to the keys of `fusionzoo.models.encoders.MobileNetV1`.

Paper: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017,
arXiv 1704.04861. Weights: Google's TensorFlow.js `mobilenet_v1_{width}_224`, from Keras Applications / TF-Slim
(both Apache-2.0).

A folder holds `model.json`, whose `weightsManifest` is a list of groups; a group's bytes are its `paths` joined, cut in
the order of its `weights`: little-endian float32, C order, not quantised.

| layer file | shape | ours | shape |
| --- | --- | --- | --- |
| `conv1/kernel` | (3, 3, 3, C) HWIO | `conv1.0.weight` | (C, 3, 3, 3) |
| `conv_dw_i/depthwise_kernel` | (3, 3, C, 1) | `blocks.{i-1}.dw.0.weight` | (C, 1, 3, 3) |
| `conv_pw_i/kernel` | (1, 1, Cin, Cout) | `blocks.{i-1}.pw.0.weight` | (Cout, Cin, 1, 1) |
| `*_bn/{gamma,beta,moving_mean,moving_variance}` | (C,) | `*.1.{weight,bias,running_mean,running_var}` | (C,) |
| `conv_preds/{kernel,bias}` | (1, 1, C, 1000) | `classifier.{weight,bias}` | (1000, C, 1, 1) |

Checked on NYU Depth v2 (tests/hub/test_convert.py): the ImageNet classifier on top of the converted encoder, run on
the eight images with the largest labelled share of a NYU class, names that thing (sink -> washbasin, bookshelf ->
bookcase, ...), with both widths and with the encoder of `fusionzoo.models`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.files import inside, read_json
from fusionzoo.models.mobilenet_v1 import MobileNetV1

__all__ = ["BLOCKS", "WIDTHS", "mobilenet_v1_layers", "mobilenet_v1_state"]

BLOCKS = 13
"""Depthwise-separable blocks."""

WIDTHS = (0.25, 0.5, 0.75, 1.0)
"""Width multipliers that were published."""

_LAST = 1024
"""Channels of the last block at width 1."""


def mobilenet_v1_layers(folder: str | Path) -> dict[str, np.ndarray]:
    """Every array of a layer folder by its TensorFlow.js name, float32, in the shape of the manifest.

    Raises:
        InputError: missing file, a manifest of another form, quantised weights, or bytes that do not fit the shapes.
    """
    folder = Path(folder)
    manifest = read_json(folder / "model.json").get("weightsManifest")
    if not isinstance(manifest, list):
        raise InputError(f"{folder / 'model.json'} has no 'weightsManifest' list: not TensorFlow.js layer weights")
    out: dict[str, np.ndarray] = {}
    for group in manifest:
        try:
            paths = [inside(folder, p) for p in group["paths"]]
            specs = [(str(w["name"]), tuple(int(n) for n in w["shape"]), w["dtype"], w) for w in group["weights"]]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{folder / 'model.json'}: a group of the weights manifest is malformed") from error
        for name, _, dtype, spec in specs:
            if dtype != "float32" or "quantization" in spec:
                raise InputError(f"{folder}: {name} is {dtype}, quantised or not float32; wanted plain float32")
        wanted = 4 * sum(math.prod(shape) for _, shape, _, _ in specs)
        found = sum(p.stat().st_size if p.is_file() else 0 for p in paths)
        if found != wanted:
            names = ", ".join(p.name for p in paths)
            raise InputError(f"{folder}: {names} hold {found} bytes, the manifest names {wanted}: missing or truncated")
        data = b"".join(p.read_bytes() for p in paths)
        at = 0
        for name, shape, _, _ in specs:
            count = math.prod(shape)
            out[name] = np.frombuffer(data, "<f4", count, at).reshape(shape).astype(np.float32)
            at += 4 * count
    return out


def mobilenet_v1_state(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Tensor], float]:
    """The encoder's state dict, the ImageNet classifier's, and the width multiplier of a layer folder.

    Returns:
        `encoder`: keys of `fusionzoo.models.encoders.MobileNetV1`, float32 (`num_batches_tracked` int64).
        `classifier`: `weight` (1000, C, 1, 1) and `bias` (1000,) of the 1x1 convolution after the global mean.
        `width`: 0.25, 0.5, 0.75 or 1.0, from the channels of the last block.

    Raises:
        InputError: a layer is missing, unknown, of a wrong shape, or not finite.
    """
    layers = mobilenet_v1_layers(folder)
    taken: set[str] = set()

    def take(name: str, order: tuple[int, ...] | None = None) -> Tensor:
        if name not in layers:
            raise InputError(f"{folder}: layer {name!r} is missing: not a MobileNet v1")
        taken.add(name)
        array = torch.from_numpy(layers[name])
        if not bool(torch.isfinite(array).all()):
            raise InputError(f"{folder}: {name} holds NaN or infinite values")
        if order is not None and array.ndim != len(order):
            raise InputError(f"{folder}: {name} has shape {tuple(array.shape)}, wanted {len(order)} dimensions")
        return array.permute(order).contiguous() if order else array

    encoder: dict[str, Tensor] = {}

    def unit(ours: str, kernel: str, norm: str, order: tuple[int, ...]) -> None:
        encoder[f"{ours}.0.weight"] = take(kernel, order)
        pairs = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        for key, theirs in pairs.items():
            encoder[f"{ours}.1.{key}"] = take(f"{norm}/{theirs}")
        encoder[f"{ours}.1.num_batches_tracked"] = torch.tensor(0)

    unit("conv1", "conv1/kernel", "conv1_bn", (3, 2, 0, 1))
    for i in range(1, BLOCKS + 1):
        unit(f"blocks.{i - 1}.dw", f"conv_dw_{i}/depthwise_kernel", f"conv_dw_{i}_bn", (2, 3, 0, 1))
        unit(f"blocks.{i - 1}.pw", f"conv_pw_{i}/kernel", f"conv_pw_{i}_bn", (3, 2, 0, 1))
    classifier = {"weight": take("conv_preds/kernel", (3, 2, 0, 1)), "bias": take("conv_preds/bias")}
    rest = sorted(set(layers) - taken)
    if rest:
        raise InputError(f"{folder}: layers that MobileNet v1 does not have: {', '.join(rest[:3])}")
    width = encoder[f"blocks.{BLOCKS - 1}.pw.0.weight"].shape[0] / _LAST
    if width not in WIDTHS:
        raise InputError(f"{folder}: the last block has {width * _LAST:.0f} channels, no published width")
    with torch.device("meta"):
        wanted = MobileNetV1(width).state_dict()
    for key, value in encoder.items():
        if value.shape != wanted[key].shape:
            shape = tuple(wanted[key].shape)
            raise InputError(f"{folder}: {key} has shape {tuple(value.shape)}, width {width:g} wants {shape}")
    for key, sizes in (("weight", (1000, int(_LAST * width), 1, 1)), ("bias", (1000,))):
        if tuple(classifier[key].shape) != sizes:
            raise InputError(f"{folder}: classifier {key} has shape {tuple(classifier[key].shape)}, wanted {sizes}")
    return encoder, classifier, width
