"""Joint models: a class of each pixel and a scene type of the image, and the view that says the type alone."""

from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

import fusionzoo
from fusionzoo.data import Planted
from fusionzoo.data.planted_scenes import CLASSES, PlantedScenes
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.hub.records import read_record
from fusionzoo.models import TwoStream, build, create_model
from fusionzoo.models.classes import reset_classes, reset_scenes, scenes_alone
from fusionzoo.tasks import model_for
from tests.compare import SAME, distance, same_tensors

NAMES = ["kitchen", "office", "bathroom"]


def joint(name: str = "concat_mobilenetv1-025_fpn") -> TwoStream:
    model = create_model(name, num_classes=5, num_scenes=3)
    assert isinstance(model, TwoStream)
    model.set_scenes(NAMES)
    return model


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, 70, 97), torch.randn(2, 1, 70, 97)


def test_the_view_has_the_name_of_a_pool_model_or_none_where_the_model_has_none() -> None:
    assert joint().scenes().architecture == "concat_mobilenetv1-025_pool"
    assert TwoStream("sum", "mobilenetv1-025", "unet", num_scenes=2).scenes().architecture == ""


@pytest.mark.parametrize("strategy", ["concat", "cross_attention", "sagate", "prompt"])
@pytest.mark.parametrize("decoder", ["fpn", "unet", "pspnet"])
def test_both_answers_are_those_of_two_models_of_one_task(
    strategy: str, decoder: str, pair: tuple[Tensor, Tensor]
) -> None:
    """Built without scene types, or with the decoder `pool`, and given the same tensors."""
    model = joint(f"{strategy}_mobilenetv1-025_{decoder}")
    state = model.state_dict()
    pixels = create_model(f"{strategy}_mobilenetv1-025_{decoder}", num_classes=5)
    whole = create_model(f"{strategy}_mobilenetv1-025_pool", num_classes=3)
    pixels.load_state_dict({key: state[key] for key in pixels.state_dict()})
    whole.load_state_dict({key: state[key.replace("head.", "scene_head.")] for key in whole.state_dict()})
    view = model.scenes()
    with torch.no_grad():
        logits, types = model.both(*pair)
        assert distance(model(*pair), logits) < SAME
        assert logits.shape == (2, 5, 70, 97) and distance(logits, pixels(*pair)) < SAME
        assert view(*pair).shape == (2, 3, 1, 1) and distance(view(*pair), whole(*pair)) < SAME
        assert distance(types, whole(*pair)) < SAME
        assert distance(scenes_alone(model)(*pair), whole(*pair)) < SAME
    assert (model.task, view.task, view.num_classes, view.class_names) == ("segmentation", "classification", 3, NAMES)
    assert view.config() == whole.config() | {"class_names": NAMES}


