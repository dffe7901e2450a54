"""A data set and a model whose truth is known by construction: "paint" is in colour only, "dent" in depth only."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionzoo.models.base import FusionModel
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes import Probe

CLASSES = {"wall": "both", "paint": "rgb", "dent": "x"}
CELL = 4


class ToyData:
    """n images of 24x32 with cells of 4x4 pixels; each cell is one class. Labels are `label_scale` times as large.

    Paint has red 0.75 (else about 0.25), dents are 3 m away (else about 1 m), with noise; each cell's own.
    """

    name, split, x_kind, x_channels, ignore_index = "toy", "test", "depth", 1, 255

    def __init__(self, n: int = 24, label_scale: int = 1, seed: int = 0) -> None:
        self.n, self.label_scale, self.seed = n, label_scale, seed
        self.class_names = list(CLASSES)
        self.num_classes = len(CLASSES)
        self.concepts = dict(CLASSES)
        self.read = 0
        self.edits: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return self.n

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "split": self.split, "n": self.n, "label_scale": self.label_scale, "seed": self.seed}

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.read += 1
        g = torch.Generator().manual_seed(1000 * self.seed + index)
        cells = torch.multinomial(torch.tensor([0.6, 0.2, 0.2]), 48, replacement=True, generator=g).view(6, 8)
        noise = torch.rand(2, 6, 8, generator=g) * 0.2
        red = 0.25 + noise[0] + 0.5 * (cells == 1)
        depth = 1 + noise[1] + 2 * (cells == 2)
        rgb = torch.full((3, 24, 32), 0.5)
        rgb[0] = _blow(red, CELL)
        label = _blow(cells, CELL * self.label_scale)
        label[0, :3] = 255
        sample = {"rgb": rgb, "x": _blow(depth, CELL)[None], "label": label, "id": f"toy-{index}"}
        return {**sample, **self.edits.get(index, {})}


def _blow(values: Tensor, factor: int) -> Tensor:
    return values.repeat_interleave(factor, 0).repeat_interleave(factor, 1)


class Toy(FusionModel):
    """rgb stream: (red, constant); x stream: (depth, constant); fused: all four. One level at stride 4.

    Logits: wall 0, paint grows with red, dent with depth. The logits lie a quarter of the input's size.
    """

    stride = 4
    architecture = "toy"

    def __init__(self, same: bool = False) -> None:
        super().__init__(3, 1, Preprocess((0.5,) * 3, (0.25,) * 3, x_mean=(2.0,), x_std=(1.0,)))
        self.architecture, self.model_args = "toy", {"same": same}
        self.same = same
        self.set_classes(list(CLASSES))
        self.rgb_at = Probe(2, modality="rgb")
        self.x_at = Probe(2, modality="x")
        self.fused_at = Probe(4, modality="fused", role="fused")
        self.gate = Probe(2, role="gate", low=0.0, high=1.0)
        self.scale = torch.nn.Parameter(torch.tensor(4.0))

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        return {1: {"rgb": "rgb_at", "x": "x_at", "fused": "fused_at"}}

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        red = F.avg_pool2d(rgb[:, :1], CELL)
        depth = red if self.same else F.avg_pool2d(x, CELL)
        one = torch.ones_like(red)
        red, depth = self.rgb_at(torch.cat([red, one], 1)), self.x_at(torch.cat([depth, one], 1))
        self.gate(torch.cat([one, one * 0.5], 1))
        fused = self.fused_at(torch.cat([red, depth], 1))
        return self.scale * torch.stack([0.1 * one[:, 0], fused[:, 0], fused[:, 2]], 1)
