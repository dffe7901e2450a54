"""Every encoder stage by stage against its own forward pass, and in a model whose streams feed each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from segmentation_models_pytorch.encoders import encoders as native
from torch import Tensor, nn

from fusionzoo.cli.make_encoders import FAMILIES, fresh
from fusionzoo.errors import InputError
from fusionzoo.models import build_encoder, create_model
from fusionzoo.models.families import as_read, stage_modules
from fusionzoo.models.stages import out_channels, run_stage

TOLERANCE = 1e-5
"""Of the largest value of a feature."""

FAST = ("resnet18", "timm-skresnet18", "dpn68", "efficientnet-b0", "mobilenet_v2", "timm-tf_efficientnet_lite0",
        "mit_b0", "mobileone_s0", "mobilenetv1-050", "se_resnet50", "tu-tf_efficientnet_lite0",
        "tu-mobilenetv3_small_100", "tu-convnext_atto")  # fmt: skip
"""Small ones of the families that differ in how they are taken apart."""

HUGE = ("timm-efficientnet-l2", "resnext101_32x48d", "resnext101_32x32d")
"""More than a gigabyte of weights: their stages are counted, not run. The same code runs smaller ones."""

SMALL = {name for _, name in FAMILIES}


def slow(names: list[str]) -> list[object]:
    return [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in names]


def randomised(name: str) -> nn.Module:
    """With statistics of its own in every norm, so that one that is left out or run twice shows."""
    torch.manual_seed(0)
    encoder = build_encoder(name, 1).eval()
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return encoder


@pytest.mark.parametrize("name", slow(sorted(({*native} | SMALL | {"mobilenetv1-050"}) - {*HUGE})))
def test_stage_by_stage_equals_the_own_forward_pass(name: str) -> None:
    try:
        encoder = randomised(name)
    except InputError as error:
        assert name.startswith("tu-") and "gives no five stages" in str(error)
        return
    stages = stage_modules(encoder)
    if stages is None:
        assert name in {example for _, example in FAMILIES}  # said in the table, with the reason
        with pytest.raises(InputError, match="stage by stage"):
            run_stage(encoder, 1, torch.zeros(1, 1, 64, 64))
        return
    image = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(1))
    channels = out_channels(encoder)
    with torch.no_grad():
        whole: list[Tensor] = [v.clone() for v in encoder(image.clone())]
        value = image
        for i in range(1, 6):
            value = run_stage(encoder, i, value)
            if channels[i] == 0:
                continue
            assert value.shape == (1, channels[i], 64 >> i, 96 >> i) == whole[i].shape
            far = float((as_read(encoder, i, value) - whole[i]).abs().max())
            assert far <= TOLERANCE * float(whole[i].abs().max()), (i, far)


@pytest.mark.parametrize("name", HUGE)
def test_the_largest_have_five_stages(name: str) -> None:
    with torch.device("meta"):
        stages = stage_modules(build_encoder(name, 3))
    assert stages is not None and len(stages) == 5 and all(stages)


@pytest.mark.parametrize("name", ["dpn68", "efficientnet-b0", "tu-tf-efficientnet-lite0", "tu-mobilenetv3-small-100"])
def test_streams_that_feed_each_other_learn_in_every_parameter(name: str) -> None:
    """ESANet's exchange between the stages of encoders that had none: a step reaches both streams from the image on."""
    torch.manual_seed(0)
    model = create_model(f"se_add_{name}_fpn", num_classes=3).train()
    rgb, x = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    loss = model(rgb, x).square().mean()
    loss.backward()
    for stream in (model.rgb_encoder, model.x_encoder):
        first = next(p for p in stream.parameters() if p.ndim == 4)
        assert first.grad is not None and float(first.grad.abs().max()) > 0
    # what the x stream says reaches the rgb stream's later stages
    model.eval()
    with torch.no_grad():
        assert not torch.allclose(model(rgb, x), model(rgb, torch.zeros_like(x)), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "why"), [("tu-maxvit_tiny_rw_224", "one size"), ("tu-inception_v4", "pad"), ("tu-nest_tiny", "stages")]
)
def test_what_gives_no_pyramid_of_any_image_is_refused_before_it_is_built(name: str, why: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=why):
        build_encoder(name, 3)


def test_an_encoder_that_runs_as_a_whole_says_why() -> None:
    with torch.device("meta"), pytest.raises(InputError, match="forward pass.*interaction 'none'"):
        create_model("se_add_tu-twins-svt-small_fpn")
    with torch.device("meta"):
        assert create_model("concat_tu-twins-svt-small_fpn").num_classes == 13


README = Path(__file__).parents[2] / "fusionzoo" / "models" / "README.md"


def test_the_table_has_a_row_for_every_family_and_every_encoder_of_smp_is_in_one() -> None:
    rows = [line.split(" | ")[0].removeprefix("| ") for line in README.read_text(encoding="utf-8").splitlines()]
    assert [name for _, name in FAMILIES] == [name for name in rows if name in SMALL]
    for name in native:
        assert sum(bool(pattern and re.fullmatch(pattern, name)) for pattern, _ in FAMILIES) == 1, name


@pytest.mark.slow
def test_the_table_of_encoders_is_fresh() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == fresh(text), "stale: run python -m fusionzoo.cli.make_encoders"
