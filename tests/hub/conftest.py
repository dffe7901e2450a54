"""A small checkpoint, a loopback Hub, and a cache of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fusionzoo import hub as fusionzoo_hub
from fusionzoo.models import FusionModel, create_model
from tests.hub.loophub import LoopHub

NAME = "concat_mobilenetv1-025_fpn"
SMALL = {"pyramid_channels": 16, "segmentation_channels": 32}


def small_model(seed: int = 0, **options: object) -> FusionModel:
    """A trained-looking model: running statistics moved, so that they matter."""
    torch.manual_seed(seed)
    model = create_model(NAME, num_classes=4, decoder_args=SMALL, **options)
    model.train()
    model(torch.randn(2, 3, 64, 64), torch.randn(2, 1, 64, 64))
    return model.eval()


@pytest.fixture(scope="session")
def model() -> FusionModel:
    return small_model()


@pytest.fixture(scope="session")
def saved(model: FusionModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Content of a checkpoint folder, by file name."""
    folder = tmp_path_factory.mktemp("saved")
    fusionzoo_hub.save(model, folder, record_fields={"name": f"{NAME}.test", "licence": "mit"})
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def folder(saved: dict[str, bytes], tmp_path: Path) -> Path:
    """A fresh copy of the checkpoint folder."""
    out = tmp_path / f"{NAME}.test"
    out.mkdir()
    for name, data in saved.items():
        (out / name).write_bytes(data)
    return out


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopHub]:
    """A loopback Hub that the library uses, with an empty cache, short waits and no stored token."""
    from huggingface_hub import constants

    from fusionzoo.hub import client

    with LoopHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        monkeypatch.setattr(client, "WAITS", (0.01, 0.02, 0.03))
        yield hub
