"""The decoder `pool`: one class of a whole image."""

from __future__ import annotations

import pytest
import torch

import fusionzoo
from fusionzoo.data import Planted
from fusionzoo.data.planted_scenes import PlantedScenes
from fusionzoo.errors import InputError
from fusionzoo.models import create_model
from fusionzoo.tasks import check_task


@pytest.mark.parametrize("strategy", ["concat", "rgb_only", "late"])
def test_logits_are_a_linear_map_of_the_means_of_all_stages(strategy: str) -> None:
    torch.manual_seed(0)
    model = create_model(f"{strategy}_mobilenetv1-025_pool", num_classes=5)
    rgb, x = torch.randn(2, 3, 32, 64), torch.randn(2, 1, 32, 64)
    ends = {"concat": [("stage{}.fusion.fused", "")], "rgb_only": [("rgb_stream.stage{}.rgb", "rgb_stream.")],
            "late": [(f"{s}_stream.stage{{}}.{s}", f"{s}_stream.") for s in ("rgb", "x")]}[strategy]  # fmt: skip
    with torch.no_grad(), fusionzoo.probe(model, *(end.format("*") for end, _ in ends)) as tape:
        logits = model(rgb, x)
        assert logits.shape == (2, 5, 1, 1) and model.losses(rgb, x, step=2)[0].shape == (2, 5, 1, 1)
    expected = torch.zeros(2, 5, dtype=torch.float64)
    for end, where in ends:
        pooled = torch.cat([tape[end.format(i)].double().mean((2, 3)) for i in (2, 3, 4, 5)], 1)
        head = model.get_submodule(f"{where}head")
        expected += (pooled @ head.weight[:, :, 0, 0].double().T + head.bias.double()) / len(ends)
    torch.testing.assert_close(logits[:, :, 0, 0].double(), expected.detach(), rtol=1e-4, atol=1e-5)


def test_a_model_of_pixels_and_data_of_whole_images_are_refused_and_the_reverse() -> None:
    whole, pixels = create_model("sum_mobilenetv1-025_pool", num_classes=8), create_model("sum_mobilenetv1-025_fpn")
    scenes, planted = PlantedScenes("test", n=1, size=(32, 48)), Planted("test", n=1, size=(32, 48))
    check_task(whole, scenes)
    check_task(pixels, planted)
    with pytest.raises(InputError, match="give a model with the decoder pool"):
        check_task(pixels, scenes)
    with pytest.raises(InputError, match="says one class of a whole image, and the labels of planted are of pixels"):
        check_task(whole, planted)
