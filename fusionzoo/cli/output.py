"""What the commands share: options and their types, results and JSON on stdout, remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fusionzoo.schema import encode, typed

__all__ = ["Pair", "align_option", "as_json", "checkpoint_options", "device_option", "empty_option", "index_option",
           "json_option", "note", "print_json", "quiet_option", "say", "size_option"]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


class Size(click.ParamType):
    """`480x640` -> (480, 640)."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        height, cross, width = value.lower().partition("x")
        if not (cross and height.isdecimal() and width.isdecimal() and int(height) > 0 and int(width) > 0):
            self.fail(f"{value!r} is no height x width, such as 480x640", param, ctx)
        return int(height), int(width)


class Pair(click.ParamType):
    """`KEY=VALUE` -> (key, value): a JSON value where it is one (number, list, true), else the text itself."""

    def __init__(self, name: str = "KEY=VALUE") -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        key, sign, text = value.partition("=")
        if not sign or not key:
            self.fail(f"{value!r} is not {self.name}", param, ctx)
        return key, typed(text)


align_option = click.option("--align", is_flag=True, help="Resample x to the size of rgb (nearest neighbour).")
empty_option = click.option(
    "--empty",
    type=click.Choice(["refuse", "skip", "keep"]),
    default="refuse",
    show_default=True,
    help="Images without any valid x: refuse, skip them, or keep them for their rgb.",
)
device_option = click.option("--device", help="cpu, cuda, cuda:1, mps.  [default: cpu]")
size_option = click.option("--size", type=Size(), help="Feed the model images of this size.  [default: its own]")
index_option = click.option("--index", metavar="FILE|REPO",
                            help="Look for NAME in this index file or hf-hub:org/name as well.")  # fmt: skip
quiet_option = click.option("--quiet", is_flag=True, help="No progress on stderr.")
json_option = click.option("--json", "as_json_", is_flag=True, help="Print JSON, and nothing else, on stdout.")


def checkpoint_options(command: F) -> F:
    """The options of the commands that run a checkpoint on data, as `fusionzoo.check` calls its arguments."""
    for option in reversed((
        click.option("--data", metavar="SPEC", help="planted, folder:PATH, ... (list --data).  [default: scenes of the"
                     " kind that it was trained on, else planted]"),
        click.option("--split", help="Split of the data.  [default: test]"),
        click.option("--limit", type=click.IntRange(min=1), help="Use at most so many images, evenly spread."),
        size_option,
        align_option,
        empty_option,
        device_option,
        click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True),
        click.option("--revision", help="Branch, tag or commit of a Hub repository."),
        index_option,
        quiet_option,
        json_option,
    )):  # fmt: skip
        command = option(command)
    return command


def as_json(values: Any) -> str:
    """JSON text; NaN and infinities, which JSON lacks, become null."""
    return json.dumps(encode(values, nan_to_none=True), indent=1, ensure_ascii=False, allow_nan=False)


def say(text: str) -> None:
    """A result, on stdout. What the terminal's encoding lacks becomes `?` instead of an error."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding))


def print_json(values: Any) -> None:
    """JSON on stdout."""
    say(as_json(values))


def note(text: str) -> None:
    """Progress and remarks, on stderr."""
    click.echo(text, err=True)
