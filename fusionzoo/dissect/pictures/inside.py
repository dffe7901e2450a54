"""Inside the streams, for one image: features as colours, where each stream sees a concept, what a block weighs by.

Probes are reduced to pictures as they fire, in a forward pass that is made anyway; no feature outlives it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.dissect.masks import Source, extent_of
from fusionzoo.dissect.measures.concepts import Concepts, StageConcepts
from fusionzoo.dissect.measures.setup import Mixture
from fusionzoo.dissect.pictures.insight import Insight, shown_stages
from fusionzoo.dissect.results.examples import Inside, Sight, StageView, Weight
from fusionzoo.probes import Probe, listen, probe_points

__all__ = ["Look", "told_apart"]

ROLES = ("agreement", "attention", "exchange", "gate", "weight")
"""Roles of probes that say what a block weighs by."""
MOST_POSITIONS = 120 * 160
"""Positions of a feature map that are drawn; a finer one is averaged."""
LEAST_AREA = 0.005
"""Share of the image that a concept takes at least to be looked for in it."""
APART = 0.05
"""Difference in set IoU from which on a concept counts as seen better by one stream."""
MOST_CONCEPTS = 3


class Look:
    """Looks at one image after the other.

    Args:
        found: what a dissection of the model learned. concepts: its concept scores, None without any.
    """

    def __init__(self, model: nn.Module, found: Insight, concepts: Concepts | None) -> None:
        self.model, self.found, self.concepts = model, found, concepts
        self.probes = {name: probe for name, probe in probe_points(model).items() if name in found.passed}
        self.stages = shown_stages(found.stages)
        self.weights = {p: stage for stage in self.stages for p in _block(self.probes, found.stages[stage])}
        self._seen: dict[int, StageView] = {}
        self._scores: dict[str, Tensor] = {}
        self._extent = (1.0, 1.0)

    @contextmanager
    def watching(self, size: tuple[int, int]) -> Iterator[None]:
        """Listens at one forward pass of one image (H, W); afterwards `inside` tells what was seen."""
        self._extent = extent_of(self.model, size)
        self._seen, self._scores = {stage: StageView(stage) for stage in self.stages}, {}
        points = [p for p in (*self.found.palettes, *self.found.detectors, *self.weights) if p in self.probes]
        if not points:
            yield
            return
        with listen(self.model, dict.fromkeys(dict.fromkeys(points), self._hear)):
            yield

    def inside(self, source: Source, size: tuple[int, int]) -> Inside:
        """What was seen; `source` of the concept masks of the image, `size` (h, w) of its pictures."""
        views = [v for v in self._seen.values() if v.features or v.weights]
        return Inside(views, self._sights(source, size))

    def _hear(self, name: str, value: Tensor) -> None:
        if name in self.found.detectors:
            self._scores[name] = self.found.detectors[name].weights.score(value.detach())[0]
        value = self._cut(value.detach())
        if name in self.weights:
            self._seen[self.weights[name]].weights.extend(_weights(name, self.probes[name], value))
        for stage in self.stages if name in self.found.palettes else ():
            for stream in (s for s, at in self.found.stages[stage].items() if at == name):
                self._colour(self._seen[stage], stream, name, value[0])

    def _cut(self, value: Tensor) -> Tensor:
        """The part of a map (..., H, W) that is of the image: whole positions that any of it lies in."""
        if value.ndim < 4:
            return value
        height, width = (math.ceil(n / more - 1e-6) for n, more in zip(value.shape[-2:], self._extent, strict=True))
        return value[..., :height, :width]

    def _colour(self, view: StageView, stream: str, point: str, maps: Tensor) -> None:
        palette, at = self.found.palettes[point], self.found.stages[view.stage]
        height, width = maps.shape[-2:]
        if height * width > MOST_POSITIONS:
            share = (MOST_POSITIONS / (height * width)) ** 0.5
            maps = F.adaptive_avg_pool2d(maps.float(), (max(1, int(height * share)), max(1, int(width * share))))
        view.features[stream] = palette.colours(point, maps).cpu().numpy()
        view.held[stream] = palette.held
        if len(at) > 1 and all(self.found.palettes.get(other) is not palette for s, other in at.items() if s != stream):
            view.apart.append(stream)

    def _sights(self, source: Source, size: tuple[int, int]) -> list[Sight]:
        if self.concepts is None or not self._scores:
            return []
        masks, valid = source.on("nearest", size)
        masks, valid = masks[0].bool() & valid[0].bool(), valid[0].bool()
        area = masks.flatten(1).float().mean(1).tolist()
        best = _best_stage(self.concepts, len(area))
        there = {k: row for k, row in best.items() if area[k] >= LEAST_AREA}
        return [self._sight(k, there[k], masks[k], ~valid, size) for k in told_apart(there)]

    def _sight(self, concept: int, row: StageConcepts, mask: Tensor, unknown: Tensor, size: tuple[int, int]) -> Sight:
        assert self.concepts is not None
        margin = {}
        for stream, point in self.found.stages[row.stage].items():
            if point in self._scores:
                made = self._margin(point, concept, size)
                if made is not None:
                    margin[stream] = _array(made)
        iou = {stream: row.iou[stream][concept] for stream in margin}
        arrays = (mask.cpu().numpy(), unknown.cpu().numpy())
        return Sight(self.concepts.names[concept], row.stage, *arrays, margin, iou)

    def _margin(self, point: str, concept: int, size: tuple[int, int]) -> Tensor | None:
        """(h, w) score above the threshold; None for a concept that the detector was not trained on."""
        threshold = float(self.found.detectors[point].threshold[concept])
        if not -torch.inf < threshold < torch.inf:
            return None
        padded = [round(n * more) for n, more in zip(size, self._extent, strict=True)]
        score = self._scores[point][concept][None, None].float()
        whole = F.interpolate(score, padded, mode="bilinear", align_corners=False)[0, 0]
        return whole[: size[0], : size[1]] - threshold


def told_apart(rows: Mapping[int, StageConcepts]) -> list[int]:
    """Which concepts to look at: the one that rgb sees most better than x, the reverse, and the one that both see best;
    of a model without two streams those seen best.

    Args:
        rows: concept -> the stage at which it is scored.

    >>> iou = {"rgb": [0.6, 0.1, 0.5, 0.2], "x": [0.1, 0.5, 0.5, 0.2]}
    >>> told_apart(dict.fromkeys(range(4), StageConcepts(3, iou)))
    [0, 1, 2]
    """
    given = {k: {s: row.iou[s][k] or 0.0 for s in row.iou} for k, row in rows.items()}
    two = [k for k, at in given.items() if "rgb" in at and "x" in at]
    if not two:
        return sorted(given, key=lambda k: (-max(given[k].values(), default=0.0), k))[:MOST_CONCEPTS]
    more = {k: given[k]["rgb"] - given[k]["x"] for k in two}
    first, last = max(two, key=lambda k: (more[k], -k)), min(two, key=lambda k: (more[k], k))
    picked = [k for k, far in ((first, more[first]), (last, -more[last])) if far >= APART]
    shared = sorted((k for k in two if k not in picked), key=lambda k: (-min(given[k]["rgb"], given[k]["x"]), k))
    return (picked + shared)[:MOST_CONCEPTS]


def _best_stage(concepts: Concepts, count: int) -> dict[int, StageConcepts]:
    """Concept -> the stage at which a stream sees it best."""
    found = {}
    for k in range(min(count, len(concepts.names))):
        scored = [(v, row) for row in concepts.stages for iou in row.iou.values() if (v := iou[k]) is not None]
        if scored:
            found[k] = max(scored, key=lambda pair: (pair[0], pair[1].stage))[1]
    return found


# ----------------------------------------------------------------------------------------------------------- weights


def _block(probes: Mapping[str, Probe], at: Mapping[str, str]) -> list[str]:
    """The probes of the block that makes a stage's fused features that say what it weighs by."""
    if "fused" not in at:
        return []
    inside = at["fused"].rpartition(".")[0]
    inside += "." if inside else ""
    return [n for n, p in probes.items() if n.startswith(inside) and p.role in ROLES and (p.low, p.high) == (0.0, 1.0)]


