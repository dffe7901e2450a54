"""The errors every room raises. Each carries the exit status the command line answers with.

2: wrong use or input (a missing file, a bad shape, an unknown name). 1: a check was carried out and failed.
This module imports nothing and may be imported by every room, the ground ones included.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

__all__ = ["CheckFailed", "DivergedError", "FusionZooError", "FusionZooWarning", "InputError", "UnknownNameError",
           "check_known", "closest", "first_line", "unknown"]  # fmt: skip


class FusionZooError(Exception):
    """Base of all errors that fusionzoo raises on purpose; its text is one clear line for a person.

    Whatever a name out of a file brings along (line breaks, control characters) becomes a space.

    >>> str(FusionZooError("no file 'a\\nb'"))
    "no file 'a b'"
    """

    exit_status = 2

    def __init__(self, text: str = "") -> None:
        super().__init__("".join(c if c.isprintable() else " " for c in text))


class InputError(FusionZooError, ValueError):
    """The input cannot be used: missing or corrupt file, wrong shape or dtype, values out of range."""


class DivergedError(InputError):
    """A training whose loss, gradient or class scores are no longer finite: too large a learning rate, as a rule."""


class UnknownNameError(FusionZooError, KeyError):
    """A name that is not known; the text gives the closest ones and how to list them.

    `kind` says what was named, `names` what is known of that kind.
    """

    kind = ""
    names: tuple[str, ...] = ()

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0]) if self.args else ""


class CheckFailed(FusionZooError, ValueError):
    """A verification was carried out and failed (checksum, strict keys, finite weights, fingerprint, ...)."""

    exit_status = 1


class FusionZooWarning(UserWarning):
    """What a function of fusionzoo tells its caller, who goes on: one line for a person."""


def first_line(error: BaseException, most: int = 200) -> str:
    """What an error of another library says first, up to `most` characters; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def closest(name: str, names: Iterable[str], n: int = 3) -> list[str]:
    """The `n` names nearest to `name` by difflib's ratio, best first, each once; possibly none.

    >>> closest("concta", ["concat", "concat", "sum"])
    ['concat']
    """
    return difflib.get_close_matches(name, list(dict.fromkeys(names)), n, cutoff=0.5)


def unknown(kind: str, name: str, names: Iterable[str], hint: str = "") -> UnknownNameError:
    """An UnknownNameError that says what was wrong, the closest valid choices and the next command.

    >>> str(unknown("fusion strategy", "concta", ["concat", "sum"], "fusionzoo list --fusions"))
    "unknown fusion strategy 'concta'; did you mean 'concat'? (see: fusionzoo list --fusions)"
    """
    names = list(names)
    near = closest(name, names)
    text = f"unknown {kind} {name!r}"
    if near:
        text += f"; did you mean {', '.join(map(repr, near))}?"
    elif names and len(names) <= 20:
        text += f"; known: {', '.join(names)}"
    if hint:
        text += f" (see: {hint})"
    error = UnknownNameError(text)
    error.kind, error.names = kind, tuple(names)
    return error


def check_known(kind: str, name: str, names: Collection[str], hint: str = "") -> None:
    """Raises the error of `unknown` for a name that is none of `names`."""
    if name not in names:
        raise unknown(kind, name, names, hint)
