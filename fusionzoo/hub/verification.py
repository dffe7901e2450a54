"""Is this checkpoint what its record says? Named checks, each one line; nothing unpickled, nothing unbounded allocated.

In order: the record, the files and their sizes, the config, the weights' header, keys, shapes, types (all from the
header, against a model without storage), SHA-256, finite values, forward fingerprint. Only then is there a model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fusionzoo.errors import CheckFailed, FusionZooError, InputError, closest
from fusionzoo.files import git_sha1, inside, read_exactly, read_json, sha256_file
from fusionzoo.hub.expect import Expected, expected, fill, tensors
from fusionzoo.hub.fingerprint import compare, fingerprint
from fusionzoo.hub.kinds import identify
from fusionzoo.hub.layout import CONFIG, RECORD, WEIGHTS, TensorInfo, missing_file, parse_header, read_header
from fusionzoo.hub.records import Record, bundled_sha256, read_record
from fusionzoo.models import FusionModel

__all__ = ["Verification", "inspect", "verify"]

T = TypeVar("T")


class Verification(list[dict[str, Any]]):
    """The checks in order, each `{"check": str, "ok": bool, "detail": str}`; a list, so it is JSON as it is."""

    @property
    def ok(self) -> bool:
        """Whether every check passed (and there was one)."""
        return bool(self) and all(c["ok"] for c in self)

    @property
    def failures(self) -> list[str]:
        """One line for each failed check."""
        return [f"{c['check']}: {c['detail']}" for c in self if not c["ok"]]

    def require(self, source: str) -> None:
        """Raises CheckFailed with one failure and `source`, unless all passed: the checksum's, or else the first."""
        if not self.ok:
            lines = self.failures or ["nothing was checked"]
            failures = sorted(lines, key=lambda line: not line.startswith("sha256:"))
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            raise CheckFailed(f"{source} failed verification: {failures[0]}{more}")

    def run(self, check: str, work: Callable[[], tuple[T, str]]) -> T | None:
        """Does `work() -> (value, detail)` and writes it down; a FusionZooError is a failed check and gives None."""
        try:
            value, detail = work()
        except FusionZooError as error:
            self.append({"check": check, "ok": False, "detail": str(error)})
            return None
        self.append({"check": check, "ok": True, "detail": detail})
        return value


def verify(
    folder: str | os.PathLike[str], record: Record | None = None, checksums: Mapping[str, str] | None = None
) -> Verification:
    """Checks the checkpoint in `folder`; never raises for what is wrong inside it.

    Args:
        folder: holds config.json and model.safetensors, and a record.json unless `record` is given.
        record: what the files are held against; by default the folder's own record.json.
        checksums: the Hub's own, name -> SHA-256 (64 hex) or git SHA-1 (40 hex); used beside a record or without one.

    Raises:
        InputError: there is no such folder.
    """
    return inspect(folder, record, checksums)[0]


