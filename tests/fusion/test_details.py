"""Published blocks against something independent: other libraries, plain loops, closed forms; and known quirks."""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.resnet import Bottleneck

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import to_tokens
from fusionzoo.fusion.addition import RedNet
from fusionzoo.fusion.asymformer import CrossModalAttention, FeatureSelection
from fusionzoo.fusion.cddfuse import correlation
from fusionzoo.fusion.channel_exchange import CENBottleneck, ChannelExchange, ExchangeNorm
from fusionzoo.fusion.cmnext import SelfQueryHub
from fusionzoo.fusion.cmx import FeatureFusion, FeatureRectify
from fusionzoo.fusion.dformer import DFormerAttention, DFormerBlock
from fusionzoo.fusion.dformerv2 import GeometryAttention, GeometryPrior
from fusionzoo.fusion.eaef import EAEF
from fusionzoo.fusion.gemini import TwoTokenAttention
from fusionzoo.fusion.low_rank_tensor import LowRankTensor
from fusionzoo.fusion.scan import linear_scan, selective_scan
from fusionzoo.fusion.shapeconv import ShapeConv2d
from fusionzoo.fusion.shaspec import ShaSpec
from fusionzoo.fusion.spnet import CrossIntegration
from fusionzoo.fusion.token_exchange import TokenExchange, exchange_tokens
from fusionzoo.hub.originals.port import expand_table, inferred_size


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def maps(count: int, channels: int, batch: int = 2, size: tuple[int, int] = (5, 6)) -> list[Tensor]:
    return [torch.randn(batch, channels, *size) for _ in range(count)]


# Scan


def slow_scan(u: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, skip: Tensor) -> Tensor:
    """The recurrence, one number at a time over time and states, in float64."""
    u, step, a, b, c, skip = (t.double() for t in (u, step, a, b, c, skip))
    out = torch.zeros_like(u)
    for i in range(u.shape[0]):
        state = torch.zeros(u.shape[2], a.shape[1], dtype=torch.float64)
        for t in range(u.shape[1]):
            for n in range(a.shape[1]):
                decay = torch.exp(step[i, t] * a[:, n])
                state[:, n] = decay * state[:, n] + step[i, t] * b[i, t, n] * u[i, t]
            out[i, t] = state @ c[i, t] + skip * u[i, t]
    return out


def scan_inputs(length: int, width: int = 3, states: int = 2) -> list[Tensor]:
    u, step = torch.randn(2, length, width), F.softplus(torch.randn(2, length, width))
    a, skip = -torch.rand(width, states) - 0.1, torch.randn(width)
    return [u, step, a, torch.randn(2, length, states), torch.randn(2, length, states), skip]


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 33, 300])
@pytest.mark.parametrize("segment", [7, 64, 1024, None])
def test_scan_equals_the_plain_recurrence(length: int, segment: int | None) -> None:
    arguments = scan_inputs(length)
    got = selective_scan(*arguments, segment=segment)
    torch.testing.assert_close(got.double(), slow_scan(*arguments), rtol=1e-5, atol=1e-5)


def test_scan_gradients() -> None:
    decay = torch.rand(19, 2, dtype=torch.float64, requires_grad=True)
    drive = torch.randn(19, 2, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(linear_scan, (decay, drive, start))


@pytest.mark.parametrize("segment", [5, 1024])
def test_gradients_of_the_selective_scan(segment: int) -> None:
    """All six arguments in float64, with segments that are computed again and without, against finite differences."""
    arguments = [t.double().requires_grad_() for t in scan_inputs(11)]
    assert torch.autograd.gradcheck(lambda *a: selective_scan(*a, segment=segment), arguments)


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made inside held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if not isinstance(tensor, Tensor) or (storage := tensor.untyped_storage()).data_ptr() in self.alive:
                continue  # a view
            place, size = storage.data_ptr(), storage.nbytes()
            self.alive.add(place)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.gone, place, size)
        return out

    def gone(self, place: int, size: int) -> None:
        self.alive.discard(place)
        self.now -= size


