"""The layers that fusion strategies are made of, in NumPy and float64; the comparison of a block with its equations.

A test of a strategy writes the equations of its header once more with these and calls `compare`. Nothing here comes
from PyTorch but the parameters' values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erf

from fusionzoo.fusion.base import FusionBlock
from fusionzoo.probes.point import probe_points

__all__ = [
    "Array", "at_random", "batch_norm", "compare", "conv", "conv1", "features", "gap", "gelu", "layer_norm", "linear",
    "parameters", "relu", "sigmoid", "softmax", "watched",
]  # fmt: skip

Array = NDArray[np.float64]
Parameters = Mapping[str, Array]


def relu(v: Array) -> Array:
    return np.maximum(v, 0)


def sigmoid(v: Array) -> Array:
    return 1 / (1 + np.exp(-v))


def gelu(v: Array) -> Array:
    return v * (1 + erf(v / np.sqrt(2))) / 2


def softmax(v: Array, axis: int) -> Array:
    e = np.exp(v)
    return e / e.sum(axis, keepdims=True)


def gap(v: Array) -> Array:
    """Mean over the positions: (B, C, H, W) -> (B, C, 1, 1)."""
    return v.mean((2, 3), keepdims=True)


def conv1(v: Array, p: Parameters, name: str) -> Array:
    """1x1 convolution: a matrix times the channels of each position."""
    out = np.einsum("oi,bihw->bohw", p[f"{name}.weight"][:, :, 0, 0], v)
    return out + p[f"{name}.bias"][:, None, None] if f"{name}.bias" in p else out


def conv(v: Array, p: Parameters, name: str, groups: int = 1) -> Array:
    """k x k convolution, zeros outside, same size."""
    weight = p[f"{name}.weight"]  # (O, I / groups, k, k)
    k, (height, width) = weight.shape[-1], v.shape[2:]
    padded = np.pad(v, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    outs = []
    for w, part in zip(np.split(weight, groups), np.split(padded, groups, axis=1), strict=True):
        outs.append(
            sum(
                np.einsum("oi,bihw->bohw", w[:, :, i, j], part[:, :, i : i + height, j : j + width])
                for i in range(k)
                for j in range(k)
            )
        )
    out = np.concatenate(outs, axis=1)
    return out + p[f"{name}.bias"][:, None, None] if f"{name}.bias" in p else out


def linear(v: Array, p: Parameters, name: str) -> Array:
    """A matrix times the last axis."""
    out = v @ p[f"{name}.weight"].T
    return out + p[f"{name}.bias"] if f"{name}.bias" in p else out


def batch_norm(v: Array, p: Parameters, name: str, eps: float = 1e-5) -> Array:
    """With the running statistics, as in evaluation."""
    mean, var, weight, bias = (
        p[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (v - mean) / np.sqrt(var + eps) * weight + bias


def layer_norm(v: Array, p: Parameters, name: str, eps: float = 1e-5) -> Array:
    """Over the last axis."""
    centred = v - v.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * p[f"{name}.weight"] + p[f"{name}.bias"]


def at_random(block: FusionBlock, seed: int = 0) -> FusionBlock:
    """`block` in float64 and evaluation mode, every parameter and running statistic drawn anew."""
    draw = np.random.default_rng(seed)
    for name, value in block.double().eval().state_dict(keep_vars=True).items():
        if name.endswith("num_batches_tracked"):
            continue
        drawn = draw.normal(size=tuple(value.shape))
        if name.endswith("running_var"):
            drawn = 0.5 + np.abs(drawn)
        elif name.endswith("bias"):
            drawn = 0.3 * drawn
        elif value.ndim > 1:  # unit variance in, unit variance out
            drawn = drawn / np.sqrt(max(1, np.prod(value.shape[1:])))
        value.data.copy_(torch.from_numpy(np.asarray(drawn)))
    return block


def features(channels: int, size: tuple[int, int] = (4, 5), batch: int = 2, seed: int = 1) -> tuple[Array, Array]:
    """rgb and x, (B, C, H, W) each."""
    rgb, x = np.random.default_rng(seed).normal(size=(2, batch, channels, *size)) * 2
    return rgb, x


def parameters(block: FusionBlock) -> dict[str, Array]:
    return {name: value.detach().numpy().astype(np.float64) for name, value in block.state_dict().items()}


def watched(block: FusionBlock, rgb: Array, x: Array) -> dict[str, torch.Tensor]:
    """What passed every probe of the block, once each, and the outputs "rgb", "x" and "fused"."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in probe_points(block)}
    points = probe_points(block)
    for name, point in points.items():
        point.tap = lambda v, kept=seen[name]: (kept.append(v), v)[1]  # type: ignore[misc]
    with torch.no_grad():
        out = block(torch.from_numpy(rgb), torch.from_numpy(x))
    for point in points.values():
        point.tap = None
    assert {name: len(values) for name, values in seen.items()} == dict.fromkeys(seen, 1)
    return {**{name: values[0] for name, values in seen.items()}, "rgb": out.rgb, "x": out.x, "fused": out.fused}


def compare(
    block: FusionBlock,
    equations: Callable[[Parameters, Array, Array], Mapping[str, Array]],
    losses: Callable[[Parameters, Mapping[str, Array]], Mapping[str, float]] | None = None,
    size: tuple[int, int] = (4, 5),
    seed: int = 0,
) -> None:
    """Holds a block with random parameters against `equations`, to 1e-5.

    Args:
        equations: (parameters, rgb, x) -> values of "fused" and of any probes by name; "rgb" and "x" where the streams
            do not carry on unchanged.
        losses: (parameters, the block's inner values) -> every auxiliary loss; None where the block has none.
        size: (H, W) of the inputs.
        seed: of the parameters.
    """
    at_random(block, seed)
    rgb, x = features(block.channels, size)
    seen, p = watched(block, rgb, x), parameters(block)
    wanted = {"rgb_in": rgb, "x_in": x, "rgb": rgb, "x": x, **equations(p, rgb, x)}
    wanted |= {"rgb_out": wanted["rgb"], "x_out": wanted["x"]}
    for name, value in wanted.items():
        got = seen[name].numpy()
        np.testing.assert_allclose(got, np.broadcast_to(value, got.shape), rtol=1e-5, atol=1e-5, err_msg=name)
    found = block.losses({name: seen[name] for name in block.loss_probes})
    inner = {name: value.numpy() for name, value in seen.items()}
    stated = {} if losses is None else losses(p, inner)
    assert set(found) == set(stated)
    for name, loss in found.items():
        assert float(loss.detach()) != 0
        np.testing.assert_allclose(float(loss.detach()), stated[name], rtol=1e-5, atol=1e-9, err_msg=name)
