"""A trained model fitted to other classes: new classifiers, every other weight kept, and rows of classes it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.models.base import FusionModel
from fusionzoo.models.presets import build
from fusionzoo.models.two_stream import TwoStream
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["class_axes", "reset_classes", "reset_scenes", "same_classes", "scenes_alone"]


def reset_classes(
    model: FusionModel, names: Sequence[str], *, keep: bool = False
) -> tuple[FusionModel, tuple[str, ...]]:
    """A copy of `model` with new classifiers for the classes `names`, and the names of the tensors that are new.

    New are the tensors whose shape depends on the number of classes: the last layer, those of auxiliary heads, and
    what works on class scores. They begin as in a new model; all others are equal to those of `model`, which is not
    changed, and as frozen as there. The copy has the model's type of numbers; it is in eval mode, on the CPU.

    Args:
        keep: of the new tensors too, take over what belongs to classes of equal names (see `same_classes`).

    Raises:
        InputError: no names, a name twice, a model that its own config does not describe, or nothing to keep.

    >>> from fusionzoo.models import create_model
    >>> fitted, new = reset_classes(create_model("sum_mobilenetv1-025_fpn"), ["wall", "floor"])
    >>> fitted.num_classes, fitted.class_names, new
    (2, ['wall', 'floor'], ('head.bias', 'head.weight'))
    """
    if isinstance(names, str):
        raise InputError(f"the class names are the text {names!r}; give a list of names")
    if not names or len(set(names)) != len(names):
        raise InputError(f"{len(names)} class names, {len(set(names))} of them different; give one for each class")
    fitted = _with_classes(model, names)
    old, fresh = model.state_dict(), fitted.state_dict()
    axes = class_axes(model)
    shapes = [{key: value.shape for key, value in state.items() if key not in axes} for state in (old, fresh)]
    odd = next((key for key in {**shapes[0], **shapes[1]} if shapes[0].get(key) != shapes[1].get(key)), None)
    if odd is not None:
        raise InputError(f"the model's config() does not describe it: {odd!r} differs; it cannot be fitted")
    state = {key: value if key in axes else old[key] for key, value in fresh.items()}
    if keep:
        pairs = same_classes(model.class_names, names)
        if not pairs:
            raise InputError(
                f"none of the classes {_some(names)} has the name of one that the model knows"
                f" ({_some(model.class_names)}); begin with a new head instead: without --keep-head (keep=False)"
            )
        for key, at in axes.items():
            if key in old and key in fresh:
                state[key] = _rows_kept(old[key], fresh[key], at, pairs)
    fitted.load_state_dict(state, strict=True)
    learns = {key: p.requires_grad for key, p in model.named_parameters()}
    for key, p in fitted.named_parameters():
        if key not in axes:
            p.requires_grad_(learns.get(key, p.requires_grad))
    return fitted.to(next(model.parameters()).dtype), tuple(sorted(key for key in axes if key in fresh))


def reset_scenes(model: FusionModel, names: Sequence[str]) -> tuple[FusionModel, tuple[str, ...]]:
    """A copy of `model` with a new head for the scene types `names`, and the names of the tensors that are new.

    New are the scene head, and blocks that only it reads where the model had none; all others are equal to those of
    `model`, which is not changed. Without `names` the copy has no scene head. It is in eval mode, on the CPU.

    Raises:
        InputError: a name twice, or a model that cannot say scene types beside the classes of pixels.

    >>> from fusionzoo.models import create_model
    >>> joint, new = reset_scenes(create_model("sum_mobilenetv1-025_fpn"), ["kitchen", "office"])
    >>> joint.num_scenes, new
    (2, ('scene_head.bias', 'scene_head.weight'))
    """
    if len(set(names)) != len(names):
        raise InputError(f"{len(names)} scene types, {len(set(names))} of them different; give one name for each")
    if not isinstance(model, TwoStream) or model.task == CLASSIFICATION:
        raise InputError(
            f"{model.architecture} has no place for scene types beside its classes; joint models are"
            " STRATEGY_ENCODER_DECODER with a decoder of pixels, such as concat_mobilenetv1-025_fpn; give data of one"
            " task (nyuv2:PATH, nyuv2-scenes:PATH) for others"
        )
    config = {key: value for key, value in model.config().items() if key != "scene_names"}
    args = {key: value for key, value in config["model_args"].items() if key != "num_scenes"}
    if names:
        args, config["scene_names"] = args | {"num_scenes": len(names)}, list(names)
    fitted, old = build(config | {"model_args": args}), model.state_dict()
    fresh = fitted.state_dict()
    new = tuple(sorted(key for key in fresh if key not in old or key.startswith("scene_head.")))
    fitted.load_state_dict({key: fresh[key] if key in new else old[key] for key in fresh}, strict=True)
    return fitted, new


def scenes_alone(model: TwoStream) -> FusionModel:
    """The view of a joint model's scene types as a model of its own, with copies of the tensors that it needs.

    >>> from fusionzoo.models import create_model
    >>> alone = scenes_alone(create_model("sum_mobilenetv1-025_unet", num_scenes=2))
    >>> alone.task, alone.num_classes, sum(key.startswith("scene") for key in alone.state_dict())
    ('classification', 2, 0)
    """
    view = model.scenes()
    alone, state = build(view.config()), view.state_dict()
    alone.load_state_dict({key: state[key] for key in alone.state_dict()}, strict=True)
    return alone


def same_classes(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    """Index in `new` -> index in `old` of the class of equal name; case, '_', '-' and spaces count alike.

    >>> same_classes(["wall", "night stand", "bed"], ["Bed", "lamp", "night_stand"])
    {0: 2, 2: 1}
    """
    plain = lambda name: " ".join(name.casefold().replace("_", " ").replace("-", " ").split())  # noqa: E731
    known = {plain(name): i for i, name in reversed(list(enumerate(old)))}
    return {i: known[plain(name)] for i, name in enumerate(new) if plain(name) in known}


def class_axes(model: FusionModel) -> dict[str, tuple[int, ...]]:
    """Names of the tensors whose shape depends on the number of classes, each with its axes that are the classes.

    No axes where a size changes with the classes in another way than one for one, or the tensor exists only for some
    numbers of classes.

    >>> from fusionzoo.models import create_model
    >>> class_axes(create_model("sum_mobilenetv1-025_fpn"))
    {'head.weight': (0,), 'head.bias': (0,)}
    """
    count = model.num_classes
    with torch.device("meta"):
        shapes = [
            {k: v.shape for k, v in _with_classes(model, [str(i) for i in range(n)]).state_dict().items()}
            for n in (count, count + 1)
        ]
    out: dict[str, tuple[int, ...]] = {}
    for key in dict.fromkeys([*shapes[0], *shapes[1]]):
        here, more = shapes[0].get(key), shapes[1].get(key)
        if here is None or more is None or len(here) != len(more):
            out[key] = ()
        elif here != more:
            steps = [b - a for a, b in zip(here, more, strict=True)]
            single = all(step == 0 or (step == 1 and size == count) for step, size in zip(steps, here, strict=True))
            out[key] = tuple(i for i, step in enumerate(steps) if step) if single else ()
    return out


def _rows_kept(old: Tensor, fresh: Tensor, axes: tuple[int, ...], pairs: Mapping[int, int]) -> Tensor:
    """`fresh` with what `old` has for the classes of `pairs` (new index -> old index), along all `axes` at once."""
    if not axes:
        return fresh
    out, front = fresh.clone(), tuple(range(len(axes)))
    grids = [torch.meshgrid(*[torch.tensor(list(at))] * len(axes), indexing="ij") for at in (pairs, pairs.values())]
    into, source = grids
    out.movedim(axes, front)[into] = old.to(fresh).movedim(axes, front)[source]  # (K', ..., rest) <- (K, ..., rest)
    return out


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _with_classes(model: FusionModel, names: Sequence[str]) -> FusionModel:
    config = model.config()
    return build(
        {**config, "model_args": {**config["model_args"], "num_classes": len(names)}, "class_names": list(names)}
    )
