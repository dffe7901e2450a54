"""What the commands share: writing results to stdout, JSON, and reports to a folder."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

import click

__all__ = [
    "align_option",
    "as_json",
    "device_option",
    "empty_option",
    "json_option",
    "note",
    "print_json",
    "say",
    "size_option",
]


class _Size(click.ParamType):
    """`480x640` -> (480, 640)."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        height, cross, width = value.lower().partition("x")
        if not (cross and height.isdecimal() and width.isdecimal() and int(height) > 0 and int(width) > 0):
            self.fail(f"{value!r} is no height x width, such as 480x640", param, ctx)
        return int(height), int(width)


align_option = click.option("--align", is_flag=True, help="Resample x to the size of rgb (nearest neighbour).")
empty_option = click.option(
    "--empty",
    type=click.Choice(["refuse", "skip", "keep"]),
    default="refuse",
    show_default=True,
    help="Images without any valid x: refuse, skip them, or keep them for their rgb.",
)
device_option = click.option("--device", help="cpu, cuda, cuda:1, mps.  [default: cpu]")
size_option = click.option("--size", type=_Size(), help="Feed the model images of this size.  [default: its own]")

json_option = click.option("--json", "as_json_", is_flag=True, help="Print JSON, and nothing else, on stdout.")


def as_json(values: Any) -> str:
    """JSON text; NaN and infinities, which JSON lacks, become null."""
    return json.dumps(_finite(values), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
