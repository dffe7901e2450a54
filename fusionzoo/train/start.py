"""The model that a run starts from: a new one, or a checkpoint fitted to the data's classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.hub.encoders import Initial, initial_weights, names_checkpoint
from fusionzoo.hub.load import resolve
from fusionzoo.hub.originals.checkpoints.cmx import mit_table
from fusionzoo.hub.originals.keys import expand_table
from fusionzoo.hub.records import Record
from fusionzoo.models import FusionModel, create_model, reset_classes
from fusionzoo.models.classes import reset_scenes, same_classes, scenes_alone
from fusionzoo.models.initial import init_x_from_rgb
from fusionzoo.models.parts import encoder_parts
from fusionzoo.models.presets import encoder_of, is_architecture
from fusionzoo.models.published._mit import MiT
from fusionzoo.models.stages import encoder_name
from fusionzoo.models.two_stream import TwoStream
from fusionzoo.tasks import CLASSIFICATION, data_scenes, data_task
from fusionzoo.train.settings import Settings
from fusionzoo.train.statistics import Survey

__all__ = ["checkpoint", "fit_classes", "initial_encoder", "lender", "new_model", "with_statistics"]


def checkpoint(settings: Settings) -> tuple[FusionModel | None, Record | None]:
    """(the model of the checkpoint that the settings name, its record if it has one); None where they name no
    checkpoint, but an architecture."""
    if is_architecture(settings.model):
        if settings.keep_head:
            raise InputError(f"keep_head is for checkpoints; {settings.model} begins with new weights: leave it out")
        return None, None
    found = resolve(settings.model)
    model = found.load()[0]
    for option in ("init", "decoder_args", "fusion_args"):
        if getattr(settings, option):
            raise InputError(
                f"{option} belongs to new models, and {settings.model} is a checkpoint with weights of its own; leave"
                f" it out, or start from the architecture's name, {model.architecture}"
            )
    return model, found.stated


def lender(settings: Settings) -> tuple[FusionModel | None, Record | None]:
    """(the checkpoint whose encoders the new model begins with, its record); None where `init` names none.

    Raises:
        InputError: a model or a checkpoint that is not composed, encoders of another kind.
        UnknownNameError: no such checkpoint.
    """
    if not (settings.init and names_checkpoint(settings.init)):
        return None, None
    _composed(settings.model, "go on from a checkpoint of it, or --init imagenet")
    found = resolve(settings.init)
    model = found.load()[0]
    _composed(model.architecture, "name another")
    theirs, ours = str(encoder_of(model.architecture)), str(encoder_of(settings.model))
    if encoder_name(theirs) != encoder_name(ours):
        named = settings.model.replace(f"_{ours}_", f"_{theirs}_")
        raise InputError(
            f"the encoders of {settings.init} are {theirs}, those of {settings.model} {ours}; name {named}"
        )
    return model, found.stated


def _composed(name: str, otherwise: str) -> None:
    """InputError for the name of a model that is not composed, whose encoders are not lent and do not borrow."""
    if not is_architecture(name) or encoder_of(name) is None:
        raise InputError(
            f"--init CHECKPOINT is for composed models, STRATEGY_ENCODER_DECODER, on both sides; {name} is none:"
            f" {otherwise}"
        )


def fit_classes(model: FusionModel, data: Any, name: str, *, keep_head: bool = False) -> tuple[FusionModel, str]:
    """`model` for the classes and scene types of `data`, by their names, and one line on what was kept and what is new.

    Classes that are the same in the same order keep all weights, and so do as many classes that the checkpoint does not
    name; others get new classifiers, in which `keep_head` keeps the rows of classes of equal names. The names are the
    data's in any case. Scene types other than the checkpoint's get a new head, and without scene types in the data the
    scene head is left out: no checkpoint says what it was not trained for. Of a joint model on data of scene types
    alone, what says them is a model of its own.

    Raises:
        InputError: `keep_head`, and no class has an equal name; scene types for a model that cannot say them.
    """
    told = ""
    if isinstance(model, TwoStream) and model.num_scenes and data_task(data) == CLASSIFICATION:
        model, told = scenes_alone(model), "; what says classes of pixels is left out"
    fitted, text = _fit_classes(model, data, name, keep_head)
    if list(getattr(fitted, "scene_names", ())) == (types := data_scenes(data)):
        return fitted, text + told
    fitted, new = reset_scenes(fitted, types)
    if not types:
        return fitted, f"{text}; the scene head is left out, {data.name} has no scene types"
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in new))
    return fitted, f"{text}; new for its {len(types)} scene types: {', '.join(layers)}"


def _fit_classes(model: FusionModel, data: Any, name: str, keep_head: bool) -> tuple[FusionModel, str]:
    ours, theirs = list(model.class_names), list(data.class_names)
    if ours == theirs:
        return model, f"{name}: all weights kept, the {len(ours)} classes are those of {data.name}"
    if len(ours) == len(theirs) and ours == [f"class {i}" for i in range(len(ours))]:
        model.set_classes(theirs)
        return model, f"{name}: all weights kept; it does not name its {len(ours)} classes: taken for the data's"
    fitted, new = reset_classes(model, theirs, keep=keep_head)
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in new))
    total = len(model.state_dict())
    learns = {key for key, p in fitted.named_parameters() if p.requires_grad}
    if new and not learns & set(new):
        raise InputError(
            f"{name} keeps {layers[0]} as it is, so it cannot learn the {len(theirs)} classes of {data.name} (it has"
            f" {len(ours)}{' others' if len(ours) == len(theirs) else ''}): fine-tune the model inside it on these"
            " data, then wrap that"
        )
    return fitted, (
        f"{name}: {total - len(new)} of {total} tensors kept; new for the {len(theirs)} classes of {data.name}"
        f" (the checkpoint has {len(ours)}{' others' if len(ours) == len(theirs) else ''}): {', '.join(layers[:8])}"
        + (", ..." if len(layers) > 8 else "")
        + (f"; in them {len(same_classes(ours, theirs))} classes of equal names kept theirs" if keep_head else "")
    )


def new_model(settings: Settings, data: Any, lent: FusionModel | None = None) -> FusionModel:
    """The architecture that the settings name with random weights, or with encoders from `init`, for `data`.

    `lent`: where `init` names a checkpoint, the model of it, see `lender`; its preprocessing goes with its encoders.
    """
    initial = _initial(settings) if settings.init and lent is None else None
    neutral = {"x_mean": (0.0,) * data.x_channels, "x_std": (1.0,) * data.x_channels}  # until data is looked through
    known: dict[str, Any] = initial.preprocess if initial else {}
    preprocess = {**known, "x_kind": data.x_kind, **neutral} if lent is None else lent.preprocess
    options: dict[str, Any] = {"decoder_args": settings.decoder_args} if settings.decoder_args else {}
    if settings.fusion_args:
        options["fusion_args"] = settings.fusion_args
    try:
        model = create_model(settings.model, num_classes=data.num_classes, x_channels=data.x_channels,
                             preprocess=preprocess, **options)  # fmt: skip
    except TypeError as error:
        raise InputError(f"{settings.model} cannot be built with {options or 'these settings'}: {error}") from error
    model.set_classes(data.class_names)
    if types := data_scenes(data):
        model, _ = reset_scenes(model, types)
    model.input_size = settings.test_size or settings.base
    for name, module in encoder_parts(model).items() if settings.init else ():
        if encoder_of(settings.model) is None and not isinstance(module, MiT):
            continue  # of a published model that lies beside its encoders
        if lent is not None:
            state = _state_of(lent, name, settings)
        else:
            assert initial is not None
            state = initial.state
        try:
            if lent is None and isinstance(module, MiT):
                state = _of_mit(model, name, state)
            fitted = init_x_from_rgb(state, module.state_dict(), joined=name.startswith("fused"))
            module.load_state_dict(fitted)  # strictly; smp's Mix Transformer takes no further argument
        except (InputError, RuntimeError) as error:
            raise InputError(f"{settings.init} does not fit the encoder of {settings.model}: {error}") from error
    return model


def _state_of(lent: FusionModel, name: str, settings: Settings) -> dict[str, Tensor]:
    """Of the checkpoint's encoders the state of that which takes the same input as the model's encoder `name`; the
    input of both joined (`early`) begins as rgb, as with any other `init`."""
    theirs = {_input_of(part): module for part, module in encoder_parts(lent).items()}
    given = theirs.get("rgb_encoder" if name.startswith("fused") else _input_of(name))
    if given is None:
        raise InputError(f"{settings.init} has no {name} as {settings.model} needs it: it has {', '.join(theirs)}")
    return given.state_dict()


def _input_of(encoder: str) -> str:
    """The encoder's name by what it takes, the same in models that fuse late: rgb_stream.encoder is rgb_encoder."""
    return encoder.replace("_stream.", "_")


