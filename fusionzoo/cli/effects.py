"""What `fusionzoo trace` and `fusionzoo robustness` share: options, opening checkpoint and data, the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fusionzoo.cli.output import align_option, device_option, empty_option, json_option, print_json, say, size_option

if TYPE_CHECKING:
    from fusionzoo.dissect.effects import Robustness, Trace

__all__ = ["conclude", "options", "subject"]

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R", "Trace", "Robustness")


def options(command: F) -> F:
    """The options of `fusionzoo check` that make sense for one checkpoint, and --state."""
    for option in reversed(
        (
            click.option(
                "--data",
                default="planted",
                show_default=True,
                metavar="SPEC",
                help="planted, folder:PATH, ... (list --data).",
            ),
            click.option("--split", help="Split of the data.  [default: test]"),
            click.option("--limit", type=click.IntRange(min=1), help="Use at most so many images, evenly spread."),
            size_option,
            align_option,
            empty_option,
            device_option,
            click.option("--out", type=click.Path(dir_okay=False), metavar="FILE", help="Also write the JSON here."),
            click.option("--state", type=click.Path(dir_okay=False), metavar="FILE", help="Save sums here; resume."),
            click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True),
            click.option("--revision", help="Branch, tag or commit of a Hub repository."),
            click.option(
                "--index", metavar="FILE|REPO", help="Look for NAME in this index or hf-hub:org/name as well."
            ),
            click.option("--quiet", is_flag=True, help="No progress on stderr."),
            json_option,
        )
    ):
        command = option(command)
    return command


def subject(
    name: str,
    data: str,
    split: str | None,
    limit: int | None,
    revision: str | None,
    index: str | None,
    out: str | None = None,
    *,
    size: tuple[int, int] | None = None,
    align: bool = False,
    empty: str = "refuse",
    device: str | None = None,
) -> tuple[Any, Any, str]:
    """(model, dataset, name) of a checkpoint on data, the same images at the same size as `fusionzoo check` takes.

    The folder of the file `out` is made, rather now than after the work.

    Raises:
        CheckFailed: the checkpoint fails its verification. UnknownNameError, InputError: no such checkpoint or data.
    """
    from fusionzoo._check import labelled, open_data, record_of, unlike
    from fusionzoo.hub.load import resolve
    from fusionzoo.models.device import usable_device

    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    checkpoint = resolve(name, revision, index=index)
    model, _ = checkpoint.load()
    if device is not None:
        model.to(usable_device(device))
    found = open_data(data, model, record_of(checkpoint), split=split, size=size, limit=limit, align=align, empty=empty)
    labelled(found)
    unlike(model, found)
    return model, found, checkpoint.name


def conclude(found: R, text: Callable[[R], str], out: str | None, as_json_: bool) -> None:
    """Saves a result to `out`, where that is given, and prints it as JSON or as `text` tells it."""
    if out is not None:
        found.save(out)
    if as_json_:
        print_json(found.to_dict())
    else:
        say(text(found) + (f"\nwrote {out}" if out is not None else ""))
