"""Every fault in a checkpoint folder fails its check with one line; a flipped byte is caught wherever it is."""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file, save_file

import fusionzoo
from fusionzoo import hub as fusionzoo_hub
from fusionzoo import registry
from fusionzoo.errors import CheckFailed, FusionZooError, InputError
from fusionzoo.files import read_exactly, sha256_file
from fusionzoo.hub import records
from fusionzoo.hub.expect import expected, fill
from fusionzoo.hub.fingerprint import compare, fingerprint, integers, raw_input
from fusionzoo.hub.layout import read_header
from fusionzoo.hub.verification import Verification, inspect, tensors, verify
from fusionzoo.models import FusionModel, build, create_model
from fusionzoo.preprocess import Preprocess
from tests.compare import SAME, distance
from tests.hub.conftest import SMALL, small_model

ORDER = ["record", "files", "config", "header", "keys", "shapes", "dtypes", "sha256", "finite", "fingerprint"]


def failed(done: Verification) -> dict[str, str]:
    for check in done:
        assert set(check) == {"check", "ok", "detail"} and "\n" not in check["detail"] and len(check["detail"]) < 500
    return {c["check"]: c["detail"] for c in done if not c["ok"]}


def rewrite(folder: Path, name: str, data: bytes, honest: bool = True) -> None:
    """Replaces a file; `honest` corrects the record's checksum, so that only the other checks can find the fault."""
    (folder / name).write_bytes(data)
    if honest:
        record = json.loads((folder / "record.json").read_bytes())
        record["files"][name] = {"sha256": sha256_file(folder / name), "size": len(data)}
        (folder / "record.json").write_text(json.dumps(record))


def test_a_whole_checkpoint_passes_every_check_in_order(folder: Path, model: FusionModel) -> None:
    done, loaded = inspect(folder)
    assert [c["check"] for c in done] == ORDER and done.ok and not failed(done)
    assert loaded is not None and not loaded.training
    state, wanted = loaded.state_dict(), model.state_dict()
    assert state.keys() == wanted.keys() and all(torch.equal(state[k], wanted[k]) for k in wanted)
    assert json.loads(json.dumps(done)) == list(done)
    (folder / "record.json").unlink()
    done = verify(folder)
    assert done.ok and "no record.json" in done[0]["detail"]
    assert "neither a record nor the Hub" in next(c["detail"] for c in done if c["check"] == "sha256")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_flipped_byte_is_caught_in_100_of_100_positions(folder: Path, name: str) -> None:
    whole, rng = (folder / name).read_bytes(), random.Random(0)
    for _ in range(100):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (folder / name).write_bytes(data)
        done, model = inspect(folder)
        assert "sha256" in failed(done) and model is None
        with pytest.raises(CheckFailed, match=f"^x failed verification: sha256: {name} differs from the record"):
            done.require("x")
    (folder / name).write_bytes(whole)
    assert verify(folder).ok


