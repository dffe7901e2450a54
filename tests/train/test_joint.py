"""Training of pixels and scene types at once: its loss, its scores, what it writes, what is made of a checkpoint."""

from __future__ import annotations

import json
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import Tensor, nn

import fusionzoo
from fusionzoo.cli.group import main
from fusionzoo.data import Planted, parse_spec
from fusionzoo.data.planted_joint import CLASSES, PlantedJoint
from fusionzoo.data.planted_scenes import PlantedScenes
from fusionzoo.errors import InputError
from fusionzoo.hub import convert
from fusionzoo.models import TwoStream, create_model
from fusionzoo.models.parts import encoder_parts
from fusionzoo.train import Settings, evaluate, finetune
from fusionzoo.train.distill import Teacher
from fusionzoo.train.freeze import freeze
from fusionzoo.train.losses import total
from fusionzoo.train.start import fit_classes, new_model
from fusionzoo.train.terms import losses
from tests.train.rooms import PLAIN
from tests.train.test_optim import encoder_folder
from tests.train.test_processes import fork

NAME = "concat_mobilenetv1-025_fpn"
WORDS = ["--base", "32x48", "--size", "32x48", "--batch-size", "4", "--epochs", "2", "--limit", "8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("run") / "joint"
    told = CliRunner().invoke(main, ["finetune", NAME, "--data", "planted-joint", *WORDS, "--out", str(out)])
    assert told.exit_code == 0, told.output
    return out, told.output


def load(place: Path) -> TwoStream:
    model = fusionzoo.from_pretrained(place)
    assert isinstance(model, TwoStream)
    return model


def test_a_run_scores_both_and_keeps_the_best_of_the_pixels(run: tuple[Path, str]) -> None:
    out, said = run
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    best = max(lines, key=lambda line: line["miou"])
    assert lines[-1]["best_miou"] == best["miou"] and f"best validation mIoU {100 * best['miou']:.1f}" in said
    model, val = load(out), PlantedJoint("val", n=8, size=(32, 48))
    assert (model.class_names, model.scene_names) == (list(CLASSES), val.scene_names)
    truth = [int(sample["scene"]) for sample in val]
    with torch.no_grad():
        found = [int(model.scenes()(*model.preprocess(s["rgb"][None], s["x"][None])).argmax()) for s in val]
    assert best["scene"]["accuracy"] == pytest.approx(accuracy_score(truth, found))
    if set(found) <= set(truth):
        assert best["scene"]["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, found))
    assert f"scene balanced accuracy {100 * best['scene']['balanced_accuracy']:.1f}" in said
    page = (out / "training.html").read_text()
    assert "Validation mIoU" in page and "Validation balanced accuracy of scenes" in page


def test_scene_scores_are_scikit_learns(run: tuple[Path, str]) -> None:
    """Of a head of noise about its mean over the images; some types are not known."""
    model, data = load(run[0]), PlantedJoint("test", n=40, size=(32, 48))
    view = model.scenes()
    with torch.no_grad():
        model.scene_head.weight.normal_()
        logits = [view(*model.preprocess(s["rgb"][None], s["x"][None])) for s in data]
        model.scene_head.bias -= torch.cat(logits).mean((0, 2, 3))
    samples = [{**s, "scene": torch.tensor(255)} if i % 5 == 0 else s for i, s in enumerate(data)]

    class Some(list[dict[str, Any]]):
        name, task, ignore_index, scene_names = "some", "segmentation", 255, data.scene_names

    scores = evaluate(model, Some(samples))
    known = [s for s in samples if int(s["scene"]) != 255]
    with torch.no_grad():
        found = [int(view(*model.preprocess(s["rgb"][None], s["x"][None])).argmax()) for s in known]
    truth = [int(s["scene"]) for s in known]
    assert scores.scenes is not None and len(set(found)) > 2 and set(found) <= set(truth)
    assert scores.scenes.miou == pytest.approx(balanced_accuracy_score(truth, found))
    assert scores.scenes.pixel_accuracy == pytest.approx(accuracy_score(truth, found))
    assert evaluate(model, PlantedScenes("test", n=40, size=(32, 48))).task == "classification"
    with pytest.raises(InputError, match="says 8 scene types, some has 2"):
        evaluate(model, type("Two", (Some,), {"scene_names": ["a", "b"]})(samples))


def test_the_gradient_is_the_sum_of_both_tasks(still: None) -> None:
    """In one pass, against each loss of a pass of its own, by PyTorch's cross-entropy."""
    model = create_model(NAME, num_classes=5, num_scenes=3)
    assert isinstance(model, TwoStream) and model.loss_factors == {"scene": 0.25}
    rgb, x = torch.randn(4, 3, 64, 64), torch.randn(4, 1, 64, 64)
    label, scene = torch.randint(5, (4, 64, 64)), torch.tensor([0, 2, 255, 1])

    def gradients(loss: Tensor) -> dict[str, Tensor]:
        model.zero_grad()
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    logits, auxiliary, _ = losses(model, rgb, x, label, model.loss_factors, scene=scene)
    both = gradients(total(F.cross_entropy(logits, label), auxiliary, model.loss_factors))
    pixels = gradients(F.cross_entropy(model(rgb, x), label))
    of_known = F.cross_entropy(model.scenes()(rgb, x)[[0, 1, 3], :, 0, 0], torch.tensor([0, 2, 1]))
    types = gradients(of_known * 3 / 4)  # the image of unknown type counts as one that loses nothing
    assert both.keys() == pixels.keys() | types.keys()
    assert {name for name in both if name not in pixels} == {"scene_head.weight", "scene_head.bias"}
    for name, found in both.items():
        wanted = pixels.get(name, torch.zeros(())) + 0.25 * types.get(name, torch.zeros(()))
        torch.testing.assert_close(found, wanted.expand_as(found), rtol=1e-3, atol=1e-5)


def joint(out: Path, **changes: Any) -> list[tuple[float, float]]:
    """(loss, norm of the gradient) of each step of a run without validation."""
    seen: list[tuple[float, float]] = []
    given = {"batch_size": 4, "epochs": 2, "limit": 8, "val_split": "", **PLAIN, **changes}
    finetune(Settings(NAME, "planted-joint", **given), out, note=lambda text: None,
             step=lambda line: seen.append((line["loss"], line["norm"])))  # fmt: skip
    return seen


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch, still: None) -> None:
    """Nothing is dropped: the decoder `pool` has a dropout of its own."""
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, value: value)


