"""Scene types: scores against scikit-learn and closed forms, models whose use of each input is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from torch import Tensor, nn

import fusionzoo
from fusionzoo.data.adapt import adapt
from fusionzoo.data.planted_scenes import PURPLE, TEAL, PlantedScenes
from fusionzoo.dissect import Dissection
from fusionzoo.dissect.effects import Robustness, Trace
from fusionzoo.dissect.findings import findings
from fusionzoo.dissect.robustness import robustness
from fusionzoo.errors import InputError
from fusionzoo.models import FusionModel, create_model
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes import Probe
from fusionzoo.report import html, robustness_text, terminal, trace_text
from fusionzoo.tasks import CLASSIFICATION
from fusionzoo.train import evaluate

SIZE = (32, 48)


class Oracle(FusionModel):
    """Scores by rule: of the panels' hue ("hue"), or of whether colour and depth agree ("agree")."""

    architecture = "oracle"
    task = CLASSIFICATION
    stride = 1

    def __init__(self, rule: str) -> None:
        super().__init__(2, 1, Preprocess(x_mean=(2.0,), x_std=(1.0,)))
        self.rule, self.one = rule, nn.Parameter(torch.ones(()))
        self.seen = Probe(3, role="feature", modality="rgb", meaning="the image")

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.preprocess.rgb_mean, self.preprocess.rgb_std))
        r, g, b = (self.seen(rgb) * std + mean).unbind(1)
        if self.rule == "hue":
            purple, teal = ((torch.minimum(p, b) - q - 0.2).relu().mean((1, 2)) for p, q in ((r, g), (g, r)))
            first = purple - teal
        else:
            first = rgb.mean((1, 2, 3)) * x.mean((1, 2, 3))
        return self.one * torch.stack([first, -first], 1)[:, :, None, None]  # (B, 2, 1, 1)


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    """Planted scenes of purple and teal panels, three times as many of purple."""
    data = PlantedScenes("train", n=400, size=SIZE)
    kinds = [data._type(data._generators(i)[0]) for i in range(len(data))]
    chosen = [i for i, k in enumerate(kinds) if k == PURPLE][:24] + [i for i, k in enumerate(kinds) if k == TEAL][:8]
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0)).tolist()
    return [{**data[i], "label": (data[i]["label"] == TEAL).long()} for i in (chosen[k] for k in order)]


@pytest.fixture(scope="module")
def corners() -> list[dict[str, Any]]:
    """Images of which only both inputs together tell the class: dark or bright, near or far, four times each."""
    made = []
    for i in range(16):
        bright, far = i % 2, i // 2 % 2
        made.append(
            {
                "rgb": torch.full((3, *SIZE), 40 + 170 * bright, dtype=torch.uint8),
                "id": str(i),
                "x": torch.full((1, *SIZE), 1.0 + 2.0 * far),
                "label": torch.tensor([[int(bright != far)]]),
            }
        )
    return made


def test_a_type_that_colour_tells_needs_no_depth(panels: list[dict[str, Any]]) -> None:
    model = Oracle("hue")
    d = fusionzoo.dissect(model, panels, progress=False)
    assert {c: (p.miou, p.pixel_accuracy) for c, p in d.segmentation.items()} == {
        "both": (1.0, 1.0), "without_rgb": (0.5, 0.75), "without_x": (1.0, 1.0), "neither": (0.5, 0.75)}  # fmt: skip
    assert d.contribution.shapley["rgb"].miou == pytest.approx(0.5) and d.contribution.shapley["x"].miou == 0
    said = [f.text for f in findings(d)]
    assert said[0].startswith("The model reads rgb only: balanced accuracy 100.0, 50.0")
    assert any("a scene type has no regions" in text for text in said)


