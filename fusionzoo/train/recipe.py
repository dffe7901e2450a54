"""How a run is written down: the command that repeats it and what its record says."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionzoo.files import place_name
from fusionzoo.hub.encoders import names_checkpoint
from fusionzoo.hub.encoders import origin as initial_origin
from fusionzoo.hub.records import Record
from fusionzoo.models.presets import encodes_x, is_architecture
from fusionzoo.train.settings import Settings
from fusionzoo.train.start import initial_encoder

__all__ = ["command", "inherited", "record_fields"]
_UNSAID = ("cache", "cache_dir", "workers", "state_steps")
"""Settings that change nothing in the result."""


def command(settings: Settings, out: Path | str) -> str:
    """The command line that repeats the run; paths are shortened to their last part, names of the Hub are whole.

    >>> command(Settings("sum_mobilenetv1-025_fpn", "folder:/data/rooms", epochs=3, size=(64, 96)), "/tmp/run")
    'fusionzoo finetune sum_mobilenetv1-025_fpn --data folder:rooms --out run --epochs 3 --size 64x96'
    """
    defaults = Settings(settings.model, settings.data).to_dict()
    words = ["fusionzoo finetune", shlex.quote(place_name(settings.model)), "--data",
             shlex.quote(_short(settings.data)), "--out", shlex.quote(Path(out).name)]  # fmt: skip
    for key, value in settings.to_dict().items():
        if key in ("model", "data", *_UNSAID) or value == defaults[key]:
            continue
        flag = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else "--no-" + flag[2:])
        elif isinstance(value, dict):
            words += [f"{flag} {k}={v}" for k, v in value.items()]
        elif isinstance(value, list):
            words.append(f"{flag} {'x'.join(map(str, value))}")
        else:
            words.append(f"{flag} {shlex.quote(place_name(value) if key in ('init', 'teacher') else str(value))}")
    return " ".join(words)


def inherited(settings: Settings, record: Record | None) -> dict[str, Any]:
    """What the record of a run says of the checkpoint that it, or its encoders, began as, by that one's: data it saw,
    terms of its weights; nothing of a run with new weights, and of a checkpoint without a record.
    """
    if record is None:
        return {}
    name = place_name(settings.init or settings.model)
    begun, what = "Began as", "which this began as"
    if settings.init:
        begun, what = "Its encoders began as those of", "whose encoders this began with"
    data = [{**vars(d), "note": "; ".join(filter(None, (f"seen by {name}, {what}", d.note)))}
            for d in record.data]  # fmt: skip
    terms = f"{begun} {name}, whose licence is {record.licence}."
    if record.licence_note:
        terms += f" Of {name} its record says: {record.licence_note}"
    return {"data": data, "licence_note": terms}


def record_fields(
    settings: Settings, out: Path, train: Any, seconds: float, began: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Recipe and data of a checkpoint's record. `began`: what is `inherited`."""
    recipe = {"command": command(settings, out), "seed": settings.seed, "epochs": settings.epochs,
              "resolution": list(settings.size), "init": _origin(settings), "seconds": round(seconds, 1)}  # fmt: skip
    data = [{"name": train.name, "split": settings.train_split, "n": len(train)}, *(began or {}).get("data", [])]
    return {**(began or {}), "recipe": recipe, "data": data}


def _short(spec: str) -> str:
    kind, colon, path = spec.partition(":")
    return f"{kind}:{Path(path).name}" if colon else kind


def _origin(settings: Settings) -> str:
    if not is_architecture(settings.model):
        return f"checkpoint {place_name(settings.model)}"
    if not settings.init:
        return "random"
    origin = initial_origin(settings.init, initial_encoder(settings.model))
    if not encodes_x(settings.model):
        return f"encoder from {origin}"
    if names_checkpoint(settings.init):
        return f"both encoders from {origin}"
    return f"both encoders from {origin}; x stem: RGB kernel summed over its channels"
