"""Mix Transformer, its decoder, CMX and CMNeXt against another library and plain loops; what only they promise."""

from __future__ import annotations

import json
import re

import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.fusion._mit import mit_init_
from fusionzoo.fusion.cmx import CMX as Exchange
from fusionzoo.fusion.cmx import FeatureFusion, pixels_at
from fusionzoo.hub.originals import model as original
from fusionzoo.hub.originals.checkpoints.cmx import mit_table
from fusionzoo.hub.originals.keys import load_mapped
from fusionzoo.models import FusionModel, build, create_model
from fusionzoo.models.published._mit import SIZES, MiT, drop_rates
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.published.cmnext import ChannelNorm, as_if_by_pixel
from fusionzoo.probes import listen, zero
from fusionzoo.probes.intervene import intervene
from tests.compare import SAME, distance
from tests.parity.reader import FOLDER


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_norms_(module: nn.Module) -> None:
    """Norm weights and biases away from 1 and 0, so that a wrong one shows."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm | nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.2)
            nn.init.normal_(part.bias, 0.0, 0.2)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.normal_(part.running_mean, 0.0, 0.2)


@pytest.mark.parametrize("size", [0, 1, *(pytest.param(i, marks=pytest.mark.slow) for i in (2, 3, 4, 5))])
def test_mix_transformer_is_another_librarys(size: int) -> None:
    theirs = get_encoder(f"mit_b{size}", weights=None).eval()
    random_norms_(theirs)
    holder = nn.Module()
    holder.encoder = ours = MiT(size).eval()
    state = {f"backbone.{k}": v for k, v in theirs.state_dict().items()}
    load_mapped(holder, state, mit_table(holder, "encoder"), what="MiT")  # type: ignore[arg-type]
    feature = image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        wanted = theirs(image)[2:]
        for i, want in enumerate(wanted, 1):
            feature = ours.stage(i, feature)
            torch.testing.assert_close(feature, want, rtol=1e-5, atol=2e-5)


def test_stochastic_depth_grows_linearly_and_acts_in_training_only() -> None:
    assert drop_rates((2, 3), 0.4) == [[0.0, 0.1], [0.2, pytest.approx(0.3), 0.4]]
    image = torch.randn(1, 3, 32, 32)
    encoder = MiT(0, drop=1.0)
    plain = encoder.eval().stage(1, image)
    assert distance(encoder.train().stage(1, image), plain) > 1e-3
    assert distance(encoder.eval().stage(1, image), plain) < SAME
    with pytest.raises(InputError, match="MiT-B6 is not one of B0, B1"):
        MiT(6)


@torch.no_grad()
def test_initialisation_by_fan_out() -> None:
    """Depthwise 3x3: variance 2 / 9 counted in a group, 2 / (9 C) counted over all."""
    layers = nn.Sequential(nn.Conv2d(64, 64, 3, groups=64), nn.Conv2d(64, 32, 3), nn.Linear(64, 64))
    for by_group, wanted in ((True, (2 / 9) ** 0.5), (False, (2 / (9 * 64)) ** 0.5)):
        mit_init_(layers, by_group)
        assert float(layers[0].weight.std()) == pytest.approx(wanted, rel=0.1)
        assert float(layers[1].weight.std()) == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.05)
        assert float(layers[2].weight.std()) == pytest.approx(0.02, rel=0.05)
        assert all(float(layer.bias.abs().max()) == 0 for layer in layers)


def test_decoder_is_another_librarys() -> None:
    channels = (8, 12, 16, 20)
    theirs = SegformerDecoder([3, 0, *channels], segmentation_channels=10).eval()
    random_norms_(theirs)
    ours = SegFormerHead(channels, 5, 10).eval()
    join, norm = theirs.fuse_stage[0], theirs.fuse_stage[1]
    with torch.no_grad():
        for i, mlp in enumerate(theirs.mlp_stage):
            ours.project[3 - i].load_state_dict(mlp.linear.state_dict())
        ours.join.load_state_dict(join.state_dict())
        ours.bn.load_state_dict(norm.state_dict())
        maps = [torch.randn(2, c, 16 >> i, 24 >> i) for i, c in enumerate(channels)]
        image = torch.zeros(2, 3, 64, 96)
        wanted = ours.classify(theirs([image, image[:, :0], *maps]))
        torch.testing.assert_close(ours(maps), wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="3 maps given, this decoder was built for 4"):
        ours(maps[:3])


def test_eps_of_the_norms() -> None:
    """CMX as SegFormer; CMNeXt 1e-5 for RGB: with 1e-6 it is three times as far from the original's stored maps,
    and still within the tolerance of the parity tests."""
    with torch.device("meta"):
        cmx, cmnext = create_model("cmx_mit_b0"), create_model("cmnext_mit_b0", auxiliaries=2)
    for model, wanted in ((cmx, 1e-6), (cmnext, 1e-5)):
        norms = {k: m.eps for k, m in model.rgb_encoder.named_modules() if isinstance(m, nn.LayerNorm)}
        for key, eps in norms.items():
            assert eps == (1e-5 if "embed" in key or "attention" in key else wanted), key
    assert {m.eps for m in cmnext.modules() if isinstance(m, ChannelNorm)} == {1e-6}


def test_channel_norm_is_over_channels() -> None:
    norm = ChannelNorm(6, eps=1e-6)
    random_norms_(norm)
    x = torch.randn(2, 6, 3, 4)
    mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    wanted = (x - mean) / (var + 1e-6).sqrt() * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(x), wanted)


def test_scrambling_by_a_plain_loop() -> None:
    x = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).view(2, 3, 2, 2)
    got = as_if_by_pixel(x)
    for b in range(2):
        values = iter(x[b].flatten().tolist())
        for i in range(2):
            for j in range(2):
                for c in range(3):
                    assert got[b, c, i, j] == next(values)


# Fusion blocks at the start


def entropy(context: Tensor) -> float:
    """Of the columns of (B, h, c, c), as a share of the largest possible."""
    return float(-(context * context.clamp(min=1e-12).log()).sum(2).mean() / torch.tensor(context.shape[2]).log())


def record(module: nn.Module, points: list[str], *inputs: Tensor) -> dict[str, Tensor]:
    """What passes `points` in one call."""
    seen: dict[str, Tensor] = {}
    with torch.no_grad(), listen(module, dict.fromkeys(points, lambda p, v: seen.update({p: v}))):
        module.eval()(*inputs)
    assert set(seen) == set(points)
    return seen


@pytest.mark.parametrize(("level", "channels", "size"), [(2, 64, (120, 160)), (3, 64, (60, 80)), (5, 128, (15, 20))])
def test_contexts_start_informative_on_maps_of_480_by_640(level: int, channels: int, size: tuple[int, int]) -> None:
    contexts = ["rgb.context", "x.context"]
    maps = torch.randn(2, 2, channels, *size)
    for block in (Exchange(channels, level=level).fusion, FeatureFusion(channels, pixels=pixels_at(level))):
        assert all(0.4 < entropy(v) < 0.99 for v in record(block, contexts, *maps).values())


def test_contexts_need_a_start_by_size() -> None:
    """The logits are sums over pixels: set for 300 of them, at 19200 one key channel gets everything."""
    seen = record(FeatureFusion(32, pixels=300), ["rgb.context", "x.context"], *torch.randn(2, 1, 32, 120, 160))
    assert all(entropy(v) < 0.1 for v in seen.values())


def stuck(gate: Tensor) -> float:
    return float(((gate < 0.005) | (gate > 0.995)).float().mean())


@pytest.mark.parametrize(("name", "args"), [("cmx_mit_b0", {}), ("cmnext_mit_b0", {"auxiliaries": 3})])
def test_gates_start_informative_unless_the_originals_init_is_asked_for(name: str, args: dict) -> None:
    for asked in (False, True):
        model = create_model(name, num_classes=3, original_init=asked, **args)
        gates = [k for k, p in model.probe_points().items() if p.role == "gate"]
        seen = record(model, gates, *images(model, batch=4))
        if asked:
            spatial = [k for k in gates if k.endswith("spatial_gate")]
            assert len(spatial) == 4 and all(stuck(seen[k]) > 0.3 for k in spatial)
            continue
        for key, gate in seen.items():
            assert stuck(gate) < 0.3, key
            assert float(gate.std()) > 1e-3 and float(gate.std(0).max()) > 1e-3, key


# CMNeXt with other numbers of modalities


def images(model: FusionModel, height: int = 64, width: int = 64, batch: int = 1) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 3, height, width), torch.randn(batch, model.x_channels, height, width)


@pytest.mark.parametrize("count", [2, 3])
def test_several_auxiliary_modalities(count: int) -> None:
    model = create_model("cmnext_mit_b0", num_classes=4, auxiliaries=count)
    assert model.x_channels == 3 * count and model.preprocess.x_std == (1.0,) * model.x_channels
    rgb, x = images(model, 65, 90, 2)
    x.requires_grad_()
    fired = dict.fromkeys(model.probe_points(), 0)

    def tally(point: str, value: Tensor) -> None:
        fired[point] += 1

    with listen(model, dict.fromkeys(fired, tally)):
        out = model(rgb, x)
    assert out.shape == (2, 4, 65, 90) and set(fired.values()) == {1}
    assert {f"branch4.maps.{count - 1}", f"branch1.hub.gates.{count - 1}", "stage2.x", "stage5.fusion.fused"} <= set(
        fired
    )
    out.mean().backward()
    assert x.grad is not None and all(float(part.abs().sum()) > 0 for part in x.grad.chunk(count, dim=1))
    unused = [k for k, p in model.named_parameters() if p.grad is None or not bool(torch.isfinite(p.grad).all())]
    assert unused == []
    with torch.no_grad():
        torch.testing.assert_close(model(rgb[1:], x[1:]), out[1:], rtol=1e-4, atol=1e-5)
        for j in range(count):
            with intervene(model, {f"branch2.maps.{j}": zero()}):
                assert distance(model(rgb, x), out) > 1e-4
    twin = build(model.config())
    twin.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        assert distance(twin(rgb, x), out) < SAME


def test_auxiliary_modalities_are_interchangeable_with_their_own_layers() -> None:
    """Two modalities swapped, and their norms and score nets with them: the same scores."""
    model = create_model("cmnext_mit_b0", num_classes=4, auxiliaries=2)
    random_norms_(model)
    swapped = create_model("cmnext_mit_b0", num_classes=4, auxiliaries=2)
    other = {"0": "1", "1": "0"}
    pattern = re.compile(r"(branch\d\.(?:norms|hub\.score)\.)([01])")
    swapped.load_state_dict({pattern.sub(lambda m: m[1] + other[m[2]], k): v for k, v in model.state_dict().items()})
    rgb, x = images(model)
    with torch.no_grad():
        torch.testing.assert_close(swapped(rgb, x.roll(3, dims=1)), model(rgb, x))
        assert not torch.allclose(model(rgb, x.roll(3, dims=1)), model(rgb, x))


def test_rgb_alone_is_segformer() -> None:
    model = create_model("cmnext_mit_b0", num_classes=4, auxiliaries=0)
    rgb, x = images(model)
    assert model.needs == ("rgb",) and model.levels[5] == {"rgb": "stage5.rgb"}
    assert set(model.probe_points()) == {
        "stage2.rgb",
        "stage3.rgb",
        "stage4.rgb",
        "stage5.rgb",
        "decoder.out",
        "logits",
    }
    with torch.no_grad():
        out = model(rgb, x)
        assert distance(model(rgb), out) < SAME
        feature, maps = rgb, []
        for i in range(1, 5):
            feature = model.rgb_encoder.stage(i, feature)
            maps.append(feature)
        assert distance(F.interpolate(model.decoder(maps), size=(64, 64), mode="bilinear"), out) < SAME
    assert build(model.config()).config() == model.config()


def test_channels_of_the_auxiliary_images() -> None:
    single = create_model("cmnext_mit_b0", num_classes=4, x_channels=1)
    assert single.branch1.conv.in_channels == 1 and single.modalities == ("rgb", "depth")
    assert create_model("cmx_mit_b0", num_classes=4, x_channels=1).modalities == ("rgb", "depth")
    assert create_model("cmx_mit_b0").preprocess.x_kind == "hha"
    with pytest.raises(InputError, match="4 x channels are not 3 images"):
        create_model("cmnext_mit_b0", auxiliaries=3, x_channels=4)
    with pytest.raises(InputError, match="-1 auxiliary"):
        create_model("cmnext_mit_b0", auxiliaries=-1)


def test_scrambled_matters_only_with_several_modalities() -> None:
    for count, same in ((1, True), (2, False)):
        plain = create_model("cmnext_mit_b0", num_classes=4, auxiliaries=count)
        quirk = create_model("cmnext_mit_b0", num_classes=4, auxiliaries=count, scrambled=True)
        quirk.load_state_dict(plain.state_dict())
        rgb, x = images(plain)
        with torch.no_grad():
            assert torch.allclose(plain(rgb, x), quirk(rgb, x)) == same


# Kinds that the folder of reference values does not hold


def keys_of(kind: str) -> dict[str, Tensor]:
    """A stored original's keys, with zeros that take no memory."""
    path = FOLDER / f"full_{kind}.json"
    if not path.is_file():
        pytest.skip(f"no reference values: {path} is absent")
    shapes = json.loads(path.read_text())["state_dict"]
    return {
        k: torch.zeros((), dtype=torch.int64 if "int" in dtype else torch.float32).expand(shape)
        for k, (shape, dtype) in shapes.items()
    }


