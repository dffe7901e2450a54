"""What a config.json implies, found without allocating its weights: names, shapes and types of every tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from fusionzoo.errors import FusionZooError, InputError, first_line
from fusionzoo.hub.layout import TensorInfo
from fusionzoo.models import FusionModel, build

__all__ = ["DTYPES", "Expected", "build_checked", "expected", "fill", "tensors"]

MAX_NUMBER = 16384
"""Largest number in a config: no width, count or size of a real model is above it."""

MAX_ITEMS = 4096
"""Longest list, object or text in a config; so also the most classes."""

MAX_DEPTH = 8
MAX_TENSORS = 20000
"""Most tensors that building a model may ask for."""

DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
}  # fmt: skip
"""safetensors' names of the types that are read."""

_BUILD_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, NotImplementedError,
    OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What the libraries below raise for arguments that make no sense; a wrong config must not end in a traceback."""

_NAMES = {v: k for k, v in DTYPES.items()}


@dataclass(frozen=True)
class Expected:
    """Tensors of the state dict by name: (safetensors type, shape); and the count of learnable numbers."""

    tensors: dict[str, tuple[str, tuple[int, ...]]]
    num_params: int
    model: FusionModel = field(repr=False, compare=False)
    """Without storage; `fill` gives it some, once."""


class _Abstract(TorchFunctionMode):
    """Makes tensors that hold weights on the meta device, which has shapes and no storage.

    Not `torch.device("meta")`: that also moves the little schedules (linspace) whose values some encoders read.
    Filling such a tensor is passed over: it has no values, and drawing none of them is a quarter of building a model.
    """

    FACTORIES = frozenset(
        {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.empty_strided}
    )
    FILLS = frozenset(
        {init.uniform_, init.normal_, init.constant_, init.kaiming_uniform_, init.kaiming_normal_}
        | {Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_}
    )

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.FILLS:
            filled = args[0] if args else kwargs["tensor"]
            if filled.is_meta:
                return filled
        if func in self.FACTORIES and kwargs.get("device") is None:
            self.made += 1
            if self.made > MAX_TENSORS:
                raise InputError(f"config.json implies more than {MAX_TENSORS} tensors")
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def expected(config: dict[str, Any]) -> Expected:
    """Names, shapes and types of the state dict that `config` implies. Allocates no weights.

    Raises:
        InputError: unknown key, wrong type, another format version, numbers out of bounds, no such model.
    """
    _bounded(config, "config.json", 0)
    with _Abstract():
        model = build_checked(config)
    state = model.state_dict()
    tensors = {name: (_NAMES.get(value.dtype, str(value.dtype)), tuple(value.shape)) for name, value in state.items()}
    return Expected(tensors, sum(p.numel() for p in model.parameters()), model)


def build_checked(config: dict[str, Any]) -> FusionModel:
    """`fusionzoo.models.build(config)`, where whatever a library below raises becomes one InputError."""
    try:
        return build(config)
    except FusionZooError:
        raise
    except _BUILD_ERRORS as error:
        raise InputError(f"config.json does not describe a model: {first_line(error)}") from error


def fill(wanted: Expected, state: Mapping[str, Tensor], config: dict[str, Any], *, share: bool = False) -> FusionModel:
    """A model with the weights `state` (strict, as float32 where the model is): the one of `wanted`, given storage.

    With `share` the model keeps tensors of `state` that have its type already, instead of copies.

    Saves building a second model and filling it with random numbers. A model that keeps more than its state dict on the
    meta device (buffers that are not saved, plain tensors), or shares a parameter, is built anew instead: same values.
    """
    model = wanted.model
    cast = {}
    for key, value in state.items():
        copy = not share or value.data_ptr() % value.element_size() != 0  # a file may hold tensors at odd places
        cast[key] = value.to(DTYPES[wanted.tensors[key][0]], copy=copy)
    names = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    if len(set(names)) == len(names):
        model.load_state_dict(cast, strict=True, assign=True)
        if not _abstract_left(model):
            return model.eval()
    model = build_checked(config)
    model.load_state_dict(cast, strict=True)
    return model.eval()


def tensors(data: bytearray, header: Mapping[str, TensorInfo]) -> dict[str, Tensor]:
    """Views of a safetensors file's bytes, by name. The header has been checked against the file before."""
    start = 8 + int.from_bytes(data[:8], "little")
    out = {}
    for key, info in header.items():
        dtype = DTYPES[info.dtype]
        flat = torch.frombuffer(data, dtype=dtype, count=info.numel, offset=start + info.start) if info.numel else None
        out[key] = torch.empty(info.shape, dtype=dtype) if flat is None else flat.view(info.shape)
    return out


def _abstract_left(model: nn.Module) -> bool:
    if any(t.is_meta for t in [*model.parameters(), *model.buffers()]):
        return True
    for module in model.modules():
        for value in vars(module).values():
            value = list(value.values()) if isinstance(value, dict) else value
            items = value if isinstance(value, list | tuple) else (value,)
            if any(isinstance(item, Tensor) and item.is_meta for item in items):
                return True
    return False


def _bounded(value: Any, where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InputError(f"{where[:80]} is nested more than {MAX_DEPTH} deep")
    if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        raise InputError(f"{where[:80]} is {str(value)[:40]}; no number above {MAX_NUMBER} is accepted")
    if isinstance(value, str | list | dict) and len(value) > MAX_ITEMS:
        raise InputError(f"{where[:80]} has {len(value)} items; at most {MAX_ITEMS} are accepted")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _bounded(item, f"{where}: {key}", depth + 1)
