"""A model as one graph: what goes in and out, which sizes it takes, and how torch.export traces it.

The model's own forward pass pads to multiples of its stride and cuts off what it padded, if there is anything to pad:
a branch, which a graph of free size cannot hold. Here rows and columns are taken by their numbers instead, the last one
repeated, which is the same padding for every size and has no branch.
"""

from __future__ import annotations

import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError, first_line
from fusionzoo.modalities import METRIC, parts_of
from fusionzoo.models import FusionModel
from fusionzoo.models.two_stream import SCENE_LOGITS
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes import select
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["REFUSALS", "Graph", "Shapes", "candidates", "example", "quietly", "trace"]

REFUSALS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError)
"""What torch's exporters and onnxruntime raise for a model that they cannot take; out of memory and full disks are not
among them."""


@dataclass(frozen=True)
class Shapes:
    """Which inputs a graph takes.

    Attributes:
        batch: any number of images, or as many (None).
        height, width: fixed, or None: any from `least` on.
        least: smallest free height and width.
    """

    batch: int | None
    height: int | None
    width: int | None
    least: int

    @property
    def free(self) -> bool:
        """Whether height and width are free."""
        return self.height is None

    def says(self) -> str:
        """In words."""
        batch = "any batch" if self.batch is None else f"batch {self.batch}"
        size = f"any size from {self.least}x{self.least}" if self.free else f"size {self.height}x{self.width}"
        return f"{batch}, {size}"

    def cases(self) -> list[tuple[int, int, int]]:
        """(batch, height, width) to compare at: small, of several batches, and none of a multiple of the stride."""
        n = self.least
        sizes = [(2 * n, 3 * n - 4), (n + 9, 2 * n - 1), (n, 2 * n + 6)]
        if self.height is not None and self.width is not None:
            sizes = [(self.height, self.width)] * 2
        return [(i + 1 if self.batch is None else self.batch, *size) for i, size in enumerate(sizes)]


class _Keep:
    """Hangs on a probe of the graph's own copy of the model and puts what passes into a dict."""

    def __init__(self, values: dict[str, Tensor], name: str) -> None:
        self.values, self.name = values, name

    def __call__(self, value: Tensor) -> Tensor:
        self.values[self.name] = value
        return value


