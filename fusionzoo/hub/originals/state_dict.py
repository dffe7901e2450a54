"""A pickled state dict with our own keys, beside its config.json -> a model. The way in for `.bin` and `.pth`.

`torch.load(weights_only=True)` reads tensors and containers only, and `argparse.Namespace`, a bag of settings that some
training scripts put beside them; a file with anything else is refused, and there is no other way. Prefixes that
wrappers leave (`module.`, `_orig_mod.`) are taken off; keys must then fit strictly.
"""

from __future__ import annotations

import argparse
import pickle
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.files import read_json
from fusionzoo.hub.expect import build_checked, expected
from fusionzoo.hub.files import CONFIG, PICKLES
from fusionzoo.models import FusionModel

__all__ = ["load_pickled", "plain_state"]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "segmenter")
_PREFIXES = ("module.", "_orig_mod.")


def load_pickled(source: str | Path) -> FusionModel:
    """The model in `source`: a folder with config.json and one pickle, or the pickle beside its config.json.

    Raises:
        InputError: no config, no or several pickles, a pickle with more than tensors, keys or shapes that do not fit.
    """
    source = Path(source)
    folder = source if source.is_dir() else source.parent
    files = [source] if source.is_file() else sorted(p for p in folder.iterdir() if p.name.endswith(PICKLES))
    if len(files) != 1:
        raise InputError(
            f"{folder} holds {len(files)} files of the kinds {', '.join(PICKLES)}; name the one to convert"
        )
    config = read_json(folder / CONFIG)
    wanted = expected(config).tensors
    state = plain_state(files[0])
    for key in [*wanted, *state]:
        if key not in wanted or key not in state or tuple(state[key].shape) != wanted[key][1]:
            what = "unknown" if key not in wanted else "missing" if key not in state else "of another shape"
            raise InputError(f"{files[0]} does not fit {CONFIG}: {key!r} is {what}")
    model = build_checked(config)
    model.load_state_dict(state, strict=True)
    return model


def plain_state(path: str | Path) -> dict[str, Tensor]:
    """Names -> tensors of a pickled state dict, without what wrappers put round it or before its keys.

    Raises:
        InputError: a damaged file, or one that holds more than tensors.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        LookupError,
    ) as error:
        reason = "it holds more than tensors" if "nsupported" in str(error) or "GLOBAL" in str(error) else "damaged"
        raise InputError(f"{path} is refused: {reason}; only a plain state dict is read") from error
    for name in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InputError(f"{path} holds no state dict (names -> tensors)")
    state = {str(k): v for k, v in loaded.items()}
    for prefix in _PREFIXES:
        if state and all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    return state
