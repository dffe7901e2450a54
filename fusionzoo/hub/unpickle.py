"""`torch.save` files of others, read without running anything of theirs: `torch.load(weights_only=True)` and stand-ins.

Training scripts put more than tensors beside their weights: NumPy numbers, settings, paths, dates, objects of their
own. torch refuses such files whole. Here each name that a file refers to and torch does not know is answered by a
stand-in, a class of this file that keeps nothing but its name: nothing is imported, nothing of the file is called.
Objects and the calls of `INERT` (which only make values) are passed over so; a call of anything else is refused by
its name, and so is a whole pickled module. NumPy arrays of plain numbers become tensors.
"""

from __future__ import annotations

import _compat_pickle
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from fusionzoo.errors import InputError, first_line
from fusionzoo.hub.kinds import refuse_other_kinds

__all__ = ["as_tensor", "is_module", "kind_of", "load_inert", "save_state_of"]

INERT = (
    "argparse.", "collections.", "datetime.", "decimal.", "enum.", "fractions.", "functools.partial", "numpy.",
    "pathlib.", "types.SimpleNamespace", "typing.", "uuid.", "zoneinfo.", "copyreg._reconstructor", "builtins.bool",
    "builtins.bytes", "builtins.dict", "builtins.float", "builtins.frozenset", "builtins.int", "builtins.list",
    "builtins.object", "builtins.range", "builtins.slice", "builtins.str", "builtins.tuple", "builtins.type",
    "torch.optim.", "pytorch_lightning.utilities.parsing.", "lightning.pytorch.utilities.parsing.",
    "lightning_fabric.utilities.", "lightning.fabric.utilities.", "mmengine.", "mmcv.", "omegaconf.", "yacs.",
    "easydict.", "addict.", "munch.",
)  # fmt: skip
"""Beginnings of names whose calls make values and no more. What stands in for them makes none."""

