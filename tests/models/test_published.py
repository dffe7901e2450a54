"""The shared tester on published models; their parameter counts. Equality with the originals: tests/parity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusionzoo.bench.cost import peak_bytes
from fusionzoo.errors import InputError
from fusionzoo.models import FusionModel, build, create_model, list_models
from fusionzoo.models.published.cen import CEN
from fusionzoo.probes import listen, zero
from fusionzoo.probes.intervene import intervene
from fusionzoo.registry import architectures
from tests.compare import SAME, distance, off_zero
from tests.declared import check_declaration
from tests.models.exceptions import FIXED, LAST_LEVEL, UNREAD, excepted
from tests.models.saving import check_saving

FAST = (
    "mfnet",
    "cmx_mit_b0",
    "cmnext_mit_b0",
    "asymformer_b0t",
    "dformer_tiny",
    "dformerv2_s",
    "dplnet_mit_b0",
    "esanet_r18_nbt1d",
    "gemini_mit_b0",
    "multimae_tiny",
    "stitchfusion_mit_b0",
    "tokenfusion_mit_b0",
    "tuni_v2_t",
)
SLOW = (
    "acnet_resnet50",
    "cen_resnet50",
    "dveformer_reduced",
    "emsaformer",
    "emsaformer_emsanet",
    "hdbformer_swin_base",
    "rednet_resnet34",
    "rtfnet_r18",
    "sagate_resnet50",
    "gemini_swin_tiny",
    "sigma_tiny",
)
NAMES = [*FAST, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)]
PARAMS = {
    "cmx_mit_b0": ({}, 11_201_008),
    "cmx_mit_b2": ({}, 66_581_424),
    "cmx_mit_b4": ({}, 139_874_224),
    "cmx_mit_b5": ({}, 181_074_864),
    "cmnext_mit_b2": ({}, 58_694_225),
    "cmnext_mit_b4": ({"num_classes": 40}, 116_576_299),
    "dplnet_mit_b2": ({}, 30_153_803),
    "dplnet_mit_b5": ({}, 88_589_279),
    "mfnet": ({}, 736_275),
    "rtfnet_r50": ({}, 185_238_501),
    "rtfnet_r152": ({}, 254_510_053),
    "rednet_resnet50": ({}, 81_970_233),
    "esanet_r34_nbt1d": ({}, 46_955_840),
    "esanet_r18_nbt1d": ({}, 33_458_496),
    "esanet_r50": ({}, 71_733_544),
    "acnet_resnet50": ({}, 116_628_168),
    "sagate_resnet101": ({}, 110_875_160),
    "cen_resnet101": ({}, 118_201_578),
    "cen_resnet152": ({}, 133_891_306),
    "dformer_tiny": ({}, 6_003_912),
    "dformer_small": ({}, 18_747_144),
    "dformer_base": ({}, 29_524_840),
    "dformer_large": ({}, 39_030_392),
    "dformerv2_s": ({}, 26_686_018),
    "dformerv2_b": ({}, 53_923_050),
    "dformerv2_l": ({}, 95_266_426),
    "asymformer_b0t": ({}, 33_059_576),
    "stitchfusion_mit_b0": ({"num_classes": 9}, 4_390_761),
    "stitchfusion_mit_b2": ({}, 28_384_601),
    "tokenfusion_mit_b0": ({}, 4_048_794),
    "tokenfusion_mit_b2": ({}, 26_018_426),
    "tokenfusion_mit_b3": ({}, 45_917_306),
    "gemini_mit_b0": ({}, 5_863_562),
    "gemini_mit_b3": ({}, 74_551_274),
    "gemini_mit_b5": ({}, 137_209_322),
    "gemini_swin_tiny": ({}, 51_950_180),
    "gemini_swin_small": ({}, 92_796_788),
    "gemini_swin_large_384": ({}, 369_215_966),
    "sigma_tiny": ({}, 48_290_336),
    "sigma_small": ({}, 69_814_304),
    "sigma_base": ({}, 121_418_788),
    "emsaformer": ({}, 52_576_384),
    "emsaformer_emsanet": ({}, 70_800_120),
    "dveformer": ({"embeddings_only": True}, 56_281_912),
    "dveformer_reduced": ({"embeddings_only": True}, 53_120_824),
    "hdbformer_swin_base": ({}, 104_364_696),
    "tuni_s": ({}, 10_635_761),
    "tuni_v2_t": ({}, 4_993_209),
    "tuni_v2_s": ({}, 10_635_761),
    "tuni_v2_b": ({}, 29_570_441),
    "multimae_tiny": ({}, 1_772_776),
    "multimae_base": ({}, 97_847_080),
}
MORE = [
    ("cmnext_mit_b2", {"auxiliaries": 0}, 25_785_049),
    ("cmnext_mit_b2", {"auxiliaries": 2}, 58_718_809),
    ("cmnext_mit_b2", {"auxiliaries": 3}, 58_732_125),
    ("stitchfusion_mit_b0", {"num_classes": 9, "auxiliaries": 2}, 4_559_209),
    ("stitchfusion_mit_b2", {"auxiliaries": 3}, 29_874_649),
    ("esanet_r34_nbt1d", {"num_classes": 37}, 46_949_624),
    ("emsaformer_emsanet", {"num_classes": 20}, 70_758_680),
    ("dveformer", {"num_classes": 13}, 56_291_896),
    ("sagate_resnet101", {"shared_shortcut": False}, 113_668_120),
    ("dformerv2_l", {"decoder_channels": 1024}, 95_550_074),
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    """The same weights in every run: the limits of rounding below are of these."""
    torch.manual_seed(0)


def images(model: FusionModel, height: int, width: int, batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    rgb = torch.randn(batch, 3, height, width, generator=generator)
    return rgb, torch.randn(batch, model.x_channels, height, width, generator=generator)


def everything(model: FusionModel, rgb: Tensor, x: Tensor) -> list[Tensor]:
    """All outputs that training uses: side outputs too, where there are any."""
    return model.scores_and_sides(rgb, x)


@pytest.mark.parametrize(("name", "args", "count"), [(n, *v) for n, v in PARAMS.items()] + MORE)
def test_parameter_counts_are_the_published_models(name: str, args: dict, count: int) -> None:
    with torch.device("meta"):
        model = create_model(name, **args)
    assert sum(p.numel() for p in model.parameters()) == count
    assert all(p.is_meta for p in model.parameters())


LEARNED = [("dplnet_mit_b2", 5_957_515), pytest.param("dplnet_mit_b5", 7_146_271, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("name", "count"), LEARNED)
def test_what_a_frozen_encoder_leaves_to_train(name: str, count: int) -> None:
    with torch.device("meta"):
        model = create_model(name)
    learned = {n for n, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for n, p in model.named_parameters() if n in learned) == count
    assert not any(n.startswith("rgb_encoder") for n in learned)


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_determinism_batch_independence(name: str) -> None:
    model = create_model(name, num_classes=5)
    rgb, x = images(model, 65, 90, 2)
    with torch.no_grad():
        both = model(rgb, x)
        assert both.shape == (2, 5, 65, 90)
        assert distance(model(rgb, x), both) < SAME
        scale = float(both.abs().max())
        torch.testing.assert_close(both[1:], model(rgb[1:], x[1:]), rtol=1e-4, atol=1e-5 * max(1.0, scale))


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_input_matters(name: str) -> None:
    model = off_zero(create_model(name, num_classes=5))
    rgb, x = images(model, 64, 64, 1)
    rgb.requires_grad_()
    x.requires_grad_()
    sum((o.mean() for o in everything(model, rgb, x)), torch.zeros(())).backward()
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad != excepted(FIXED, name, key), key
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key
    assert rgb.grad is not None and float(rgb.grad.abs().sum()) > 0
    assert x.grad is not None and float(x.grad.abs().sum()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_probes_fire_once_as_declared_and_config_makes_the_same_model(name: str) -> None:
    model = create_model(name, num_classes=5)
    points = model.probe_points()
    count = dict.fromkeys(points, 0)

    def tally(point: str, value: Tensor) -> None:
        count[point] += 1
        check_declaration(points[point], value, f"{name} {point}", {"B": (1, 2)})  # 2: both modalities stacked

    rgb, x = images(model, 64, 64, 1)
    with torch.no_grad(), listen(model, dict.fromkeys(count, tally)):
        wanted = model(rgb, x)
    assert {k: v for k, v in count.items() if v != 1} == {}
    assert {
        "decoder.out",
        "logits",
        "stage2.rgb",
        f"stage{max(i for i, at in model.levels.items() if 'x' in at)}.x",
    } <= set(count)
    assert max(model.levels) == LAST_LEVEL.get(name, 5)
    twin = build(model.config())
    twin.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        assert distance(twin(rgb, x), wanted) < SAME
    assert twin.config() == model.config() and twin.architecture == name


@pytest.mark.parametrize("name", NAMES)
def test_what_enters_a_level_matters_for_the_result(name: str) -> None:
    """Both streams and the fused feature of every level reach the class scores."""
    model = off_zero(create_model(name, num_classes=5))
    rgb, x = images(model, 64, 64, 1)
    with torch.no_grad():
        plain = model(rgb, x)
        for at in model.levels.values():
            for point in at.values():
                with intervene(model, {point: zero()}):
                    assert (distance(model(rgb, x), plain) < SAME) == excepted(UNREAD, name, point), point


LARGE = ("asymformer_b0t", "dformerv2_s", "dplnet_mit_b0", "esanet_r18_nbt1d", "stitchfusion_mit_b0")
"""Over 100 MB on the disk, or saved as MissingX and converted checkpoints of the family are."""


@pytest.mark.parametrize(
    "name", [n for n in FAST if n not in LARGE] + [pytest.param(n, marks=pytest.mark.slow) for n in (*LARGE, *SLOW)]
)
def test_saved_it_loads_equal_and_other_weights_are_refused(name: str, tmp_path: Path) -> None:
    model = create_model(name, num_classes=3)
    check_saving(model, images(model, 64, 64, 1), tmp_path / name)


@pytest.mark.parametrize("name", [n for n in architectures if n not in PARAMS])
def test_other_sizes_build_without_storage(name: str) -> None:
    """With the counts above, every published name is built on the meta device."""
    with torch.device("meta"):
        model = create_model(name)
    assert all(t.is_meta for t in (*model.parameters(), *model.buffers())) and model.architecture == name


def test_every_family_is_in_the_shared_tester() -> None:
    """One size at least of each file in fusionzoo/models/published."""

    def family(name: str) -> str:
        builder = architectures.get(name)
        return getattr(builder, "func", builder).__module__

    assert {family(n) for n in (*FAST, *SLOW)} == {family(n) for n in architectures}
    assert set(PARAMS) <= set(list_models()) and set(PARAMS) <= set(architectures)


def test_cen_shares_its_convolutions() -> None:
    """One x channel stands for three equal ones; other numbers are refused; swapped inputs swap the predictions."""
    with pytest.raises(InputError, match="give 1 or 3"):
        create_model("cen_resnet50", x_channels=2)


@pytest.mark.slow
def test_cen_detaches_only_when_asked() -> None:
    for detach in (False, True):
        model = create_model("cen_resnet50", num_classes=3, detach_ensemble=detach)
        assert isinstance(model, CEN)
        rgb, x = images(model, 32, 32, 1)
        model.scores(rgb, x).mean().backward()
        assert (model.conv1.weight.grad is None) == detach
        assert model.alpha.grad is not None
    with torch.no_grad():
        a, b, both, share = model.all_scores(rgb, x)
        torch.testing.assert_close(model.all_scores(rgb, x.expand(-1, 3, -1, -1))[1], b)
        torch.testing.assert_close(both, share[0] * a + share[1] * b)
    _, losses = model.losses(rgb, x)
    widths = [64 << i for i, n in enumerate((3, 4, 6, 3)) for _ in range(n)]
    assert float(losses["sparsity"]) == pytest.approx(2e-4 * sum(widths), rel=1e-5)  # all scales start at 1


def test_upsampling_of_esanet_starts_bilinear() -> None:
    """Away from the border, nearest x2 and the tent kernel are bilinear interpolation x2."""
    from fusionzoo.models.published.esanet import Upsample

    feature = torch.randn(1, 3, 6, 7)
    with torch.no_grad():
        got = Upsample(3)(feature)
    want = torch.nn.functional.interpolate(feature, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(got[..., 1:-1, 1:-1], want[..., 1:-1, 1:-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_compiled_exported_and_bfloat16_are_the_eager_model(name: str) -> None:
    model = create_model(name, num_classes=3)
    inputs = images(model, 64, 96, 2)
    with torch.no_grad():
        wanted = model(*inputs)
        scale = max(1.0, float(wanted.abs().max()))
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*inputs), wanted, rtol=1e-4, atol=1e-5 * scale)
        exported = torch.export.export(model, inputs)
        torch.testing.assert_close(exported.module()(*inputs), wanted, rtol=1e-4, atol=1e-5 * scale)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(*inputs).float()
    assert bool(torch.isfinite(rough).all())
    assert float((rough - wanted).abs().max()) < 0.15 * float(wanted.abs().max())


def test_a_map_that_the_decoder_does_not_read_is_not_kept() -> None:
    """ESANet's decoder reads strides 4 to 32: the map of stride 2, of 64 channels, is let go."""
    with torch.device("meta"), torch.no_grad():
        model = create_model("esanet_r18")
        pair = torch.empty(1, 3, 480, 640), torch.empty(1, 1, 480, 640)
        assert [f.shape[-1] for f in model.features(*pair)] == [160, 80, 40, 20]
        peak = peak_bytes(lambda: model(*pair))
        kept: list[Tensor] = []
        with listen(model, {"stage1.fusion.fused": lambda name, value: kept.append(value)}):
            assert peak_bytes(lambda: model(*pair)) - peak == 4 * 64 * 240 * 320
