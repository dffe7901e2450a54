"""Training on several modalities: statistics of each, dropout of each, a CMNeXt from the data's name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusionzoo.data import parse_spec
from fusionzoo.hub.load import from_pretrained
from fusionzoo.modalities import parts_of
from fusionzoo.train import finetune
from fusionzoo.train.dropout import drop_modality
from fusionzoo.train.statistics import survey
from tests.train.rooms import settings


def test_statistics_of_each_modality_are_those_it_has_alone() -> None:
    both, depth, thermal = (
        survey(parse_spec(f"planted-multi:{x}", split="train", limit=3, size=(32, 48)))
        for x in ("thermal,depth", "depth", "thermal")
    )
    for field in ("x_mean", "x_std", "x_quantiles", "x_missing"):
        assert getattr(both, field) == pytest.approx(getattr(thermal, field) + getattr(depth, field)), field


def test_each_modality_is_dropped_as_often_and_never_two() -> None:
    draw = (torch.arange(3000) + 0.5) / 3000
    rgb, x = drop_modality(torch.ones(3000, 3, 1, 1), torch.ones(3000, 4, 1, 1), 0.6, draw, parts_of("depth+event"))
    gone = torch.stack([rgb.amax((1, 2, 3)) == 0, x[:, :1].amax((1, 2, 3)) == 0, x[:, 1:].amax((1, 2, 3)) == 0])
    assert gone.sum(1).tolist() == [600, 600, 600] and int(gone.sum(0).max()) == 1


def test_cmnext_with_three_auxiliaries(tmp_path: Path) -> None:
    given = settings(
        "planted-multi", model="cmnext_mit_b0", limit=2, size=(32, 48), base=(32, 48), epochs=1, batch_size=2,
        drop_modality=0.5,
    )  # fmt: skip
    finetune(given, tmp_path / "out", note=lambda _: None)
    model = from_pretrained(str(tmp_path / "out"))
    assert model.modalities == ("rgb", "depth", "thermal", "event") and model.config()["model_args"]["auxiliaries"] == 3
    assert len(model.preprocess.x_quantiles) == 15 and 60 < model.preprocess.x_mean[1] < 140
    assert model.class_names[-2:] == ["warm", "flicker"]
