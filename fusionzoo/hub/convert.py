"""Foreign weights -> safetensors and JSON. The only way in for a format that is not ours; nothing is unpickled freely.

`run(method, source, out)` does one conversion; `METHODS` names them. What comes out is a folder with
`model.safetensors` and `config.json`; `encoder_state` reads an encoder back, checked.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from fusionzoo.errors import InputError, check_known
from fusionzoo.files import atomic_files, dump_json, read_json
from fusionzoo.hub.kinds import identify
from fusionzoo.hub.layout import CONFIG, WEIGHTS, read_header
from fusionzoo.hub.originals.checkpoints import sources
from fusionzoo.hub.originals.checkpoints.encoder import read_encoder
from fusionzoo.hub.originals.checkpoints.mobilenet_v1 import mobilenet_v1_state
from fusionzoo.hub.originals.checkpoints.source import Source, convert_model
from fusionzoo.hub.originals.checkpoints.state_dict import load_state_dict
from fusionzoo.hub.statistics import rgb_statistics
from fusionzoo.hub.store import save as save_checkpoint
from fusionzoo.models.stages import build_encoder, encoder_name, out_channels
from fusionzoo.schema import refuse_unknown

__all__ = ["ENCODER_FORMAT", "METHODS", "encoder_state", "mobilenet_v1", "mobilenet_v1_state", "run"]

ENCODER_FORMAT = "fusionzoo-encoder"
"""`format` of a converted encoder's config.json."""

_ENCODER_KEYS = {
    "format": str, "format_version": int, "encoder": str, "encoder_args": dict, "channels": list, "strides": list,
    "preprocess": dict, "classifier": dict, "num_params": int, "sha256": str, "licence": str, "origin": str,
    "citation": str, "converted_by": str,
}  # fmt: skip


def run(
    method: str,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    key: str | None = None,
    encoder: str | None = None,
) -> dict[str, Any]:
    """Converts `source` into the folder `out` by one of `METHODS`; returns the config that was written.

    Args:
        options: constructor arguments of the original model where a checkpoint deviates from the published setting.
        classes: names of the classes, which official checkpoints do not hold.
        key: name of the set of weights to take where the source holds several, say `state_dict_ema`.
        encoder: the encoder whose weights `source` holds, for the method `encoder` alone.

    Raises:
        UnknownNameError: no such method, or an option that it does not have.
        InputError: `source` is not of the form that the method reads, or `out` cannot be written.
    """
    check_known("conversion", method, METHODS, "fusionzoo convert --help")
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source} does not exist; give the downloaded file or folder to convert")
    if (method == "encoder") is (encoder is None):
        raise InputError("the conversion encoder, and no other, takes --encoder NAME: the network that the file is of")
    if encoder is not None:
        return image_encoder(source, Path(out), encoder, options, key)
    if method in SOURCES:
        return published(SOURCES[method], source, Path(out), options, classes, key)
    if options or classes:
        raise InputError(f"the conversion {method} takes no options and no class names")
    return OURS[method](source, Path(out), key)


def image_encoder(
    source: Path, out: Path, encoder: str, options: Mapping[str, Any] | None = None, key: str | None = None
) -> dict[str, Any]:
    """A state dict of timm, torchvision or smp (see `fusionzoo.hub.originals.checkpoints.encoder`).

    `options`: `rgb_mean` and `rgb_std` where they are not those of the encoder's usual weights.
    """
    statistics = rgb_statistics(encoder)
    for name, value in (options or {}).items():
        check_known("option of the conversion encoder", name, statistics, "fusionzoo convert --help")
        if not isinstance(value, list) or len(value) != 3 or not all(isinstance(v, int | float) for v in value):
            raise InputError(f"{name} is {value!r}; give three numbers, such as {name}=[0.5,0.5,0.5]")
        statistics[name] = [float(v) for v in value]
    fitted = read_encoder(source, encoder, key)
    full = encoder_name(encoder)
    with torch.device("meta"):
        built = build_encoder(full, 3)
    return _write_encoder(out, fitted.state, {
        "encoder": full,
        "channels": out_channels(built)[1:],
        "preprocess": statistics,
        "num_params": sum(p.numel() for p in built.parameters()),
        "origin": f"{source.name}, names as of {fitted.dialect}",
        "converted_by": f"fusionzoo convert encoder {source.name} {out.name} --encoder {encoder}",
    })  # fmt: skip