def initial_encoder(name: str) -> str:
    """The encoder that `--init` gives weights to in a model of this name.

    >>> initial_encoder("sum_resnet18_fpn"), initial_encoder("cmx_mit_b0")
    ('resnet18', 'mit-b0')

    Raises:
        InputError: a published model without Mix Transformers.
    """
    encoder = encoder_of(name)
    if encoder is not None:
        return encoder
    with torch.device("meta"):
        found = [m for m in encoder_parts(create_model(name)).values() if isinstance(m, MiT)]
    if not found:
        raise InputError(
            f"--init is for composed models and for published ones with Mix Transformers (dplnet_mit_b2, ...); {name}"
            " has other encoders: convert its own weights"
        )
    return f"mit-b{found[0].size}"


def _initial(settings: Settings) -> Initial:
    return initial_weights(settings.init, initial_encoder(settings.model))


def _of_mit(model: FusionModel, name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of another library's Mix Transformer under the names of the encoder `name` of `model`."""
    table = {a.removeprefix("backbone."): b.removeprefix(f"{name}.") for a, b in mit_table(model, name).items()}
    keys = expand_table(table, model.get_submodule(name))
    if lacking := next((key for key in keys if key not in state), None):
        raise InputError(f"{lacking!r} is missing")
    return {ours: state[theirs] for theirs, ours in keys.items()}


def with_statistics(model: FusionModel, found: Survey, *, new: bool) -> None:
    """Stores in the model's preprocessing what its weights will have seen; the normalisation of a new model too."""
    seen: dict[str, Any] = {"x_quantiles": found.x_quantiles, "x_missing": found.x_missing}
    if new:
        seen |= {"x_mean": found.x_mean, "x_std": found.x_std}
    model.preprocess = replace(model.preprocess, **seen)
