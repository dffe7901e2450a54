"""`fusionzoo list`: bundled checkpoints, fusion strategies, architectures, data sets. Only the last needs torch."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import click

from fusionzoo.cli.output import json_option, print_json, say

__all__ = ["command"]


@click.command(name="list")
@click.argument("patterns", nargs=-1)
@click.option("--fusions", is_flag=True, help="Fusion strategies and the baselines.")
@click.option("--architectures", is_flag=True, help="Architectures: published, and strategy_encoder_decoder.")
@click.option("--data", is_flag=True, help="Data sets: what is written before PATH, images, classes, licence.")
@click.option("--index", metavar="FILE|REPO", help="List the records of this index file or hf-hub:org/name as well.")
@json_option
def command(
    patterns: tuple[str, ...], fusions: bool, architectures: bool, data: bool, index: str | None, as_json_: bool
) -> None:
    """List checkpoints, fusion strategies, architectures or data sets.

    PATTERNS such as 'hybrid_*' keep the names that match any of them. Quote them.
    """
    if fusions + architectures + data > 1:
        raise click.UsageError("give one of --fusions, --architectures and --data")
    if fusions:
        rows = _fusions(patterns or ("*",))
    elif architectures:
        rows = _architectures(patterns or ("*",))
    elif data:
        rows = _data_sets(patterns or ("*",))
    else:
        rows = _checkpoints(patterns or ("*",), index)
    if as_json_:
        print_json(rows)
        return
    if not rows:
        named = {"fusion strategy": fusions, "architecture": architectures, "data set": data}
        kind = next((kind for kind, asked in named.items() if asked), "checkpoint")
        raise _nothing(kind, patterns)
    from fusionzoo.report.table import Table, text_table

    columns = tuple(rows[0])
    cells = tuple(tuple(_cell(row[c]) for c in columns) for row in rows)
    align = "".join("<" if isinstance(rows[0][c], str) else ">" for c in columns)
    for line in text_table(Table("", columns, cells, align), width=200 if fusions else 160, indent=0):
        say(line)


def kept(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The names that match any of the patterns, in their order."""
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def _checkpoints(patterns: tuple[str, ...], index: str | None) -> list[dict[str, Any]]:
    from fusionzoo.cli.info import known_records
    from fusionzoo.report.summary import summary

    known = known_records(index)
    return [summary(known[name].to_dict()) for name in kept(known, patterns)]


def _fusions(patterns: tuple[str, ...]) -> list[dict[str, Any]]:
    from fusionzoo.cli.index import BASELINES, FUSIONS

    baseline = {"family": "baseline", "interaction": "-", "params": None, "paper": "", "licence": ""}
    facts: dict[str, dict[str, Any]] = {**FUSIONS, **dict.fromkeys(BASELINES, baseline)}
    return [
        {
            "strategy": name,
            "family": facts[name]["family"],
            "interaction": facts[name]["interaction"],
            "params at C=64": facts[name]["params"],
            "licence of the original": original_licence(facts[name]["licence"]),
            "paper": facts[name]["paper"],
        }
        for name in kept(facts, patterns)
    ]


def original_licence(licence: str) -> str:
    """What a strategy's licence line says of its original; empty where the block is ours alone.

    >>> original_licence("MIT (ours, from the equations); original: Apache-2.0")
    'Apache-2.0'
    """
    return licence.partition("; ")[2].removeprefix("original: ")


def _architectures(patterns: tuple[str, ...]) -> list[dict[str, Any]]:
    from fusionzoo.cli.index import PUBLISHED
    from fusionzoo.cli.info import composed

    names = dict.fromkeys(PUBLISHED, {"fusion": "published", "encoder": "-", "decoder": "-"}) | composed()
    return [{"architecture": name, **names[name]} for name in kept(names, patterns)]


def _data_sets(patterns: tuple[str, ...]) -> list[dict[str, Any]]:
    from fusionzoo.data.spec import KINDS, OFFICIAL, official

    plain: dict[str, tuple[str, str, dict[str, int | None], str, str]] = {
        "planted": ("planted", "depth", {"train": 2000, "val": 200, "test": 200}, "12", "generated here: MIT"),
        "planted-2": ("planted-2", "depth", {"train": 2000, "val": 200, "test": 200}, "18", "generated here: MIT"),
        "planted-multi": ("planted-multi", "depth+thermal+event", {"train": 2000, "val": 200, "test": 200}, "14",
                          "generated here: MIT"),
        "planted-scenes": ("planted-scenes", "depth", {"train": 2000, "val": 200, "test": 200}, "8 scene types",
                           "generated here: MIT"),
        "planted-joint": ("planted-joint", "depth", {"train": 2000, "val": 200, "test": 200}, "8, and 8 scene types",
                          "generated here: MIT"),
        "planted-saliency": ("planted-saliency", "depth", {"train": 2000, "val": 200, "test": 200},
                             "2: background, salient", "generated here: MIT"),
        "nyuv2-joint": ("nyuv2-joint:PATH", "depth", {"train": 681, "val": 114, "test": 654},
                        "40, 13, 4, and 10 scene types", "none stated"),
        "nyuv2-scenes": ("nyuv2-scenes:PATH", "depth", {"train": 681, "val": 114, "test": 654}, "10 scene types",
                         "none stated"),
        "nyuv2": ("nyuv2:PATH", "depth", {"train": 681, "val": 114, "test": 654}, "40, 13, 4", "none stated"),
        "folder": ("folder:PATH", "any", {}, "any", "yours"),
    }  # fmt: skip
    rows = []
    for name in kept(KINDS, patterns):
        if name in OFFICIAL:
            cls = official(name)
            facts = cls.facts
            splits = {part: facts.splits[part] for part in facts.parts}
            words = f"#{'|'.join(cls.words)}" if cls.words else ""
            row = (f"{name}:PATH", cls.x_kind, splits, ", ".join(map(str, facts.classes)), facts.licence)
        else:
            row, words = plain[name], ""
        spec, x, splits, classes, licence = row
        counts = ", ".join(f"{split} {n}" for split, n in splits.items())
        rows.append({"data": spec, "x": x, "images": counts, "classes": classes, "words": words, "licence": licence})
    return rows


def _nothing(kind: str, patterns: tuple[str, ...]) -> Exception:
    from fusionzoo.errors import InputError, UnknownNameError

    if not patterns:
        return InputError(
            f"there is no {kind} to list; a checkpoint folder or Hub name works with: fusionzoo check NAME"
        )
    return UnknownNameError(f"no {kind} matches {' '.join(map(repr, patterns))} (see: fusionzoo list --help)")
