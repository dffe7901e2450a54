"""A tiny data set folder for the tests of training: a wall, a floor and a box in front of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fusionzoo.train import Settings

MODEL = "concat_mobilenetv1-025_fpn"
SMALL = {"decoder_args": {"pyramid_channels": 16, "segmentation_channels": 32}}
PLAIN: dict[str, Any] = {"decoder_args": SMALL["decoder_args"] | {"dropout": 0.0}, "size": (64, 64), "base": (64, 96)}
"""For runs whose losses are compared: no dropout, and no map of one pixel, whose norm is 0 at the kink of a ReLU."""


def rooms(
    root: Path,
    *,
    n: int = 4,
    val: int = 2,
    names: Sequence[str] = ("wall", "floor", "box"),
    depth: Callable[[int, np.ndarray], np.ndarray] | None = None,
    sizes: Sequence[tuple[int, int]] = ((48, 64),),
    unlabelled: Sequence[int] = (),
    kind: str = "depth",
) -> str:
    """Writes the folder and returns its spec. `depth`: (image number, mm (H, W)) -> what is stored."""
    ids = [f"{i:03d}" for i in range(n + val)]
    for i, stem in enumerate(ids):
        h, w = sizes[i % len(sizes)]
        rng = np.random.default_rng(i)
        label = np.zeros((h, w), np.uint8)
        label[h // 2 :] = 1
        left = int(rng.integers(w // 8, w // 2))
        label[h // 3 : 2 * h // 3, left : left + w // 3] = 2
        mm = np.array([4000, 3000, 1800])[label] + np.arange(h)[:, None]
        colour = np.array([[170, 160, 150], [110, 80, 60], [60, 90, 160]])[label] + rng.integers(-20, 20, (h, w, 3))
        x = mm.astype(np.uint16) if depth is None else depth(i, mm)
        if i in unlabelled:
            label[:] = 255
        for part, image in (("rgb", colour.clip(0, 255).astype(np.uint8)), ("x", x), ("label", label)):
            (root / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / part / f"{stem}.png")
    (root / "dataset.toml").write_text(
        f'class_names = {json.dumps(list(names))}\nignore = 255\nx_kind = "{kind}"\n'
        f"[splits]\ntrain = {json.dumps(ids[:n])}\nval = {json.dumps(ids[n:])}\n"
    )
    return f"folder:{root}"


def settings(data: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {"model": MODEL, "data": data, "epochs": 1, "batch_size": 2, "size": (32, 32),
                              "base": (32, 48), "scale": (1.0, 1.2)}  # fmt: skip
    if "model" not in changes:
        values |= SMALL
    return Settings(**(values | changes))
