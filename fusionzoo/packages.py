"""Packages that are called as the function whose name they have: `fusionzoo.dissect(...)`, `fusionzoo.bench(...)`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["callable_as"]


def callable_as(package: str, function: Callable[..., Any]) -> None:
    """Makes an imported package callable: the import system makes `fusionzoo.NAME` the package, whoever imports what of
    it first, so the function of that name has to be the package itself.

    Args:
        package: full name. function: what a call of it calls; its signature is the package's.
    """

    class Package(ModuleType):
        __call__ = staticmethod(function)
        __signature__ = property(lambda self: inspect.signature(function))

    sys.modules[package].__class__ = Package