def inspect(
    folder: str | os.PathLike[str],
    record: Record | None = None,
    checksums: Mapping[str, str] | None = None,
    *,
    quick: bool = False,
) -> tuple[Verification, FusionModel | None]:
    """As `verify`, and the loaded model (eval mode, float32, CPU) when every check passed.

    `quick` leaves out SHA-256 and the fingerprint.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a checkpoint's folder, a bundled name or hf-hub:org/name")
    done = Verification()
    given = record
    known = done.run("record", lambda: _record(folder, given))
    record = known[0] if known else None
    if done.run("files", lambda: _files(folder, record)) is None:
        return done, None

    config = done.run("config", lambda: _config(folder, record))
    header = done.run("header", lambda: _header(folder))
    fits = False
    if config and header is not None:
        results = [done.run(name, partial(check, config[1], header)) for name, check in _HEADER_CHECKS.items()]
        fits = all(results)
    if not fits or config is None or header is None:
        done.run("sha256", lambda: _sha256(folder, record, checksums))
        return done, None
    if not done.ok:
        return done, None

    data = done.run("read", lambda: (read_exactly(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size), "whole"))
    if data is None:
        return done, None
    done.pop()  # only worth a line when it fails
    computed = Verification()
    # the bytes are hashed in a second thread while the model is filled and tried: both use the same bytes in memory
    with ThreadPoolExecutor(1) as pool:
        digest = None if quick else pool.submit(lambda: hashlib.sha256(data).hexdigest())
        model = computed.run("finite", lambda: _model(config[0], config[1], data, header))
        if model is not None and not quick:
            computed.run("fingerprint", lambda: _fingerprint(model, record))
        if digest is not None:
            done.run("sha256", lambda: _sha256(folder, record, checksums, digest.result()))
    if done.ok:
        done.extend(computed)
    return done, model if done.ok else None


# ------------------------------------------------------------------------------------------------------------- checks


def _record(folder: Path, record: Record | None) -> tuple[tuple[Record | None], str]:
    if record is not None:
        return (record,), f"{record.name}, given"
    if not (folder / RECORD).is_file():
        return (None,), f"no {RECORD}: nothing of ours states checksums or results"
    record = read_record(folder)
    stated = bundled_sha256(folder)
    if stated is not None and stated != sha256_file(folder / RECORD):
        raise CheckFailed(f"{RECORD} differs from the SHA-256 in the bundled index: reinstall fusionzoo")
    return (record,), record.name


def _files(folder: Path, record: Record | None) -> tuple[bool, str]:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckFailed(missing_file(name, (p.name for p in folder.iterdir())))
    for name, info in record.files.items() if record is not None else ():
        path = inside(folder, name)
        if not path.is_file():
            raise CheckFailed(f"{name}, which the record lists, is not there")
        if path.stat().st_size != info.size:
            kind = identify(path, unknown=False) if name == WEIGHTS else ""
            what = f"it is {kind}" if kind else "truncated or changed" + (_fault(path) if name == CONFIG else "")
            raise CheckFailed(f"{name} has {path.stat().st_size} bytes, the record says {info.size}: {what}")
    return True, f"{CONFIG}, {WEIGHTS}" + (" with the record's sizes" if record is not None else "")


def _fault(config: Path) -> str:
    """What is wrong inside a config file, after a blank in brackets; "" where it describes a model."""
    try:
        expected(read_json(config))
    except InputError as error:
        return f" ({error})"
    return ""


def _config(folder: Path, record: Record | None) -> tuple[tuple[dict[str, Any], Expected], str]:
    config = read_json(folder / CONFIG)
    wanted = expected(config)
    if record is not None:
        pairs = {
            "architecture": (config["architecture"], record.architecture),
            "classes": (config.get("class_names"), record.classes or config.get("class_names")),
            "scene types": (config.get("scene_names", []), record.scenes or config.get("scene_names", [])),
            "number of parameters": (wanted.num_params, record.num_params),
        }
        for what, (ours, theirs) in pairs.items():
            if ours != theirs:
                raise CheckFailed(
                    f"{CONFIG} and the record disagree on the {what}: {_short(ours)} and {_short(theirs)}"
                )
    return (config, wanted), f"{config['architecture']}, format version {config['format_version']}"


def _header(folder: Path) -> tuple[dict[str, TensorInfo], str]:
    header = read_header(folder / WEIGHTS)
    return header, f"{len(header)} tensors, {sum(i.numel for i in header.values()):,} numbers"


def _keys(wanted: Expected, header: Mapping[str, TensorInfo]) -> tuple[bool, str]:
    missing = [k for k in wanted.tensors if k not in header]
    extra = [k for k in header if k not in wanted.tensors]
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing, first {missing[0]!r}")
    if extra:
        near = closest(extra[0], wanted.tensors, 1)
        parts.append(
            f"{len(extra)} unknown, first {extra[0][:80]!r}" + (f" (closest known {near[0]!r})" if near else "")
        )
    if parts:
        raise CheckFailed(f"{WEIGHTS} is not of the model in {CONFIG}: keys {'; '.join(parts)}")
    return True, f"{len(header)} as the config implies"


def _shapes(wanted: Expected, header: Mapping[str, TensorInfo]) -> tuple[bool, str]:
    for key, (_, shape) in wanted.tensors.items():
        if key in header and header[key].shape != shape:
            raise CheckFailed(f"{key} has shape {header[key].shape}, the config implies {shape}")
    return True, "all as the config implies"


def _dtypes(wanted: Expected, header: Mapping[str, TensorInfo]) -> tuple[bool, str]:
    for key, (dtype, _) in wanted.tensors.items():
        accepted = ("F32", "F16", "BF16") if dtype == "F32" else (dtype,)
        if key in header and header[key].dtype not in accepted:
            raise CheckFailed(f"{key} is {header[key].dtype}, wanted {' or '.join(accepted)}")
    return True, ", ".join(sorted({i.dtype for i in header.values()}))


_HEADER_CHECKS = {"keys": _keys, "shapes": _shapes, "dtypes": _dtypes}


def _sha256(
    folder: Path, record: Record | None, checksums: Mapping[str, str] | None, weights: str = ""
) -> tuple[bool, str]:
    """Compares every file that has a stated checksum; `weights` is that of the weights' bytes, when known already."""
    checksums = checksums or {}
    stated = {name: info.sha256 for name, info in record.files.items()} if record is not None else {}
    for name in dict.fromkeys([CONFIG, WEIGHTS, *stated, *checksums]):
        if name not in stated and name not in checksums:
            continue
        path = inside(folder, name)
        found = weights if weights and name == WEIGHTS else sha256_file(path)
        if stated.get(name, found) != found:
            raise CheckFailed(f"{name} differs from the record: SHA-256 {found[:12]}..., wanted {stated[name][:12]}...")
        hub = checksums.get(name, "")
        here = git_sha1(path.read_bytes()) if len(hub) == 40 else found
        if hub and hub != here:
            raise CheckFailed(
                f"{name} differs from the Hub's own checksum {hub[:12]}...: damaged on the way or on disk"
            )
    if stated:
        return True, f"{len(stated)} files equal the record's" + (" and the Hub's" if checksums else "")
    if checksums:
        return True, f"{len(checksums)} files equal the Hub's own checksums (no record states any)"
    return True, "not compared: neither a record nor the Hub states any"


