"""Models with several auxiliary modalities: named, given one by one or together, kept in a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import fusionzoo
from fusionzoo.errors import InputError
from fusionzoo.models import FusionModel, create_model
from fusionzoo.probes import probe

KIND = "depth+thermal+event"


@pytest.fixture(scope="module")
def model() -> FusionModel:
    torch.manual_seed(0)
    return create_model("cmnext_mit_b0", num_classes=4, x_kind=KIND)


def inputs() -> tuple[Tensor, list[Tensor]]:
    drawn = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 32, 64, generator=drawn), [
        torch.randn(2, channels, 32, 64, generator=drawn) for channels in (1, 1, 3)
    ]


@torch.no_grad()
def test_one_by_one_is_all_together_and_none_is_zeros(model: FusionModel) -> None:
    assert model.modalities == ("rgb", "depth", "thermal", "event")
    rgb, xs = inputs()
    whole = model(rgb, *xs)
    torch.testing.assert_close(model(rgb, torch.cat(xs, 1)), whole)
    torch.testing.assert_close(model(rgb, xs[0], None, xs[2]), model(rgb, xs[0], torch.zeros_like(xs[1]), xs[2]))
    torch.testing.assert_close(model(rgb, None, None, None), model(rgb, None))
    torch.testing.assert_close(model(None, *xs), model(torch.zeros_like(rgb), *xs))
    for j, x in enumerate(xs):  # each of them counts
        other = [*xs[:j], x.flip(0), *xs[j + 1 :]]
        assert float((model(rgb, *other) - whole).abs().max()) > 1e-5


@torch.no_grad()
def test_stages_name_the_modality_that_their_probe_shows(model: FusionModel) -> None:
    rgb, xs = inputs()
    names = model.levels[2]
    assert list(names) == ["rgb", "x", "fused", "depth", "thermal", "event"]
    before = {}
    with probe(model, *names.values()) as tape:
        model(rgb, *xs)
        before = {name: tape[point].clone() for name, point in names.items()}
    for j, modality in enumerate(("depth", "thermal", "event")):
        with probe(model, *names.values()) as tape:
            model(rgb, *xs[:j], xs[j].flip(0), *xs[j + 1 :])
            moved = {name for name, point in names.items() if float((tape[point] - before[name]).abs().max()) > 1e-5}
        assert moved == {modality, "x", "fused"}  # the probe of rgb in the first stage lies before the exchange


@torch.no_grad()
def test_a_checkpoint_keeps_the_modalities(model: FusionModel, tmp_path: Path) -> None:
    rgb, xs = inputs()
    loaded = fusionzoo.from_pretrained(model.save_pretrained(tmp_path / "one"))
    assert loaded.modalities == model.modalities and loaded.config() == model.config()
    torch.testing.assert_close(loaded(rgb, *xs), model(rgb, *xs))


def test_published_names_and_any_strategy() -> None:
    assert create_model("cmnext_mit_b0", auxiliaries=2).modalities == ("rgb", "hha", "event")
    assert create_model("cmnext_mit_b0", auxiliaries=1).modalities == ("rgb", "hha")
    assert create_model("sum_mobilenetv1-025_fpn", x_kind="depth+thermal").modalities == ("rgb", "depth", "thermal")


def test_what_does_not_fit_is_said(model: FusionModel) -> None:
    rgb, xs = inputs()
    for given, said in (
        ((xs[0], xs[1]), "2 images beside rgb, but the model takes 3: depth, thermal, event"),
        ((xs[0], xs[2], xs[1]), r"thermal has shape \(2, 3, 32, 64\), wanted \(2, 1, 32, 64\)"),
        ((xs[0], xs[1][..., :32], xs[2]), r"thermal has shape .* wanted \(2, 1, 32, 64\)"),
        ((xs[0],), r"wanted \(B, 5, H, W\) \(depth 1, thermal 1, event 3\), or each by itself"),
    ):
        with pytest.raises(InputError, match=said):
            model(rgb, *given)
    with pytest.raises(InputError, match="2 auxiliary modalities, but the preprocessing names 3"):
        create_model("cmnext_mit_b0", auxiliaries=2, x_kind=KIND)
