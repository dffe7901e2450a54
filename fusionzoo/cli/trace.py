"""`fusionzoo trace NAME`: causal tracing, which stage of which modality the prediction rests on."""

from __future__ import annotations

from typing import Any

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
    **given: Any,
) -> None:
    """Ablate, swap and restore each stage of each modality; say what the prediction rests on.

    NAME is a bundled checkpoint (fusionzoo list), a checkpoint folder, or hf-hub:org/name. The effect of an edit is the
    mIoU (and the IoU of each class) that it costs; of `restore`, what it brings back while a modality is missing.
    """
    from fusionzoo.dissect.trace import trace
    from fusionzoo.report import trace_text

    model, dataset, common = subject(name, given)
    found = trace(
        model, dataset, edits=edits or None, points=points or None, channel_groups=channel_groups,
        concepts=concepts or None, **common,
    )  # fmt: skip
    conclude(found, trace_text, given)