_ERRORS = (
    pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError, LookupError, AttributeError, TypeError,
    AssertionError, ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What torch raises for files that are damaged, cut off or of another form."""

_RETRIES = 16


class _Foreign(type):
    """The class of stand-ins; calling one stands for the call that the file asks for."""

    named: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not cls.named.startswith(INERT):
            raise _Refused(cls.named)
        if cls.named.endswith(("Dict", "dict", "OrderedDict")):
            return OrderedDict()
        if cls.named == "collections.deque":
            return list(args[0]) if args and isinstance(args[0], list | tuple) else []
        made: Any = cls.__new__(cls, *args)  # type: ignore[arg-type]
        return made


class _StandIn(metaclass=_Foreign):
    """An object of a class that is not loaded: its name, and the state that the file gives it."""

    named = ""

    def __new__(cls, *args: Any) -> Any:
        made = super().__new__(cls)
        made.args, made.state = args, None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    args: tuple[Any, ...]
    state: Any


class _Mapping(metaclass=_Foreign):
    """Stands in for a subclass of dict: torch fills only its own kinds of mappings."""

    def __new__(cls, *args: Any) -> Any:
        return OrderedDict()


class _List(metaclass=_Foreign):
    """Stands in for a subclass of list."""

    def __new__(cls, *args: Any) -> Any:
        return []


class _Refused(Exception):
    """The file asks for a call of something that is not known to be harmless."""


def load_inert(path: Path) -> Any:
    """What a `torch.save` file holds: tensors on the CPU in their containers, stand-ins for everything else.

    Raises:
        InputError: another kind of file, a damaged one, or a call of something unknown.
    """
    refuse_other_kinds(path)
    try:
        names = sorted(_names(path))
    except _ERRORS as error:
        raise InputError(f"{path} is refused: {_damaged(error)}") from error
    stands: dict[str, _Foreign] = {name: _stand_in(name) for name in names}
    for _ in range(_RETRIES):
        try:
            return _load(path, stands)
        except _Refused as error:
            raise InputError(
                f"{path} is refused: it holds more than tensors: it calls {error}, and nothing of a file is run here;"
                " in the environment that made it, save the weights alone:"
                " torch.save(checkpoint['state_dict'], 'weights.pth'), with the name of its weights"
            ) from None
        except _ERRORS as error:
            if not _other_container(error, stands):
                raise InputError(f"{path} is refused: {_why(error, names)}") from error
    raise InputError(f"{path} is refused: it holds more than tensors: {', '.join(names[:3])}")


def _load(path: Path, stands: dict[str, _Foreign]) -> Any:
    allowed: list[Any] = [(stand, name) for name, stand in stands.items()]
    with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        warnings.filterwarnings("ignore", message=".*TypedStorage is deprecated")
        # text of Python 2 is bytes without an encoding; latin1 takes every byte, and names of tensors are ASCII (torch
        # passes it on, and warns that it would not)
        warnings.filterwarnings("ignore", message="pickle_load_args only works")
        return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")


def _stand_in(name: str, base: type = _StandIn) -> _Foreign:
    base = {"numpy.ndarray": _Array, "numpy.dtype": _DType}.get(name, base)
    if name.startswith("numpy.") and name.endswith(".multiarray._reconstruct"):
        base = _Reconstruct
    # the module makes the class's text, which torch's messages hold, one of a kind
    return _Foreign(name.replace(".", "_"), (base,), {"named": name, "__module__": f"standin.{len(name)}"})


def _other_container(error: BaseException, stands: dict[str, _Foreign]) -> bool:
    """Whether a stand-in turned out to be a mapping or a list: torch's message names its class."""
    text = str(error)
    for name, stand in stands.items():
        if not issubclass(stand, _StandIn):
            continue
        base: type | None = None
        if f"got {stand!r}" in text:
            base = _List if "append" in text or "extend" in text else _Mapping if "SETITEM" in text else None
        elif f"'{stand.__name__}' object does not support item assignment" in text:  # until torch 2.8
            base = _Mapping
        if base is not None:
            stands[name] = _stand_in(name, base)
            return True
    return False


def _names(path: Path) -> set[str]:
    """Every global that the file's pickles name. torch answers for those that it knows, whatever is allowed."""
    found: set[str] = set()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inner = next(n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
            with archive.open(inner) as handle:
                found |= _globals(handle)
    else:
        with open(path, "rb") as handle:
            for _ in range(5):  # the older form: magic number, protocol, system, the object, keys of its storages
                found |= _globals(handle)
    return found


def _globals(handle: IO[bytes]) -> set[str]:
    found = set()
    for opcode, arg, _ in pickletools.genops(handle):
        if opcode.name == "GLOBAL":
            module, _, name = str(arg).partition(" ")
            renamed = (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            module, name = _compat_pickle.NAME_MAPPING.get((module, name), renamed)
            found.add(f"{module}.{name}")
    return found


_TENSORS = ("torch._utils.", "torch._tensor.", "torch.storage.", "_codecs.", "torch.Size", "torch.device")
"""Beginnings of names that tensors themselves need."""


# ------------------------------------------------------------------------------------------------- arrays of NumPy


class _DType(_StandIn):
    """`numpy.dtype`: a code such as `f4`, and the byte order that its state names."""

    def as_dtype(self) -> np.dtype[Any] | None:
        code = self.args[0] if self.args else ""
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "<"
        if isinstance(code, str) and code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"):
            return np.dtype(f"{'>' if order == '>' else '<'}{code}")
        return None


class _Array(_StandIn):
    """`numpy.ndarray`: its state is (version, shape, dtype, whether in Fortran's order, bytes)."""

    def as_tensor(self) -> Tensor | None:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        _, shape, dtype, fortran, data = self.state
        kind = dtype.as_dtype() if isinstance(dtype, _DType) else None
        data = data.encode("latin1") if isinstance(data, str) else data
        if kind is None or not isinstance(shape, tuple) or not isinstance(data, bytes):
            return None
        try:
            flat = np.frombuffer(data, kind).astype(kind.newbyteorder("="))
            return torch.from_numpy(flat.reshape(shape, order="F" if fortran else "C").copy())
        except (ValueError, TypeError, OverflowError):
            return None


class _Reconstruct(_StandIn):
    """`_reconstruct(numpy.ndarray, (0,), b"b")`: an empty array, to be given a state."""

    def __new__(cls, *args: Any) -> Any:
        return _Array.__new__(args[0] if args and isinstance(args[0], type) and issubclass(args[0], _Array) else _Array)


def as_tensor(value: Any) -> Tensor | None:
    """A tensor, or a NumPy array of plain numbers as one; None for anything else."""
    if isinstance(value, Tensor):
        return value.detach()
    return value.as_tensor() if isinstance(value, _Array) else None


def kind_of(value: Any) -> str:
    """The class of a value, for a person; that which a stand-in stands for."""
    return value.named if isinstance(value, _StandIn) else type(value).__name__


def is_module(value: Any) -> bool:
    """Whether a value stands for a whole pickled `torch.nn.Module`."""
    return isinstance(value, _StandIn) and isinstance(value.state, dict) and "_parameters" in value.state


# ------------------------------------------------------------------------------------------------- what was wrong


def save_state_of(value: Any, path: Path, key: str = "") -> str:
    """That `value` is a whole pickled module, and the command that saves its weights alone."""
    under, item = (f" under {key!r}", f"[{key!r}]") if key else ("", "")
    return (
        f"a whole pickled module ({kind_of(value)}){under}, not its weights alone; where that class can be imported:"
        f" python -c \"import torch; torch.save(torch.load({path.name!r}, 'cpu', weights_only=False){item}.state_dict()"
        ", 'weights.pth')\""
    )


def _why(error: BaseException, names: list[str]) -> str:
    text = str(error)
    own = next(iter(sorted((n for n in names if not _usual(n)), key=lambda n: n.startswith("torch."))), "")
    if "persistent_load" in text or "Only persistent_load of storage" in text:
        return (
            f"it holds a whole pickled module ({own or 'a class of its own'}), not its weights; where that class can be"
            " imported: torch.save(torch.load(path, weights_only=False).state_dict(), 'weights.pth')"
        )
    if "blocked" in text and "GLOBAL" in text:
        named = text.partition("GLOBAL ")[2].split(" ")[0]
        return f"it holds more than tensors: it calls {named}, as a file that does harm would"
    if "nsupported operand" in text or "magic number" in text:
        return (
            "a pickle that torch.save did not write, or of another protocol; where you trust it, save it anew:"
            " torch.save(pickle.load(open(path, 'rb')), 'weights.pth')"
        )
    if "nsupported global" in text or "allowlisted" in text or "GLOBAL" in text or "unrecognized function" in text:
        named = f": {own}" if own else ""
        return f"it holds more than tensors{named}; save the weights alone in the environment that made it"
    return _damaged(error)


def _damaged(error: BaseException) -> str:
    return f"damaged or cut off ({first_line(error, 120)}); download it again"


def _usual(name: str) -> bool:
    """Whether a name tells nothing about what a file holds beside tensors."""
    return name.startswith((*INERT, *_TENSORS, "builtins.", "torch.nn.parameter.")) or name.endswith("Storage")