def scan_memory(length: int) -> tuple[int, int]:
    """(most bytes alive during forward and backward, bytes kept for the backward) of a scan with 16 states."""
    arguments = [t.requires_grad_() for t in scan_inputs(length, width=32, states=16)]
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with LiveBytes() as live:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = selective_scan(*arguments, segment=64).sum()
        loss.backward()
    return live.most, sum(kept.values())


def test_memory_of_the_scan_is_linear_without_its_states() -> None:
    """Four times the length: at most four times the memory, and far less than the states of all steps."""
    states = 4 * 2 * 32 * 16  # bytes of one step's
    (most, kept), (most_4, kept_4) = scan_memory(1024), scan_memory(4096)
    assert most_4 < 4.2 * most and kept_4 < 4.2 * kept
    # an (L, D, N) tensor would be `states` a step; what grows is inputs, outputs and their gradients
    grows, keeps = (most_4 - most) / 3072, (kept_4 - kept) / 3072
    assert grows < 0.7 * states and keeps < 0.3 * states, f"{grows}, {keeps} bytes a step"


def test_segments_change_neither_values_nor_gradients() -> None:
    arguments = [t.double().requires_grad_() for t in scan_inputs(50)]
    results = []
    for segment in (8, 1024):  # the first is computed again on the way back, the second is not
        out = selective_scan(*arguments, segment=segment)
        results.append([out, *torch.autograd.grad(out.square().sum(), arguments)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_scan_on_a_gpu_equals_the_cpu() -> None:
    arguments = [t.requires_grad_() for t in scan_inputs(3000)]
    results = []
    for device in ("cpu", "cuda"):
        out = selective_scan(*(t.to(device) for t in arguments)).cpu()
        results.append([out, *torch.autograd.grad(out.square().sum(), arguments)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_scan_of_groups_equals_each_alone_and_strong_decay_stays_finite() -> None:
    u, step, a, b, c, skip = scan_inputs(20)
    two = [torch.stack([t, t.flip(1)], dim=2) for t in (u, step, b, c)]
    both = selective_scan(two[0], two[1], torch.stack([a, 2 * a]), two[2], two[3], torch.stack([skip, skip]))
    torch.testing.assert_close(both[:, :, 0], selective_scan(u, step, a, b, c, skip))
    flipped = [t.flip(1) for t in (u, step, b, c)]
    torch.testing.assert_close(both[:, :, 1], selective_scan(flipped[0], flipped[1], 2 * a, *flipped[2:], skip))
    far = selective_scan(u, step * 1e4, a, b, c, skip)
    assert bool(torch.isfinite(far).all())


def test_scan_in_half_precision_computes_in_float32() -> None:
    arguments = scan_inputs(200)
    half = selective_scan(*(t.bfloat16() for t in arguments))
    assert half.dtype == torch.bfloat16
    exact = selective_scan(*(t.bfloat16().float() for t in arguments))
    torch.testing.assert_close(half.float(), exact, rtol=2e-2, atol=2e-2)


def test_scan_refuses_what_does_not_fit() -> None:
    u, step, a, b, c, _ = scan_inputs(5)
    with pytest.raises(InputError, match="do not go together"):
        selective_scan(u, step[:, :4], a, b, c)


# Exchanges


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


def test_token_exchange_equals_assignment_by_index_and_starts_with_some() -> None:
    rgb, x = torch.randn(2, 2, 12, 4)
    mask_rgb, mask_x = torch.rand(2, 2, 12) * 0.05
    got = exchange_tokens(rgb, x, mask_rgb, mask_x)
    want_rgb, want_x = rgb.clone(), x.clone()
    want_rgb[mask_rgb < 0.02] = x[mask_rgb < 0.02]
    want_x[mask_x < 0.02] = rgb[mask_x < 0.02]
    assert 0 < int((mask_rgb < 0.02).sum()) < 24
    assert torch.equal(got[0], want_rgb) and torch.equal(got[1], want_x)

    block = TokenExchange(64)
    shares = [
        (score(torch.randn(4, 500, 64))[..., 0].exp() < 0.02).float().mean()
        for score in (block.score_rgb, block.score_x)
    ]
    assert all(0.0005 < float(s) < 0.5 for s in shares), shares


# Gates and attention


def test_eaef_gate_is_the_diagonal_and_the_released_one_is_not() -> None:
    block = EAEF(16).eval()
    rgb, x = maps(2, 16, batch=3)
    with torch.no_grad():
        y = [F.normalize(block.embed(m.mean((2, 3))), dim=1) for m in (rgb, x)]
        matrix = (block.temperature * y[0].unsqueeze(2) * y[1].unsqueeze(1)).sigmoid()  # (B, C, C)
        torch.testing.assert_close(block._gate(rgb, x), torch.diagonal(matrix, dim1=1, dim2=2))
        block.official_diagonal = True
        torch.testing.assert_close(block._gate(rgb, x), torch.diagonal(matrix).reshape(3, 16))
        torch.testing.assert_close(block._gate(rgb[:1], x[:1]), matrix[:1, 0])
        assert not torch.allclose(block._gate(rgb, x)[:1], block._gate(rgb[:1], x[:1]))  # samples are mixed
        with pytest.raises(InputError, match="batch of 17"):
            block._gate(torch.randn(17, 16, 2, 2), torch.randn(17, 16, 2, 2))


def test_two_token_attention_is_multi_head_attention() -> None:
    block, reference = TwoTokenAttention(16, 4, "rgb"), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(block.in_proj.weight)
        reference.in_proj_bias.copy_(block.in_proj.bias)
        reference.out_proj.load_state_dict(block.out_proj.state_dict())
        query, *rest = torch.randn(5, 2, 6, 16)
        got = block(query, (rest[0], rest[1]), (rest[2], rest[3]), (2, 3))
        keys, values = (torch.stack(p, dim=2).flatten(0, 1) for p in (rest[:2], rest[2:]))  # (12, 2, 16)
        want = reference(query.reshape(12, 1, 16), keys, values)[0].reshape(2, 6, 16)
    torch.testing.assert_close(got, want)


def test_published_scale_of_lafs_is_uninformative_and_ours_is_not() -> None:
    both = torch.randn(4, 256, 6, 8)
    for official, low, high in ((True, 0, 1e-4), (False, 1e-2, 0.5)):
        block = FeatureSelection(256, official_scale=official)
        seen: list[Tensor] = []
        block.spatial_gate.tap = lambda v, seen=seen: (seen.append(v), v)[1]  # type: ignore[assignment]
        block(both)
        assert low < float(seen[0].detach().std()) < high


@pytest.mark.parametrize(("x_channels", "rgb_channels"), [(8, 24), (24, 8), (16, 16)])
def test_cross_modal_attention_with_a_map_of_all_pairs(x_channels: int, rgb_channels: int) -> None:
    block = CrossModalAttention(x_channels, rgb_channels).eval()
    fused, x, rgb = *maps(2, x_channels), *maps(1, rgb_channels)
    m1, m2 = x_channels // 4, rgb_channels // 4
    with torch.no_grad():
        a = block.key_query_x(to_tokens(block.norm_x(x)))
        b = block.key_query_rgb(to_tokens(block.norm_rgb(rgb)))
        mixed = torch.empty(2, 30, 4 * m2)
        mixed[..., 0::2], mixed[..., 1::2] = a, b
        v = block.value(to_tokens(fused))
        parts = []
        for i in (0, 1):
            k, q = mixed[..., 2 * i * m2 : (2 * i + 1) * m2], mixed[..., (2 * i + 1) * m2 : (2 * i + 2) * m2]
            weights = (q @ k.transpose(1, 2) / math.sqrt(m2)).softmax(-1)
            parts.append(weights @ v[..., i * m1 : (i + 1) * m1])
        want = block.norm(block.out(torch.cat(parts, 2)).transpose(1, 2).reshape(2, x_channels, 5, 6)) + fused
        torch.testing.assert_close(block(fused, x, rgb), want, rtol=1e-5, atol=1e-5)


def test_rectification_reads_the_other_stream_with_index_one_for_rgb() -> None:
    block = FeatureRectify(8).eval()
    rgb, x = maps(2, 8)
    block.channel_gate.tap = lambda w: torch.stack([torch.zeros(2, 8), torch.ones(2, 8)], dim=1)
    block.spatial_gate.tap = torch.zeros_like
    first, second = block(rgb, x)
    torch.testing.assert_close(first, rgb + 0.5 * x)
    torch.testing.assert_close(second, x)


def test_ffm_with_zero_contexts_ignores_what_crosses() -> None:
    block = FeatureFusion(8, heads=2).eval()
    rgb, x = maps(2, 8)
    block.rgb.context.tap = block.x.context.tap = torch.zeros_like
    seen: list[Tensor] = []
    block.x.attended.tap = lambda v: (seen.append(v), v)[1]
    block(rgb, x)
    assert float(seen[0].abs().max()) == 0.0


def test_geometry_bias_by_hand() -> None:
    prior = GeometryPrior(16, 2, start=2, spread=4)
    assert prior.decay.tolist() == pytest.approx([math.log(1 - 2**-2), math.log(1 - 2**-4)])
    assert prior.angle[::2].tolist() == pytest.approx([1, 10000 ** (-1 / 3), 10000 ** (-2 / 3), 1e-4])
    with torch.no_grad():
        prior.weight.copy_(torch.tensor([0.5, 3.0]).view(2, 1, 1, 1))
    depth = torch.rand(1, 3, 4)
    rows, full = prior.along(depth, prior.weights(1)), prior.full(depth, prior.weights(1))
    assert rows.shape == (1, 3, 2, 4, 4) and full.shape == (1, 2, 12, 12)
    for head in (0, 1):
        gap = abs(float(depth[0, 1, 0] - depth[0, 1, 3]))
        assert float(rows[0, 1, head, 0, 3]) == pytest.approx(float(prior.decay[head]) * (0.5 * 3 + 3 * gap), rel=1e-5)
        gap = abs(float(depth[0, 0, 1] - depth[0, 2, 3]))
        assert float(full[0, head, 1, 11]) == pytest.approx(float(prior.decay[head]) * (0.5 * 4 + 3 * gap), rel=1e-5)


def test_full_geometry_attention_by_loops() -> None:
    attention, prior = GeometryAttention(8, 2, decomposed=False).double(), GeometryPrior(8, 2).double()
    x, depth = torch.randn(1, 2, 3, 8, dtype=torch.float64), torch.rand(1, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        q, k, v = (layer(x).reshape(6, 2, 4) for layer in (attention.query, attention.key, attention.value))

        def turn(value: Tensor, index: int) -> Tensor:  # each pair of channels is a complex number
            z = torch.view_as_complex(value.reshape(2, 2).contiguous()) * torch.polar(
                torch.ones(2, dtype=torch.float64), index * prior.angle[::2]
            )
            return torch.view_as_real(z).flatten()

        out = torch.zeros(6, 2, 4, dtype=torch.float64)
        bias = prior.full(depth, prior.weights(1))[0]
        for h in range(2):
            for i in range(6):
                scores = torch.stack([turn(q[i, h], i) @ turn(k[j, h] / 2, j) + bias[h, i, j] for j in range(6)])
                out[i, h] = scores.softmax(0) @ v[:, h]
        local = attention.local(attention.value(x).movedim(3, 1)).movedim(1, 3)
        want = attention.out(out.reshape(1, 2, 3, 8) + local)
        torch.testing.assert_close(attention(x, depth, prior), want)


def test_dropped_depth_has_no_parameters_of_its_own_and_passes() -> None:
    block = DFormerBlock(16, 2, drop_depth=True)
    assert not [k for k in block.state_dict() if "_e" in k and "before_e" not in k and "norm_e" not in k
                and "conv_e" not in k and "after_e" not in k]  # fmt: skip
    e = torch.randn(1, 8, 9, 8)
    assert torch.equal(block(torch.randn(1, 8, 9, 16), e)[1], e)
    with pytest.raises(InputError, match="window is 5"):
        DFormerAttention(16, 2, window=5)


# Layers and losses


def test_shapeconv_starts_as_a_plain_convolution_and_folds() -> None:
    layer, plain = ShapeConv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
    plain.weight.data, plain.bias.data = layer.weight.data.clone(), layer.bias.data.clone()  # type: ignore[union-attr]
    x = torch.randn(2, 3, 6, 7)
    torch.testing.assert_close(layer(x), plain(x))
    with torch.no_grad():
        layer.shape.normal_()
        layer.base.fill_(-0.5)
        w = layer.weight.flatten(2)
        want = torch.empty_like(w)
        for o in range(4):
            for i in range(3):
                base = w[o, i].mean()
                want[o, i] = (layer.shape[i] + torch.eye(9)) @ (w[o, i] - base) - 0.5 * base
        torch.testing.assert_close(layer.folded_weight().flatten(2), want)
    assert not torch.allclose(layer(x), plain(x))
    assert sum(p.numel() for p in ShapeConv2d(512, 512, 3, bias=False).parameters()) == 512 * 512 * 9 + 41_473
    assert len(list(ShapeConv2d(3, 4, 1).parameters())) == 2  # a 1x1 kernel has no shape


def test_low_rank_fusion_is_a_product_of_every_pair() -> None:
    block = LowRankTensor(3, rank=2)
    rgb, x = torch.randn(1, 3, 1, 1), torch.randn(1, 3, 1, 1)
    with torch.no_grad():
        u = torch.cat(
            [block.factor_rgb.weight.view(2, 3, 3), block.factor_rgb.bias.view(2, 3, 1)], dim=2
        )  # (R, C, C + 1)
        v = torch.cat([block.factor_x.weight.view(2, 3, 3), block.factor_x.bias.view(2, 3, 1)], dim=2)
        tensor = torch.einsum("r,rci,rcj->cij", block.weight, u, v)
        one = torch.ones(1)
        want = torch.einsum("cij,i,j->c", tensor, torch.cat([rgb.flatten(), one]), torch.cat([x.flatten(), one]))
        torch.testing.assert_close(block(rgb, x).fused.flatten(), want)


def test_correlation_equals_numpy() -> None:
    u, v = maps(2, 3)
    want = np.mean([np.corrcoef(u[b, c].flatten(), v[b, c].flatten())[0, 1] for b in range(2) for c in range(3)])
    assert float(correlation(u, v)) == pytest.approx(want, abs=1e-6)
    assert float(correlation(u, torch.ones_like(u))) == 0.0


def test_shaspec_losses_fall_to_their_floor() -> None:
    block = ShaSpec(4)
    same = torch.rand(2, 4, 3, 3)
    zero = torch.zeros_like(same)
    seen = {"shared_rgb": same, "shared_x": same, "specific_rgb": zero, "specific_x": zero}
    with torch.no_grad():
        block.name.bias.zero_()
    values = block.losses(seen)
    assert float(values["shared"]) == 0.0
    assert float(values["specific"].detach()) == pytest.approx(0.02 * math.log(2))
    seen["shared_x"] = same + 0.5
    assert float(block.losses(seen)["shared"]) == pytest.approx(0.1 * 2 * 0.5, rel=1e-5)


def test_hub_and_integration_refuse_another_number_of_inputs() -> None:
    hub = SelfQueryHub(4, 2)
    a, b = maps(2, 4)
    feature, boosted = hub([a, b])
    torch.testing.assert_close(feature, torch.maximum(boosted[0], boosted[1]))
    with pytest.raises(InputError, match="3 modalities given"):
        hub([a, b, a])
    with pytest.raises(InputError, match="previous level"):
        CrossIntegration(4)(a, b, a)
    with pytest.raises(InputError, match="divisor"):
        TwoTokenAttention(10, 4, "rgb")


def test_addition_leaves_x_alone() -> None:
    rgb, x = maps(2, 4)
    out = RedNet(4)(rgb, x)
    assert torch.equal(out.fused, rgb + x) and torch.equal(out.rgb, out.fused) and out.x is x


# Ports


def test_key_tables_must_cover_everything_once() -> None:
    layer = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert expand_table({"a": "0", "b.w": "1.weight", "b.b": "1.bias"}, layer)["b.w"] == "1.weight"
    with pytest.raises(ValueError, match="does not cover '1.weight'"):
        expand_table({"a": "0"}, layer)
    with pytest.raises(ValueError, match="lead to one"):
        expand_table({"a": "0", "b": "0", "c": "1"}, layer)


def test_inferred_size_is_stated_or_refused() -> None:
    assert inferred_size(384, 8) == (16, 24)
    assert inferred_size(24, 2) == (4, 6)
    with pytest.raises(InputError, match="name 'H' and 'W'"):
        inferred_size(25, 2)
