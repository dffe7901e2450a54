"""What people download instead of weights is called by its name, in one line, by `fusionzoo convert`."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save

from fusionzoo.cli import main
from fusionzoo.hub.kinds import identify
from fusionzoo.hub.verification import verify


def archive(*names: str) -> bytes:
    """A zip file with these empty files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as handle:
        for name in names:
            handle.writestr(name, b"")
    return buffer.getvalue()


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as handle:
        handle.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


def hdf5() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as handle:
        handle["conv1/kernel"] = np.zeros((3, 3), np.float32)
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


def stored(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def script() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # torch.jit goes, its files stay
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


STATE = {"a.weight": torch.arange(1000.0), "a.bias": torch.ones(7)}

# name of the file, its content, what the error must say
KINDS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "html": (
        "w.pth", lambda: b"<!DOCTYPE html>\n<html><head><title>Google Drive - Virus scan</title>",
        "web page.*Virus scan",
    ),
    "html in capitals": ("w.pth", lambda: b"\n  <HTML><BODY>Moved</BODY></HTML>", "web page"),
    "html with a mark": ("w.pth", lambda: b"\xef\xbb\xbf<html>", "web page"),
    "xhtml": ("w.pth", lambda: b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x">', "web page"),
    "long html": ("w.pth", lambda: "<!doctype html>é".encode() + "<p>ü</p>".encode() * 5000, "web page"),
    "xml": ("w.pth", lambda: b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML.*AccessDenied"),
    "lfs": (
        "w.pth", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 2995719\n",
        "Git LFS pointer.*2,995,719 bytes: the download did not happen",
    ),
    "lfs as safetensors": (
        "model.safetensors", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
        "Git LFS pointer",
    ),
    "rate limit": (
        "w.pth", lambda: b'{"message": "API rate limit exceeded for 1.2.3.4", "documentation_url": "x"}',
        "server's answer .JSON.*rate limit",
    ),
    "json error": ("w.pth", lambda: b'{"error": "Invalid credentials"}', "says 'Invalid credentials'"),
    "other json": ("w.pth", lambda: b'[{"a": 1}]', "JSON text"),
    "index of shards": ("w.json", lambda: json.dumps({"weight_map": {}}).encode(), "several files; give the folder"),
    "text": ("w.pth", lambda: b"404: Not Found", "text instead of the file .'404: Not Found'"),
    "TorchScript": ("w.pt", script, "TorchScript archive"),
    "exported program": ("w.pt2", lambda: archive("m/archive_format", "m/models/model.json"), "torch.export"),
    "onnx": ("w.onnx", lambda: b"\x08\x07\x12\x07pytorch\x1a\x051.9.0:\x8b\x01", "an ONNX model"),
    "onnx under another name": (
        "w.pth", lambda: b"\x08\x08\x12\x07pytorch\x1a\x052.0.0" + bytes(range(256)),
        "an ONNX model",
    ),
    "keras h5": ("w.h5", hdf5, "HDF5 file .Keras"),
    "keras 3": ("w.keras", lambda: archive("config.json", "model.weights.h5", "metadata.json"), "Keras model"),
    "npz": ("w.npz", npz, "NumPy arrays .*npz"),
    "npy": ("w.npy", lambda: b"\x93NUMPY\x01\x00", "one NumPy array"),
    "frozen graph": ("w.pb", lambda: b"\n\x1f\n\x05input\x12\x0bPlaceholder\xff", "TensorFlow graph"),
    "tensorflow checkpoint": (
        "model.ckpt-1.data-00000-of-00001", lambda: b"\xff\xfe\x01\x02\x03",
        "part of a TensorFlow checkpoint",
    ),
    "tflite": ("w.pth", lambda: b"\x1c\x00\x00\x00TFL3\x14\x00", "TensorFlow Lite"),
    "zip of weights": (
        "w.zip", lambda: archive("release/", "release/model.pth", "release/README"),
        "zip archive of 2 other files .release/model.pth.; unpack it",
    ),
    "zip of pictures": ("w.pth", lambda: archive("a.png"), "zip archive of 1 other files .a.png"),
    "tar": ("w.pth.tar", lambda: tar_of("weights/model.pth"), "tar archive .*weights/model.pth.*unpack it"),
    "old torch": ("w.pth", lambda: tar_of("sys_info"), "before 0.1.10"),
    "gzip": ("w.pth.tar.gz", lambda: gzip.compress(b"abc"), "gzip-compressed; unpack it first"),
    "7z": ("w.pth", lambda: b"7z\xbc\xaf\x27\x1c\x00\x04", "7z archive"),
    "rar": ("w.pth", lambda: b"Rar!\x1a\x07\x01\x00", "RAR archive"),
    "pdf": ("w.pth", lambda: b"%PDF-1.7\n%\xe2", "PDF"),
    "png": ("w.pth", lambda: b"\x89PNG\r\n\x1a\n", "picture"),
    "empty": ("w.pth", lambda: b"", r"empty \(0 bytes\)"),
    "zeros": ("w.pth", lambda: bytes(10_000), "zero bytes"),
    "cut off": ("w.pth", lambda: stored(STATE)[:-900], "cut off or damaged.*download it again"),
    "cut off early": ("w.pth", lambda: stored(STATE)[:100], "cut off or damaged"),
    "old form cut off": (
        "w.pth", lambda: stored(STATE, _use_new_zipfile_serialization=False)[:-100],
        "damaged or cut off",
    ),
    "old form cut off early": (
        "w.pth", lambda: stored(STATE, _use_new_zipfile_serialization=False)[:60],
        "damaged or cut off",
    ),
    "safetensors cut off": ("w.safetensors", lambda: save(STATE)[:-100], "truncated"),
    "bytes": ("w.pth", lambda: b"\xde\xad\xbe\xef\x00\x01\x02", "not known here .*de ad be ef"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_named_in_one_line(kind: str, tmp_path: Path) -> None:
    name, content, words = KINDS[kind]
    (tmp_path / name).write_bytes(content())
    for method in ("mfnet", "state_dict"):
        result = CliRunner().invoke(main, ["convert", method, str(tmp_path / name), str(tmp_path / "out")])
        assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.stderr
        assert re.search(words, result.stderr), result.stderr
    assert not (tmp_path / "out").exists()


def test_weights_are_of_no_other_kind(tmp_path: Path) -> None:
    for i, content in enumerate([stored(STATE), stored(STATE, _use_new_zipfile_serialization=False), save(STATE)]):
        (tmp_path / str(i)).write_bytes(content)
        assert identify(tmp_path / str(i)) == ""


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "it holds no files"),
        (["README.md"], "without a file of the kinds .*it holds README.md"),
        (["a.pth", "b.pth"], "holds 2 files of the kinds .*a.pth, b.pth"),
        (["model-00001-of-00002.safetensors"], "part 2 of 2 is missing"),
        (["__0_0.distcp", ".metadata"], "distributed checkpoint.*dcp_to_torch"),
        (["data.pkl", "data/0"], "has unpacked; pack it again"),
        (["saved_model.pb"], "TensorFlow SavedModel"),
    ],
)
def test_folders_are_named(files: list[str], words: str, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"")
    result = CliRunner().invoke(main, ["convert", "mfnet", str(folder), str(tmp_path / "out")])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert re.search(words, result.stderr), result.stderr


def test_layers_of_mobilenet_are_a_folder(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(hdf5())
    result = CliRunner().invoke(main, ["convert", "mobilenet_v1", str(tmp_path / "w.h5"), str(tmp_path / "out")])
    assert result.exit_code == 2 and "HDF5" in result.stderr and "folder of TensorFlow.js layers" in result.stderr


def test_a_checkpoint_whose_weights_are_another_kind(folder: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 2995719\n"
    (folder / "model.safetensors").write_bytes(pointer)
    (folder / "record.json").unlink()
    (found,) = verify(folder).failures
    assert found.startswith("header: ") and "is truncated or not safetensors: it is a Git LFS pointer" in found
