"""The files of a checkpoint folder: their names, and the header of safetensors. Needs neither torch nor safetensors."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo.errors import InputError
from fusionzoo.files import parse_json
from fusionzoo.hub.kinds import identify

__all__ = ["CONFIG", "MAX_HEADER", "PICKLES", "README", "RECORD", "WEIGHTS", "TensorInfo", "missing_file",
           "parse_header", "read_header"]  # fmt: skip

CONFIG, WEIGHTS, README, RECORD = "config.json", "model.safetensors", "README.md", "record.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".tar")
"""Endings of files that would have to be unpickled; never read here."""

MAX_HEADER = 4 << 20
"""Largest safetensors header that is read, in bytes (a hundred bytes a tensor is usual)."""

ITEM_SIZE = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes an element, by safetensors' name of the type."""


@dataclass(frozen=True)
class TensorInfo:
    """What a safetensors header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def numel(self) -> int:
        return math.prod(self.shape)


def missing_file(name: str, present: Iterable[str]) -> str:
    """One line for a checkpoint without the file `name`, when `present` are there; pickles get the convert command."""
    present = sorted(present)
    pickles = [p for p in present if p.endswith(PICKLES)]
    if name == WEIGHTS and pickles:
        shown = re.sub(r"[^ -~]", "?", pickles[0])[:80]  # of a repository: fit for a terminal
        return (
            f"no {WEIGHTS}; {shown} is a pickle, which could run code and is never loaded."
            f" Download it and convert it with: fusionzoo convert state_dict FOLDER OUT"
        )
    if name == CONFIG:
        return f"no {CONFIG}: not a fusionzoo checkpoint (its architecture and preprocessing are unknown)"
    return f"no {name} among {len(present)} files"


def read_header(path: str | os.PathLike[str]) -> dict[str, TensorInfo]:
    """Name -> dtype, shape and byte range of every tensor in a safetensors file. Reads the header, allocates no tensor.

    Format: 8 bytes little-endian header length N, N bytes of JSON, then the tensors' bytes without gaps
    (https://github.com/huggingface/safetensors#format). Everything the format promises is checked.

    Raises:
        InputError: missing or truncated file, or a header that breaks the format; the text names the file.
    """
    path = Path(path)
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as handle:
            start = handle.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(size - 8, MAX_HEADER):
                what = identify(path, unknown=False)
                found = f"it is {what}" if what else f"header of {length} bytes, file of {size}"
                raise InputError(f"{path} is truncated or not safetensors: {found}")
            header = handle.read(length)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_header(header, size - 8 - length, str(path))


def parse_header(header: bytes, room: int, where: str) -> dict[str, TensorInfo]:
    """The tensors that a safetensors `header` names, in a file with `room` bytes after it (ranges count from there)."""
    entries = parse_json(header, f"the header of {where}")
    entries.pop("__metadata__", None)
    tensors = {name: _tensor_info(where, name, entry) for name, entry in entries.items()}
    at = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if info.start != at:
            raise InputError(f"{where}: tensor {name[:80]!r} starts at byte {info.start}, wanted {at} (gap or overlap)")
        at = info.stop
    if at != room:
        kind = "truncated" if at > room else "too long"
        raise InputError(f"{where} is {kind}: its header names {at} bytes of tensors, it holds {room}")
    return tensors


def _tensor_info(where: str, name: str, entry: Any) -> TensorInfo:
    bad = InputError(f"{where}: the header's entry of tensor {name[:80]!r} is malformed")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise bad
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    whole = lambda values: isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 48 for v in values)  # noqa: E731
    known = isinstance(dtype, str) and dtype in ITEM_SIZE
    if not known or not whole(shape) or not whole(offsets) or len(offsets) != 2 or len(shape) > 16:
        raise bad
    info = TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])
    if info.stop - info.start != info.numel * ITEM_SIZE[dtype]:
        raise bad
    return info
