"""What kind of file is this? Names what a download turned out to be, from its first bytes. Needs no torch.

People convert what they have downloaded, and that is often no checkpoint: a web page, a Git LFS pointer, the half of
a file, the format of another framework. `identify` says so in words that end the search.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

from fusionzoo.errors import InputError

__all__ = ["identify", "is_safetensors", "refuse_other_kinds"]

_HEAD = 4096
"""Bytes that are looked at."""

_AGAIN = "download it again"
_RESAVE = 'where that library is installed, save names and tensors with torch.save(weights, "weights.pth")'

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or TensorFlow weights, or a MATLAB 7.3 file)", _RESAVE),
    (b"\x93NUMPY", "one NumPy array (.npy), not a set of named weights", _RESAVE),
    (b"GGUF", "a GGUF file (llama.cpp)", _RESAVE),
    (b"MATLAB 5.0", "a MATLAB file", _RESAVE),
    (b"\x1f\x8b", "gzip-compressed", "unpack it first (gunzip, or tar xzf)"),
    (b"BZh", "bzip2-compressed", "unpack it first (bunzip2, or tar xjf)"),
    (b"\xfd7zXZ\x00", "xz-compressed", "unpack it first (unxz, or tar xJf)"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it first (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first (7z x)"),
    (b"Rar!", "a RAR archive", "unpack it first (unrar x)"),
    (b"%PDF", "a PDF document, not weights", "look for the file of weights beside it"),
    (b"\x89PNG", "a picture (PNG), not weights", "look for the file of weights beside it"),
    (b"\xff\xd8\xff", "a picture (JPEG), not weights", "look for the file of weights beside it"),
    (b"\x7fELF", "a program or library (ELF), not weights", "look for the file of weights beside it"),
)
"""First bytes -> what they mean, and what to do."""

_ENDINGS = {
    ".onnx": "an ONNX model",
    ".pb": "a TensorFlow graph",
    ".tflite": "a TensorFlow Lite model",
    ".caffemodel": "a Caffe model",
    ".mlmodel": "a Core ML model",
    ".pdparams": "PaddlePaddle weights",
    ".msgpack": "Flax weights (msgpack)",
    ".engine": "a TensorRT engine",
    ".params": "MXNet weights",
    ".weights": "Darknet weights",
}
"""Ending -> format of another framework that has no first bytes of its own."""

_TENSORFLOW = re.compile(r"\.(data-\d{5}-of-\d{5}|index|meta)$")


def identify(path: str | os.PathLike[str], *, unknown: bool = True) -> str:
    """What a file is that is neither of `torch.save` nor safetensors, and what to do; "" when it may be one.

    With `unknown` False also "" for bytes that mean nothing here.

    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp()) / "weights.pth"
    >>> _ = page.write_text("<!DOCTYPE html><title>Sign in</title>")
    >>> identify(page)
    "a web page (HTML, titled 'Sign in') instead of the file: the address leads to a page about it, or wants a..."

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as handle:
            head = handle.read(_HEAD)
            handle.seek(max(0, size - _HEAD))
            tail = handle.read(_HEAD)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if not head:
        return f"empty (0 bytes): the download did not happen; {_AGAIN}"
    if not head.strip(b"\0") and not tail.strip(b"\0"):
        return f"filled with zero bytes ({size:,} of them): a download that never finished; {_AGAIN}"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(path, size)
    for magic, what, then in _MAGIC:
        if head.startswith(magic):
            return f"{what}; {then}"
    if head[257:262] == b"ustar":
        return _tar(head)
    if is_safetensors(head, size) or head[:1] == b"\x80":
        return ""
    if head[4:8] == b"TFL3":
        return f"a TensorFlow Lite model; {_RESAVE}"
    if text := _text(head, tail, size):
        return text
    if _onnx(head):
        return f"an ONNX model; {_RESAVE}"
    if path.suffix.lower() in _ENDINGS or _TENSORFLOW.search(path.name):
        return f"{_ENDINGS.get(path.suffix.lower(), 'part of a TensorFlow checkpoint')}; {_RESAVE}"
    return f"of a format that is not known here (it begins with the bytes {head[:8].hex(' ')}); {_RESAVE}" * unknown