def test_threads_share_a_joint_model() -> None:
    """Each gets the answer to its own image: nothing of a pass is kept on the model."""
    model = joint()
    images = [torch.randn(1, 3, 64, 64) for _ in range(24)]

    def ask(image: Tensor) -> Tensor:
        with torch.no_grad():
            return model.both(image, None)[1].flatten()

    alone = [ask(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert all(distance(a, b) < SAME for a, b in zip(alone, pool.map(ask, images), strict=True))
    assert distance(alone[0], alone[1]) > 100 * SAME, "images differ"


def test_the_view_shares_every_module_and_the_model_holds_no_view() -> None:
    model = joint()
    before, names = dict(vars(model)), [name for name, _ in model.named_modules()]
    view = model.scenes()
    assert dict(vars(model)) == before and [name for name, _ in model.named_modules()] == names
    own = {id(module) for module in model.modules()} - {id(model)}
    assert {id(module) for module in view.modules()} - {id(view)} <= own
    assert view.head is model.scene_head and view.logits is model.scene_logits and view.decoder is model.scene_decoder
    assert {id(p) for p in view.parameters()} < {id(p) for p in model.parameters()} and view is not model.scenes()
    view.set_classes(["a", "b", "c"])
    hook = view.register_forward_hook(lambda *_: None)
    assert model.scene_names == NAMES and not model._forward_hooks and model.model_args["num_scenes"] == 3
    hook.remove()
    assert set(dict(view.named_children())) == set(dict(create_model("concat_mobilenetv1-025_pool").named_children()))
    for twin in (copy.deepcopy(view), pickle.loads(pickle.dumps(view)), copy.deepcopy(model).scenes()):  # noqa: S301
        assert same_tensors(twin.state_dict(), view.state_dict())
        assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}
    with pytest.raises(InputError, match="no scene types; finetune it on joint data"):
        view.scenes()


def test_a_compiled_model_gives_a_view_of_its_own(pair: tuple[Tensor, Tensor]) -> None:
    model = joint()
    model.compile(backend="eager")
    with torch.no_grad():
        assert model.scenes()(*pair).shape == (2, 3, 1, 1)


def test_the_config_names_scenes_only_where_there_are_some(tmp_path: Path) -> None:
    plain = create_model("concat_mobilenetv1-025_fpn")
    assert "scene" not in json.dumps(plain.config())
    model = joint()
    model.save_pretrained(tmp_path / "m")
    record = read_record(tmp_path / "m")
    loaded = fusionzoo.from_pretrained(tmp_path / "m")
    assert isinstance(loaded, TwoStream) and loaded.scene_names == record.scenes == NAMES and record.task == ""
    assert same_tensors(loaded.state_dict(), model.state_dict())
    card = (tmp_path / "m/README.md").read_text()
    assert "3 scene types: kitchen, office, bathroom" in card and "model.scenes()" in card
    config = model.config()
    with pytest.raises(InputError, match="2 scene names for 3 scene types"):
        build({**config, "scene_names": NAMES[:2]})
    with pytest.raises(InputError, match="has scene_names, and late_mobilenetv1-025_fpn says no scene types"):
        build({**create_model("late_mobilenetv1-025_fpn").config(), "scene_names": NAMES})
    for decoder, count in (("pool", 3), ("fpn", -1)):
        with pytest.raises(InputError, match=f"num_scenes is {count} beside the decoder '{decoder}'"):
            TwoStream("concat", "mobilenetv1-025", decoder, num_scenes=count)
    values = json.loads((tmp_path / "m/record.json").read_text())
    (tmp_path / "m/record.json").write_text(json.dumps(values | {"scenes": NAMES[::-1]}))
    with pytest.raises(CheckFailed, match="disagree on the scene types"):
        fusionzoo.from_pretrained(tmp_path / "m")


def test_scene_types_are_added_changed_and_taken_away() -> None:
    plain = create_model("concat_mobilenetv1-025_fpn", num_classes=5)
    first, new = reset_scenes(plain, NAMES)
    assert new == ("scene_head.bias", "scene_head.weight") and isinstance(first, TwoStream)
    assert same_tensors({k: v for k, v in first.state_dict().items() if k not in new}, plain.state_dict())
    other, new = reset_scenes(first, ["hall", "shop"])
    assert isinstance(other, TwoStream) and other.scene_names == ["hall", "shop"] and other.scene_head.out_channels == 2
    assert same_tensors({k: v for k, v in other.state_dict().items() if k not in new}, plain.state_dict())
    back, new = reset_scenes(other, [])
    assert not new and same_tensors(back.state_dict(), plain.state_dict()) and back.config() == plain.config()
    classes, new = reset_classes(first, ["wall", "floor"])
    assert new == ("head.bias", "head.weight") and isinstance(classes, TwoStream) and classes.scene_names == NAMES
    assert torch.equal(classes.scene_head.weight, first.scene_head.weight)
    for name in ("late_mobilenetv1-025_fpn", "concat_mobilenetv1-025_pool", "esanet_r18"):
        with pytest.raises(InputError, match=f"{name} has no place for scene types"):
            reset_scenes(create_model(name), NAMES)
    with pytest.raises(InputError, match="2 scene types, 1 of them different"):
        reset_scenes(plain, ["hall", "hall"])


def test_the_task_of_the_data_decides_what_is_dissected() -> None:
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=12, num_scenes=8)
    assert isinstance(model, TwoStream)
    model.set_scenes(list(CLASSES))
    scenes, planted = PlantedScenes("test", n=4, size=(32, 48)), Planted("test", n=4, size=(32, 48))
    assert model_for(model, planted) is model and model_for(model, scenes).head is model.scene_head
    whole = fusionzoo.dissect(model, scenes, metrics=["segmentation"], progress=False)
    view = fusionzoo.dissect(model.scenes(), scenes, metrics=["segmentation"], progress=False)
    assert whole.segmentation == view.segmentation and whole.data.task == "classification"
    listed = fusionzoo.dissect(model, [scenes[i] for i in range(4)], metrics=["segmentation"], progress=False)
    assert listed.data.class_names == list(CLASSES) and listed.segmentation == whole.segmentation
    pixels = fusionzoo.dissect(model, planted, metrics=["segmentation"], progress=False)
    assert pixels.data.task == "segmentation" and len(pixels.segmentation["both"].iou) == 12
    with pytest.raises(InputError, match="predicts 3 classes, planted-scenes has 8"):
        fusionzoo.dissect(joint(), scenes, progress=False)
    found = fusionzoo.trace(model, scenes, edits=["mean"], progress=False)
    assert found.clean.miou == pytest.approx(whole.segmentation["both"].miou)
