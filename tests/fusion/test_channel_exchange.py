"""Channel exchange: against the equations, in NumPy, and inside torchvision's bottleneck."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from fusionzoo.errors import InputError
from fusionzoo.fusion.channel_exchange import CENBottleneck, ChannelExchange, ExchangeNorm
from tests.fusion.plain import Array, batch_norm, compare


def maps(count: int, channels: int, batch: int = 2, size: tuple[int, int] = (5, 6)) -> list[Tensor]:
    return [torch.randn(batch, channels, *size) for _ in range(count)]


def test_cen_bottleneck_is_two_resnet_bottlenecks_with_exchanged_channels() -> None:
    block = CENBottleneck(32, 8, stride=2).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    rgb, x = maps(2, 32, size=(6, 8))
    plain = [torchvision_bottleneck(block, modality) for modality in ("rgb", "x")]
    with torch.no_grad():
        for got, reference, value in zip(block(rgb, x), plain, (rgb, x), strict=True):
            torch.testing.assert_close(got, reference(value), rtol=1e-5, atol=1e-5)
        # RGB's channels 1 and 4 fall below the threshold; x keeps all
        block.norm2.rgb.weight[[1, 4]] = torch.tensor([0.019, -0.01])
        inner = [m.bn2(m.conv2(m.bn1(m.conv1(v)).relu())) for m, v in zip(plain, (rgb, x), strict=True)]
        inner[0][:, [1, 4]] = inner[1][:, [1, 4]]
        want = plain[0].bn3(plain[0].conv3(inner[0].relu())) + plain[0].downsample(rgb)
        torch.testing.assert_close(block(rgb, x)[0], want.relu(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(block(rgb, x)[1], plain[1](x), rtol=1e-5, atol=1e-5)


def torchvision_bottleneck(block: CENBottleneck, modality: str) -> Bottleneck:
    shortcut = nn.Sequential(block.shortcut, block.shortcut_norm.get_submodule(modality))
    out = Bottleneck(32, 8, stride=2, downsample=shortcut)
    out.conv1, out.conv2, out.conv3 = block.conv1, block.conv2, block.conv3
    for i in (1, 2, 3):
        setattr(out, f"bn{i}", block.get_submodule(f"norm{i}.{modality}"))
    return out.eval()


def test_channel_exchange_penalty_and_start() -> None:
    block = ChannelExchange(64)
    small_rgb = (block.exchange.rgb.weight < 0.02).nonzero().flatten()
    small_x = (block.exchange.x.weight < 0.02).nonzero().flatten()
    assert len(small_rgb) == len(small_x) == 8
    assert int(small_rgb.max()) < 32 <= int(small_x.min())
    assert float(block.losses({})["sparsity"].detach()) == pytest.approx(2e-4 * 2 * (24 + 8 * 0.01))
    assert float(ExchangeNorm(64).rgb.weight.detach().min()) == 1.0  # the original's start
    with pytest.raises(InputError, match="start_exchanged"):
        ChannelExchange(64, start_exchanged=0.7)


def test_channel_exchange_equals_its_equations() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        n_rgb, n_x = batch_norm(rgb, p, "exchange.rgb"), batch_norm(x, p, "exchange.x")
        small_rgb, small_x = (np.abs(p[f"exchange.{m}.weight"])[:, None, None] < 0.3 for m in ("rgb", "x"))
        assert 0 < small_rgb.sum() < 16 and 0 < small_x.sum() < 16 and (small_rgb != small_x).any()
        out_rgb, out_x = np.where(small_rgb, n_x, n_rgb), np.where(small_x, n_rgb, n_x)
        return {
            "exchange.mask_rgb": small_rgb[None].astype(float), "exchange.mask_x": small_x[None].astype(float),
            "rgb": out_rgb, "x": out_x, "fused": (out_rgb + out_x) / 2,
        }  # fmt: skip

    def losses(p: Mapping[str, Array], v: Mapping[str, Array]) -> dict[str, float]:
        halves = np.abs(p["exchange.rgb.weight"][:8]).sum(), np.abs(p["exchange.x.weight"][8:]).sum()
        return {"sparsity": 2e-4 * float(sum(halves))}

    compare(ChannelExchange(16, threshold=0.3), equations, losses)
