"""Saving: what is written, half precision, records; pickled weights that come in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import fusionzoo
from fusionzoo import hub as fusionzoo_hub
from fusionzoo.errors import InputError
from fusionzoo.files import dump_json
from fusionzoo.hub import convert
from fusionzoo.hub.store import stored_state
from fusionzoo.models import FusionModel
from tests.compare import SAME, distance, same_tensors
from tests.hub.conftest import NAME, small_model


def test_save_then_load_gives_equal_values_and_logits(model: FusionModel, tmp_path: Path) -> None:
    named = small_model()
    named.load_state_dict(model.state_dict())
    named.set_classes(["wall", "floor", "bed", "sofa"])
    record = fusionzoo_hub.save(named, tmp_path / "new/folder", record_fields={"licence": "mit", "notes": "n"})
    assert sorted(p.name for p in (tmp_path / "new/folder").iterdir()) == [
        "README.md", "config.json", "model.safetensors", "record.json"]  # fmt: skip
    assert (record.name, record.classes, record.notes) == (f"{NAME}.local", named.class_names, "n")
    loaded = fusionzoo.from_pretrained(tmp_path / "new/folder")
    assert loaded.class_names == named.class_names and loaded.preprocess == named.preprocess
    batch = torch.randn(1, 3, 48, 70), torch.randn(1, 1, 48, 70)
    with torch.no_grad():
        assert distance(loaded(*batch), named(*batch)) < SAME


def test_half_rounds_matrices_only_and_loads_as_float32(model: FusionModel, tmp_path: Path) -> None:
    record = fusionzoo_hub.save(model, tmp_path / "half", half=True)
    fusionzoo_hub.save(model, tmp_path / "full")
    assert record.dtype == "float16"
    size = lambda n: (tmp_path / n / "model.safetensors").stat().st_size  # noqa: E731
    assert size("half") < 0.6 * size("full")
    loaded, done = fusionzoo_hub.resolve(tmp_path / "half").load()
    assert done.ok
    for key, value in loaded.state_dict().items():
        exact = model.state_dict()[key]
        assert value.dtype == exact.dtype
        wanted = exact.half().float() if exact.ndim >= 2 else exact
        assert torch.equal(value, wanted), key


def test_what_cannot_be_stored_is_refused_before_anything_is_written(model: FusionModel, tmp_path: Path) -> None:
    def refused(words: str, change: str, value: float, half: bool = False) -> None:
        broken = small_model()
        with torch.no_grad():
            broken.get_parameter(change).view(-1)[0] = value
        with pytest.raises(InputError, match=words):
            fusionzoo_hub.save(broken, tmp_path / "out", half=half)
        assert not (tmp_path / "out").exists()

    refused("head.weight holds NaN", "head.weight", float("nan"))
    refused("head.bias holds NaN or infinite", "head.bias", float("inf"))
    refused("above 65504", "head.weight", 1e6, half=True)
    for fields, words in [({"licens": "mit"}, "did you mean 'licence'"), ({"files": {}}, "leave it out")]:
        with pytest.raises(InputError, match=words):
            fusionzoo_hub.save(model, tmp_path / "out", record_fields=fields)
    broken = small_model()
    broken.model_args = {**broken.model_args, "decoder_args": {}}  # a config that does not describe the model
    with pytest.raises(InputError, match="config.* does not describe it"):
        fusionzoo_hub.save(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stored_tensors_share_no_memory_and_the_model_is_not_changed(model: FusionModel) -> None:
    state = stored_state(model)
    own = {v.data_ptr() for v in model.state_dict().values()}
    places = [v.data_ptr() for v in state.values() if v.numel()]
    assert len(set(places)) == len(places) and not own & set(places)


def test_the_card_says_what_a_card_must(model: FusionModel, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    fields = {
        "metrics": [{"data": "planted", "split": "test", "protocol": "single scale", "miou": 0.5123}],
        "recipe": {"command": "fusionzoo finetune x"},
        "licence": "other",
        "licence_note": "research use only",
    }
    fusionzoo_hub.save(model, tmp_path / "a", record_fields=fields)
    text = (tmp_path / "a/README.md").read_text()
    for part in ("51.2", "single scale", "fusionzoo finetune x", "research use only", "from_pretrained", "0.485"):
        assert part in text
    data = ModelCard(text).data
    assert data.license == "other" and data.library_name == "fusionzoo" and data.eval_results[0].metric_value == 0.5123
    fusionzoo_hub.save(model, tmp_path / "b", card="# mine\n")
    assert (tmp_path / "b/README.md").read_text() == "# mine\n"


def test_a_pickled_state_dict_is_converted_and_nothing_else_is_read(model: FusionModel, tmp_path: Path) -> None:
    source = tmp_path / "theirs"
    source.mkdir()
    (source / "config.json").write_bytes(dump_json(model.config()))
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, source / "pytorch_model.bin")
    convert.run("state_dict", source, tmp_path / "ours")
    loaded = fusionzoo.from_pretrained(tmp_path / "ours")
    assert same_tensors(loaded.state_dict(), model.state_dict())

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    for content, words in [
        ({"a": Evil()}, "refused: it holds more than tensors"),
        ([1, 2], "holds no state dict"),
        ({"x": torch.zeros(1)}, "does not fit config.json: .* is missing"),
    ]:
        torch.save(content, source / "pytorch_model.bin")
        with pytest.raises(InputError, match=words):
            convert.run("state_dict", source, tmp_path / "out")
    (source / "pytorch_model.bin").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match="cut off or damaged"):
        convert.run("state_dict", source, tmp_path / "out")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()