def parameters(port: nn.Module) -> int:
    return sum(p.numel() for p in port.parameters())


@pytest.mark.slow
def test_three_modalities_from_the_keys_of_four() -> None:
    four = keys_of("cmnext_b2_4m")
    three = {k: v for k, v in four.items() if not re.search(r"ln_2|score_nets\.2", k)}
    ctor = {"backbone": "CMNeXt-B2", "num_classes": 25, "modals": ["img", "aolp", "dolp"]}
    port = original("cmnext_b2_3m", three, ctor)
    assert port.module.auxiliaries == 2 and port.module.scrambled and parameters(port) == 58_718_809
    with pytest.raises(CheckFailed, match=r"missing: backbone.extra_downsample_layers.0.norm.ln_2"):
        original("cmnext_b2_4m", three, ctor | {"modals": "img,depth,event,lidar"})


def test_one_modality_from_the_keys_of_four() -> None:
    one = {k: v for k, v in keys_of("cmnext_b2_4m").items() if not re.search(r"\.extra_|FRMs|FFMs", k)}
    port = original("cmnext_b2_1m", one, {"num_classes": 25})
    assert parameters(port) == 25_785_049
    with torch.no_grad():
        assert port(torch.randn(1, 3, 50, 70)).shape == (1, 25, 50, 70)
    with pytest.raises(InputError, match="PVT"):
        original("cmnext_b2_1m", one, {"backbone": "PVT", "num_classes": 25})
    with pytest.raises(InputError, match="empty"):
        original("cmnext_b2_1m", one, {"modals": []})


