"""The constructor's arguments as config.json keeps them: model_args.json holds those of every published model."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from fusionzoo.models import FusionModel, TwoStream, build, create_model
from fusionzoo.models.published.cmx import CMX
from fusionzoo.models.published.esanet import ESANet
from fusionzoo.models.published.multimae import MultiMAE
from fusionzoo.preprocess import Preprocess
from fusionzoo.registry import architectures

STORED = json.loads(Path(__file__).with_name("model_args.json").read_text())
"""Published name -> `model_args` of the model with its defaults, keys in the order of the file."""
QUICK = ("acnet_resnet50", "asymformer_b0t", "cen_resnet50", "cmnext_mit_b0", "cmx_mit_b0", "dformer_tiny",
         "dformerv2_s", "dplnet_mit_b0", "dveformer", "emsaformer", "esanet_r18", "gemini_mit_b0", "gemini_swin_tiny",
         "hdbformer_swin_base", "mfnet", "multimae_tiny", "rednet_resnet34", "rtfnet_r18", "sagate_resnet50",
         "sigma_tiny", "stitchfusion_mit_b0", "tokenfusion_mit_b0", "tuni_v2_t")  # fmt: skip


def test_every_published_name_is_stored() -> None:
    assert list(STORED) == list(architectures)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in STORED])
def test_arguments_of_published_models_are_the_stored_ones(name: str) -> None:
    """To the letter: configs of checkpoints in the world have these keys in this order."""
    with torch.device("meta"):
        model = create_model(name)
        assert json.dumps(model.config()["model_args"]) == json.dumps(STORED[name])
        assert model.config()["architecture"] == name
        assert json.dumps(build(model.config()).config()) == json.dumps(model.config())


def test_a_class_called_by_itself_knows_its_registered_name() -> None:
    with torch.device("meta"):
        model = ESANet(18, nbt1d=True, num_classes=7)
        assert model.architecture == "esanet_r18_nbt1d"
        assert model.model_args == {"num_classes": 7, "x_channels": 1}
        assert CMX(size=1).architecture == "cmx_mit_b1"
        model = MultiMAE("tiny", 5, image_size=(64, 32), main_tasks=("rgb", "depth"))
    assert model.architecture == "multimae_tiny"
    assert model.model_args["image_size"] == [64, 32] and model.model_args["main_tasks"] == ["rgb", "depth"]
    assert model.model_args["width"] == 192  # the size's own, filled in


def test_numbers_of_numpy_are_kept_as_numbers() -> None:
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=np.int64(4))  # type: ignore[arg-type]
    assert type(model.model_args["num_classes"]) is int and json.dumps(model.config())


class Own(FusionModel):
    """A user's model: nothing registered, nothing written by hand."""

    def __init__(
        self, width: int, num_classes: int = 4, preprocess: Preprocess | None = None, *, sides: Sequence[int] = (1, 2)
    ) -> None:
        super().__init__(num_classes, 1, preprocess)
        self.conv = torch.nn.Conv2d(3, width, 1)


def test_a_model_of_ones_own_records_what_it_was_given() -> None:
    sides = [3, 4]
    model = Own(8, preprocess=Preprocess(), sides=sides)
    sides.append(5)
    assert model.model_args == {"width": 8, "num_classes": 4, "sides": [3, 4]} and model.architecture == ""
    assert Own(2).model_args == {"width": 2, "num_classes": 4, "sides": [1, 2]}
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        Own()
    with pytest.raises(TypeError, match="unexpected keyword argument 'wdth'"):
        Own(wdth=3)


def test_copies_keep_the_arguments_as_their_own() -> None:
    options = {"pyramid_channels": 16}
    model = TwoStream("sum", "mobilenetv1-025", "fpn", num_classes=3, decoder_args=options)
    options["pyramid_channels"] = 0
    want = {
        "fusion": "sum", "encoder": "mobilenetv1-025", "decoder": "fpn", "num_classes": 3, "x_channels": 1,
        "fusion_args": {}, "decoder_args": {"pyramid_channels": 16},
    }  # fmt: skip
    for one in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model):  # noqa: S301
        assert one.model_args == want
        one.model_args["decoder_args"]["pyramid_channels"] = 1


class Named(Own):
    """A user's model that says by itself how it is called."""

    architecture = "mine"


class Wider(CMX):
    """A registered family's subclass, itself not registered: its config must not build the family's model."""


def test_a_class_that_names_its_architecture_keeps_the_name() -> None:
    assert Named(2).architecture == Named(2).config()["architecture"] == "mine"
    assert copy.deepcopy(Named(2)).architecture == "mine"
    assert Own(2).architecture == "" and Named.architecture == "mine"
    with torch.device("meta"):
        assert Wider(size=1).architecture == ""


def test_a_registered_name_stands_above_the_class_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(architectures._entries, "thing_of_a_test", Named)
    assert Named(2).architecture == "thing_of_a_test"
