"""Key tables and strict loading: the official names of a checkpoint -> ours.

A key table maps official names to ours, one line a layer: `{"atten_rgb.1": "excite_rgb"}` maps `atten_rgb.1.weight`
to `excite_rgb.weight`. Every key of ours must be covered by the table and every official key must be used: what is left
over on either side is an error that lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.models import FusionModel, create_model

__all__ = ["Arguments", "Constants", "Loaded", "State", "blank", "expand_table", "listed", "load_mapped", "load_model",
           "squeezed", "without_aliases", "without_constants"]  # fmt: skip


State = Mapping[str, Tensor]
"""Key -> tensor, as in a state dict."""
Constants = Mapping[str, tuple[Tensor, str]]
"""Official key of a buffer that ours computes -> the value that it must have (on the meta device: its shape alone), and
our module that computes it."""


class Loaded(NamedTuple):
    """A whole model of ours with the original's weights, and which official key each came from."""

    model: FusionModel
    keys: dict[str, str]
    """Official key -> our key."""


def expand_table(table: Mapping[str, str], module: nn.Module) -> dict[str, str]:
    """Official key -> our key for every entry of our state dict, by the longest matching prefix of ours.

    Raises:
        ValueError: one of our keys is not covered, or two official keys would coincide (a mistake in the table).
    """
    full: dict[str, str] = {}
    by_ours = {ours: official for official, ours in table.items()}
    if len(by_ours) != len(table):
        raise ValueError("two official names lead to one of ours in the key table")
    for key in module.state_dict():
        parts = key.split(".")
        for n in range(len(parts), 0, -1):
            prefix = ".".join(parts[:n])
            if prefix in by_ours:
                official = ".".join([by_ours[prefix], *parts[n:]])
                break
        else:
            raise ValueError(f"the key table does not cover {key!r}")
        if official in full:
            raise ValueError(f"the key table uses {official!r} twice")
        full[official] = key
    return full


def listed(model: nn.Module, theirs: str, ours: str, parts: Mapping[str, str]) -> dict[str, str]:
    """Official keys of a list of blocks, `theirs.0.PART` and so on, to those of our list `ours`; `parts` of each."""
    count = len(list(model.get_submodule(ours).children()))
    return {f"{theirs}.{j}.{a}": f"{ours}.{j}.{b}" for j in range(count) for a, b in parts.items()}


def load_mapped(
    module: nn.Module, state: State, table: Mapping[str, str], *, what: str, reshape: bool = False
) -> dict[str, str]:
    """Loads the official `state` into `module`, strictly, through `table`.

    Args:
        module: ours, already of the right sizes.
        state: official key -> tensor.
        table: official prefix -> our prefix (see `expand_table`).
        what: the kind, for the message.
        reshape: let a linear layer's (O, I) stand for a 1x1 convolution's (O, I, 1, 1), and the reverse.

    Returns:
        Official key -> our key, complete.

    Raises:
        CheckFailed: official keys without a place, places without an official key, or shapes that differ; all listed.
    """
    full = expand_table(table, module)
    ours = module.state_dict()
    trouble = []
    if unmapped := sorted(set(state) - set(full)):
        trouble.append(f"{len(unmapped)} unmapped: {_some(unmapped, ', ')}")
    if missing := sorted(set(full) - set(state)):
        trouble.append(f"{len(missing)} missing: {_some(missing, ', ')}")
    values: dict[str, Tensor] = {}
    shapes = []
    for official, key in full.items():
        if official not in state:
            continue
        value, want = state[official], ours[key].shape
        if reshape and squeezed(value.shape) == squeezed(want):
            value = value.reshape(want)
        if value.shape != want:
            shapes.append(f"{official} is {tuple(value.shape)}, wanted {tuple(want)}")
        values[key] = value
    if shapes:
        trouble.append(_some(shapes))
    if trouble:
        raise CheckFailed(f"{what}: this is not a checkpoint of these sizes; {'; '.join(trouble)}")
    module.load_state_dict(values, strict=True)
    return full


def _some(items: Sequence[str], between: str = "; ", most: int = 8) -> str:
    """The first `most` of what is wrong, and how many more there are: one line stays one that people read."""
    more = f"{between}and {len(items) - most:,} more" if len(items) > most else ""
    return between.join(items[:most]) + more


