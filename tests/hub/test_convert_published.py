"""Official checkpoints of whole models through `fusionzoo convert`; MFNet's own on its authors' sample images."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

from fusionzoo.cli import main
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.hub import convert, from_pretrained
from fusionzoo.hub.originals.checkpoints import mfnet, sagate
from fusionzoo.hub.originals.keys import expand_table, without_aliases
from fusionzoo.hub.records import read_record
from fusionzoo.models import create_model
from fusionzoo.registry import architectures


@pytest.fixture
def official() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(official state dict, ours) of an MFNet with 4 classes and random weights."""
    model = create_model("mfnet", num_classes=4)
    ours = model.state_dict()
    return {theirs: ours[key] for theirs, key in expand_table(mfnet.TABLE, model).items()}, ours


@pytest.mark.parametrize("wrapper", ["plain", "module", "state_dict", "model", "no counters"])
def test_wrappers_and_old_files(
    wrapper: str, official: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path: Path
) -> None:
    state, ours = official
    stored: object = {
        "plain": state,
        "module": {f"module.{k}": v for k, v in state.items()},
        "state_dict": {"epoch": 3, "state_dict": OrderedDict((f"module.{k}", v) for k, v in state.items())},
        "model": {"model": state},
        "no counters": {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    }[wrapper]
    torch.save(stored, tmp_path / "original.pth")
    config = convert.run("mfnet", tmp_path / "original.pth", tmp_path / "out")
    assert config["architecture"] == "mfnet" and config["model_args"]["num_classes"] == 4
    loaded = from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in ours.items())
    record = read_record(tmp_path / "out")
    assert record.name == "mfnet.original" and record.conversion is not None
    assert "no licence" in record.licence_note and "/ 255" in record.notes


