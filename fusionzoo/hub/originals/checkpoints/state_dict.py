"""Weights of others with our own keys, beside the config.json of their model -> a model."""

from __future__ import annotations

from pathlib import Path

from fusionzoo.errors import InputError
from fusionzoo.files import read_json
from fusionzoo.hub.expect import build_checked, expected
from fusionzoo.hub.foreign import Weights, read_weights
from fusionzoo.hub.layout import CONFIG
from fusionzoo.models import FusionModel

__all__ = ["load_state_dict"]


def load_state_dict(source: Path, key: str | None = None) -> tuple[FusionModel, Weights]:
    """The model in `source`, a folder with config.json and its weights, or the file beside its config.json.

    `key`: which set of weights, where the file holds several (see `fusionzoo.hub.foreign.read_weights`).

    Raises:
        InputError: no config, no weights, another kind of file, keys or shapes that do not fit.
    """
    folder = source if source.is_dir() else source.parent
    if not (folder / CONFIG).is_file():
        # what the file is comes first: beside a web page no config helps
        read_weights(source, lambda state: True, key)
        raise InputError(
            f"{folder} has no {CONFIG}: the conversion state_dict reads weights of our own models, beside the {CONFIG}"
            " that model.save_pretrained(folder) writes; published models have their own: fusionzoo convert --help"
        )
    config = read_json(folder / CONFIG)
    wanted = expected(config).tensors
    weights = read_weights(source, lambda state: state.keys() == wanted.keys(), key)
    state = weights.state
    for name in [*wanted, *state]:
        if name not in wanted or name not in state or tuple(state[name].shape) != wanted[name][1]:
            what = "unknown" if name not in wanted else "missing" if name not in state else "of another shape"
            count = sum(1 for k in wanted if k in state)
            raise InputError(f"{source} does not fit {CONFIG}: {name!r} is {what} ({count} of {len(wanted)} names fit)")
    model = build_checked(config)
    model.load_state_dict(state, strict=True)
    return model, weights
