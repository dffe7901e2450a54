"""`fusionzoo info NAME`: the record of a checkpoint, or the facts of a strategy or architecture.

Needs no torch but for checkpoints on the Hub, of which config.json and record.json are fetched and no weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusionzoo.cli.output import index_option, json_option, print_json, say

if TYPE_CHECKING:
    from fusionzoo.hub.records import Record

__all__ = ["command", "composed", "known_records", "look_up"]


@click.command(name="info")
@click.argument("name")
@index_option
@json_option
def command(name: str, index: str | None, as_json_: bool) -> None:
    """Show what is known of a checkpoint, strategy or architecture.

    NAME is a bundled checkpoint, a checkpoint folder, hf-hub:org/name[@revision], a fusion strategy or an architecture.
    """
    facts = look_up(name, index)
    if as_json_:
        print_json(facts)
        return
    seen = _seen(facts.get("preprocess"))
    for key, value in _flat({**facts, "trained on": seen} if seen else facts):
        say(f"{key:<28} {value}")


def composed() -> dict[str, dict[str, str]]:
    """Names of the composed architectures -> their parts."""
    from fusionzoo.cli.index import BASELINES, DECODERS, ENCODERS, FUSIONS

    return {
        f"{f}_{e}_{d}": {"fusion": f, "encoder": e, "decoder": d}
        for f in [*FUSIONS, *BASELINES]
        for e in ENCODERS
        for d in DECODERS
    }


def look_up(name: str, index: str | None = None) -> dict[str, Any]:
    """The facts of whatever `name` names.

    Raises:
        UnknownNameError: nothing is called that; the closest names are given.
        InputError: a folder or repository that holds no checkpoint, or a Hub that cannot be asked.
    """
    from fusionzoo.cli.index import BASELINES, FUSIONS, PUBLISHED
    from fusionzoo.errors import unknown
    from fusionzoo.hub import records

    if Path(name).is_dir() or Path(name).is_file():
        return _folder(Path(name))
    if name in FUSIONS:
        return {"strategy": name, **FUSIONS[name]}
    if name in BASELINES:
        return {"strategy": name, "family": "baseline"}
    if name in PUBLISHED:
        return {"architecture": name}
    if name in records.bundled():
        return _folder(records.bundled_folder(name))
    known = known_records(index)
    if name in known:
        return known[name].to_dict()
    if name.startswith("hf-hub:") or "/" in name:
        return _remote(name)
    names = composed()
    if name in names:
        parts = names[name]
        return {"architecture": name, **parts, "strategy": FUSIONS.get(parts["fusion"], {"family": "baseline"})}
    raise unknown(
        "checkpoint, strategy or architecture",
        name,
        [*known, *FUSIONS, *BASELINES, *PUBLISHED, *names],
        "fusionzoo list",
    )


def known_records(index: str | None = None) -> dict[str, Record]:
    """Records by name: bundled, and those of an index file or of a Hub repository that holds one."""
    from fusionzoo.hub import records

    listed: dict[str, Record] = {}
    if index is not None and index.startswith("hf-hub:"):
        from fusionzoo.hub.load import read_index

        listed = read_index(index)
    elif index is not None:
        listed = records.load_index(index)
    return {**records.bundled(), **listed}


def _folder(folder: Path) -> dict[str, Any]:
    """The facts of a checkpoint folder: its record, if it has one, and what its config says."""
    from fusionzoo.errors import InputError
    from fusionzoo.files import read_json
    from fusionzoo.hub import records
    from fusionzoo.hub.layout import CONFIG, RECORD

    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{folder} is no checkpoint folder: it has no {CONFIG}; fusionzoo convert makes one of weights"
        )
    record = records.read_record(folder) if (folder / RECORD).is_file() else None
    return _facts(read_json(folder / CONFIG), record, str(folder))


def _remote(name: str) -> dict[str, Any]:
    """The facts of a checkpoint on the Hub, and the commit that they are of."""
    from fusionzoo.errors import InputError
    from fusionzoo.hub import remote

    place = remote.parse(name)
    if place is None:
        raise InputError(f"no checkpoint folder {name!r}; a Hub repository is written hf-hub:org/name")
    commit, config, record = remote.pull_facts(*place)
    return {**_facts(config, record, name), "repo_id": place[0], "revision": commit}


def _facts(config: Mapping[str, Any], record: Record | None, where: str) -> dict[str, Any]:
    """The record, with preprocessing and input size of the config; without a record, what the config says."""
    from fusionzoo.errors import InputError

    if "architecture" not in config:
        raise InputError(
            f"{where}: its config.json names no architecture of fusionzoo; see: fusionzoo list --architectures"
        )
    keys = ("preprocess", "input_size")
    if record is not None:
        return {**record.to_dict(), **{key: config.get(key) for key in keys}}
    told = ("architecture", "model_args", "modalities", "class_names", "scene_names", *keys)
    return {
        **{key: config[key] for key in told if key in config},
        "record": "none: origin, data and results are not stated",
    }


def _seen(preprocess: Any) -> str:
    """What x the weights saw (1, 50 and 99 % quantile, share of missing pixels), in words; empty where unstated.

    >>> _seen({"x_kind": "depth", "x_quantiles": [0.9, 2.1, 2.84, 4.0, 8.2], "x_missing": [0.012, 0.05]})
    'depth 0.9 to 8.2 m (98 % of the values), median 2.84; 1.2 % missing, at most 5 % in one image'
    """
    stated = preprocess if isinstance(preprocess, Mapping) else {}
    kinds = str(stated.get("x_kind")).split("+")
    if len(kinds) > 1:
        q, m = (_numbers(stated, key, n * len(kinds)) for key, n in (("x_quantiles", 5), ("x_missing", 2)))
        each = [_seen({"x_kind": k, "x_quantiles": q[5 * i : 5 * i + 5], "x_missing": m[2 * i : 2 * i + 2]})
                for i, k in enumerate(kinds)]  # fmt: skip
        return "; ".join(filter(None, each))
    quantiles, missing = _numbers(stated, "x_quantiles", 5), _numbers(stated, "x_missing", 2)
    if not quantiles:
        return ""
    kind = stated.get("x_kind")
    name, unit = ("depth", " m") if kind in ("depth", "inverse_depth") else (kind, "")
    text = f"{name} {quantiles[0]:.3g} to {quantiles[4]:.3g}{unit} (98 % of the values), median {quantiles[2]:.3g}"
    if missing:
        text += f"; {100 * missing[0]:.3g} % missing, at most {100 * missing[1]:.3g} % in one image"
    return text


def _numbers(values: Mapping[str, Any], key: str, count: int) -> list[float]:
    """`count` numbers under `key`; none where a config that nobody has checked holds something else."""
    found = values.get(key)
    if not isinstance(found, list) or len(found) != count or not all(isinstance(v, int | float) for v in found):
        return []
    return found


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as dotted keys with one line each."""
    from fusionzoo.report.table import clean

    if isinstance(value, Mapping) and value:
        for k, v in value.items():
            yield from _flat(v, f"{key}.{k}" if key else str(k))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for i, v in enumerate(value):
            yield from _flat(v, f"{key}[{i}]")
    elif isinstance(value, list):
        shown = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in value[:45])
        yield clean(key), clean(shown + (", ..." if len(value) > 45 else ""))
    else:
        yield clean(key), clean("-" if value is None else value)
