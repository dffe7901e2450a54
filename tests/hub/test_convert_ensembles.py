"""Official checkpoints of TokenFusion and GeminiFusion: wrappers, key tables of every size, Swin's index buffers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusionzoo.errors import CheckFailed, UnknownNameError
from fusionzoo.hub import convert, from_pretrained, originals
from fusionzoo.hub.originals.checkpoints import gemini, tokenfusion
from fusionzoo.hub.originals.keys import expand_table
from fusionzoo.hub.records import read_record
from fusionzoo.models import FusionModel, create_model
from tests.compare import SAME, distance

FAMILY = {"tokenfusion": tokenfusion, "gemini": gemini}


def official(model: FusionModel) -> dict[str, Tensor]:
    """The state of `model` under the original's keys, with its index buffers."""
    ours = model.state_dict()
    family = FAMILY[model.architecture.partition("_")[0]]
    state = {theirs: ours[key] for theirs, key in expand_table(family.table(model), model).items()}
    if "swin" in model.architecture:
        state |= {key: torch.zeros(49, 49, dtype=torch.int64) for key in gemini.constants(model)}
    return state


@pytest.mark.parametrize("name", ["tokenfusion_mit_b0", "gemini_mit_b0"])
def test_a_training_checkpoint_converts(name: str, tmp_path: Path) -> None:
    """As their trainers write it: `segmenter` beside the epoch, `module.` before every key."""
    model = create_model(name, num_classes=4)
    state = {f"module.{key}": value for key, value in official(model).items()}
    torch.save({"segmenter": state, "epoch_start": 3}, tmp_path / "original.pth.tar")
    config = convert.run(name, tmp_path / "original.pth.tar", tmp_path / "out")
    assert config["architecture"] == name
    assert config["model_args"]["num_classes"] == 4 and config["model_args"]["detach_ensemble"]
    loaded = from_pretrained(tmp_path / "out")
    rgb, x = torch.randn(1, 3, 40, 56), torch.randn(1, 1, 40, 56)
    with torch.no_grad():
        assert distance(loaded(rgb, x), model(rgb, x)) < SAME
    record = read_record(tmp_path / "out")
    assert "NVIDIA" in record.licence_note and "5000" in record.notes and record.licence == "other"


def test_other_arguments_of_the_original(tmp_path: Path) -> None:
    model = create_model("gemini_mit_b0", num_classes=4, fusion_heads=4, embedding_dim=32)
    torch.save(official(model), tmp_path / "original.pth")
    options = {"n_heads": 4, "embedding_dim": 32}
    config = convert.run("gemini_mit_b0", tmp_path / "original.pth", tmp_path / "out", options)
    assert config["model_args"]["fusion_heads"] == 4 and config["model_args"]["embedding_dim"] == 32
    with pytest.raises(
        CheckFailed, match=r"decoder.linear_c1.proj.weight is \(32, 32\), wanted \(256, 32\).* and 6 more"
    ):
        convert.run("gemini_mit_b0", tmp_path / "original.pth", tmp_path / "b")


@pytest.mark.parametrize("name", [*tokenfusion.SOURCES, *gemini.SOURCES])
def test_every_size_has_a_place_for_every_key(name: str) -> None:
    """Names of the original, by hand, at the last block of each stage; the number of keys."""
    with torch.device("meta"):
        model = create_model(name)
        state = official(model)
    keys = set(state)
    assert len(keys) >= len(model.state_dict())
    counts = {
        "b0": (2, 2, 2, 2), "b1": (2, 2, 2, 2), "b2": (3, 4, 6, 3), "b3": (3, 4, 18, 3), "b4": (3, 8, 27, 3),
        "b5": (3, 6, 40, 3), "tiny": (2, 2, 6, 2), "small": (2, 2, 18, 2), "large": (2, 2, 18, 2),
        "384": (2, 2, 18, 2), "window12": (2, 2, 18, 2),
    }[name.rpartition("_")[2]]  # fmt: skip
    for i, count in enumerate(counts):
        block = f"encoder.body.layers.{i}.blocks" if "swin" in name else f"encoder.block{i + 1}"
        here = {key.removeprefix(f"{block}.").split(".")[0] for key in keys if key.startswith(f"{block}.")}
        assert here == {str(j) for j in range(count)}
    if "swin" in name:
        last = "encoder.body.layers.3.blocks.1.cross_attn_1_to_0.out_proj.bias"
    elif name.startswith("gemini"):
        last = f"encoder.block4.{counts[3] - 1}.attn.relation_judger.0.fc2.weight"
    else:
        last = "encoder.score_predictor.3.score_nets.1.7.bias"
    assert {last, "alpha", "decoder.linear_fuse.bn.running_var", "decoder.linear_c1.proj.weight"} <= keys


def test_index_buffers_of_swin() -> None:
    """Computed, not loaded; but they must be there and have the window's size."""
    model = create_model("gemini_swin_tiny", num_classes=2)
    state = official(model)
    ctor = {"backbone": "swin_tiny", "num_classes": 2, "n_heads": 8}
    first = "encoder.body.layers.0.blocks.0.attn.module.relative_position_index"
    with pytest.raises(CheckFailed, match=f"missing: {first}"):
        originals.model("gemini_swin_tiny", {k: v for k, v in state.items() if k != first}, ctor)
    with pytest.raises(CheckFailed, match=r"relative_position_index is \(144, 144\), wanted \(49, 49\)"):
        originals.model("gemini_swin_tiny", {**state, first: torch.zeros(144, 144)}, ctor)
    with pytest.raises(CheckFailed, match="1 unmapped: encoder.body.layers.9.x"):
        originals.model("gemini_swin_tiny", {**state, "encoder.body.layers.9.x": torch.zeros(1)}, ctor)
    port = originals.model("gemini_swin_tiny", state, ctor)
    assert set(port.keys) == set(state) and port.keys[first] == "stage2.fusion.blocks.0.attention"
    with torch.no_grad():
        rgb, x = torch.randn(2, 1, 3, 36, 50)  # a size that no window divides
        got = port(rgb, x)
        assert [tuple(v.shape) for v in got] == [(1, 2, 9, 13)] * 3
        assert distance(got[2], model.scores(rgb, x)) < SAME


def test_unknown_backbones_name_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="unknown backbone 'mit_c0'; did you mean 'mit_b0'"):
        originals.model("tokenfusion_mit_b0", {}, {"backbone": "mit_c0", "num_classes": 2})
    with pytest.raises(UnknownNameError, match="did you mean 'swin_tiny'"):
        originals.model("gemini_swin_tiny", {}, {"backbone": "swin_tine", "num_classes": 2})
