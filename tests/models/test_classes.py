"""A trained model fitted to other classes: which layers are new is written out by hand, all else must be kept."""

from __future__ import annotations

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.models import create_model, reset_classes

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


def test_refusals() -> None:
    model = create_model("sum_mobilenetv1-025_fpn")
    for names in ([], ["wall", "wall"]):
        with pytest.raises(InputError, match="one for each class"):
            reset_classes(model, names)
    model.add_module("more", torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="'more.weight'"):
        reset_classes(model, ["wall"])