def test_b1_from_the_keys_of_b2() -> None:
    keys = {k: v for k, v in keys_of("cmx_mit_b2").items() if not re.search(r"block\d\.([2-9])\.", k)}
    ctor = {"backbone": "mit_b1", "decoder": "MLPDecoder", "decoder_embed_dim": 512, "num_classes": 40, "bn_eps": 0.01}
    port = original("cmx_mit_b1", keys, ctor)
    assert port.module.architecture == "cmx_mit_b1" and port.module.decoder.bn.eps == 0.01
    assert create_model("cmx_mit_b0").decoder.bn.eps == 1e-5
    for changed, told in (({"backbone": "mit_b9"}, "mit_b9"), ({"decoder": "UPernet"}, "UPernet")):
        with pytest.raises(InputError, match=told):
            original("cmx_mit_b1", keys, ctor | changed)
    with pytest.raises(InputError, match="num_classes"):
        original("cmx_mit_b1", keys, {"backbone": "mit_b1"})


def test_sizes_are_the_published_encoders() -> None:
    """In millions, as SegFormer's paper prints them."""
    counts = []
    for size in SIZES:
        with torch.device("meta"):
            counts.append(sum(p.numel() for p in MiT(size).parameters()) / 1e6)
    assert counts == [pytest.approx(v, abs=0.1) for v in (3.4, 13.1, 24.2, 44.0, 60.8, 81.4)]
