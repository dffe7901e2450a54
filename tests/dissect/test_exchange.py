"""Exchange ratios and mixture weights of real fusion blocks whose masks and weights are planted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fusionzoo import create_model
from fusionzoo.data import Cached, Planted
from fusionzoo.dissect import Dissection, dissect
from fusionzoo.dissect.measures.base import PointInfo, Setup
from fusionzoo.dissect.measures.exchange import mask_pairs
from fusionzoo.probes import Probe
from fusionzoo.registry import fusions
from fusionzoo.report import html, terminal
from tests.dissect.toy import Toy, ToyData

SHARE = 0.2
"""Weight of rgb in the planted mixtures."""


class Every(nn.Module):
    """A score net that keeps every n-th token of an image (from the first) by 1 % only, the others by 99 %."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, tokens: Tensor) -> Tensor:
        keep = torch.where(torch.arange(tokens.shape[1]) % self.n == 0, 0.01, 0.99)  # (N,)
        return torch.stack([keep, 1 - keep], 1).log().expand(len(tokens), -1, -1)


class Painted(nn.Module):
    """A score net that gives up the tokens of `Fused` that show paint, whose first channel lies above -1."""

    def forward(self, tokens: Tensor) -> Tensor:
        keep = torch.where(tokens[..., 0] > -1, 0.01, 0.99)  # (B, N)
        return torch.stack([keep, 1 - keep], 2).log()


class Fused(Toy):
    """The toy with a fusion block behind its two streams."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.block = fusions.get(name)(8)

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        size = (rgb.shape[2] // 4, rgb.shape[3] // 4)
        small = (nn.functional.adaptive_avg_pool2d(v.mean(1, keepdim=True), size) for v in (rgb, x))
        self.block(*(v + torch.linspace(-1, 1, 8).view(1, 8, 1, 1) for v in small))  # (B, 8, H / 4, W / 4) each
        return super().scores(rgb, x)


def measured(model: nn.Module, **more) -> Dissection:
    return dissect(model, ToyData(6), metrics=["health"], progress=False, **more)


def test_tokens_below_the_threshold_are_counted_as_replaced():
    model = Fused("token_exchange")
    model.block.score_rgb, model.block.score_x = Every(4), Every(6)  # 48 tokens: 12, 8, both at every twelfth
    (found,) = measured(model).results["exchange"].masks
    assert found.name == "block.mask"
    assert (found.rgb, found.x, found.both) == pytest.approx((12 / 48, 8 / 48, 4 / 48), abs=1e-12)
    assert (found.rgb_std, found.x_std) == pytest.approx((0, 0), abs=1e-6)


def test_the_threshold_is_the_blocks_own():
    model = Fused("token_exchange")
    model.block = fusions.get("token_exchange")(8, threshold=0.005)
    model.block.score_rgb = model.block.score_x = Every(4)
    (found,) = measured(model).results["exchange"].masks
    assert (found.rgb, found.x, found.both) == (0.0, 0.0, 0.0)


def test_channels_with_a_small_scale_are_counted_as_replaced():
    model = Fused("channel_exchange")
    with torch.no_grad():
        model.block.exchange.rgb.weight.copy_(torch.tensor([0.0, 0.01, 0.5, 1, 1, 1, 1, -0.001]))
        model.block.exchange.x.weight.copy_(torch.tensor([0.01, 1, 1, 1, 1, 1, 1, -0.5]))
    made = measured(model)
    (found,) = made.results["exchange"].masks
    assert not any("mask" in probe.name for probe in made.health)  # a mask that never varies is no dead channel
    assert found.name == "block.exchange.mask"
    assert (found.rgb, found.x, found.both, found.rgb_std) == (3 / 8, 1 / 8, 1 / 8, 0.0)


def entropy(p):
    return -(p * math.log2(p) + (1 - p) * math.log2(1 - p))


def plant(name, block):
    """Scores that do not depend on the input, so that rgb weighs SHARE everywhere."""
    layers = [block.fusion.score] if name == "attention_fusion" else [block.score_rgb, block.score_x]
    logits = torch.tensor([math.log(SHARE / (1 - SHARE)), 0.0])
    with torch.no_grad():
        for layer, bias in zip(layers, logits.split(2 // len(layers)), strict=True):
            layer.weight.zero_()
            layer.bias.copy_(bias)


@pytest.mark.parametrize("name", ["sagate", "attention_fusion", "eaef"])
def test_softmax_weights_are_read_in_the_order_of_the_modalities(name):
    model = Fused(name)
    plant(name, model.block)
    (found,) = measured(model).results["exchange"].weights
    assert (found.rgb, found.x) == pytest.approx((SHARE, 1 - SHARE), abs=1e-6)
    assert found.entropy == pytest.approx(entropy(SHARE), abs=1e-6) and found.mostly_rgb == 0.0


class Weighed(Toy):
    """The toy with attention of each stream over its own and the other's value, and a weight without images."""

    def __init__(self) -> None:
        super().__init__()
        self.of_rgb = Probe(3, role="attention", modality="rgb", sums_to_one=2, axes="B C 2 H W")
        self.of_x = Probe(3, role="attention", modality="x", sums_to_one=2, axes="B C 2 H W")
        self.share = Probe(2, role="weight", modality="fused", sums_to_one=0, axes="2")
        self.map = Probe(None, role="attention", modality="x", sums_to_one=2, axes="B heads c c")

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        own = torch.tensor([SHARE, 1 - SHARE]).view(1, 1, 2, 1, 1).expand(len(rgb), 3, 2, 4, 4)
        self.of_rgb(own)
        self.of_x(own)
        self.share(torch.tensor([0.7, 0.3]))
        self.map(torch.full((len(rgb), 1, 2, 2), 0.5))  # happens to have two channels: no mixture of modalities
        return super().scores(rgb, x)