def test_parts_and_factors_of_a_step(tmp_path: Path, sure: None) -> None:
    whole, off = joint(tmp_path / "a"), joint(tmp_path / "b", auxiliary={"scene": 0.0})
    for one, two in zip(whole, joint(tmp_path / "c", accumulate=3), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    twice = joint(tmp_path / "d", auxiliary={"scene": 0.5})
    assert whole[0][0] > off[0][0] and twice[0][0] - off[0][0] == pytest.approx(2 * (whole[0][0] - off[0][0]), rel=1e-3)
    # at its small weights a new head guesses: ln 8
    assert whole[0][0] - off[0][0] == pytest.approx(0.25 * 2.0794, rel=0.02)


def test_two_processes_lose_what_one_does(tmp_path: Path, sure: None) -> None:
    one = joint(tmp_path / "one")
    fork(2, lambda rank: joint(tmp_path / "many") and None)
    lines = (tmp_path / "many/steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == pytest.approx([loss for loss, _ in one], abs=1e-4)


@pytest.mark.slow
def test_a_compiled_step_loses_the_same(tmp_path: Path, sure: None, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = joint(tmp_path / "a")
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    torch._dynamo.reset()
    assert [v for v, _ in joint(tmp_path / "b", compile=True)] == pytest.approx([v for v, _ in plain], rel=1e-4)


def test_check_takes_the_scene_types_or_the_pixels_as_the_data_says(run: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = run
    for data, word in (("planted-scenes", "balanced accuracy"), ("planted-joint", "mIoU")):
        place = tmp_path / data
        words = ["check", str(out), "--data", data, "--limit", "4", "--quiet", "--out", str(place)]
        told = CliRunner().invoke(main, words)
        assert told.exit_code == 0, told.output
        assert word in told.output and (word == "mIoU") == ("mIoU" in told.output)
        values = json.loads((place / "report.json").read_text())["dissection"]
        model, images = load(out), parse_spec(data, limit=4, size=(32, 48))
        scores = evaluate(model, images)
        key = {"mIoU": "miou"}.get(word, "balanced_accuracy")
        assert values["results"]["segmentation"]["both"][key] == pytest.approx(scores.miou)
    told = CliRunner().invoke(main, ["check", str(out), "--data", "planted", "--limit", "4", "--out", str(tmp_path)])
    assert told.exit_code == 2 and "has 8 classes and planted 12" in told.output
    told = CliRunner().invoke(main, ["info", str(out)])
    assert told.exit_code == 0 and "purple_panels, teal_panels" in told.output


def test_predict_names_the_scene_type(run: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = run
    model, sample = load(out), PlantedJoint("test", n=1, size=(32, 48))[0]
    found = fusionzoo.predict(model, sample["rgb"], sample["x"])
    with torch.no_grad():
        chances = model.scenes()(*model.preprocess(sample["rgb"][None], sample["x"][None])).softmax(1).flatten()
    assert dict(found.scene) == pytest.approx(dict(zip(model.scene_names, chances.tolist(), strict=True)), abs=1e-5)
    assert found.scene[0][0] == model.scene_names[int(chances.argmax())] and found.labels.shape == (32, 48)
    assert fusionzoo.predict(model.scenes(), sample["rgb"], sample["x"]).shares()[0][1] == found.scene[0][0]
    Image.fromarray(sample["rgb"].permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    words = ["predict", str(tmp_path / "a.png"), "--model", str(out), "-o", str(tmp_path / "b.png")]
    blind = fusionzoo.predict(model, sample["rgb"]).scene
    assert f"scene: {blind[0][0]}, {100 * blind[0][1]:.1f} %" in CliRunner().invoke(main, words).output
    told = CliRunner().invoke(main, [*words, "--json"])
    assert [row["name"] for row in json.loads(told.stdout)["scene"]] == [name for name, _ in blind]


def test_the_data_decides_what_a_checkpoint_goes_on_to_say(run: tuple[Path, str]) -> None:
    out, _ = run
    model, size = load(out), (32, 48)
    both, scenes, pixels = (cls("train", n=1, size=size) for cls in (PlantedJoint, PlantedScenes, Planted))
    kept, said = fit_classes(model, both, "m")
    assert kept is model and said.endswith("the 8 classes are those of planted-joint")
    alone, said = fit_classes(model, scenes, "m")
    assert (alone.task, alone.class_names) == ("classification", both.scene_names) and "is left out" in said
    assert torch.equal(alone.state_dict()["head.weight"], model.scene_head.weight)
    less, said = fit_classes(model, pixels, "m")
    assert less.num_scenes == 0 and "the scene head is left out, planted has no scene types" in said
    more, said = fit_classes(less, both, "m")
    assert isinstance(more, TwoStream) and said.endswith("new for its 8 scene types: scene_head")
    model.set_scenes([f"other {i}" for i in range(8)])
    other, said = fit_classes(model, both, "m")
    assert isinstance(other, TwoStream) and other.scene_names == both.scene_names and "new for its 8" in said
    assert torch.equal(other.head.weight, model.head.weight)
    assert not torch.equal(other.scene_head.weight, model.scene_head.weight)
    assert Teacher(str(out), scenes).model.task == "classification"


def test_encoders_begin_with_given_weights_and_the_scene_head_is_none_of_them(tmp_path: Path) -> None:
    init = encoder_folder(tmp_path / "encoder")
    model = new_model(Settings(NAME, "planted-joint", init=init), PlantedJoint("train", n=1))
    assert isinstance(model, TwoStream) and model.num_scenes == 8
    assert list(encoder_parts(model)) == ["rgb_encoder", "x_encoder"]
    wanted = convert.encoder_state(init)[0]
    for name, p in model.rgb_encoder.named_parameters():
        torch.testing.assert_close(p.detach(), wanted[name], rtol=0, atol=0)
    freeze(model, "encoder")
    left = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert {"scene_head", "decoder", "head"} <= left and not left & {"rgb_encoder", "x_encoder"}


def test_models_without_a_place_for_scene_types_are_refused_before_training(tmp_path: Path) -> None:
    for name in ("rgb_only_mobilenetv1-025_fpn", "concat_mobilenetv1-025_pool"):
        with pytest.raises(InputError, match=f"{name} has no place for scene types"):
            finetune(Settings(name, "planted-joint", limit=2, base=(32, 48), size=(32, 48)), tmp_path / "out")