def test_a_type_that_only_both_tell(corners: list[dict[str, Any]]) -> None:
    d = fusionzoo.dissect(Oracle("agree"), corners, progress=False)
    made = d.contribution
    assert {c: p.miou for c, p in d.segmentation.items()} == dict.fromkeys(
        ("without_rgb", "without_x", "neither"), 0.5) | {"both": 1.0}  # fmt: skip
    assert made.shapley["rgb"].miou == made.shapley["x"].miou == pytest.approx(0.25)
    assert made.interaction.miou == pytest.approx(0.5)


def test_scores_of_a_random_model_equal_scikit_learn_and_are_called_by_their_names(
    panels: list[dict[str, Any]],
) -> None:
    torch.manual_seed(1)
    model = create_model("concat_mobilenetv1-025_pool", num_classes=3)  # no image is of the third
    with torch.no_grad():
        model.head.weight.mul_(100)
    truth = [int(s["label"]) for s in panels]
    inputs = [model.preprocess(s["rgb"][None], s["x"][None]) for s in panels]
    with torch.no_grad():
        found = [int(model(*pair).argmax()) for pair in inputs]
        blind = [int(model(pair[0], None).argmax()) for pair in inputs]
    recalls = recall_score(truth, found, average=None, labels=[0, 1], zero_division=0).tolist()
    balanced = (sum(recalls) / 2, accuracy_score(truth, found))
    if set(found) <= {0, 1}:
        assert balanced[0] == pytest.approx(balanced_accuracy_score(truth, found))
    d = fusionzoo.dissect(model, panels, points="stage5.*", progress=False)
    both = d.segmentation["both"]
    assert (both.miou, both.pixel_accuracy) == pytest.approx(balanced) and both.iou == [*recalls, None]
    assert d.segmentation["without_x"].pixel_accuracy == pytest.approx(accuracy_score(truth, blind))
    data = adapt(panels, class_names=["a", "b", "c"])
    scores = evaluate(model, data)
    assert (scores.miou, scores.pixel_accuracy) == pytest.approx(balanced)

    stored = d.to_dict()
    first = stored["results"]["segmentation"]["both"]
    assert first["balanced_accuracy"] == both.miou and first["accuracy"] == both.pixel_accuracy
    assert (
        first["recall"] == both.iou and stored["data"]["task"] == "classification" and '"miou' not in json.dumps(stored)
    )
    assert Dissection.from_dict(stored) == d
    text, page = terminal(d, findings=findings(d)), html(d, findings=findings(d))
    assert "Classification" in text and "balanced accuracy" in text and "mIoU" not in text and "mIoU" not in page
    assert {"concepts", "images", "planted"}.isdisjoint(d.results)
    with pytest.raises(InputError, match="needs regions"):
        fusionzoo.dissect(model, panels, metrics=["concepts"], progress=False)


def test_trace_and_robustness_score_as_the_dissection_does(panels: list[dict[str, Any]]) -> None:
    torch.manual_seed(2)
    model = create_model("concat_mobilenetv1-025_pool", num_classes=2)
    with torch.no_grad():
        model.head.weight.mul_(100)
    d = fusionzoo.dissect(model, panels, metrics=["segmentation"], progress=False)
    traced = fusionzoo.trace(model, panels, edits=["mean"], progress=False)
    curves = robustness(model, panels, corruptions=["missing_x"], progress=False)
    for found in (traced, curves):
        assert found.clean.miou == pytest.approx(d.segmentation["both"].miou)
        assert type(found).from_dict(found.to_dict()) == found and '"balanced_accuracy"' in json.dumps(found.to_dict())
    assert traced.absent["rgb"].miou == pytest.approx(d.segmentation["without_rgb"].miou)
    assert curves.failures[0].conditions["x"] == pytest.approx(d.segmentation["without_x"].miou)
    assert isinstance(traced, Trace) and isinstance(curves, Robustness)
    assert "balanced accuracy" in trace_text(traced) and "mIoU" not in trace_text(traced) + robustness_text(curves)
    with pytest.raises(InputError, match="needs regions"):
        fusionzoo.trace(model, panels, edits=["concept"], progress=False)