def refuse_other_kinds(path: str | os.PathLike[str]) -> None:
    """InputError that names what `path` is, unless it may be a `torch.save` file or safetensors."""
    if what := identify(path):
        raise InputError(f"{path} holds no weights that can be read: it is {what}")


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that begins with `head` has the form of safetensors."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length <= 1 << 30 and (length <= size or size > 1 << 20)


def _zip(path: Path, size: int) -> str:
    """A zip archive: "" for one of `torch.save`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return f"cut off or damaged: an archive that ends after {size:,} bytes without its list of contents; {_AGAIN}"
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return (
            'a TorchScript archive, a program with its weights; save the weights alone: python -c "import torch;'
            f" torch.save(torch.jit.load({str(path)!r}, 'cpu').state_dict(), 'weights.pth')\""
        )
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names) or any(
        name.startswith("models/") and name.endswith(".json") for name in inner
    ):
        return (
            'a program of torch.export (.pt2); save the weights alone: python -c "import torch;'
            f" torch.save(torch.export.load({str(path)!r}).state_dict, 'weights.pth')\""
        )
    if "data.pkl" in inner:
        return ""
    if names and all(name.endswith(".npy") for name in names):
        return f"an archive of NumPy arrays (.npz); {_RESAVE}"
    if "model.weights.h5" in names:
        return f"a Keras model (.keras); {_RESAVE}"
    files = [name for name in names if not name.endswith("/")]
    weights = [n for n in files if n.endswith((".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors", ".pkl"))]
    if not files:
        return f"an empty zip archive; {_AGAIN}"
    shown = ", ".join((weights or files)[:3])
    give = "one of them" if weights else "the weights"
    return f"a zip archive of {len(files)} other files ({shown}); unpack it and give {give}"


def _tar(head: bytes) -> str:
    first = head[:100].rstrip(b"\0").decode("utf-8", "replace")
    if first in ("sys_info", "pickle", "tensors", "storages"):
        return (
            "a checkpoint of PyTorch before 0.1.10 (a tar archive); save it anew where you trust it:"
            " torch.save(torch.load(path, weights_only=False), 'weights.pth')"
        )
    return f"a tar archive (it begins with {first!r}); unpack it (tar xf) and give the weights in it"


def _text(head: bytes, tail: bytes, size: int) -> str:
    """Text instead of weights: a page, a pointer, an answer of a server. "" for bytes that are no text."""
    try:
        text = head.decode("utf-8-sig", "ignore" if size > _HEAD else "strict")
    except UnicodeDecodeError:
        return ""
    if any(ord(c) < 32 and c not in "\t\n\r\f\x1b" for c in text):
        return ""
    lower = text.lstrip().lower()
    if lower.startswith(("version https://git-lfs", "version http://git-lfs")):
        stated = re.search(r"^size (\d+)", text, re.M)
        real = f" of {int(stated[1]):,} bytes" if stated else ""
        return (
            f"a Git LFS pointer ({size} bytes) in place of the file{real}: the download did not happen;"
            " run git lfs pull in that repository, or download the file itself"
        )
    page = re.search(r"<title[^>]*>(.*?)</title>", text, re.I | re.S)
    if re.match(r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype html|html|head|body|title|script|meta)\b", lower, re.S):
        titled = f", titled {' '.join(page[1].split())[:60]!r}" if page else ""
        return (
            f"a web page (HTML{titled}) instead of the file: the address leads to a page about it, or wants a login;"
            " download the file itself"
        )
    first = " ".join(text.split())[:100]
    if lower.startswith("<"):
        return f"XML, perhaps a server's answer instead of the file ({first!r}); download the file itself"
    if lower.startswith(("{", "[")):
        return _json(text, first)
    return f"text instead of the file ({first!r}); download the file itself"


def _json(text: str, first: str) -> str:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict):
        for key in ("error", "message", "detail", "error_description", "errors", "msg"):
            if key in values:
                said = values[key] if isinstance(values[key], str) else json.dumps(values[key])
                return (
                    f"a server's answer (JSON) instead of the file, which says {said[:120]!r}; download the file itself"
                )
        if "weight_map" in values:
            return "the index of a checkpoint in several files; give the folder that holds it and them"
    return f"JSON text ({first!r}), not weights; give the file of weights"


def _onnx(head: bytes) -> bool:
    """ONNX is a protocol buffer without first bytes of its own: field 1 is its version, a small number."""
    return head[0] == 0x08 and 0 < head[1] < 0x20 and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
