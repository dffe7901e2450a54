"""Weights in files of others: what lies beside them, where they lie, prefixes, shards; nothing of a file is run."""

from __future__ import annotations

import argparse
import datetime
import decimal
import enum
import json
import os
import pathlib
import pickle
import re
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor, nn

from fusionzoo.cli import main
from fusionzoo.errors import FusionZooError, InputError, UnknownNameError
from fusionzoo.hub import convert, from_pretrained
from fusionzoo.hub.foreign import read_weights
from fusionzoo.hub.records import read_record
from fusionzoo.hub.unpickle import load_inert
from fusionzoo.models import FusionModel

STATE = {"conv.weight": torch.arange(6.0).view(2, 3), "conv.bias": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}


def fits(state: Any) -> bool:
    return state.keys() == STATE.keys()


def same(state: dict[str, Tensor], wanted: dict[str, Tensor] = STATE) -> bool:
    return state.keys() == wanted.keys() and all(torch.equal(state[k], v) for k, v in wanted.items())


def prefixed(prefix: str, state: dict[str, Tensor] = STATE) -> dict[str, Tensor]:
    return {prefix + k: v for k, v in state.items()}


class AttributeDict(dict):  # type: ignore[type-arg]
    """A mapping of its own class, as training frameworks have for settings."""


class Names(list):  # type: ignore[type-arg]
    pass


class Mode(enum.Enum):
    TRAIN = 1


@dataclass
class Settings:
    lr: float = 0.1
    out: pathlib.Path = pathlib.Path("runs")


@dataclass(slots=True)
class Slots:
    lr: float = 0.1


class Plain:
    def __init__(self) -> None:
        self.history = [1.0, np.float32(2.0)]


BESIDE: dict[str, Callable[[], Any]] = {
    "numpy scalars": lambda: [np.float64(0.5), np.float32(1), np.int64(3), np.bool_(True), np.str_("a")],
    "numpy arrays": lambda: [np.zeros((2, 3)), np.arange(4)[::-1], np.array(["a"]), np.array([None]), np.dtype("f4")],
    "numpy structured": lambda: np.zeros(2, [("a", "f4"), ("b", "i8")]),
    "numpy random state": lambda: [np.random.get_state(), np.random.default_rng(0).bit_generator.state],
    "namespace": lambda: argparse.Namespace(lr=1e-3, out=pathlib.Path("a/b")),
    "simple namespace": lambda: types.SimpleNamespace(a=1),
    "paths": lambda: [pathlib.PurePosixPath("/a"), pathlib.Path("b"), pathlib.PureWindowsPath("c:/d")],
    "dates": lambda: [
        datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        datetime.timedelta(1),
        datetime.date(2024, 1, 1),
    ],
    "containers": lambda: [OrderedDict(a=1), defaultdict(list, a=[1]), deque([1, 2], 5), Counter("ab"), {1, 2}],
    "frozen": lambda: [frozenset({1}), slice(1, 2), range(3), 1j, b"bytes", bytearray(b"a"), decimal.Decimal("1.5")],
    "classes and functions": lambda: [torch.optim.AdamW, nn.functional.relu, dict, np.float32, partial(nn.ReLU, True)],
    "settings object": lambda: Settings(),
    "slots": lambda: Slots(),
    "plain object": lambda: Plain(),
    "attribute dict": lambda: AttributeDict(a=AttributeDict(b=1), c=[AttributeDict()]),
    "list of its own": lambda: Names(["a", "b"]),
    "module": lambda: nn.Sequential(nn.Linear(2, 2)),
    "optimiser": lambda: _optimiser().state_dict(),
    "optimiser object": lambda: _optimiser(),
    "generator": lambda: torch.get_rng_state(),
}


def _optimiser() -> torch.optim.Optimizer:
    layer = nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.zeros(1, 2)).sum().backward()
    optimiser.step()
    return optimiser


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("what", BESIDE)
def test_what_lies_beside_weights_is_passed_over(what: str, legacy: bool, tmp_path: Path) -> None:
    if legacy and what in ("module", "classes and functions"):
        pytest.skip("the older form stores a module's class in a way that torch refuses")
    path, stored = tmp_path / "w.pth.tar", {"epoch": 3, "state_dict": STATE, "extra": BESIDE[what]()}
    torch.save(stored, path, _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(path, fits).state)


