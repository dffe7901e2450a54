"""`fusionzoo trace NAME`: causal tracing, which stage of which modality the prediction rests on."""

from __future__ import annotations

import click

from fusionzoo.cli.effects import conclude, options, subject

__all__ = ["command"]


@click.command(name="trace")
@click.argument("name")
@click.option(
    "--edit", "edits", multiple=True, metavar="EDIT",
    help="mean, zero, swap, restore, channels or concept; may be repeated.  [default: mean, swap, restore]",
)  # fmt: skip
@click.option("--points", multiple=True, metavar="PATTERN", help="Keep to these probes; may be repeated.")
@click.option("--channel-groups", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--concept", "concepts", multiple=True, metavar="CLASS", help="Of the edit concept.  [default: all]")
@options
def command(
    name: str,
    edits: tuple[str, ...],
    points: tuple[str, ...],
    channel_groups: int,
    concepts: tuple[str, ...],
    data: str,
    split: str | None,
    limit: int | None,
    size: tuple[int, int] | None,
    align: bool,
    empty: str,
    device: str | None,
    out: str | None,
    state: str | None,
    batch_size: int,
    revision: str | None,
    index: str | None,
    quiet: bool,
    as_json_: bool,
) -> None:
    """Ablate, swap and restore each stage of each modality; say what the prediction rests on.

    NAME is a bundled checkpoint (fusionzoo list), a checkpoint folder, or hf-hub:org/name. The effect of an edit is the
    mIoU (and the IoU of each class) that it costs; of `restore`, what it brings back while a modality is missing.
    """
    from fusionzoo.dissect.trace import trace
    from fusionzoo.report import trace_text

    model, dataset, known = subject(
        name, data, split, limit, revision, index, out, size=size, align=align, empty=empty, device=device
    )
    found = trace(
        model, dataset, edits=edits or None, points=points or None, limit=limit, batch_size=batch_size,
        channel_groups=channel_groups, concepts=concepts or None, progress=not quiet, state=state, name=known,
    )  # fmt: skip
    conclude(found, trace_text, out, as_json_)
