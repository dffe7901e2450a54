"""A trained model fitted to other classes: which layers are new is written out by hand, all else must be kept."""

from __future__ import annotations

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.models import classes, create_model, reset_classes

HEADS = {
    "concat_mobilenetv1-025_fpn": {"head"},
    "rgb_only_mobilenetv1-025_fpn": {"rgb_stream.head"},
    "cmx_mit_b0": {"decoder.classify"},
    "mfnet": {"decoder.up1.conv", "decoder.up1.bn"},
    "esanet_r18_nbt1d": {"decoder.classify", "decoder.enlarge1.conv", "decoder.enlarge2.conv", "decoder.up1.side",
                         "decoder.up2.side", "decoder.up3.side"},
}  # fmt: skip


@pytest.mark.parametrize("names", [["wall", "box"], [f"thing {i}" for i in range(5)]], ids=["fewer", "as many"])
@pytest.mark.parametrize("name", HEADS)
def test_classifiers_are_new_and_all_else_is_kept(name: str, names: list[str]) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=5)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(torch.rand(value.shape) if value.is_floating_point() else torch.ones_like(value))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fitted, new = reset_classes(model, names)
    assert {key.rpartition(".")[0] for key in new} == HEADS[name]
    for key, value in fitted.state_dict().items():
        if key not in new:
            assert torch.equal(value, before[key]), key
        elif key.endswith("weight") and value.ndim > 1:
            assert value.shape != before[key].shape or not torch.equal(value, before[key]), key
    assert fitted.class_names == names and fitted.config()["class_names"] == names
    assert fitted(torch.zeros(1, 3, 64, 64), torch.zeros(1, model.x_channels, 64, 64)).shape == (1, len(names), 64, 64)
    # the model given is as it was
    assert model.num_classes == 5 and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", HEADS)
def test_rows_of_equal_names_are_taken_over(name: str) -> None:
    """Class 'b' is index 1 before and 2 after; every new tensor of one class axis has its values there."""
    model = create_model(name, num_classes=3)
    model.set_classes(["a", "b", "night stand"])
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(torch.rand(value.shape) if value.is_floating_point() else torch.ones_like(value))
    fitted, new = reset_classes(model, ["lamp", "Night_Stand", "b", "sofa"], keep=True)
    old, now = model.state_dict(), fitted.state_dict()
    fresh = reset_classes(model, ["lamp", "chair", "x", "sofa"])[0].state_dict()
    assert {key.rpartition(".")[0] for key in new} == HEADS[name]
    for key in new:
        axis = next(i for i, size in enumerate(now[key].shape) if size == 4 and old[key].shape[i] == 3)
        for index, was in ((2, 1), (1, 2)):
            assert torch.equal(now[key].select(axis, index), old[key].select(axis, was)), key
        assert now[key].shape == fresh[key].shape
    with pytest.raises(InputError, match="none of the classes sofa has the name"):
        reset_classes(model, ["sofa"], keep=True)


def test_class_against_class() -> None:
    """A tensor with two class axes keeps the pairs of which both are known."""
    old, fresh = torch.arange(9.0).reshape(3, 1, 3), torch.full((2, 1, 2), -1.0)
    kept = classes._rows_kept(old, fresh, (0, 2), {1: 0})
    assert kept[:, 0].tolist() == [[-1, -1], [-1, 0]]
    kept = classes._rows_kept(old, fresh, (0, 2), {0: 2, 1: 0})
    assert kept[:, 0].tolist() == [[8, 6], [2, 0]]


def test_refusals() -> None:
    model = create_model("sum_mobilenetv1-025_fpn")
    for names in ([], ["wall", "wall"]):
        with pytest.raises(InputError, match="one for each class"):
            reset_classes(model, names)
    model.add_module("more", torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="'more.weight'"):
        reset_classes(model, ["wall"])


def test_what_is_frozen_stays_so_and_numbers_keep_their_type() -> None:
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=3).to(torch.bfloat16)
    model.get_submodule("rgb_encoder").requires_grad_(False)
    model.head.requires_grad_(False)
    fitted, new = reset_classes(model, ["a", "b"])
    assert {p.dtype for p in fitted.parameters()} == {torch.bfloat16}
    frozen = {key for key, p in fitted.named_parameters() if not p.requires_grad}
    assert frozen == {key for key, _ in fitted.named_parameters() if key.startswith("rgb_encoder.")}
    assert set(new) == {"head.weight", "head.bias"}, "new weights learn, whatever the old ones did"


def test_a_text_is_no_list_of_names() -> None:
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=4)
    for call in (lambda: model.set_classes("wall"), lambda: reset_classes(model, "wall")):
        with pytest.raises(InputError, match="the class names are the text 'wall'; give a list of names"):
            call()
