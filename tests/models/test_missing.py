"""A guess at x in front of a frozen model: when it stands in, what learns, what stays."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from fusionzoo.cli import main
from fusionzoo.errors import InputError
from fusionzoo.hub import from_pretrained
from fusionzoo.models import MissingX, create_model
from fusionzoo.models.classes import reset_scenes
from fusionzoo.train import finetune
from tests.compare import SAME, distance, off_zero, same_tensors
from tests.models.saving import check_saving
from tests.train.rooms import MODEL, SMALL, rooms, settings


def made() -> MissingX:
    """In front of a model as if trained: behind norms without a bias, x = 0 lies on the kinks of its ReLUs."""
    torch.manual_seed(0)
    inner = create_model(MODEL, num_classes=3, **SMALL)
    for norm in inner.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.bias, std=0.3)
    return MissingX.of(inner, width=4)


@pytest.fixture(scope="module")
def model() -> MissingX:
    return made()


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 40, 50, generator=generator), torch.randn(2, 1, 40, 50, generator=generator)


@torch.no_grad()
def test_the_guess_stands_for_x_where_an_image_has_none_and_starts_as_the_mean(model: MissingX) -> None:
    rgb, x = images()
    x[1] = 0
    inner = model.model
    assert distance(model(rgb, x), inner(rgb, x)) < SAME and distance(model(rgb, None), inner(rgb, None)) < SAME
    off_zero(model)
    moved = model(rgb, x)
    torch.nn.init.zeros_(model.guess.last.weight)
    assert distance(moved[0], inner(rgb, x)[0]) < SAME < 1e-3 < distance(moved[1], inner(rgb, x)[1])


def test_saved_it_loads_equal(model: MissingX, tmp_path: Path) -> None:
    check_saving(off_zero(model), images(), tmp_path / "one")
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert names and all(n.startswith("guess.") for n in names)
    points = model.probe_points()
    assert all(p in points for at in model.levels.values() for p in at.values())


def test_finetune_moves_the_guess_alone(tmp_path: Path) -> None:
    made().save_pretrained(tmp_path / "given")
    # crops whose last map is larger than one pixel: a group norm of one pixel gives nothing a gradient
    data, size = rooms(tmp_path / "d", sizes=((96, 128),)), {"size": (64, 64), "base": (64, 96)}
    run = settings(data, model=str(tmp_path / "given"), drop_modality=1.0, lr=0.01, ema=0.0, val_split="", **size)
    finetune(run, tmp_path / "out", note=lambda text: None)
    before, after = (from_pretrained(tmp_path / name) for name in ("given", "out"))
    assert same_tensors(before.get_submodule("model").state_dict(), after.get_submodule("model").state_dict())
    assert not same_tensors(before.get_submodule("guess").state_dict(), after.get_submodule("guess").state_dict())
    assert float(after.get_submodule("guess.last").weight.detach().abs().max()) > 1e-3


def test_a_model_that_does_without_x_is_refused() -> None:
    with pytest.raises(InputError, match="rgb_only_mobilenetv1-025_fpn reads rgb alone"):
        MissingX.of(create_model("rgb_only_mobilenetv1-025_fpn"))


def test_a_model_of_several_modalities_is_refused() -> None:
    with pytest.raises(InputError, match=r"the one x of a model .* reads depth, thermal beside rgb.*--drop-modality"):
        MissingX.of(create_model("concat_mobilenetv1-025_fpn", x_kind="depth+thermal"))


def test_a_joint_model_is_refused() -> None:
    joint, _ = reset_scenes(create_model(MODEL, num_classes=3, **SMALL), ["kitchen", "office"])
    with pytest.raises(InputError, match=r"scene types beside the classes of pixels.*reset_scenes\(model, \[\]\)"):
        MissingX.of(joint)


def test_classes_that_a_frozen_head_cannot_learn_are_refused(tmp_path: Path) -> None:
    given = made()
    given.set_classes(["a", "b", "c"])
    given.save_pretrained(tmp_path / "given")
    data = rooms(tmp_path / "d", sizes=((96, 128),))
    with pytest.raises(InputError, match=r"keeps model\.head as it is, so it cannot learn the \d+ classes .* others"):
        finetune(settings(data, model=str(tmp_path / "given")), tmp_path / "out", note=lambda text: None)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_the_readmes_lines_begin_and_train_one(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (root / "fusionzoo" / "models" / "README.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "MissingX" in block)
    (line,) = (line for line in text.splitlines() if line.startswith("fusionzoo finetune guess "))
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102
    small = "--epochs 1 --limit 2 --batch-size 2 --size 64x64 --base 64x96"
    done = CliRunner().invoke(main, shlex.split(f"{line} {small}")[1:])
    assert done.exit_code == 0, done.output
    found, given = from_pretrained("runs/guess"), from_pretrained("concat_mobilenetv1-025_fpn.planted")
    assert isinstance(found, MissingX) and same_tensors(found.model.state_dict(), given.state_dict())
