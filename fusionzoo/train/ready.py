"""The last look before training: both splits are gone through once, and what would stop or spoil the run is said."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fusionzoo.data.validate import sorted_out
from fusionzoo.errors import InputError, check_known
from fusionzoo.models import FusionModel
from fusionzoo.models.parts import encoder_layers, encoder_parts
from fusionzoo.preprocess import Preprocess
from fusionzoo.tasks import CLASSIFICATION, data_task
from fusionzoo.train.batches import steps_of
from fusionzoo.train.data import sample_bytes
from fusionzoo.train.freeze import idle_encoders
from fusionzoo.train.settings import Settings
from fusionzoo.train.statistics import Survey, survey
from fusionzoo.train.terms import TERMS

__all__ = ["check_settings", "ready", "remarks"]

LARGE = 2 << 30
"""Bytes of a cache from which on its size is said."""


def check_settings(settings: Settings, model: FusionModel, n: int, processes: int) -> None:
    """InputError for settings that can do nothing with `model`, frozen as asked, and `n` training images."""
    for name in settings.auxiliary:
        check_known(
            f"auxiliary loss of {settings.model}", name, [*model.loss_factors, *TERMS], "--auxiliary NAME=FACTOR"
        )
    terms = [name for name, factor in settings.auxiliary.items() if factor and name in TERMS]
    for name in terms:
        TERMS[name].points(model)
    steps = settings.epochs * steps_of(n, settings.batch_size, settings.accumulate * processes)
    if (settings.warmup or 0) > steps:
        raise InputError(
            f"warmup ({settings.warmup} steps) is longer than the run ({steps} steps), which would never reach its"
            " learning rate; give fewer, or more epochs"
        )
    asked = [key for key, usual in (("encoder_lr", None), ("layer_decay", 1.0)) if getattr(settings, key) != usual]
    if getattr(model, "interaction", "none") == "none":  # else fusion blocks reach what the terms look at
        asked += terms
    if asked and len(idle_encoders(model)) == len(encoder_parts(model)):
        raise InputError(f"{asked[0]} does nothing here: all encoders of {settings.model} are frozen; leave it out")
    if settings.layer_decay < 1 and all(len(layers) < 2 for layers in encoder_layers(model)):
        raise InputError(f"layer_decay does nothing here: the encoders of {settings.model} are of one layer each as far"
                         " as can be told; leave it out")  # fmt: skip


def ready(
    train: Any,
    val: Any,
    settings: Settings,
    say: Callable[[str], None],
    preprocess: Preprocess | None,
    look: Callable[[str, int, int], None] | None = None,
) -> tuple[Any, Any, Survey]:
    """(training data, validation data, what was found in the training data), images without x handled as asked.

    Args:
        preprocess: of the checkpoint that training starts from.
        look: called for every image with ("training" or "validation", how many were read, how many there are).

    Raises:
        InputError: images without any valid x that the settings do not skip or keep, no labels at all, an x channel
            that is constant or missing everywhere; unusable samples by name.
    """
    if settings.cache and not settings.cache_dir:
        size = sum(len(data) * sample_bytes(data) for data in (train, val) if data is not None)
        if size > LARGE:
            say(
                f"the cache will hold {size / (1 << 30):.1f} GiB; --no-cache reads images anew, --workers N in parallel"
            )
    out: list[tuple[Any, Survey | None]] = []
    for role, data in (("training", train), ("validation", val)):
        if data is None:
            out.append((None, None))
            continue
        found = survey(data, preprocess=preprocess if role == "training" else None, workers=settings.workers,
                       look=None if look is None else partial(look, role))  # fmt: skip
        _refuse_unusable(found, data, role)
        data, note = sorted_out(data, found.empty, settings.empty, role)
        if note:
            say(note)
        out.append((data, found))
    (train, seen), (val, _) = out
    assert seen is not None
    return train, val, seen


def remarks(found: Survey, data: Any) -> list[str]:
    """What a person should know before training: x unlike what the weights saw, classes without labels."""
    out = []
    count, first = found.unlike
    if count >= found.n / 10 and first:
        out.append(f"x of {count} of {found.n} training images is unlike what the weights saw; {first}")
    absent = [name for name, n in zip(data.class_names, found.pixels.tolist(), strict=True) if n == 0]
    what = "image" if data_task(data) == CLASSIFICATION else "labelled pixel"
    if absent:
        named = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        out.append(f"{len(absent)} of {len(data.class_names)} classes have no {what} in the training data: {named}")
    return out


def _refuse_unusable(found: Survey, data: Any, role: str) -> None:
    """InputError where nothing can be learnt from or measured on `data`: no labels, or x that says nothing.

    Args:
        role: "training" or "validation".
    """
    where = f"the {role} data ({data.name}, split {data.split!r})"
    if not bool(found.pixels.any()):
        further = "; --val-split '' trains without validation" if role == "validation" else ""
        raise InputError(f"{where} has no labelled pixel in {found.n} images; name a labelled split{further}")
    if role != "training":
        return
    if not found.x_quantiles:
        raise InputError(f"{where} has no valid x in any of {found.n} images: nothing to learn a second modality from")
    for channel, (mean, std) in enumerate(zip(found.x_mean, found.x_std, strict=True)):
        if std <= 1e-4 * max(1.0, abs(mean)):
            raise InputError(
                f"{where}: channel {channel} of x is {mean:.4g} everywhere; a constant tells a model nothing"
                " (are these the right files and x_scale?)"
            )
