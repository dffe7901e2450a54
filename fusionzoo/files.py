"""Files on disk: atomic writes, bounded JSON, hashes, names that stay inside their folder. Needs no torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fusionzoo.errors import InputError

__all__ = [
    "MAX_JSON",
    "atomic_files",
    "atomic_path",
    "atomic_write",
    "dump_json",
    "git_sha1",
    "inside",
    "parse_json",
    "place_name",
    "read_exactly",
    "read_json",
    "sha256_file",
]

MAX_JSON = 4 << 20
"""Largest JSON file that is read, in bytes: a config or record of ours has a few KiB."""


# ---------------------------------------------------------------------------------------------------------- writing


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`; on a clean exit it is flushed to the disk and renamed to `path`.

    A full disk, an error or a kill leaves the old file whole. A kill may leave the temporary file
    (`.NAME.<random>.tmp`), which no reader here looks at.

    Raises:
        InputError: the disk is full, or the folder cannot be written.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('whole', 1)
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; what was there before is whole") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Writes `data` (text as UTF-8) to `path`, all or nothing. See `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def atomic_files(folder: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Writes several files of one folder: all are on the disk before the first is renamed.

    The last name in `files` is renamed last; make it the one that vouches for the others (the record). A kill
    between two renames leaves a folder whose checksums do not agree, which `verify` reports.
    """
    with contextlib.ExitStack() as stack:
        # ExitStack unwinds backwards, so enter in reverse to rename in the given order
        for name, data in reversed(list(files.items())):
            stack.enter_context(atomic_path(Path(folder) / name)).write_bytes(data)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def dump_json(values: Any, indent: int = 2) -> bytes:
    """Readable JSON with a last newline; ValueError for NaN and infinity, which are not JSON."""
    return (json.dumps(values, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode()


# ---------------------------------------------------------------------------------------------------------- reading


def read_json(path: str | os.PathLike[str], limit: int = MAX_JSON) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        InputError: missing, larger than `limit` bytes, not UTF-8, not JSON, not an object, a key given twice.
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            data = handle.read(limit + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > limit:
        raise InputError(f"{path} is larger than {limit >> 10} KiB: not a file of this kind")
    return parse_json(data, str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `data`; InputError names `where`."""
    try:
        values = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise InputError(f"{where} is not JSON: {reason}") from error
    if not isinstance(values, dict):
        raise InputError(f"{where} holds a JSON {type(values).__name__}, wanted an object")
    return values


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key is given twice")
    return out


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def read_exactly(path: str | os.PathLike[str], size: int) -> bytearray:
    """The `size` bytes of a file; InputError when it has another length now, or cannot be read."""
    data = bytearray(size)
    view, at = memoryview(data), 0
    try:
        with open(path, "rb", buffering=0) as handle:
            while count := handle.readinto(view[at:]):
                at += count
            if at != size or handle.read(1):
                raise InputError(f"{path} changed while it was read")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return data


def git_sha1(data: bytes) -> str:
    """The name git (and the Hub, for small files) gives to a file with this content: 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def inside(folder: str | os.PathLike[str], name: object) -> Path:
    """`folder / name`, where `name` is a relative path (with `/`) that stays inside; InputError otherwise.

    >>> inside("cache", "model.safetensors").as_posix()
    'cache/model.safetensors'
    >>> inside("cache", "../../.ssh/config")
    Traceback (most recent call last):
        ...
    fusionzoo.errors.InputError: refused file name '../../.ssh/config': it would leave its folder
    """
    if not isinstance(name, str) or not name or len(name) > 255 or re.search(r"[\x00-\x1f\x7f]", name):
        raise InputError(f"refused file name {str(name)[:80]!r}: empty, too long or with control characters")
    parts = name.replace("\\", "/").split("/")
    if name.startswith("~") or ":" in parts[0] or any(p in ("", ".", "..") for p in parts):
        raise InputError(f"refused file name {name!r}: it would leave its folder")
    return Path(folder).joinpath(*parts)


def place_name(value: str) -> str:
    """Of a folder on this machine its last part; any other name as it is.

    >>> place_name("/data/runs/mine/"), place_name("hf-hub:org/name"), place_name("cmx_mit_b2.nyuv2-40")
    ('mine', 'hf-hub:org/name', 'cmx_mit_b2.nyuv2-40')
    """
    return Path(value).name if Path(value).is_absolute() or Path(value).is_dir() else value