def test_unmapped_and_missing_keys_are_listed(
    official: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path: Path
) -> None:
    state, _ = official
    changed = {**state, "surplus.weight": torch.zeros(1)}
    del changed["conv2_1_inf.conv.bias"]
    torch.save(changed, tmp_path / "a.pth")
    with pytest.raises(CheckFailed, match="unmapped: surplus.weight; 1 missing: conv2_1_inf.conv.bias"):
        convert.run("mfnet", tmp_path / "a.pth", tmp_path / "out")
    torch.save(state | {f"surplus.{i:02}.weight": torch.zeros(1) for i in range(30)}, tmp_path / "many.pth")
    with pytest.raises(CheckFailed, match=r"30 unmapped: surplus\.00.*surplus\.07\.weight, and 22 more$"):
        convert.run("mfnet", tmp_path / "many.pth", tmp_path / "out")
    with pytest.raises(InputError, match="no checkpoint of github.com/yikaiw/CEN"):
        convert.run("cen_resnet101", tmp_path / "a.pth", tmp_path / "out")
    torch.save({"state_dict": state, "mode": re.compile("x")}, tmp_path / "b.pth")
    with pytest.raises(InputError, match="more than tensors: it calls re._compile"):
        convert.run("mfnet", tmp_path / "b.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_and_class_names(official: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path: Path) -> None:
    torch.save(official[0], tmp_path / "a.pth")
    names = tmp_path / "names.txt"
    names.write_text("floor\nwall\n\nbed\nlamp\n")
    call = lambda *more: CliRunner().invoke(main, ["convert", "mfnet", *map(str, more)])  # noqa: E731
    result = call(tmp_path / "a.pth", tmp_path / "out", "--classes", names)
    assert result.exit_code == 0, result.stderr
    assert mfnet_names(tmp_path / "out") == ["floor", "wall", "bed", "lamp"]
    for more, words in [
        (["--option", "depth=3"], "unknown option of the conversion mfnet 'depth'"),
        (["--option", "depth"], "'depth' is not KEY=VALUE"),
        (["--classes", tmp_path / "none.txt"], "cannot read the class names"),
        (["--classes", tmp_path / "a.pth"], "cannot read the class names"),
    ]:
        result = call(tmp_path / "a.pth", tmp_path / "other", *more)
        assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1, result.stderr
    names.write_text("floor\nwall\n")
    result = call(tmp_path / "a.pth", tmp_path / "other", "--classes", names)
    assert result.exit_code == 2 and "2 class names for 4 classes" in result.stderr
    with pytest.raises(InputError, match="takes no options"):
        convert.run("state_dict", tmp_path / "a.pth", tmp_path / "other", {"a": 1})
    assert not (tmp_path / "other").exists()


def test_an_option_reaches_the_original_constructor(tmp_path: Path) -> None:
    """SA-Gate's backbone named otherwise than published: the ResNet-50 of a checkpoint read as one of ResNet-101."""
    ours = create_model("sagate_resnet50", num_classes=4)
    keys = expand_table(sagate.table(ours), ours)
    torch.save({theirs: ours.state_dict()[key] for theirs, key in keys.items()}, tmp_path / "a.pth")
    with pytest.raises(CheckFailed, match="missing: backbone.layer3.10"):
        convert.run("sagate_resnet101", tmp_path / "a.pth", tmp_path / "out")
    config = convert.run("sagate_resnet101", tmp_path / "a.pth", tmp_path / "out", {"backbone": "resnet50"})
    assert config["architecture"] == "sagate_resnet50"
    record = read_record(tmp_path / "out")
    assert record.conversion is not None and "backbone=resnet50" in record.conversion.method


def test_every_method_names_an_architecture() -> None:
    methods = set(convert.METHODS) - {"encoder", "mobilenet_v1", "state_dict"}
    assert "mfnet" in methods and methods <= set(architectures)


def test_second_names_of_shared_tensors() -> None:
    rename = lambda key: key.replace("hha_downsample", "downsample")  # noqa: E731
    a = torch.ones(2)
    assert list(without_aliases({"hha_downsample.w": a.clone(), "downsample.w": a, "b": a}, rename)) == [
        "downsample.w",
        "b",
    ]
    with pytest.raises(CheckFailed, match="hha_downsample.w is not downsample.w"):
        without_aliases({"hha_downsample.w": a + 1, "downsample.w": a}, rename)
    with pytest.raises(CheckFailed, match="hha_downsample.w is not downsample.w"):
        without_aliases({"hha_downsample.w": a}, rename)


# (image, row, column) -> class, read off the images by eye
SEEN = {
    "01477D": {(250, 150): "person", (250, 290): "person", (240, 545): "person", (250, 590): "person",
               (250, 385): "car", (120, 40): "car", (305, 540): "curve", (400, 400): "unlabelled"},
    "01234N": {(240, 215): "person", (325, 60): "curve", (400, 400): "unlabelled", (100, 300): "unlabelled"},
}  # fmt: skip


def test_the_authors_checkpoint_on_their_sample_images(shared: Path, tmp_path: Path) -> None:
    """By day two cars, four pedestrians and the kerb; by night one pedestrian and the kerb."""
    source = shared / "weights" / "mfnet_rgbt_pytorch" / "final.pth"
    samples = shared / "data" / "mfnet_rgbt_sample"
    if not source.is_file() or not samples.is_dir():
        pytest.skip(f"no MFNet checkpoint or sample images: {source}, {samples}")
    out = tmp_path / "mfnet"
    result = CliRunner().invoke(main, ["convert", "mfnet", str(source), str(out)])
    assert result.exit_code == 0, result.stderr
    assert "736,275 parameters" in result.stdout
    for name, seen in SEEN.items():
        image = np.asarray(Image.open(samples / f"{name}.png"))
        rgb, thermal, labels = (tmp_path / f"{name}_{part}.png" for part in ("rgb", "thermal", "labels"))
        Image.fromarray(image[..., :3]).save(rgb)
        Image.fromarray(image[..., 3]).save(thermal)
        args = ["predict", str(rgb), str(thermal), "--model", str(out), "-o", str(tmp_path / f"{name}.png")]
        result = CliRunner().invoke(main, [*args, "--labels", str(labels), "--json"])
        assert result.exit_code == 0, result.stderr
        share = {row["name"]: row["share"] for row in json.loads(result.stdout)["classes"]}
        classes = np.asarray(Image.open(labels))
        names = mfnet_names(out)
        assert {point: names[classes[point]] for point in seen} == seen
        if name == "01477D":
            assert 0.07 < share["car"] < 0.11 and 0.04 < share["person"] < 0.07 and share["curve"] > 0.004
        else:
            assert 0.008 < share["person"] < 0.02 and share["curve"] > 0.004
        assert not set(share) & {"guardrail", "bump", "color_cone", "car_stop"}


def mfnet_names(folder: Path) -> list[str]:
    names: list[str] = json.loads((folder / "config.json").read_text())["class_names"]
    return names