def _write_encoder(out: Path, state: Mapping[str, Tensor], facts: dict[str, Any]) -> dict[str, Any]:
    """The folder of a converted encoder; its config."""
    data = save({k: v.contiguous() for k, v in state.items()}, metadata={"format": "pt"})
    facts |= {"format": ENCODER_FORMAT, "format_version": 1, "strides": [2, 4, 8, 16, 32]}
    facts["sha256"] = hashlib.sha256(data).hexdigest()
    config = {key: facts[key] for key in _ENCODER_KEYS if key in facts}
    atomic_files(out, {WEIGHTS: data, CONFIG: dump_json(config)})
    return config


def mobilenet_v1(source: Path, out: Path, key: str | None = None) -> dict[str, Any]:
    """MobileNet v1 from TensorFlow.js layer files (see `fusionzoo.hub.originals.checkpoints.mobilenet_v1`).

    `model.safetensors` holds the encoder's keys, and the ImageNet head under `classifier.*`.
    """
    if not source.is_dir() or key is not None:
        what = "" if source.is_dir() else identify(source) or "a file"
        given = f"{source} is {what}" if what else "there is no --key here"
        raise InputError(f"{given}; the conversion mobilenet_v1 reads a folder of TensorFlow.js layers with model.json")
    encoder, classifier, width = mobilenet_v1_state(source)
    tensors = {**encoder, **{f"classifier.{k}": v for k, v in classifier.items()}}
    return _write_encoder(out, tensors, {
        "encoder": "mobilenetv1",
        "encoder_args": {"width": width},
        "channels": [int(c * width) for c in (64, 128, 256, 512, 1024)],
        # x / 127.5 - 1 on 0..255 is (x / 255 - 0.5) / 0.5
        "preprocess": {"rgb_mean": [0.5, 0.5, 0.5], "rgb_std": [0.5, 0.5, 0.5]},
        "classifier": {"data": "ImageNet-1k (ILSVRC 2012)", "classes": 1000, "order": "usual ILSVRC 0..999"},
        "num_params": sum(v.numel() for k, v in encoder.items() if v.is_floating_point() and "running" not in k),
        "licence": "apache-2.0",
        "origin": f"Google, TensorFlow.js mobilenet_v1_{width:.2f}_224 (Keras Applications / TF-Slim MobileNet)",
        "citation": "Howard et al., MobileNets, 2017, arXiv:1704.04861",
        "converted_by": f"fusionzoo convert mobilenet_v1 {source.name} {out.name}",
    })  # fmt: skip


def state_dict(source: Path, out: Path, key: str | None = None) -> dict[str, Any]:
    """A state dict with our keys and its config.json (see `fusionzoo.hub.originals.checkpoints.state_dict`)."""
    model, weights = load_state_dict(source, key)
    conversion = {"method": "state_dict", "max_difference": 0, "note": weights.note(source)}
    save_checkpoint(model, out, record_fields={"conversion": conversion})
    return model.config()


def published(
    origin: Source,
    source: Path,
    out: Path,
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """The official checkpoint of a published model (see `fusionzoo.hub.originals.checkpoints.source`)."""
    model, fields = convert_model(origin, source, options, key)
    if classes:
        model.set_classes(classes)
    record = save_checkpoint(model, out, record_fields=fields)
    return {**model.config(), "num_params": record.num_params, "licence": record.licence_note or record.licence}


OURS: dict[str, Callable[[Path, Path, str | None], dict[str, Any]]] = {
    "mobilenet_v1": mobilenet_v1,
    "state_dict": state_dict,
}
"""Conversions of other things than whole published models: name -> converter (source, out folder, key) -> config."""

SOURCES: dict[str, Source] = sources()
"""Published models, by the name of their architecture."""
METHODS = (*OURS, "encoder", *SOURCES)
"""Every name that `run` knows."""


def encoder_state(folder: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A converted encoder: its state dict (without the classifier; load it strictly) and its config.

    Raises:
        InputError: missing file, another format, a checksum that differs, values that are not finite.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    if config.get("format") != ENCODER_FORMAT or config.get("format_version") != 1:
        raise InputError(f"{folder} holds no converted encoder; make one with: fusionzoo convert METHOD SOURCE OUT")
    refuse_unknown(config, _ENCODER_KEYS, str(folder / CONFIG))
    for key, value in config.items():
        if not isinstance(value, _ENCODER_KEYS[key]):
            raise InputError(f"{folder / CONFIG}: {key!r} is {value!r}, wanted {_ENCODER_KEYS[key].__name__}")
    read_header(folder / WEIGHTS)
    data = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(data).hexdigest() != config.get("sha256"):
        raise InputError(f"{folder / WEIGHTS} differs from the sha256 in its config.json: convert it again")
    state = {k: v for k, v in load(data).items() if not k.startswith("classifier.")}
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{folder / WEIGHTS}: {key} holds NaN or infinite values")
    return state, config