def _weights(name: str, probe: Probe, value: Tensor) -> list[Weight]:
    """The pictures of one probe; none where it is neither of places nor of channels."""
    short = name.split(".fusion.", 1)[-1]
    words = probe.axes.split()
    mixture = Mixture.of(probe)
    if mixture is not None:
        parts = value.unbind(mixture.dim)
        share = parts[0 if mixture.rgb_first else -1][0]  # (C, H, W) or (H, W)
        share = share.mean(0) if share.ndim == 3 else share
        return [Weight(short, probe.meaning, _array(share), True)] if share.ndim == 2 and share.numel() > 1 else []
    if value.ndim != 4 or words[:2] != ["B", "C"]:
        return []
    maps = value[0]  # (C, H, W)
    if maps.shape[1] * maps.shape[2] == 1:
        row = maps.reshape(1, -1)
        replaced = row > 0.5 if probe.role == "exchange" else None
        return [Weight(short, probe.meaning, _array(row), False, _flags(replaced))] if len(maps) > 1 else []
    if words[2:] != ["H", "W"]:
        return []
    if len(maps) == 2:  # one of each modality, as its meaning says
        return [Weight(f"{short} {i}", probe.meaning, _array(maps[i])) for i in range(2)]
    mean = maps.mean(0)
    replaced = mean > 0.5 if probe.role == "exchange" else None
    if probe.replaced_below is not None:
        replaced = mean < probe.replaced_below
    return [Weight(short, probe.meaning, _array(mean), False, _flags(replaced))]


def _array(values: Tensor) -> Any:
    return values.float().cpu().numpy()


def _flags(values: Tensor | None) -> Any:
    return None if values is None else values.cpu().numpy()