def _model(
    config: dict[str, Any], wanted: Expected, data: bytearray, header: Mapping[str, TensorInfo]
) -> tuple[FusionModel, str]:
    length = int.from_bytes(data[:8], "little")
    if parse_header(bytes(data[8 : 8 + length]), len(data) - 8 - length, WEIGHTS) != header:
        raise CheckFailed(f"{WEIGHTS} changed while it was read")
    model = fill(wanted, tensors(data, header), config, share=True)  # `data` is read for it alone
    for key, value in model.state_dict().items():
        # the sum is finite only if every value is, unless it overflows: then look at each
        if value.is_floating_point() and not (bool(value.sum().isfinite()) or bool(value.isfinite().all())):
            count = int((~value.isfinite()).sum())
            raise CheckFailed(f"{key} holds {count} NaN or infinite values")
    return model, "every weight"


def _fingerprint(model: FusionModel, record: Record | None) -> tuple[bool, str]:
    stated = record.fingerprint if record is not None else None
    found = fingerprint(model, stated.seed, stated.size) if stated else fingerprint(model)
    if stated is None:
        return True, "not compared: no record states one (the forward pass gives finite logits)"
    worst = compare(stated, found)
    if not worst <= stated.tolerance:
        raise CheckFailed(
            f"logits on the seeded input differ from the record by {worst:.2g} of their spread (at most"
            f" {stated.tolerance:g}): this fusionzoo computes something else with these weights"
        )
    return True, f"differs by {worst:.1g} of the logits' spread (at most {stated.tolerance:g})"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
