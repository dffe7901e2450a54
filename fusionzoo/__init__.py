"""fusionzoo: RGB-X fusion models in plain PyTorch, every fusion block open to probes, and an engine that dissects them.

Importing this package does no work and loads no torch: public names are looked up on first use. `dissect` and
`check` name both a function and the module it lives in; here they are the module, callable like the function.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "list_models": "fusionzoo.models",
    "list_fusions": "fusionzoo.models",
    "create_model": "fusionzoo.models",
    "from_pretrained": "fusionzoo.hub",
    "probe": "fusionzoo.probes",
    "intervene": "fusionzoo.probes",
    "listen": "fusionzoo.probes",
    "trace": "fusionzoo.dissect.trace",
    "robustness": "fusionzoo.dissect.robustness",
}
_CALLABLE = ("dissect", "check")

__all__ = ["__version__", *_HOMES, *_CALLABLE]

if TYPE_CHECKING:
    from fusionzoo.check import check as check
    from fusionzoo.dissect import dissect as dissect
    from fusionzoo.dissect.robustness import robustness as robustness
    from fusionzoo.dissect.trace import trace as trace
    from fusionzoo.hub import from_pretrained as from_pretrained
    from fusionzoo.models import create_model as create_model
    from fusionzoo.models import list_fusions as list_fusions
    from fusionzoo.models import list_models as list_models
    from fusionzoo.probes import intervene as intervene
    from fusionzoo.probes import listen as listen
    from fusionzoo.probes import probe as probe


class _CallableModule(ModuleType):
    """A module that calls the function it holds under its own name: `fusionzoo.dissect(...)`."""

    def _function(self) -> Any:
        return self.__dict__[self.__name__.rpartition(".")[2]]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function()(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function())


class _Package(ModuleType):
    """The import system sets a submodule as an attribute of its package; here the two that share a name with their
    function become callable on the way in, whoever imports them, first or later, and under whatever spelling."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _CALLABLE and type(value) is ModuleType:
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _CALLABLE:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fusionzoo' has no attribute {name!r}; public names: {', '.join(__all__[1:])}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
