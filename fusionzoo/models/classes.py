"""A trained model fitted to other classes: new classifiers, every other weight kept."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.errors import InputError
from fusionzoo.models.base import FusionModel
from fusionzoo.models.presets import build

__all__ = ["reset_classes"]


def reset_classes(model: FusionModel, names: Sequence[str]) -> tuple[FusionModel, tuple[str, ...]]:
    """A copy of `model` with new classifiers for the classes `names`, and the names of the tensors that are new.

    New are the tensors whose shape depends on the number of classes: the last layer, those of auxiliary heads, and
    what works on class scores. They begin as in a new model; all others are equal to those of `model`, which is not
    changed. The copy is in eval mode, on the CPU.

    Raises:
        InputError: no names, a name twice, or a model that its own config does not describe.

    >>> from fusionzoo.models import create_model
    >>> fitted, new = reset_classes(create_model("sum_mobilenetv1-025_fpn"), ["wall", "floor"])
    >>> fitted.num_classes, fitted.class_names, new
    (2, ['wall', 'floor'], ('head.bias', 'head.weight'))
    """
    if not names or len(set(names)) != len(names):
        raise InputError(f"{len(names)} class names, {len(set(names))} of them different; give one for each class")
    fitted = _with_classes(model, names)
    old = model.state_dict()
    # with an equal number of classes the shapes tell nothing: compare with a model of one class more
    other = fitted if len(names) != model.num_classes else _with_classes(model, [*names, "".join(names)])
    new = {key for key, value in other.state_dict().items() if key not in old or value.shape != old[key].shape}
    state = {key: value if key in new else old.get(key) for key, value in fitted.state_dict().items()}
    odd = next((key for key in {**old, **state} if key not in old or state.get(key) is None), None)
    if odd is not None:
        raise InputError(f"the model's config() does not describe it: {odd!r} differs; it cannot be fitted")
    fitted.load_state_dict(state, strict=True)
    return fitted, tuple(sorted(new))


def _with_classes(model: FusionModel, names: Sequence[str]) -> FusionModel:
    config = model.config()
    return build(
        {**config, "model_args": {**config["model_args"], "num_classes": len(names)}, "class_names": list(names)}
    )