class Graph(nn.Module):
    """(rgb, x) -> (logits, probed values ...), float32, at the size of rgb; probed values as they pass, padded.

    A joint model's scores of scene types, which it says at a probe, follow the logits in any case.

    Args:
        model: copied, put in evaluation mode; nothing may be attached to its probes.
        inside: rgb is uint8 0..255 and x raw, normalised within the graph; else both are normalised float32.
        patterns: of the probes whose values are given too.
        half: weights and arithmetic in float16; inputs and outputs stay as they are.

    Raises:
        UnknownNameError: a pattern matches no probe; the closest are named.
    """

    def __init__(self, model: FusionModel, inside: bool, patterns: Sequence[str] = (), half: bool = False) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
        if half:
            self.model.half()
        self.inside = inside
        self.values: dict[str, Tensor] = {}
        joint = {SCENE_LOGITS: self.model.probe_points()[SCENE_LOGITS]} if self.model.num_scenes else {}
        points = joint | (select(self.model, patterns) if patterns else {})
        self.names = tuple(points)
        for name, point in points.items():
            point.tap = _Keep(self.values, name)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns."""
        return ("logits", *map(self.output, self.names))

    def output(self, name: str) -> str:
        """The output's name of what passes the probe `name`."""
        return SCENE_LOGITS if name == SCENE_LOGITS else f"probe.{name}"

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        if self.inside:
            rgb, x = self.model.preprocess(rgb, x)
        rgb, x = self.model.inputs(rgb, x)
        height, width = rgb.shape[-2:]
        step = self.model.stride
        full = ((height + step - 1) // step * step, (width + step - 1) // step * step)
        fixed = isinstance(height, int) and isinstance(width, int) and full == (height, width)
        if not fixed:
            rows = torch.arange(full[0]).clamp(max=height - 1)
            columns = torch.arange(full[1]).clamp(max=width - 1)
            rgb, x = (v.index_select(2, rows).index_select(3, columns) for v in (rgb, x))
        scores = self.model.scores(rgb, x)
        of_pixels = self.model.task != CLASSIFICATION
        if of_pixels:
            scores = F.interpolate(scores, size=full, mode="bilinear", align_corners=False)
        if of_pixels and not fixed:
            scores = scores.index_select(2, torch.arange(height)).index_select(3, torch.arange(width))
        silent = [name for name in self.names if name not in self.values]
        if silent:
            raise InputError(f"nothing passes the probes {', '.join(silent[:5])}; leave them out")
        kept = [self.values.pop(name).float() for name in self.names]
        return scores.float(), *kept


def example(preprocess: Preprocess, inside: bool, shape: tuple[int, int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """A made-up pair (rgb, x) of `shape` (batch, height, width) that the graph takes: smooth, with noise and holes, and
    of several images the last without any depth.

    >>> [tuple(v.shape) for v in example(Preprocess(), True, (2, 40, 50))]
    [(2, 3, 40, 50), (2, 1, 40, 50)]
    """
    batch, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3 + preprocess.x_channels, 5, 6, generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear")
    smooth = (smooth + 0.1 * torch.rand(smooth.shape, generator=generator)).clamp(0, 1)
    rgb, x = (smooth[:, :3] * 255).round().to(torch.uint8), smooth[:, 3:]
    holes = torch.rand(batch, 1, height, width, generator=generator) < 0.05
    holes[1:][-1:] = True
    parts = [(part.kind, part.of(x)) for part in parts_of(preprocess.x_kind, preprocess.x_channels)]
    x = torch.cat([
        ((0.6 + 8 * v) / preprocess.x_scale).masked_fill(holes, 0.0) if kind in METRIC else (255 * v).round()
        for kind, v in parts
    ], dim=1)  # fmt: skip
    return (rgb, x) if inside else preprocess(rgb, x)


def candidates(graph: Graph, size: tuple[int, int] | None, default: tuple[int, int]) -> list[tuple[Shapes, bool]]:
    """Shapes to try, the freest first: any batch and size, else any batch at the `default` size, else one image.

    Args:
        size: (H, W), or None for a free one.

    Returns:
        (shapes, trust): see `trace`. What torch.export cannot prove of a free size is tried at some sizes.
    """
    least = graph.model.stride + 1
    tried = [(Shapes(None, None, None, least), trust) for trust in (False, True)] if size is None else []
    return tried + [(Shapes(batch, *(size or default), least), False) for batch in (None, 1)]


def trace(graph: Graph, shapes: Shapes, trust: bool) -> torch.export.ExportedProgram:
    """The graph traced at an example of `shapes`.

    Args:
        trust: what torch.export cannot prove of every size is asserted as the graph runs, and tried at a dozen shapes.

    Raises:
        InputError: torch.export cannot trace the model so; with its reason.
    """
    why = "other sizes give other results"
    try:
        with quietly():
            traced = _traced(graph, shapes, trust)
            if not trust or _holds(graph, traced, shapes):
                return traced
    except REFUSALS as error:
        why = str(error) if isinstance(error, InputError) else _reason(error)
    finally:
        graph.values.clear()
    raise InputError(f"{graph.model.architecture} cannot be exported: {why}")


def _traced(graph: Graph, shapes: Shapes, trust: bool) -> torch.export.ExportedProgram:
    """The traced graph; what torch.export raises."""
    Dim, n = torch.export.Dim, shapes.least
    free: dict[int, Any] = {}
    if shapes.batch is None:
        free[0] = Dim("batch")
    if shapes.free:
        free |= {2: Dim("height", min=n), 3: Dim("width", min=n)}
    # no two of the sizes alike, none 0 or 1: torch.export takes equal sizes for one
    shape = (shapes.batch or 2, shapes.height or 2 * n, shapes.width or 3 * n - 4)
    pair = example(graph.model.preprocess, graph.inside, shape)
    with torch.no_grad():
        return torch.export.export(
            graph,
            pair,
            dynamic_shapes=(free, free) if free else None,
            prefer_deferred_runtime_asserts_over_guards=trust,
        )


def _holds(graph: Graph, traced: torch.export.ExportedProgram, shapes: Shapes) -> bool:
    """Whether the traced graph gives what the model gives at a dozen shapes; its own assertions may raise."""
    program: Any = traced.module()
    n = shapes.least
    more = [(1 + i % 3, n + 5 * i, 3 * n - 7 * (i % 5)) for i in range(9)]
    for case in (*shapes.cases(), *more):
        pair = example(graph.model.preprocess, graph.inside, case)
        with torch.no_grad():
            pairs = zip(graph(*pair), program(*pair), strict=True)
        if any(a.shape != b.shape or not torch.allclose(b, a, rtol=1e-2, atol=1e-3) for a, b in pairs):
            return False
    return True


def _reason(error: BaseException) -> str:
    """Why torch.export refuses, in one line: which of the free sizes it finds fixed, or its own first words."""
    found = re.search(r"Constraints violated \(([^)]*)\)", str(error))
    return f"in its graph {found[1]} cannot be free" if found else first_line(error)


@contextmanager
def quietly() -> Iterator[None]:
    """Without the exporters' remarks on their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
