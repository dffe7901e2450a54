"""A small random model saved as a checkpoint folder, and a pair of images on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of `concat_mobilenetv1-025_fpn.random`, for the planted data's classes, weights untrained."""
    import torch

    from fusionzoo.data import Planted
    from fusionzoo.hub import save
    from fusionzoo.models import create_model

    torch.manual_seed(0)
    data = Planted(split="test", n=4)
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=data.num_classes)
    model.set_classes(data.class_names)
    model.input_size = (120, 160)
    # untrained, yet no constant class map: each class gets the bias that makes its mean logit zero
    head = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.out_channels == data.num_classes][-1]
    torch.nn.init.normal_(head.weight, std=1.0)
    batch = [torch.stack([data[i][key] for i in range(len(data))]) for key in ("rgb", "x")]
    with torch.no_grad():
        assert head.bias is not None
        head.bias -= model(*model.preprocess(*batch)).mean(dim=(0, 2, 3))
    folder = tmp_path_factory.mktemp("zoo") / "concat_mobilenetv1-025_fpn.random"
    metric = {"data": "planted", "split": "test", "protocol": "single scale, 120x160", "miou": 0.0123, "who": "us"}
    fields = {"name": folder.name, "licence": "MIT", "metrics": [metric], "recipe": {"command": "none: random weights"}}
    save(model, folder, record_fields=fields)
    return folder


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One planted scene of 96x128 as rgb.png (8 bit) and depth.png (16 bit, millimetres)."""
    from fusionzoo.data import Planted

    sample = Planted(split="test", n=1, size=(96, 128))[0]
    folder = tmp_path_factory.mktemp("pair")
    Image.fromarray(sample["rgb"].permute(1, 2, 0).numpy()).save(folder / "rgb.png")
    Image.fromarray((sample["x"][0].numpy() * 1000).round().astype(np.uint16)).save(folder / "depth.png")
    return folder / "rgb.png", folder / "depth.png"
