"""Prompts of x on an RGB encoder: the start, what is frozen, token attention against PyTorch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from fusionzoo.fusion.prompt import Prompt, TokenPrompt
from fusionzoo.models import FusionModel, create_model
from fusionzoo.models.published.dplnet import DPLNet
from fusionzoo.probes import probe
from tests.compare import SAME, distance, off_zero

MODELS = {"prompt_mobilenetv1-025_fpn": {}, "prompt_mit-b0_segformer": {}, "dplnet_mit_b0": {"width": 32}}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> FusionModel:
    torch.manual_seed(0)
    return create_model(request.param, num_classes=3, **MODELS[request.param])


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 3, 64, 96, generator=generator), torch.randn(1, 1, 64, 96, generator=generator)


def test_a_new_model_is_its_rgb_encoder(model: FusionModel) -> None:
    """Whatever x is: the features are those of the encoder alone."""
    own: Any = model
    rgb, x = images()
    with torch.inference_mode():
        features = own.features(rgb, x)
        if isinstance(model, DPLNet):
            alone = [rgb]
            for i in range(1, 5):
                alone.append(own.rgb_encoder.stage(i, alone[-1]))
        else:
            alone = own.rgb_encoder(rgb)[-4:]
        for got, want in zip(features[-4:], alone[-4:], strict=True):
            assert distance(got, want) < SAME


def test_the_published_start_is_not_neutral() -> None:
    """|p| / |rgb| of 0.48 to 0.49 at the start was measured on the original, on independent normal images."""
    torch.manual_seed(0)
    net: Any = create_model("dplnet_mit_b1", num_classes=3, width=8, head_classes=4, original_init=True)
    rgb, x = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    with torch.inference_mode(), probe(net, "stage2.fusion.*", "stage2.prompts.0.attention") as tape:
        net.features(rgb, x)
    added, to = tape["stage2.fusion.prompt"], tape["stage2.fusion.rgb_in"]
    assert 0.4 < float(added.norm() / to.norm()) < 0.55
    ratio = added.norm(dim=1, keepdim=True) / to.norm(dim=1, keepdim=True)
    torch.testing.assert_close(tape["stage2.fusion.ratio"], ratio)
    share = tape["stage2.prompts.0.attention"]  # (B, heads, N, 30), uniform to 1.3 % in the original
    assert share.shape == (2, 1, 256, 30) and float((30 * share - 1).abs().max()) < 0.05


def test_token_attention_is_pytorchs_with_the_whole_heads_scale() -> None:
    torch.manual_seed(0)
    prompt = off_zero(TokenPrompt(128, 2, tokens=7))
    query, tokens = torch.randn(2, 20, 128), torch.randn(1, 7, 32)
    with torch.no_grad():
        got = prompt(query, tokens)
        key, value = prompt.key_value(nn.functional.layer_norm(tokens, (32,), eps=1e-6)).split(128, dim=2)
        heads = [
            scaled_dot_product_attention(*(part[..., 2 * h : 2 * h + 2] for part in parts), scale=1 / 8)
            for parts in [(prompt.query(query), prompt.key(key), prompt.value(value))]
            for h in range(2)
        ]
        torch.testing.assert_close(got, prompt.project(torch.cat(heads, dim=2)), rtol=1e-4, atol=1e-5)


def test_x_carries_on_with_the_prompt_alone() -> None:
    torch.manual_seed(0)
    block = off_zero(Prompt(16))
    rgb, x = torch.randn(2, 1, 16, 4, 5)
    with torch.no_grad():
        out = block(rgb, x)
        joined = torch.cat([block.reduce_x.weight, block.reduce_rgb.weight], dim=1)[..., 0, 0]
        hidden = torch.einsum("oc,bchw->bohw", joined, torch.cat([x, rgb], dim=1))
        hidden += (block.reduce_x.bias + block.reduce_rgb.bias)[:, None, None]
        prompt = torch.einsum("oc,bchw->bohw", block.expand.weight[..., 0, 0], hidden)
    torch.testing.assert_close(out.x, prompt, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.fused, rgb + prompt, rtol=1e-4, atol=1e-5)
    assert torch.equal(out.rgb, out.fused)
