"""What `fusionzoo trace` and `fusionzoo robustness` share: options, opening checkpoint and data, the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fusionzoo.cli.output import F, checkpoint_options, print_json, say

if TYPE_CHECKING:
    from fusionzoo.dissect.effects import Robustness, Trace

__all__ = ["conclude", "options", "subject"]

R = TypeVar("R", "Trace", "Robustness")


def options(command: F) -> F:
    """The options of `fusionzoo check` that make sense for one checkpoint, a file for --out, and --state."""
    out = click.option("--out", type=click.Path(dir_okay=False), metavar="FILE", help="Also write the JSON here.")
    state = click.option("--state", type=click.Path(dir_okay=False), metavar="FILE", help="Save sums here; resume.")
    return checkpoint_options(out(state(command)))


def subject(name: str, given: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """(model, dataset, common arguments of an experiment) of a checkpoint on data; `given`: the values of `options`.

    The same images at the same size as `fusionzoo check` takes. The folder of --out is made, rather now than after the
    work.

    Raises:
        CheckFailed: the checkpoint fails its verification. UnknownNameError, InputError: no such checkpoint or data.
    """
    from fusionzoo._check import labelled, open_data
    from fusionzoo.hub.load import resolve
    from fusionzoo.models.device import usable_device

    if given["out"] is not None:
        Path(given["out"]).parent.mkdir(parents=True, exist_ok=True)
    checkpoint = resolve(name, given["revision"], index=given["index"])
    model, _ = checkpoint.load()
    if given["device"] is not None:
        model.to(usable_device(given["device"]))
    wanted = {key: given[key] for key in ("split", "size", "limit", "align", "empty")}
    found = open_data(given["data"], model, checkpoint.stated, **wanted)
    labelled(found)
    common = {key: given[key] for key in ("limit", "batch_size", "state")}
    return model, found, {**common, "progress": not given["quiet"], "name": checkpoint.name}


def conclude(found: R, text: Callable[[R], str], given: Mapping[str, Any]) -> None:
    """Saves a result to --out, where that is given, and prints it as JSON or as `text` tells it."""
    out = given["out"]
    if out is not None:
        found.save(out)
    if given["as_json_"]:
        print_json(found.to_dict())
    else:
        say(text(found) + (f"\nwrote {out}" if out is not None else ""))
