"""Names -> builders: list, match by pattern, close-match errors, old names that warn; duplicate names raise.

One `Registry` per kind of thing. Registries are filled by the packages that own the things (`fusionzoo.fusion`,
`fusionzoo.models`) through explicit imports in their `__init__`, never by import side effects elsewhere. A registry
knows its owner by name and imports it when it is first used: whoever has the registry alone finds everything in it.
"""

from __future__ import annotations

import fnmatch
import importlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from fusionzoo.errors import unknown

__all__ = ["Registry", "architectures", "fusions", "match", "natural_key", "wrappers"]

T = TypeVar("T")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that orders numbers by value: `mit-b2` before `mit-b10`.

    >>> sorted(["r101", "r50", "r18"], key=natural_key)
    ['r18', 'r50', 'r101']
    """
    return [(0, int(p), "") if p.isdigit() else (1, 0, p.lower()) for p in re.split(r"(\d+)", name) if p]


def match(names: Iterable[str], patterns: str | Sequence[str] = "*", exclude: str | Sequence[str] = ()) -> list[str]:
    """The names that match any of the fnmatch `patterns` and none of `exclude`, in natural order.

    >>> match(["gate", "concat", "sum"], "*a*", exclude="gate")
    ['concat']
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    refused = [exclude] if isinstance(exclude, str) else list(exclude)
    hit = lambda name, group: any(fnmatch.fnmatchcase(name, p) for p in group)  # noqa: E731
    return sorted((n for n in names if hit(n, wanted) and not hit(n, refused)), key=natural_key)


class Registry(Generic[T]):
    """A mapping from names to things (classes or builder functions) of one `kind`.

    Args:
        kind: in words, for errors.
        hint: the command that lists them.
        owner: package that fills it, imported before the first use; "" where nobody does.

    >>> animals = Registry("animal")
    >>> @animals.register("cat")
    ... class Cat: ...
    >>> animals.get("cat") is Cat
    True
    """

    def __init__(self, kind: str, hint: str = "", owner: str = "") -> None:
        self.kind = kind
        self.hint = hint
        self._owner = owner
        self._entries: dict[str, T] = {}
        self._renamed: dict[str, str] = {}

    def _filled(self) -> dict[str, T]:
        """The entries, with those of the owner, whose own registering comes here too and finds no owner to import."""
        owner, self._owner = self._owner, ""
        if owner:
            importlib.import_module(owner)
        return self._entries

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that stores the thing under `name`. Raises ValueError when the name is taken."""

        def keep(thing: T) -> T:
            self.add(name, thing)
            return thing

        return keep

    def add(self, name: str, thing: T) -> None:
        """Stores `thing` under `name`. Raises ValueError when the name is taken or malformed."""
        if name in self._filled():
            raise ValueError(f"{self.kind} {name!r} is registered already, by {self._entries[name]!r}")
        if name in self._renamed:
            raise ValueError(f"{self.kind} {name!r} is the old name of {self._renamed[name]!r}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise ValueError(f"{self.kind} name {name!r}: use lower-case letters, digits, '_' and '-'")
        self._entries[name] = thing

    def rename(self, old: str, new: str) -> None:
        """For one release `get` takes `old` for `new`, with a FutureWarning; lists show the new name alone.

        Raises:
            ValueError: `old` is registered or renamed already, or `new` is not registered.
        """
        if old in self._entries or old in self._renamed:
            raise ValueError(f"{self.kind} {old!r} is registered or renamed already")
        if new not in self._entries:
            raise ValueError(f"{self.kind} {new!r}, the new name of {old!r}, is not registered")
        self._renamed[old] = new

    def current(self, name: str) -> str:
        """`name`, or what it is called now, with a FutureWarning."""
        if name in self._filled() or name not in self._renamed:
            return name
        new = self._renamed[name]
        warnings.warn(f"{self.kind} {name!r} is called {new!r} now; the old name goes with the next release",
                      FutureWarning, stacklevel=3)  # fmt: skip
        return new

    def get(self, name: str) -> T:
        """The thing called `name`, now or before it was renamed; UnknownNameError with the closest names otherwise."""
        name = self.current(name)
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries, self.hint)
        return self._entries[name]

    def names(self, patterns: str | Sequence[str] = "*", exclude: str | Sequence[str] = ()) -> list[str]:
        """Registered names that match, in natural order."""
        return match(self._filled(), patterns, exclude)

    def __contains__(self, name: object) -> bool:
        return name in self._filled() or name in self._renamed

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._filled())


fusions: Registry[Any] = Registry("fusion strategy", "fusionzoo list --fusions", "fusionzoo.fusion")
architectures: Registry[Any] = Registry("architecture", "fusionzoo list --architectures", "fusionzoo.models")
wrappers: Registry[Any] = Registry("wrapper of a model", owner="fusionzoo.models")