def squeezed(shape: torch.Size, least: int = 2) -> tuple[int, ...]:
    """Without the trailing ones that tell a 1x1 convolution from a linear layer; `least` axes stay."""
    sizes = list(shape)
    while len(sizes) > least and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def blank(name: str, **args: Any) -> FusionModel:
    """The published architecture `name` with memory but no values: what is loaded into it fills every one."""
    with torch.device("meta"):
        model = create_model(name, **args)
    return model.to_empty(device="cpu")


def without_aliases(state: State, first_name: Callable[[str], str]) -> dict[str, Tensor]:
    """`state` without the second names of shared tensors.

    Args:
        state: the original's, in which one tensor may appear under two names.
        first_name: key -> the name that it shares a tensor with; itself for all others.

    Raises:
        CheckFailed: a second name without its first, or with other values; all listed.
    """
    out: dict[str, Tensor] = {}
    trouble = []
    for key, value in state.items():
        first = first_name(key)
        if first == key:
            out[key] = value
        elif first not in state or not torch.equal(state[first], value):
            trouble.append(f"{key} is not {first}")
    if trouble:
        raise CheckFailed(f"names that should share one tensor differ: {_some(sorted(trouble))}")
    return out


def without_constants(state: State, constants: Constants, what: str) -> dict[str, Tensor]:
    """`state` without buffers that follow from sizes, which ours computes.

    Raises:
        CheckFailed: one is missing or has another value; all listed.
    """
    trouble = []
    for key, (value, _) in constants.items():
        if key not in state:
            trouble.append(f"missing: {key}")
        elif state[key].shape != value.shape:
            trouble.append(f"{key} is {tuple(state[key].shape)}, wanted {tuple(value.shape)}")
        elif not value.is_meta and not torch.allclose(state[key].double(), value.double(), rtol=0, atol=1e-5):
            trouble.append(f"{key} has other values than follow from its size")
    if trouble:
        raise CheckFailed(f"{what}: this is not a checkpoint of these sizes; {_some(trouble)}")
    return {key: value for key, value in state.items() if key not in constants}


_MISSING = object()


class Arguments(dict[str, Any]):
    """The arguments of an original's constructor, called with a name (and a default): `c("dim")`, `c("window", 7)`.

    Args:
        what: the kind, for the messages.
    """

    def __init__(self, ctor: Mapping[str, Any], what: str) -> None:
        super().__init__(ctor)
        self.what = what

    def __call__(self, name: str, default: Any = _MISSING) -> Any:
        """The argument `name`, or the default; InputError where neither is given."""
        if name not in self and default is _MISSING:
            raise InputError(f"the constructor arguments lack {name!r}; given: {dict(self)}")
        return self.get(name, default)

    def size(self, family: str, form: str, usual: int, sizes: range) -> int:
        """The number within `backbone`, which has the `form` "mit_b{}" in any case; `usual` where it is not given."""
        named, numbers = str(self("backbone", form.format(usual))), {form.format(n).lower(): n for n in sizes}
        if named.lower() not in numbers:
            known = f"{form.format(sizes[0])} to {form.format(sizes[-1])}"
            raise InputError(f"{family}: backbone {named!r} is not one of {known}")
        return numbers[named.lower()]

    def only(self, **supported: Any) -> None:
        """InputError for an argument that is there with another value than the one `supported`."""
        for name, value in supported.items():
            if self.get(name, value) != value:
                raise InputError(f"{self.what}: {name} {self[name]!r} is not supported; only {value!r}")


def load_model(
    name: str,
    state: State,
    table: Mapping[str, str] | Callable[[FusionModel], Mapping[str, str]],
    *,
    constants: Constants | Callable[[FusionModel], Constants] = MappingProxyType({}),
    reshape: bool = False,
    **args: Any,
) -> Loaded:
    """The published architecture `name`, made with `args`, with the official `state`, loaded as `load_mapped` does.

    `table` and `constants` may be functions that make them for the model's sizes.
    """
    model = blank(name, **args)
    fixed = constants(model) if callable(constants) else constants
    own = without_constants(state, fixed, name)
    keys = load_mapped(model, own, table(model) if callable(table) else table, what=name, reshape=reshape)
    return Loaded(model, keys | {key: module for key, (_, module) in fixed.items()})
