"""How far back a value reaches, from the graph that autograd recorded: strides, kernels and paddings of what was run.

An extent is the rows and the columns of a map that a unit depends on, (first, last) each; it may lie beyond the map's
edge, where there is padding. It is followed backwards through convolutions, pooling, resampling, padding and what acts
on each position alone. Anything else (a mean over positions, attention) reaches the whole map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["Extent", "extents"]

Span = tuple[int, int]
Extent = tuple[Span, Span]

PER_POSITION = frozenset(
    """Abs Add Alias Clamp ClampMin ClampMax Clone Copy Div Elu Exp Expand Gelu Hardsigmoid Hardswish Hardtanh LeakyRelu
    Lerp Log LogSigmoid Maximum Minimum Mul NativeDropout Neg Pow Prelu Reciprocal Relu Rsqrt Rsub Sigmoid Silu Softplus
    Sqrt Sub Tanh Threshold ToCopy Where Mish""".split()
)
BY_CHANNEL = frozenset(["Amax", "Cat", "Mean", "Softmax", "LogSoftmax", "Split", "Sum", "Stack", "Max"])
"""These act on each position alone where they act along the channels."""


def extents(
    value: Tensor, at: tuple[int, int], inputs: Mapping[str, Tensor]
) -> tuple[dict[str, Extent | None], list[str]]:
    """What the unit at a position of `value` depends on.

    Args:
        value: (B, C, h, w), made from `inputs` with gradients on.
        at: row and column.
        inputs: name -> (B, C, H, W), which require gradients.

    Returns:
        Extents in the inputs that it depends on, None for the whole of it; and the operations that made it so.
    """
    if value.grad_fn is None:
        return {}, []
    found: dict[str, Extent | None] = {}
    whole: list[str] = []
    reach: dict[Any, Extent | None] = {value.grad_fn: ((at[0], at[0]), (at[1], at[1]))}
    for node in _order(value.grad_fn):
        here = reach[node]
        if hasattr(node, "variable"):
            found |= {name: here for name, leaf in inputs.items() if node.variable is leaf}
            continue
        before = None if here is None else _before(node, here)
        if before is None and here is not None:
            whole.append(_name(node))
        for child, _ in _sources(node):
            reach[child] = _joined(reach[child], before) if child in reach else before
    return found, list(dict.fromkeys(whole))


def _name(node: Any) -> str:
    return str(node.name()).partition("Backward")[0]


def _sources(node: Any) -> list[tuple[Any, int]]:
    """Nodes of the maps that it was made from; of a convolution the weights are left out."""
    children = node.next_functions[:1] if _name(node) == "Convolution" else node.next_functions
    return [(child, i) for child, i in children if child is not None]


def _order(root: Any) -> list[Any]:
    """All nodes, each after those that were made from it."""
    done: dict[Any, None] = {}
    stack: list[tuple[Any, bool]] = [(root, False)]
    seen = set()
    while stack:
        node, left = stack.pop()
        if left:
            done[node] = None
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(child, False) for child, _ in _sources(node)]
    return list(reversed(done))


def _joined(one: Extent | None, two: Extent | None) -> Extent | None:
    if one is None or two is None:
        return None
    (a, b), (c, d) = one, two
    return (min(a[0], c[0]), max(a[1], c[1])), (min(b[0], d[0]), max(b[1], d[1]))


def _before(node: Any, extent: Extent) -> Extent | None:
    """The extent in what the node was made from; None for the whole of it."""
    kind = _name(node)
    if kind == "Convolution":
        return _convolved(node, extent)
    if kind in ("MaxPool2DWithIndices", "AvgPool2D"):
        dilation = getattr(node, "_saved_dilation", (1, 1))
        stride = tuple(node._saved_stride) or tuple(node._saved_kernel_size)
        axes = zip(
            extent, _two(node._saved_kernel_size), _two(stride), _two(node._saved_padding), _two(dilation), strict=True
        )
        return _pair(_window(span, k, s, p, d) for span, k, s, p, d in axes)
    if kind.startswith("Upsample"):
        sizes = getattr(node, "_saved_self_sym_sizes", None) or node._saved_self_sizes
        axes2 = zip(extent, sizes[-2:], node._saved_output_size, strict=True)
        near, corners = "Nearest" in kind, bool(getattr(node, "_saved_align_corners", False))
        wide = 1 if "Bicubic" in kind else 0
        return _pair(_resampled(span, n, m, near, corners, wide) for span, n, m in axes2)
    if kind in ("ConstantPadNd", "ReflectionPad2D", "ReplicationPad2D"):
        pad = node._saved_pad if kind == "ConstantPadNd" else node._saved_padding
        top, left = (pad[2] if len(pad) > 3 else 0), pad[0]
        return (extent[0][0] - top, extent[0][1] - top), (extent[1][0] - left, extent[1][1] - left)
    if kind == "Slice":
        start, step, axis = node._saved_start, node._saved_step, _axis(node._saved_dim)
        move = lambda span: (span[0] * step + start, span[1] * step + start)  # noqa: E731
        return (move(extent[0]) if axis == 2 else extent[0]), (move(extent[1]) if axis == 3 else extent[1])
    alone = kind in PER_POSITION or (kind == "NativeBatchNorm" and not node._saved_training)
    return extent if alone or (kind in BY_CHANNEL and _along_channels(node)) else None


def _along_channels(node: Any) -> bool:
    axes = node._saved_dim
    return all(_axis(a) == 1 for a in ([axes] if isinstance(axes, int) else axes or [0]))


def _axis(axis: int) -> int:
    """Of four; autograd keeps negative ones as large unsigned numbers."""
    return int(axis - 2**64 if axis >= 2**63 else axis) % 4


def _two(values: Any) -> tuple[int, int]:
    values = tuple(values)
    return (values[0], values[-1])


def _pair(spans: Any) -> Extent:
    rows, columns = spans
    return rows, columns


def _window(span: Span, kernel: int, stride: int, padding: int, dilation: int) -> Span:
    first = span[0] * stride - padding
    return first, span[1] * stride - padding + dilation * (kernel - 1)


def _convolved(node: Any, extent: Extent) -> Extent:
    axes = zip(
        extent, node._saved_weight.shape[-2:], _two(node._saved_stride), _two(node._saved_padding),
        _two(node._saved_dilation), strict=True,
    )  # fmt: skip
    if not node._saved_transposed:
        return _pair(_window(span, k, s, p, d) for span, k, s, p, d in axes)
    return _pair((-((d * (k - 1) - a - p) // s), (b + p) // s) for (a, b), k, s, p, d in axes)


def _resampled(span: Span, before: int, after: int, near: bool, corners: bool, wide: int) -> Span:
    """Of a map of `before` rows resized to `after`."""
    if near:
        return span[0] * before // after, span[1] * before // after
    if corners:
        first, last = (i * (before - 1) / max(after - 1, 1) for i in span)
    else:
        first, last = ((i + 0.5) * before / after - 0.5 for i in span)
    low, high = int(torch.tensor(first).floor()), int(torch.tensor(last).ceil())
    return max(low, 0) - wide, min(high, before - 1) + wide
