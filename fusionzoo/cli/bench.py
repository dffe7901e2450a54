"""`fusionzoo bench --data SPEC`: fusion strategies under one protocol, ranked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fusionzoo.cli.output import Pair, json_option, note, print_json, say

__all__ = ["command"]


def _seeds(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 0,1,2", ctx, param) from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise click.BadParameter(f"{value!r}: seeds are 0 or more, each once", ctx, param)
    return seeds


@click.command(name="bench")
@click.option("--data", required=True, metavar="SPEC", help="planted, folder:PATH, ... (list --data).")
@click.option(
    "--protocol",
    "protocol_name",
    metavar="NAME|FILE.toml",
    help="Held equal: planted, planted-2, nyu13, nyu40, scenes, saliency, folder, a file; default: by data.",
)
@click.option("--strategies", "patterns", default="all", show_default=True,
              help="Names and patterns, by commas; NAME@OPTION=VALUE sets an option, NAME+TERM trains with rule or"
                   " streams.")  # fmt: skip
@click.option("--rule", type=click.Choice(["off", "on", "both"]), default="off", show_default=True,
              help="Train with the consistency-specificity rule on the encoders, without, or both ways.")  # fmt: skip
@click.option("--seeds", default="0,1,2", show_default=True, callback=_seeds, help="Of the final runs.")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="New folder for results and checkpoints.")
@click.option("--resume", is_flag=True, help="Go on with an earlier run of the same protocol in --out.")
@click.option("--init", default="", metavar="FROM",
              help="Both streams' weights, as of finetune; default: the protocol's.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the protocol's.")
@click.option("--empty", type=click.Choice(["refuse", "skip", "keep"]),
              help="Images without any valid x: refuse (usual), skip them, or keep them for their rgb.")  # fmt: skip
@click.option("--set", "changes", multiple=True, type=Pair("FIELD=VALUE"),
              help="Another value of a field of the protocol, such as drop_modality=0.2; repeatable.")  # fmt: skip
@click.option("--reference", default="concat", show_default=True, help="Strategy that the others are compared with.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Models trained side by side.")
@click.option("--device", help="cpu, cuda, ...; default: cuda where there is one.")
@json_option
def command(
    data: str,
    protocol_name: str | None,
    out: str,
    epochs: int | None,
    empty: str | None,
    changes: tuple[tuple[str, Any], ...],
    reference: str,
    as_json_: bool,
    **options: Any,
) -> None:
    """Compare fusion strategies fairly: one protocol, only the fusion changes.

    Writes one JSON file a run to OUT/results, the page index.html, ranked.md and the checkpoints; the table so far goes
    to stderr.
    """
    from fusionzoo.bench import Row, RunResult, bench, failed_rows, protocol_for, rank, read_protocol
    from fusionzoo.bench.page import html
    from fusionzoo.bench.plan import published, variant
    from fusionzoo.bench.table import ranked
    from fusionzoo.errors import CheckFailed, check_known
    from fusionzoo.files import atomic_write
    from fusionzoo.models import list_fusions
    from fusionzoo.schema import encode
    from fusionzoo.tasks import spoken

    protocol = read_protocol(
        protocol_name or protocol_for(data), **({"epochs": epochs, "empty": empty} | dict(changes))
    )
    known = [*list_fusions(), *published()]
    check_known("strategy for --reference", variant(reference).fusion, known, "fusionzoo list --fusions")

    def write(results: list[RunResult], refused: Mapping[str, str] | None = None) -> tuple[list[Row], str]:
        """The rows so far and their table; both files where there is a row."""
        if not (rows := rank(results, reference)):
            return [], ""
        table = spoken(ranked(rows, reference), results[0].task)
        atomic_write(Path(out) / "ranked.md", table + "\n")
        atomic_write(Path(out) / "index.html", html(results, refused, reference))
        return rows, table

    def report(results: list[RunResult]) -> None:
        _, table = write(results)
        last = results[-1]
        where = f"{last.strategy} {last.phase} seed {last.seed} lr {last.learning_rate:g}"
        text = last.failed or f"mIoU {100 * last.scores['both'].miou:.2f} ({last.seconds:.0f} s)"
        note(f"{where}: {spoken(text, last.task)}")
        if table and not as_json_:
            note(table)

    results, refused = bench(data, protocol, out, report=report, **options)
    (rows, table), failed = write(results, refused), failed_rows(results)
    if not rows:
        raise CheckFailed(f"no strategy could be trained: {next(iter(failed.values()), 'nothing ran')}")
    if reference not in {row.strategy for row in rows}:
        note(f"{reference} is not among the rows: no differences from it; --reference names another")
    if as_json_:
        print_json({"protocol": encode(protocol), "rows": encode(rows), "left_out": refused, "failed": failed})
        return
    say(table)
    for name, reason in refused.items():
        say(f"left out: {name}: {reason}")
    for name, reason in failed.items():
        say(f"failed: {name}: {reason}")
