"""Reads the parity files: values of the original modules, weights by rule. Format: the README beside them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "reference" / "parity"
SECOND = FOLDER.with_name("parity2")
"""Later families: weights by the same rule, inputs always stored."""
SCALED = ("weight", "in_proj_weight", "out_proj_weight", "x_proj_weight", "dt_projs_weight")


def fill(key: str, shape: list[int] | tuple[int, ...]) -> Tensor:
    """The value that the weight rule gives to `key`."""
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(int(np.prod(shape)))
    n = normal.astype(np.float32).reshape(shape)
    leaf = key.rpartition(".")[2]
    if leaf == "running_var":
        n = 1 + 0.25 * np.tanh(n)
    elif leaf == "running_mean" or (leaf == "bias" and len(shape) == 1):
        n = 0.1 * n
    elif leaf == "weight" and len(shape) == 1:
        n = 1 + 0.1 * n
    elif leaf in SCALED and len(shape) >= 2:
        n = n / np.sqrt(np.prod(shape[1:]))
    else:
        n = 0.3 * n
    return torch.from_numpy(np.asarray(n, dtype=np.float32).reshape(shape))


@dataclass
class Parity:
    """One file pair. Where only the JSON exists, `state` and inputs are made by rule, and `outputs` is empty."""

    name: str
    meta: dict[str, Any]
    state: dict[str, Tensor]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    probes: dict[str, Tensor] = field(default_factory=dict)
    grads: dict[str, Tensor] = field(default_factory=dict)


def place(name: str, ending: str) -> Path:
    """The file of this name in either folder."""
    first = FOLDER / f"{name}{ending}"
    return first if first.exists() else SECOND / f"{name}{ending}"


def read(name: str) -> Parity:
    meta = json.loads(place(name, ".json").read_text())
    path = place(name, ".safetensors")
    tensors = load_file(path) if path.exists() else {}
    state = {}
    for key, (shape, dtype) in meta["state_dict"].items():
        if f"state_dict.{key}" in tensors:
            state[key] = tensors[f"state_dict.{key}"]
        elif dtype.startswith("torch.float"):
            state[key] = fill(key, shape)
        elif not tensors:
            state[key] = torch.zeros(shape, dtype=torch.int64)
    state |= {k.removeprefix("explicit."): v for k, v in tensors.items() if k.startswith("explicit.")}
    state |= {second: state[first] for second, first in meta.get("aliases", {}).items()}
    out = Parity(name, meta, state)
    if tensors:
        out.inputs = {k: tensors[f"input.{k}"] for k in meta["inputs"]}
        out.outputs = {k: tensors[f"output.{k}"] for k in meta["outputs"]}
        out.probes = {k.removeprefix("probe."): v for k, v in tensors.items() if k.startswith("probe.")}
        out.grads = {k.removeprefix("grad."): v for k, v in tensors.items() if k.startswith("grad.")}
    else:
        if "decay/angle" in meta.get("explicit_tensors", ""):
            out.state |= {k: geometry(k, v) for k, v in state.items() if ".Geo." in k}
        if "7.weight are 40x the fill rule" in meta.get("note", ""):  # TokenFusion's score nets
            out.state |= {k: 40 * v for k, v in state.items() if ".score_nets." in k and k.endswith(".7.weight")}
        if "pos_emb fixed sin-cos" in meta.get("note", ""):  # MultiMAE's
            out.state |= {k: positions(v.shape[1:]) for k, v in state.items() if k.endswith(".pos_emb")}
        out.inputs = {k: made_input(k, shape, "img" in meta["inputs"]) for k, shape in meta["inputs"].items()}
    return out


def geometry(key: str, ruled: Tensor) -> Tensor:
    """DFormerv2's deviations from the rule, as its JSON states: constructor values, and 1 + 0.2 n for the weight."""
    if key.endswith("weight"):
        return 1 + 0.2 * ruled
    count = ruled.numel()
    if key.endswith("angle"):
        steps = np.linspace(0, 1, count // 2).repeat(2)
        return torch.from_numpy((1 / 10000**steps).astype(np.float32))
    spread = 4 if ".layers.0." in key or ".layers.1." in key else 6
    return torch.from_numpy(np.log(1 - 2.0 ** (-2 - spread * np.arange(count) / count)).astype(np.float32))


def positions(shape: tuple[int, ...]) -> Tensor:
    """MultiMAE's fixed positions (1, C, H, W): sines, cosines of the row, then of the column, C / 4 wave lengths."""
    channels, height, width = shape
    quarter = channels // 4
    out = np.zeros(shape)
    for i in range(quarter):
        rate = 10000 ** (-i / quarter)
        for place, steps in ((0, np.arange(height)[:, None]), (2, np.arange(width)[None])):
            out[place * quarter + i] = np.sin(rate * steps)
            out[(place + 1) * quarter + i] = np.cos(rate * steps)
    return torch.from_numpy(out.astype(np.float32)[None])


MADE_FROM = {"rgb": "rgb", "x0": "rgb", "x1": "x", "depth": "x", "x": "x", "prev": "prev"}
"""Name of an input -> what its values were made from: normal numbers of the key `input.<that>`, unscaled."""


def made_input(name: str, shape: list[int], own_name: bool = False) -> Tensor:
    """The input of a file that has none stored. Stored ones show the rule: `test_stored_inputs_follow_the_rule`.

    `own_name`: made from its own name, as all are where one is called `img`.
    """
    seed = zlib.crc32(f"input.{name if own_name else MADE_FROM[name]}".encode())
    n = np.random.RandomState(seed).standard_normal(int(np.prod(shape))).astype(np.float32)
    return torch.from_numpy(n.reshape(shape))


def names() -> list[str]:
    """Every file of both folders, blocks and whole models (`full_*`); none where they are absent."""
    return sorted({p.stem for folder in (FOLDER, SECOND) for p in folder.glob("*.json")})


def block_names() -> list[str]:
    return [n for n in names() if not n.startswith("full_")]


def model_kinds() -> list[str]:
    return [n.removeprefix("full_") for n in names() if n.startswith("full_")]


def kind_of(name: str, kinds: list[str]) -> str:
    """The longest kind that begins the file name: what is left over are sizes and variants."""
    return max((k for k in kinds if name == k or name.startswith(f"{k}_")), key=len)
