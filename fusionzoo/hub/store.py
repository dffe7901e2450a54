"""Writing a checkpoint folder: config.json, model.safetensors, README.md, record.json. All or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.files import atomic_files, dump_json
from fusionzoo.hub.card import card as model_card
from fusionzoo.hub.expect import expected, fill
from fusionzoo.hub.fingerprint import fingerprint
from fusionzoo.hub.layout import CONFIG, README, RECORD, WEIGHTS
from fusionzoo.hub.records import Record
from fusionzoo.models import FusionModel
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["halve", "save", "stored_state"]


def save(
    model: FusionModel,
    folder: str | os.PathLike[str],
    *,
    half: bool = False,
    card: str | None = None,
    record_fields: Mapping[str, Any] | None = None,
) -> Record:
    """Writes `model` to `folder` as a checkpoint that `from_pretrained` and `verify` accept; returns its record.

    The model is rebuilt from its config and the bytes to be written, and the fingerprint is taken from that copy: a
    config that does not describe the model never reaches the disk.

    Args:
        model: on any device, in any mode; not changed.
        folder: made if missing; files of the same names are replaced, each atomically, the record last.
        half: stores matrices and kernels in float16; vectors (biases, norms and their statistics) stay float32.
        card: text of README.md; otherwise made from the record and the config.
        record_fields: fields of the record beyond those found here (`name`, `metrics`, `recipe`, `licence`, ...). The
            default name is `architecture.local`.

    Raises:
        InputError: an unknown record field, weights or a config that cannot be stored, a disk that is full.
        CheckFailed: the model does not run on the seeded input, or its logits are not finite.
    """
    config = model.config()
    for key, value in config["model_args"].items():
        try:
            dump_json(value)
        except TypeError as error:
            name = config["architecture"] or type(model).__name__
            raise InputError(
                f"{name} is made with {key!r}, a {type(value).__name__}, which no"
                " config.json holds: a model that is saved is built again from numbers, texts and lists; keep the"
                " state_dict() of this one, or let its class make the parts by itself"
            ) from error
    state = stored_state(model, half)
    data = to_bytes(state, {"format": "pt"})
    text = dump_json(config)

    wanted = expected(config)
    for key in [*state, *wanted.tensors]:
        if key not in wanted.tensors or key not in state or state[key].shape != wanted.tensors[key][1]:
            raise InputError(f"the model's config() does not describe it: {key!r} differs; nothing was written")
    copy = fill(wanted, state, config)
    found: dict[str, Any] = {
        "name": f"{config['architecture']}.local",
        "architecture": config["architecture"],
        "files": {
            CONFIG: {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text)},
            WEIGHTS: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)},
        },
        "num_params": sum(p.numel() for p in copy.parameters()),
        "modalities": list(model.modalities),
        "x_kind": model.preprocess.x_kind,
        "classes": list(model.class_names),
        "scenes": list(config.get("scene_names", ())),
        "dtype": "float16" if half else "float32",
        "task": model.task if model.task == CLASSIFICATION else "",
    }
    for key in ("files", "architecture", "num_params"):
        if key in (record_fields or {}):
            raise InputError(f"record field {key!r} is found from the model, leave it out")
    record = Record.from_dict({**found, **(record_fields or {})}, "record_fields")
    record = replace(record, fingerprint=fingerprint(copy))
    files = {CONFIG: text, WEIGHTS: data, README: (card or model_card(record, config)).encode()}
    atomic_files(folder, {**files, RECORD: dump_json(record.to_dict())})
    return record


def stored_state(model: torch.nn.Module, half: bool = False) -> dict[str, Tensor]:
    """The state dict as it is stored: on the CPU, contiguous, float32 (matrices float16 with `half`), nothing shared.

    Raises:
        InputError: NaN or infinite values, also after rounding to float16.
    """
    out: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        tensor = value.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"{key} holds NaN or infinite values; nothing was written")
            if half:
                tensor = halve(key, tensor)
        out[key] = tensor.clone(memory_format=torch.contiguous_format)
    return out


def halve(key: str, tensor: Tensor) -> Tensor:
    """float32 -> float16 for two and more dimensions; InputError when a value leaves float16's range."""
    if tensor.ndim < 2:
        return tensor
    small = tensor.half()
    if not bool(torch.isfinite(small).all()):
        raise InputError(f"{key} has values above 65504, the largest float16; save it without half")
    return small
