"""How results are stored: strict JSON with a format version; and how files of older formats are read.

A class that is stored counts up its `format_version` when a field changes its name or meaning, and says in `upgraded`
how the values of an older file become those of the newest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from fusionzoo.errors import FusionZooError, InputError
from fusionzoo.files import atomic_write, dump_json, read_json
from fusionzoo.schema import decode, encode, refuse_unknown
from fusionzoo.tasks import SEGMENTATION, stored, unstored

__all__ = ["Stored", "dissection_of_format_1", "evolution_of_format_1", "trace_of_format_1"]

MAX_BYTES = 1 << 30

S = TypeVar("S", bound="Stored")


class Stored:
    """`to_dict`, `from_dict`, `save` and `load` of a result; dataclasses with a `format_version` inherit it."""

    format_version: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinities become null."""
        values: dict[str, Any] = encode(self, nan_to_none=True)
        values = stored(values, _task(values))
        return {"format_version": values.pop("format_version"), **values}

    @classmethod
    def from_dict(cls: type[S], values: dict[str, Any]) -> S:
        """Inverse of `to_dict`; reads older formats as well.

        Raises:
            InputError: another format version, an unknown or missing field, or a value of another type, with its place.
        """
        where = cls.__name__.lower()
        return decode(cls, cls.current(values, where), where)

    @classmethod
    def current(cls, values: Any, where: str) -> dict[str, Any]:
        """The values of a file of any format that is read, in the newest. InputError for a format that is not."""
        found = values.get("format_version") if isinstance(values, Mapping) else None
        known = range(1, cls.format_version + 1)
        if found not in known:
            reads = " and ".join(map(str, known))
            raise InputError(f"{where}: format_version is {found!r}, this fusionzoo reads {reads}")
        try:
            return cls.upgraded(unstored(dict(values)), where) | {"format_version": cls.format_version}
        except FusionZooError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: this is no result of format {found}: {error!r}") from None

    @classmethod
    def upgraded(cls, values: dict[str, Any], where: str) -> dict[str, Any]:
        """`values` of the format that they name, in the newest; parts that are stored by themselves too."""
        return values

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes JSON, all or nothing: the old file stays whole until the new one is complete."""
        atomic_write(path, dump_json(self.to_dict(), indent=1))

    @classmethod
    def load(cls: type[S], path: str | os.PathLike[str]) -> S:
        """Reads what `save` wrote. InputError for a missing file, text that is not JSON, or another schema."""
        return cls.from_dict(read_json(path, MAX_BYTES))


def _task(values: Mapping[str, Any]) -> str:
    """What the scores of a stored result are of."""
    part = next((v for v in (values.get("data"), values.get("setting")) if isinstance(v, Mapping)), {})
    return str(part.get("task", SEGMENTATION))


# ------------------------------------------------------------------------------------------------------- older formats

_CONDITIONS = {"no_rgb": "without_rgb", "no_x": "without_x", "none": "neither"}
_VALUES = {"both": "both", "rgb": "without_x", "x": "without_rgb", "none": "neither"}
_CONCEPTS = {
    "concept_iou": "iou",
    "concept_error": "error",
    "concept_floor": "floor",
    "unit_iou": "unit_iou",
    "concept_channels": "channels",
    "concept_correlation": "correlation",
    "semantic_variance": "variance",
}
_ALIKE = {"cka": "cka", "similarity": "pairs", "commonality": "commonality"}


def trace_of_format_1(old: dict[str, Any]) -> dict[str, Any]:
    """A trace in which a stage was a level."""
    lists = {key: old[key] for key in ("rows", "ranking", "restored", "classes") if isinstance(old.get(key), list)}
    return {**old, **{key: [_stage_for_level(row) for row in rows] for key, rows in lists.items()}}


def _stage_for_level(row: Any) -> Any:
    return {("stage" if k == "level" else k): v for k, v in row.items()} if isinstance(row, Mapping) else row


def dissection_of_format_1(old: dict[str, Any]) -> dict[str, Any]:
    lacking = [k for k in ("model", "data", "protocol") if k not in old]
    if lacking:
        raise InputError(f"dissection: field {lacking[0]!r} is missing")
    names = old.pop("concept_names", None) or list(old["data"].get("class_names", ()))
    made: dict[str, Any] = {"results": _results(old, names, old.pop("matrices", []))}
    made["stages"] = [{"stage": row["level"], "points": row["points"]} for row in old.pop("levels", [])]
    return {**old, **made}


def evolution_of_format_1(old: dict[str, Any]) -> dict[str, Any]:
    names = old.pop("concept_names", None) or list(old["data"]["class_names"])
    points: dict[int, Any] = {r["level"]: r["points"] for c in old["checkpoints"] for r in c.get("levels", [])}
    rows = []
    for one in (dict(c) for c in old["checkpoints"]):
        results = _results(one, names, [])
        one.pop("levels", None)
        rows.append({**one, "results": results})
    stages = [{"stage": stage, "points": at} for stage, at in sorted(points.items())]
    return {**old, "checkpoints": rows, "stages": stages}


def _results(old: dict[str, Any], names: list[str], matrices: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of a dissection or checkpoint of format 1, which are taken out of it."""
    found: dict[str, Any] = {}
    if scores := old.pop("segmentation", None):
        found["segmentation"] = {_CONDITIONS.get(c, c): part for c, part in scores.items()}
    if made := old.pop("contribution", None):
        found["contribution"] = {**made, "values": {_VALUES[k]: v for k, v in made["values"].items()}}
    of: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for matrix in matrices:
        of[matrix["measure"] == "concept correlation"].append(matrix)
    levels = old.get("levels", [])
    for i, row in enumerate(levels):
        refuse_unknown(row, {"level", "points", "agreement", *_ALIKE, *_CONCEPTS}, f"dissection: levels[{i}]")
    alike = [{"stage": r["level"], **{new: r[k] for k, new in _ALIKE.items() if k in r}} for r in levels]
    alike = [r for r in alike if any((r.get("cka") or {}).values()) or r.get("pairs") or r.get("commonality")]
    shown = [{"stage": r["level"], **{new: r[k] for k, new in _CONCEPTS.items() if k in r}} for r in levels]
    shown = [r for r in shown if r.get("iou") or r.get("variance")]
    kinds = [{"stage": r["level"], **r["agreement"]} for r in levels if r.get("agreement")]
    if alike:
        found["similarity"] = {"stages": alike, "matrices": of[False]}
    if shown:
        found["concepts"] = {"names": names, "stages": shown, "matrices": of[True]}
    if kinds:
        found["specificity"] = {"stages": kinds}
    if probes := old.pop("probes", None):
        found["health"] = probes
    if planted := old.pop("planted", None):
        found["planted"] = {**planted, "rows": [_stage_for_level(row) for row in planted["rows"]]}
    return found
