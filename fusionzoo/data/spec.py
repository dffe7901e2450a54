"""Data from one word of the command line: `planted`, `planted-2`, `nyuv2:PATH`, `folder:PATH`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from fusionzoo.data.base import Cached, WithTransform
from fusionzoo.errors import InputError, unknown

__all__ = ["GENERATED", "KINDS", "parse_spec"]

GENERATED = ("planted", "planted-2")
"""Data that is drawn, not read."""
KINDS = (*GENERATED, "nyuv2", "folder")
_OF_FOLDERS = ("align", "empty_depth", "labels")
_NEEDS = {
    "nyuv2": "the folder with rgb/ depth/ label40/, or nyu_depth_v2_labeled.mat",
    "folder": "the folder with rgb/ x/ label/ and dataset.toml",
}


def parse_spec(
    spec: str,
    *,
    split: str | None = None,
    size: tuple[int, int] | None = None,
    num_classes: int | None = None,
    limit: int | None = None,
    **options: Any,
) -> Any:
    """The dataset that `spec` names.

    Args:
        spec: "planted", "planted-2", "nyuv2:PATH" or "folder:PATH".
        split: None: "test", for a folder without splits "all".
        size: (H, W) of rgb and x; None: the dataset's own.
        num_classes: None: the dataset's default (40 for nyuv2).
        limit: at most that many samples.
        options: any further argument of the dataset (`cache`, `label_size`, `transform`, `seed`, ...). Those of
            folders only (`align`, `empty_depth`, `labels`) are taken by the others too, where they change nothing.

    Raises:
        UnknownNameError: an unknown kind, with the closest.
        InputError: no path, a path that does not exist, an option that the dataset does not have.
    """
    kind, colon, rest = spec.partition(":")
    if kind not in KINDS:
        path = Path(spec).expanduser()
        if spec and path.exists():  # the kind was forgotten
            guess = "folder" if (path / "dataset.toml").is_file() else "nyuv2"
            raise InputError(f"{spec!r} does not say what kind of data it is; did you mean {guess}:{spec}?")
        raise unknown("data", kind, KINDS, " | ".join((*GENERATED, "nyuv2:PATH", "folder:PATH")))
    given = {"split": split, "size": size, "num_classes": num_classes, "limit": limit, **options}
    given = {k: v for k, v in given.items() if v is not None}
    if kind != "folder":
        given = {name: value for name, value in given.items() if name not in _OF_FOLDERS}
    if kind in GENERATED:
        if colon:
            raise InputError(f"{spec!r}: {kind} data is generated and takes no path; give just '{kind}'")
        from fusionzoo.data.planted import Planted
        from fusionzoo.data.planted_graded import PlantedGraded

        cls = PlantedGraded if kind == "planted-2" else Planted
        given.setdefault("split", "test")
        wanted, most = given.pop("num_classes", None), given.pop("limit", None)
        label_size, cache, transform = (given.pop(k, None) for k in ("label_size", "cache", "transform"))
        if label_size not in (None, "native", "input"):
            raise InputError(f"label_size is {label_size!r}; give 'native' or 'input'")  # planted: one and the same
        data = _build(kind, cls, given)
        if most is not None and most < len(data):
            data = _build(kind, cls, {**given, "n": most})
        if wanted not in (None, data.num_classes):
            raise InputError(f"{kind} data has {data.num_classes} classes, not {wanted}; leave num_classes out")
        data = Cached(data) if cache else data
        return data if transform is None else WithTransform(data, transform)
    if not rest:
        raise InputError(f"{spec!r} has no path; give {kind}:PATH, {_NEEDS[kind]}")
    path = Path(rest).expanduser()
    if not path.exists():
        raise InputError(f"{rest} does not exist; {kind}: needs {_NEEDS[kind]}")
    if kind == "nyuv2":
        from fusionzoo.data.nyuv2 import NYUv2

        given.setdefault("split", "test")
        return _build(kind, NYUv2, {"root": path, **given})
    from fusionzoo.data.folder import Folder

    return _build(kind, Folder, {"root": path, "split": None, **given})


def _build(kind: str, cls: Any, given: dict[str, Any]) -> Any:
    known = inspect.signature(cls).parameters
    for name in given:
        if name not in known:
            raise unknown(f"option of {kind} data", name, known)
    return cls(**given)