PLACES: dict[str, Any] = {
    "flat": STATE,
    "numbers among them": {**STATE, "epoch": 3, "best": np.float64(0.5), "name": "a"},
    **{key: {key: STATE, "epoch": 1} for key in ("net", "model", "state_dict_ema", "ema", "params", "weights")},
    "deep": {"ema": {"module": STATE, "updates": 5}},
    "lightning": {
        "state_dict": {**prefixed("model."), "criterion.weight": torch.ones(13), "metric.total": torch.zeros(2)},
        "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": AttributeDict(lr=0.1),
        "callbacks": {"ModelCheckpoint{'monitor': 'miou'}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [_optimiser().state_dict()],
    },
    "data parallel": prefixed("module."),
    "compiled in data parallel": {"model": prefixed("module._orig_mod.")},
    "compiled part": {k.replace("conv.", "conv._orig_mod."): v for k, v in STATE.items()},
    "parallel part": {k.replace("conv.", "conv.module."): v for k, v in STATE.items()},
    "backbone": prefixed("backbone."),
    "three deep": {"state_dict": prefixed("module.model.net.")},
    "parameters": {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in STATE.items()},
    "numpy arrays": {k: v.numpy() for k, v in STATE.items()},
    "numpy arrays in Fortran's order": {"model": {k: v.numpy().copy("F") for k, v in STATE.items()}},
    "numpy arrays, big-endian": {k: v.numpy().astype(v.numpy().dtype.newbyteorder(">")) for k, v in STATE.items()},
    "beside a loss": {"model": STATE, "criterion": {"weight": torch.ones(13)}},
    "beside other models": {"generator": STATE, "discriminator": {"a": torch.ones(1)}},
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_the_one_set_of_weights_is_found(place: str, tmp_path: Path) -> None:
    torch.save(PLACES[place], tmp_path / "w.ckpt")
    assert same(read_weights(tmp_path / "w.ckpt", fits).state)


def test_several_sets_are_listed_and_chosen_by_name(tmp_path: Path) -> None:
    path, other = tmp_path / "w.pth", {k: v + 1 for k, v in STATE.items()}
    torch.save(
        {"state_dict": STATE, "ema": {"module": other, "updates": 3}, "optimizer": _optimiser().state_dict()}, path
    )
    with pytest.raises(
        InputError, match=r"several.*: state_dict \(3 tensors\), ema.module \(3 tensors\); .*--key ema.mod"
    ):
        read_weights(path, fits)
    assert same(read_weights(path, fits, "state_dict").state)
    for key in ("ema.module", "module"):
        assert same(read_weights(path, fits, key).state, other)
    with pytest.raises(UnknownNameError, match="did you mean 'state_dict'.*it holds state_dict, ema.module"):
        read_weights(path, fits, "statedict")


def test_two_models_in_one_mapping_are_told_apart_by_prefix(tmp_path: Path) -> None:
    path, other = tmp_path / "w.ckpt", {k: v + 1 for k, v in STATE.items()}
    torch.save({"state_dict": {**prefixed("model."), **prefixed("ema_model.module.", other)}}, path)
    with pytest.raises(InputError, match=r"several.*state_dict.model \(3 tensors\), state_dict.ema_model \(3"):
        read_weights(path, fits)
    assert same(read_weights(path, fits, "state_dict.model").state)
    for key in ("state_dict.ema_model", "ema_model.module", "ema_model"):
        assert same(read_weights(path, fits, key).state, other)


def test_several_sets_none_of_which_fits(tmp_path: Path) -> None:
    torch.save({"a": {"x": torch.ones(1)}, "b": {"y": torch.ones(1)}}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"none of which fits as it is: a \(1 tensors\), b \(1 tensors\); .*--key b"):
        read_weights(tmp_path / "w.pth", fits)
    assert list(read_weights(tmp_path / "w.pth", fits, "a").state) == ["x"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "holds no state dict .*one list"),
        (torch.zeros(2), "holds no state dict .*one Tensor"),
        ({"epoch": 3, "args": argparse.Namespace()}, r"it has epoch \(int\), args \(argparse.Namespace\)"),
        ({}, "it has nothing"),
        (
            nn.Sequential(nn.Linear(1, 1)),
            r"whole pickled module \(torch.nn.modules.container.Sequential\).*state_dict\(\)",
        ),
        (
            {"model": nn.Linear(1, 1), "epoch": 1},
            r"whole pickled module .*Linear.*state_dict\(\)",
        ),
        ({"model": nn.Linear(1, 1), "opt": {"a": 1}}, r"whole pickled module .*Linear.*state_dict\(\)"),
        ({"state_dict": STATE, "mode": Mode.TRAIN}, "more than tensors: it calls .*Mode.*save the weights alone"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_what_holds_no_weights_is_named(value: Any, words: str, legacy: bool, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=words) as error:
        read_weights(tmp_path / "w.pth", fits)
    assert "\n" not in str(error.value)


def test_pickles_that_torch_did_not_write(tmp_path: Path) -> None:
    for protocol in (0, 2, 4):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": np.zeros(3)}, protocol))
        with pytest.raises(InputError, match="is refused|not known here|text instead"):
            read_weights(tmp_path / "w.pkl", fits)


class Evil:
    """Would make a file on being loaded."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Any, Any]:
        return self.call, self.args


def test_nothing_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, path = tmp_path / "ran", tmp_path / "w.pth"
    module = types.ModuleType("unseen_module")
    module.Thing = type("Thing", (), {"__module__": "unseen_module", "__setstate__": lambda *_: mark.touch()})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "unseen_module", module)
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (os.system, (f"touch {mark}",)), (eval, (f"open({str(mark)!r}, 'w')",)), (pathlib.Path.touch, (mark,)),
        (exec, ("import os",)), (getattr, (pathlib.Path, "touch")),
    ]  # fmt: skip
    for call, args in calls:
        for legacy in (False, True):
            torch.save({"state_dict": STATE, "x": Evil(call, *args)}, path, _use_new_zipfile_serialization=not legacy)
            with pytest.raises(InputError, match="is refused: it holds more than tensors"):
                load_inert(path)
    thing = module.Thing()
    thing.a = 1
    torch.save({"state_dict": STATE, "x": thing}, path)
    assert same(read_weights(path, fits).state), "an object's own __setstate__ is not called"
    assert not mark.exists()


def test_safetensors_and_shards(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors", fits).state)
    folder = tmp_path / "shards"
    folder.mkdir()
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    parts = [{"conv.weight": STATE["conv.weight"]}, {k: STATE[k] for k in ("conv.bias", "n")}]
    for name, part in zip(names, parts, strict=True):
        save_file(part, folder / name)
    assert same(read_weights(folder, fits).state)
    with pytest.raises(InputError, match="is part 1 of 2 of a checkpoint; give the folder"):
        read_weights(folder / names[0], fits)
    table = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    (folder / "training_args.bin").write_bytes(b"")
    assert same(read_weights(folder, fits).state)
    (folder / names[1]).unlink()
    with pytest.raises(InputError, match=f"{names[1]}, one of the 2 files that .* names, is missing"):
        read_weights(folder, fits)


def test_pickled_shards(tmp_path: Path) -> None:
    torch.save({"conv.weight": STATE["conv.weight"]}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({k: STATE[k] for k in ("conv.bias", "n")}, tmp_path / "pytorch_model-00002-of-00002.bin")
    assert same(read_weights(tmp_path, fits).state)
    torch.save(STATE, tmp_path / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(InputError, match=r"'conv.weight' is in two of its files"):
        read_weights(tmp_path, fits)


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_files_are_one_line(legacy: bool, tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "n": np.float64(1)}, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    whole, rng, refused = (tmp_path / "w.pth").read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, 1500 if not legacy else len(data), 3):
            data[at % len(data)] = int(rng.integers(256))
        (tmp_path / "w.pth").write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.3 else data)
        try:
            read_weights(tmp_path / "w.pth", fits)
        except FusionZooError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50


def test_convert_takes_the_chosen_set_and_says_so(model: FusionModel, folder: Path, tmp_path: Path) -> None:
    ours = model.state_dict()
    other = {k: v + 1 if v.is_floating_point() else v for k, v in ours.items()}
    torch.save({"state_dict": ours, "state_dict_ema": other, "best": np.float32(1)}, folder / "w.pth")
    args = ["convert", "state_dict", str(folder / "w.pth"), str(tmp_path / "out")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2 and re.search(r"state_dict_ema \(\d+ tensors\); choose one", result.stderr)
    result = CliRunner().invoke(main, [*args, "--key", "state_dict_ema"])
    assert result.exit_code == 0, result.stderr
    assert same(from_pretrained(tmp_path / "out").state_dict(), other)
    conversion = read_record(tmp_path / "out").conversion
    assert conversion is not None and conversion.note == "from w.pth (state_dict_ema), values unchanged"


def test_weights_without_their_config(model: FusionModel, tmp_path: Path) -> None:
    torch.save(model.state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"has no config.json: .* model.save_pretrained"):
        convert.run("state_dict", tmp_path / "w.pth", tmp_path / "out")