def test_a_changed_record_of_a_bundled_checkpoint_is_caught_by_the_index(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "weights"
    root.mkdir()
    shutil.move(folder, root / folder.name)
    records.write_index(root)
    monkeypatch.setattr(records, "weights_root", lambda: root)
    checkpoint = fusionzoo_hub.resolve(folder.name)
    assert checkpoint.source == "bundled" and checkpoint.verify().ok
    path = root / folder.name / "record.json"
    path.write_bytes(path.read_bytes().replace(b'"licence": "mit"', b'"licence": "bit"'))
    assert "differs from the SHA-256 in the bundled index" in failed(checkpoint.verify())["record"]


def model_text(folder: Path, old: str, new: str) -> None:
    text = (folder / "config.json").read_text()
    assert old in text
    rewrite(folder, "config.json", text.replace(old, new).encode())


def tensor(folder: Path, key: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    state = load_file(folder / "model.safetensors")
    value = change(state.pop(key))
    if value is not None:
        state[key] = value
    save_file(state, folder / "new")
    rewrite(folder, "model.safetensors", (folder / "new").read_bytes())
    (folder / "new").unlink()


def put(name: str, data: bytes | None, honest: bool = False) -> Callable[[Path], None]:
    return lambda f: (f / name).unlink() if data is None else rewrite(f, name, data, honest)


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def work(f: Path) -> None:
        data = (f / name).read_bytes()
        rewrite(f, name, data[: int(len(data) * keep)])

    return work


def pickle_only(f: Path) -> None:
    (f / "model.safetensors").unlink()
    (f / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def huge_header(f: Path) -> None:
    rewrite(f, "model.safetensors", (2**62).to_bytes(8, "little") + b"{}")


def text(old: str, new: str) -> Callable[[Path], None]:
    return lambda f: model_text(f, old, new)


def weight(change: Callable[[torch.Tensor], torch.Tensor | None], key: str = "head.weight") -> Callable[[Path], None]:
    return lambda f: tensor(f, key, change)


def misspelt_record(f: Path) -> None:
    path = f / "record.json"
    path.write_bytes(path.read_bytes().replace(b'"licence"', b'"license"'))


SIZE = '"segmentation_channels": '
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9482588\n"
FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "no config": (put("config.json", None), "files", "no config.json: not a fusionzoo checkpoint"),
    "no weights": (put("model.safetensors", None), "files", "no model.safetensors among 3 files"),
    "pickle only": (pickle_only, "files", "pytorch_model.bin is a pickle.*fusionzoo convert state_dict"),
    "truncated, record knows": (put("model.safetensors", b"x" * 99), "files", "has 99 bytes"),
    "pointer, record knows": (put("model.safetensors", POINTER), "files", "it is a Git LFS pointer.*git lfs pull"),
    "truncated, record does not know": (cut("model.safetensors", 0.9), "header", "is truncated: its header names"),
    "truncated in the header": (cut("model.safetensors", 0.001), "header", "is truncated or not safetensors"),
    "empty": (put("model.safetensors", b"", True), "header", "is truncated or not safetensors"),
    "a header of 4 exabytes": (huge_header, "header", "is truncated or not safetensors"),
    "config not JSON": (put("config.json", b"{", True), "config", "config.json is not JSON"),
    "config of another kind": (put("config.json", b"[]", True), "config", "JSON list, wanted an object"),
    "config of another program": (
        put("config.json", b'{"model_type": "x"}', True),
        "config",
        "unknown key 'model_type'",
    ),
    "unknown config key": (text('"model_args"', '"model_arg"'), "config", "'model_arg'; did you mean 'model_args'"),
    "unknown argument": (text('"fusion_args"', '"fusion_arg"'), "config", "'fusion_arg'; did you mean 'fusion_args'"),
    "unknown preprocess key": (text('"x_scale"', '"x_scales"'), "config", "preprocess: unknown field 'x_scales'"),
    "another format version": (text('"format_version": 1', '"format_version": 9'), "config", "format version 9"),
    "another architecture": (text('"fusion": "concat"', '"fusion": "gate"'), "config", "names architecture"),
    "a model of 2^40 channels": (text(SIZE + "32", SIZE + str(2**40)), "config", "no number above"),
    "a model that does not build": (text(SIZE + "32", SIZE + "33"), "config", "cannot be built with .* divisible by"),
    "more classes than names": (text('"num_classes": 4', '"num_classes": 5'), "config", "4 class names for 5 classes"),
    "wider than the record": (text(SIZE + "32", SIZE + "64"), "config", "disagree on the number of parameters"),
    "a key missing": (weight(lambda t: None), "keys", "keys 1 missing, first 'head.weight'"),
    "another shape": (weight(lambda t: t[:3].clone()), "shapes", "head.weight has shape"),
    "another type": (weight(lambda t: t.to(torch.int32)), "dtypes", "head.weight is I32, wanted F32"),
    "NaN": (weight(lambda t: t.index_fill(0, torch.tensor(0), torch.nan)), "finite", "head.weight holds"),
    "infinite": (weight(lambda t: t.fill_(torch.inf)), "finite", "head.weight holds"),
    "a changed weight": (weight(lambda t: t + 0.01, "head.bias"), "fingerprint", "differ from the record by"),
    "changed preprocessing": (text("0.485", "0.385"), "fingerprint", "differ from the record by"),
    "record not JSON": (put("record.json", b"{]"), "record", "record.json is not JSON"),
    "unknown record field": (misspelt_record, "record", "unknown field 'license'; did you mean 'licence'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_fails_its_check(folder: Path, fault: str) -> None:
    work, check, words = FAULTS[fault]
    work(folder)
    done, model = inspect(folder)
    found = failed(done)
    assert model is None and not done.ok
    assert check in found, found
    assert re.search(words, found[check]), found[check]
    with pytest.raises(CheckFailed):
        fusionzoo.from_pretrained(folder)
    # nothing else is blamed, but what follows from it
    allowed = {check, "sha256"} if check in ("header", "config") else {check}
    assert set(found) <= allowed, found


def test_without_a_record_the_header_is_held_against_the_config(folder: Path) -> None:
    (folder / "record.json").unlink()
    text = (folder / "config.json").read_text().replace('"segmentation_channels": 32', '"segmentation_channels": 64')
    (folder / "config.json").write_text(text)
    assert list(failed(verify(folder))) == ["shapes"]


def test_another_models_weights(folder: Path, tmp_path: Path) -> None:
    fusionzoo_hub.save(small_model(fusion="gate"), tmp_path / "other")
    shutil.copy(tmp_path / "other/model.safetensors", folder)
    (folder / "record.json").unlink()
    text = failed(verify(folder))["keys"]
    assert text.startswith("model.safetensors is not of the model in config.json: keys") and "unknown, first" in text


def test_a_file_that_is_exchanged_between_two_looks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "record.json").unlink()
    weights = folder / "model.safetensors"

    def exchange(path: Path, size: int) -> bytearray:
        """Another header of the same length, where the first look saw a good one."""
        data = bytearray(weights.read_bytes())
        at = data.index(b"[4,32,1,1]")
        data[at : at + 10] = b"[32,4,1,1]"
        return data

    monkeypatch.setitem(inspect.__globals__, "read_exactly", exchange)
    done, model = inspect(folder)
    assert model is None and "changed while it was read" in failed(done)["finite"]
    monkeypatch.setitem(inspect.__globals__, "read_exactly", lambda path, size: read_exactly(path, size - 1))
    done, model = inspect(folder)
    assert model is None and "changed while it was read" in failed(done)["read"]


def test_quick_loading_still_is_strict(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckFailed, match="sha256"):
        fusionzoo.from_pretrained(folder)
    fusionzoo.from_pretrained(folder, verify=False)
    (folder / "model.safetensors").write_bytes(whole[:-9])
    with pytest.raises(CheckFailed):
        fusionzoo.from_pretrained(folder, verify=False)


def test_names_that_are_no_checkpoint(tmp_path: Path) -> None:
    for name, words in [
        (tmp_path / "nothing", "no checkpoint folder"),
        ("./nothing", "no checkpoint folder"),
        ("a/b/c", "no checkpoint folder"),
        ("hybrid_mobilenetv1-025_fpn.nowhere", "unknown checkpoint"),
        ("hybird", "unknown checkpoint"),
        ("hybrid", "is an architecture, not a checkpoint"),
    ]:
        with pytest.raises(FusionZooError, match=words):
            fusionzoo.from_pretrained(name)
    with pytest.raises(InputError, match="is not a folder"):
        verify(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckFailed, match="no config.json"):
        fusionzoo.from_pretrained(tmp_path / "empty")
    with pytest.raises(InputError, match="has no revisions"):
        fusionzoo.from_pretrained(tmp_path / "empty", revision="main")
    for name in ("cmx_mit_b0", "hybrid_mobilenetv1-025_fpn"):
        with pytest.raises(InputError, match=f"{name} is an architecture, not a checkpoint"):
            fusionzoo.from_pretrained(name)


# ------------------------------------------------------------------------------------------------------ the parts


def test_the_expected_state_is_that_of_the_model_and_holds_no_memory(model: FusionModel) -> None:
    wanted = expected(model.config())
    names = {torch.float32: "F32", torch.int64: "I64"}
    assert wanted.tensors == {k: (names[v.dtype], tuple(v.shape)) for k, v in model.state_dict().items()}
    assert wanted.num_params == sum(p.numel() for p in model.parameters())
    # 16384 x 16384 x 3 x 3 floats are 9.7 GB; a model without storage does not ask for them
    config = json.loads(json.dumps(model.config()))
    config["model_args"]["decoder_args"] = {"pyramid_channels": 16384, "segmentation_channels": 16384}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    big = expected(config)
    assert big.num_params > 5e9
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize("encoder", ["mobilenetv1-025", "mit_b0"])
def test_filling_an_abstract_model_equals_building_and_loading(encoder: str) -> None:
    torch.manual_seed(0)
    whole = create_model("concat_resnet18_fpn", encoder=encoder, num_classes=3, decoder_args=SMALL)
    state, config = whole.state_dict(), whole.config()
    filled = fill(expected(config), {k: v.half() if v.ndim > 1 else v for k, v in state.items()}, config)
    by_hand = build(config)
    by_hand.load_state_dict({k: v.half().float() if v.ndim > 1 else v for k, v in state.items()}, strict=True)
    batch = torch.randn(1, 3, 64, 64), torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert distance(filled(*batch), by_hand(*batch)) < SAME
    assert [(n, p.dtype, p.requires_grad) for n, p in filled.named_parameters()] == [
        (n, p.dtype, p.requires_grad) for n, p in by_hand.named_parameters()
    ]
    filled.train()
    filled(*(torch.cat([v, v]) for v in batch)).sum().backward()
    assert all(p.grad is not None for p in filled.head.parameters())


class Odd(FusionModel):
    """Keeps tensors outside its state dict, and runs at one size only."""

    def __init__(self, num_classes: int = 3, x_channels: int = 1, preprocess: Preprocess | None = None) -> None:
        super().__init__(num_classes, x_channels, preprocess)
        self.model_args = {"num_classes": num_classes, "x_channels": x_channels}
        self.conv = torch.nn.Conv2d(3 + x_channels, num_classes, 1)
        self.register_buffer("unsaved", torch.full((1,), 2.0), persistent=False)
        self.plain = torch.ones(1)
        self.listed = [torch.zeros(1)]

    def scores(self, rgb: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        assert rgb.shape[-2:] == (32, 64), "Input height does not match"
        return self.conv(torch.cat([rgb, x], 1)) * self.unsaved + self.plain + self.listed[0]


@pytest.mark.parametrize("kept", ["unsaved", "plain", "listed"])
def test_a_model_with_tensors_outside_its_state_and_one_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    class OddOne(Odd):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            for name in {"unsaved", "plain", "listed"} - {kept}:  # only one of the three is made abstract
                value = {"unsaved": torch.tensor([2.0]), "plain": torch.tensor([1.0]), "listed": [torch.tensor([0.0])]}
                setattr(self, name, value[name])

    builder = lambda num_classes=3, x_channels=1, preprocess=None: OddOne(  # noqa: E731
        num_classes=num_classes, x_channels=x_channels, preprocess=preprocess
    )
    monkeypatch.setitem(registry.architectures._entries, "odd", builder)
    model = create_model("odd")
    with pytest.raises(CheckFailed, match="does not run on a 64x96 input: Input height does not match"):
        fusionzoo_hub.save(model, tmp_path)
    assert not list(tmp_path.iterdir())
    model.input_size = (32, 64)
    record = fusionzoo_hub.save(model, tmp_path)
    assert record.fingerprint is not None and record.fingerprint.size == (32, 64)
    loaded, done = fusionzoo_hub.resolve(tmp_path).load()
    assert done.ok
    batch = torch.randn(1, 3, 32, 64), torch.randn(1, 1, 32, 64)
    with torch.no_grad():
        assert distance(loaded(*batch), model(*batch)) < SAME


def test_a_config_with_very_many_tensors_ends_soon(model: FusionModel) -> None:
    config = json.loads(json.dumps(model.config())) | {"class_names": None}
    config["architecture"] = "concat_mobilenetv1-025_unet"
    config["model_args"] |= {"decoder": "unet", "decoder_args": {"decoder_channels": [8] * 4000, "n_blocks": 4000}}
    with pytest.raises(InputError):
        expected(config)


def test_header_and_tensors_equal_the_safetensors_library(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b.c": np.array(7, np.int64),
        "e": np.zeros((0, 4), np.float16),
    }
    (tmp_path / "x").write_bytes(save_arrays(arrays, {"format": "pt"}))
    header = read_header(tmp_path / "x")
    assert {k: (v.dtype, v.shape) for k, v in header.items()} == {
        "a": ("F32", (2, 3)),
        "b.c": ("I64", ()),
        "e": ("F16", (0, 4)),
    }
    data = read_exactly(tmp_path / "x", (tmp_path / "x").stat().st_size)
    assert data == (tmp_path / "x").read_bytes()
    ours, theirs = tensors(data, header), load_file(tmp_path / "x")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in theirs)
    with pytest.raises(InputError, match="changed while it was read"):
        read_exactly(tmp_path / "x", 40)


def test_integers_are_murmur_finaliser() -> None:
    def plain(v: int) -> int:
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            v ^= v >> shift
            v = v * factor & 0xFFFFFFFF
        return v ^ (v >> 16)

    seed = 5
    assert integers(2000, seed).tolist() == [plain((i + seed * 0x9E3779B1) & 0xFFFFFFFF) for i in range(2000)]


@pytest.mark.parametrize("kind", ["depth", "inverse_depth", "hha", "thermal"])
def test_the_seeded_input_is_raw_data_of_its_kind(kind: str) -> None:
    channels = 3 if kind == "hha" else 1
    p = Preprocess(x_kind=kind, x_mean=(1.0,) * channels, x_std=(1.0,) * channels)
    rgb, x = raw_input(p, (48, 40))
    assert rgb.dtype == torch.uint8 and rgb.shape == (1, 3, 48, 40) and x.shape == (1, channels, 48, 40)
    if "depth" in kind:
        assert x[x > 0].min() >= 0.5 and x.max() < 8.6 and 0.03 < float((x == 0).float().mean()) < 0.3
    else:
        assert 0 <= x.min() and x.max() <= 255
    again = raw_input(p, (48, 40))
    assert torch.equal(rgb, again[0]) and torch.equal(x, again[1])
    assert not torch.equal(rgb, raw_input(p, (48, 40), seed=1)[0])


def test_the_fingerprint_notices_what_it_should(model: FusionModel) -> None:
    base = fingerprint(model)
    assert compare(base, fingerprint(model)) < SAME
    assert compare(base, fingerprint(small_model(seed=1))) > 0.1
    model.train()
    assert compare(base, fingerprint(model)) < SAME and model.training
    model.eval()
    batch = torch.randn(1, 3, 64, 64), torch.randn(1, 1, 64, 64)
    out = model(*batch)
    other = small_model()
    other.load_state_dict(model.state_dict())
    norm = other.get_submodule("rgb_encoder.conv1.1")
    norm.eps = 1e-2  # a wrong constant in the code, no changed weight
    assert compare(base, fingerprint(other)) > base.tolerance
    assert distance(other(*batch), out) > 1e-4