def test_a_stream_weighs_its_own_value_first():
    found = {w.name: w for w in measured(Weighed()).results["exchange"].weights}
    assert list(found) == ["of_rgb", "of_x", "share"]
    assert found["of_rgb"].rgb == pytest.approx(SHARE) and found["of_x"].x == pytest.approx(SHARE)
    assert found["share"].rgb == pytest.approx(0.7) and found["share"].mostly_rgb == 1.0


def test_no_number_depends_on_the_batch_size_and_other_models_have_none():
    model, data = Fused("token_exchange"), ToyData(6)
    model.block.score_rgb = Painted()
    one, two = (measured(model, batch_size=size).results["exchange"].masks[0] for size in (1, 4))
    painted = torch.stack([(data[i]["rgb"][0, 2::4, 2::4] > 0.5).double().mean() for i in range(6)])
    assert one.rgb == pytest.approx(float(painted.mean()), abs=1e-12) and one.rgb > 0.1
    assert one.rgb_std == pytest.approx(float(painted.std(unbiased=False)), abs=1e-9) and one.rgb_std > 0.01
    assert vars(one) == pytest.approx(vars(two), abs=1e-12)
    assert "exchange" not in measured(Toy()).results
    with pytest.raises(KeyError):
        dissect(model, ToyData(4), metrics=["segmentation"], progress=False).results["exchange"]


def test_masks_go_in_pairs():
    gate = {"channels": 1, "role": "gate", "replaced_below": 0.02}
    swap = {"channels": 4, "role": "exchange"}
    points = {
        "a.masks.0.rgb": PointInfo(modality="rgb", **gate),
        "a.masks.0.x": PointInfo(modality="x", **gate),
        "b.mask_x": PointInfo(modality="x", **swap),
        "b.mask_rgb": PointInfo(modality="rgb", **swap),
        "alone.mask_rgb": PointInfo(modality="rgb", **swap),
        "c.gate_rgb": PointInfo(1, modality="rgb", role="gate"),
        "c.gate_x": PointInfo(1, modality="x", role="gate"),
    }
    assert mask_pairs(Setup(3, points)) == {
        "a.masks.0": ("a.masks.0.rgb", "a.masks.0.x"),
        "b.mask": ("b.mask_rgb", "b.mask_x"),
    }


@pytest.mark.parametrize(("name", "kind"), [("tokenfusion_mit_b0", "masks"), ("sagate_mobilenetv1-025_fpn", "weights")])
def test_the_report_of_a_whole_model_shows_them(name, kind, tmp_path):
    data = Cached(Planted("test", n=2, size=(32, 48)))
    model = create_model(name, num_classes=data.num_classes)
    model.set_classes(data.class_names)
    found = dissect(model, data, metrics=["health"], progress=False)
    rows = getattr(found.results["exchange"], kind)
    assert len(rows) >= 4 and all(0 <= row.rgb <= 1 for row in rows)
    for text in (terminal(found), html(found)):
        assert "Exchange and weights" in text and rows[0].name in text
    found.save(tmp_path / "d.json")
    assert Dissection.load(tmp_path / "d.json") == found
