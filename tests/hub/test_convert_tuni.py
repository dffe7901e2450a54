"""TUNI's two versions: told apart by the head, asked of an encoder alone; sizes, and what version 2 holds beside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.hub import convert, from_pretrained
from fusionzoo.hub.originals import model
from fusionzoo.hub.originals.checkpoints import tuni
from fusionzoo.hub.originals.keys import expand_table
from fusionzoo.hub.records import read_record
from fusionzoo.models import FusionModel, create_model
from tests.compare import SAME, distance, same_tensors


def official(net: FusionModel, version: int) -> dict[str, Tensor]:
    """The weights of `net` under the keys of the original of this version, its linear gates without a grid."""
    ours = net.state_dict()
    state = {theirs: ours[key] for theirs, key in expand_table(tuni.table(net, version), net).items()}
    return {k: v.flatten(1) if ".fc_channel." in k else v for k, v in state.items()}


@pytest.fixture(scope="module")
def nets() -> dict[int, FusionModel]:
    """Version -> its S with layer scales of 1 and 5 classes; the same numbers in both."""
    torch.manual_seed(0)
    first = create_model("tuni_s", num_classes=5, scale=1.0).eval()
    second = create_model("tuni_v2_s", num_classes=5, scale=1.0).eval()
    second.load_state_dict(first.state_dict())
    return {1: first, 2: second}


@torch.inference_mode()
def test_equal_weights_are_other_models(nets: dict[int, FusionModel]) -> None:
    """Through the head's keys each version gets its own; the size of the output is the input's, rounded up to fours."""
    assert set(official(nets[1], 1)) & set(official(nets[2], 2)) == {
        k for k in official(nets[1], 1) if k.startswith("encoder.")
    }
    rgb, x = torch.randn(1, 3, 34, 46), torch.randn(1, 1, 34, 46)
    out = {}
    for version, kind, mode in ((1, "tuni_s", "TUNI"), (2, "tuni_v2_s", "small")):
        whole = model(kind, official(nets[version], version), {"mode": mode, "num_classes": 5})
        out[version] = whole(rgb, x.expand(-1, 3, -1, -1))
        assert out[version].shape == (1, 5, 36, 48)
        want = torch.nn.functional.interpolate(nets[version].scores(rgb, x), size=(36, 48), mode="bilinear")
        assert distance(out[version], want) < SAME
    assert distance(out[1], out[2]) > 1e-2


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        ("tuni_v2_s", 1, "the head's keys are those of version 1; take tuni_s"),
        ("tuni_s", 2, "the head's keys are those of version 2; take tuni_v2_s"),
    ],
)
def test_the_head_of_the_other_version(
    kind: str, version: int, words: str, nets: dict[int, FusionModel], tmp_path: Path
) -> None:
    state = official(nets[version], version)
    with pytest.raises(InputError, match=words):
        model(kind, state, {"num_classes": 5})
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=words):
        convert.run(kind, tmp_path / "a.pth", tmp_path / "out")


def test_the_second_decoder_is_left_out_by_name(nets: dict[int, FusionModel], tmp_path: Path) -> None:
    state = official(nets[2], 2)
    beside = {"decoder.MLP2.linear1.proj.weight": torch.ones(256, 24), "decoder.linear_pred2.bias": torch.ones(5)}
    torch.save({"model": {**state, **beside}}, tmp_path / "a.pth")
    config = convert.run("tuni_v2_s", tmp_path / "a.pth", tmp_path / "out")
    assert config["model_args"]["num_classes"] == 5 and config["preprocess"]["x_kind"] == "thermal"
    assert same_tensors(from_pretrained(tmp_path / "out").state_dict(), nets[2].state_dict())
    record = read_record(tmp_path / "out")
    assert record.conversion is not None and "2 beside the model left out by name" in record.conversion.method
    assert "no licence" in record.licence_note
    with pytest.raises(CheckFailed, match=r"1 unmapped: decoder.MLP3.weight"):
        model("tuni_v2_s", {**state, "decoder.MLP3.weight": torch.ones(1)}, {"num_classes": 5})


def test_an_encoder_alone_needs_its_version(nets: dict[int, FusionModel], tmp_path: Path) -> None:
    state = {k: v for k, v in official(nets[1], 1).items() if k.startswith("encoder.")}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match="--option version=1 or --option version=2") as error:
        convert.run("tuni_v2_s", tmp_path / "a.pth", tmp_path / "out")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="tuni_v2_s is version 2, not 1; take tuni_s"):
        convert.run("tuni_v2_s", tmp_path / "a.pth", tmp_path / "out", {"version": 1})
    with pytest.raises(InputError, match="version is 3; give one of 1, 2"):
        convert.run("tuni_v2_s", tmp_path / "a.pth", tmp_path / "out", {"version": 3})
    convert.run("tuni_s", tmp_path / "a.pth", tmp_path / "out", {"version": 1})
    loaded, own = from_pretrained(tmp_path / "out").state_dict(), nets[1].state_dict()
    encoder = [k for k in own if not k.startswith("decoder.")]
    assert same_tensors({k: loaded[k] for k in encoder}, {k: own[k] for k in encoder})
    assert loaded["decoder.classify.weight"].shape[0] == 9


@pytest.mark.parametrize(("name", "version"), [("tuni_s", 1), ("tuni_v2_b", 2)])
def test_key_tables_are_complete(name: str, version: int) -> None:
    """The last block of all has nothing for the thermal stream's next one, the first stage no global path."""
    with torch.device("meta"):
        keys = official(create_model(name), version)
    last = "encoder.enc.stages.3.1.attn.proj_e.weight"
    assert last not in keys and last.replace("stages.3", "stages.2") in keys
    assert not any("_rx.weight" in k for k in keys if k.startswith("encoder.enc.stages.0."))
    with pytest.raises(InputError, match="mode 'huge' is not one of TUNI, tiny, small, base"):
        model(name, {}, {"mode": "huge"})
