"""Composed models put together again by hand: whole encoders, blocks, smp's decoder, head, interpolation."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from torch import Tensor, nn

import fusionzoo.models.two_stream as module
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.models import create_model
from fusionzoo.models.base import FusionModel
from fusionzoo.models.initial import init_x_from_rgb
from fusionzoo.probes import probe
from fusionzoo.registry import Registry

LEVELS = {"fpn": (2, 3, 4, 5), "unet": (1, 2, 3, 4, 5), "segformer": (2, 3, 4, 5), "deeplabv3": (5,)}
"""The encoder levels that each decoder reads, from the decoders' papers: strides 4 to 32, 2 to 32, or 32 alone."""


def images(size: tuple[int, int] = (64, 96), seed: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, *size, generator=generator), torch.randn(2, 1, *size, generator=generator)


def made(name: str) -> FusionModel:
    """With statistics of its own in every batch norm, and a head that is not close to zero."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=4)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.1, 0.5)
    for key, parameter in model.named_parameters():
        if "head" in key:
            nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("decoder", LEVELS)
def test_concat_is_two_encoders_a_block_a_level_decoder_and_head(decoder: str) -> None:
    model = made(f"concat_mobilenetv1-025_{decoder}")
    assert set(model.levels) == set(LEVELS[decoder])
    rgb, x = images()
    with torch.no_grad():
        features, other = list(model.rgb_encoder(rgb)), model.x_encoder(x)
        for i in LEVELS[decoder]:
            features[i] = model.get_submodule(f"stage{i}.fusion")(features[i], other[i]).fused
        read = [features[0], *features[2:]] if decoder == "segformer" else features
        small = model.head(model.decoder.net(read))
        want = F.interpolate(small, size=(64, 96), mode="bilinear", align_corners=False)
        got = model(rgb, x)
    assert float(want.std()) > 1e-3
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_the_fpn_is_smp_s_on_the_fused_features() -> None:
    model = made("sum_resnet18_fpn")
    reference = FPNDecoder([3, 64, 64, 128, 256, 512], encoder_depth=5).eval()
    reference.load_state_dict(model.decoder.net.state_dict())
    rgb, x = images()
    with torch.no_grad():
        features = [rgb, *(a + b for a, b in zip(model.rgb_encoder(rgb)[1:], model.x_encoder(x)[1:], strict=True))]
        with probe(model, "decoder.out") as tape:
            model(rgb, x)
        torch.testing.assert_close(tape["decoder.out"], reference(features), rtol=1e-4, atol=1e-5)


def test_probes_of_a_stage_show_their_own_stream() -> None:
    model = made("concat_mobilenetv1-025_unet")
    rgb, x = images()
    with torch.no_grad(), probe(model, "stage*") as tape:
        model(rgb, x)
        for i, (a, b) in enumerate(zip(model.rgb_encoder(rgb), model.x_encoder(x), strict=True)):
            if i > 0:
                torch.testing.assert_close(tape[f"stage{i}.rgb"], a)
                torch.testing.assert_close(tape[f"stage{i}.x"], b)
                torch.testing.assert_close(tape[f"stage{i}.fusion.rgb_in"], a)
                torch.testing.assert_close(tape[f"stage{i}.fusion.x_in"], b)


class Told(FusionBlock):
    """Adds its level to x, and has a loss at every level and one at even levels."""

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        return Fused(rgb, x, rgb + self.level * x)

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = torch.tensor(float(self.level))
        return {"own": own} if self.level % 2 else {"own": own, "even": 10 * own}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> FusionModel:
    registry: Registry[type[FusionBlock]] = Registry("fusion strategy")
    registry.add("told", Told)
    monkeypatch.setattr(module, "fusions", registry)
    return module.TwoStream("told", "mobilenetv1-025", "fpn").eval()


def test_every_block_knows_its_level_and_the_depth(told: FusionModel) -> None:
    blocks = {i: told.get_submodule(f"stage{i}.fusion") for i in told.levels}
    assert {i: (block.level, block.depth) for i, block in blocks.items()} == {i: (i, 5) for i in (2, 3, 4, 5)}


def test_a_loss_is_the_mean_over_the_levels_that_have_it(told: FusionModel) -> None:
    rgb, x = images()
    logits, losses = told.losses(rgb, x)
    assert {name: float(value) for name, value in losses.items()} == {"own": 3.5, "even": 30.0}
    torch.testing.assert_close(logits, told(rgb, x))


@pytest.mark.parametrize("name", ["rgb_only", "x_only", "early", "late"])
def test_baselines_by_hand(name: str) -> None:
    model = made(f"{name}_mobilenetv1-025_fpn")
    rgb, x = images()

    def stream(which: str, image: Tensor) -> Tensor:
        own = model.get_submodule(f"{which}_stream")
        return own.head(own.decoder.net(own.encoder(image)))

    with torch.no_grad():
        small = {
            "rgb_only": lambda: stream("rgb", rgb),
            "x_only": lambda: stream("x", x),
            "early": lambda: stream("fused", torch.cat([rgb, x], dim=1)),
            "late": lambda: (stream("rgb", rgb) + stream("x", x)) / 2,
        }[name]()
        want = F.interpolate(small, size=(64, 96), mode="bilinear", align_corners=False)
        assert float(want.std()) > 1e-3
        torch.testing.assert_close(model(rgb, x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_an_x_encoder_from_rgb_weights_answers_grey_alike(channels: int) -> None:
    """An image of equal values in all channels gives what it gives the RGB encoder; all else is copied."""
    torch.manual_seed(0)
    rgb = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    x = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    x.load_state_dict(init_x_from_rgb(rgb.state_dict(), x.state_dict()))
    grey = torch.randn(2, 1, 8, 9)
    torch.testing.assert_close(x(grey.expand(-1, channels, -1, -1)), rgb(grey.expand(-1, 3, -1, -1)))
    if channels == 3:
        assert torch.equal(x[0].weight, rgb[0].weight)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_encoder_of_both_images_keeps_its_colours(channels: int) -> None:
    """Without x it answers as RGB's; x, alike in its channels, counts as one colour of the mean kernel."""
    torch.manual_seed(0)
    rgb, both = nn.Conv2d(3, 4, 3), nn.Conv2d(3 + channels, 4, 3)
    both.load_state_dict(init_x_from_rgb(rgb.state_dict(), both.state_dict(), joined=True))
    colour, x = torch.randn(2, 3, 8, 9), torch.randn(2, 1, 8, 9)
    torch.testing.assert_close(both(torch.cat([colour, torch.zeros(2, channels, 8, 9)], 1)), rgb(colour))
    grey = (x / 3).expand(-1, 3, -1, -1)
    torch.testing.assert_close(both(torch.cat([0 * colour, x.expand(-1, channels, -1, -1)], 1)), rgb(grey))


@torch.inference_mode()
def test_a_narrow_decoder_takes_one_small_image_as_it_takes_two() -> None:
    """Groups of one value: PyTorch's group norm refuses them for one image."""
    torch.manual_seed(0)
    model = create_model("sum_mobilenetv1-025_fpn", decoder_args={"pyramid_channels": 32, "segmentation_channels": 32})
    rgb, x = torch.randn(2, 3, 7, 13), torch.randn(2, 1, 7, 13)
    torch.testing.assert_close(model.eval()(rgb[:1], x[:1]), model(rgb, x)[:1], rtol=1e-4, atol=1e-4)
