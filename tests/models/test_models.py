"""The shared tester of all composed models and baselines, and what is particular to TwoStream."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.models import BASELINES, DECODERS, build, build_encoder, create_model, list_fusions, list_models
from fusionzoo.models.stages import run_stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import probe_points
from fusionzoo.registry import fusions
from tests.compare import SAME, distance, off_zero
from tests.models.exceptions import UNTRAINED, excepted
from tests.models.saving import check_saving

NAMES = [f"{f}_mobilenetv1-025_fpn" for f in (*fusions, *BASELINES)]


def images(height: int, width: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, 3, height, width, generator=generator), torch.randn(
        batch, 1, height, width, generator=generator
    )


@pytest.mark.parametrize("name", NAMES)
def test_shape_determinism_batch_independence(name: str) -> None:
    model = create_model(name, num_classes=5)
    rgb, x = images(65, 90)
    with torch.no_grad():
        both = model(rgb, x)
        assert both.shape == (2, 5, 65, 90)
        assert distance(model(rgb, x), both) < SAME
        torch.testing.assert_close(both[1:], model(rgb[1:], x[1:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_input_matters(name: str) -> None:
    """In evaluation mode, which adds no zero gradients for the parameters that nothing reads."""
    model = off_zero(create_model(name, num_classes=5))
    rgb, x = images(64, 64)
    rgb.requires_grad_()
    x.requires_grad_()
    logits, losses = model.losses(rgb, x)
    (logits.square().mean() + sum(losses.values(), torch.zeros(()))).backward()
    for key, parameter in model.named_parameters():
        assert (parameter.grad is None) == excepted(UNTRAINED, name, key), key
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), key
    used = {"rgb_only": ("rgb",), "x_only": ("x",)}.get(name.rsplit("_", 2)[0], ("rgb", "x"))
    assert (rgb.grad is not None and float(rgb.grad.abs().sum()) > 0) == ("rgb" in used)
    assert (x.grad is not None and float(x.grad.abs().sum()) > 0) == ("x" in used)


@pytest.mark.parametrize("name", [f"{f}_mobilenetv1-025_fpn" for f in fusions])
def test_the_other_sample_changes_the_result(name: str) -> None:
    """Swapping the x, or the RGB, of two samples changes both results, by a share of the largest score.

    In training mode: with the statistics of an untrained net, deep features are too small to tell.
    """
    model = off_zero(create_model(name, num_classes=5)).train()

    def scores(rgb: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)  # dropout
        return model(rgb, x)

    rgb, x = images(64, 64)
    with torch.no_grad():
        plain = scores(rgb, x)
        for swapped in (scores(rgb, x.flip(0)), scores(rgb.flip(0), x)):
            assert float((swapped - plain).abs().amax((1, 2, 3)).min()) > 0.03 * float(plain.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_config_makes_the_same_model(name: str) -> None:
    model = create_model(name, num_classes=5, preprocess=Preprocess(x_mean=(3.0,), x_std=(2.0,)))
    model.set_classes(list("abcde"))
    model.input_size = (64, 96)
    twin = build(model.config())
    twin.load_state_dict(model.state_dict(), strict=True)
    rgb, x = images(64, 96)
    with torch.no_grad():
        assert distance(twin(rgb, x), model(rgb, x)) < SAME
    assert twin.config() == model.config()
    assert twin.architecture == name


@pytest.mark.parametrize("name", NAMES)
def test_meta_device_and_probe_names_of_levels(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert all(p.is_meta for p in model.parameters())
    points = probe_points(model)
    assert model.levels and all(n in points for level in model.levels.values() for n in level.values())


@pytest.mark.parametrize("name", NAMES)
def test_saved_it_loads_equal_and_other_weights_are_refused(name: str, tmp_path: Path) -> None:
    small = {"pyramid_channels": 16, "segmentation_channels": 32}
    model = create_model(name, num_classes=5, decoder_args=small)
    check_saving(model, images(64, 64), tmp_path / name)


@pytest.mark.parametrize("name", [*list_models("sum_*_fpn"), *list_models("sum_mobilenetv1-025_*")])
def test_every_named_part_builds_without_storage(name: str) -> None:
    """With every strategy above and every published model in its own test: all parts of all names in `list_models`."""
    with torch.device("meta"):
        model = create_model(name)
    assert all(t.is_meta for t in (*model.parameters(), *model.buffers())) and model.architecture == name


@pytest.mark.slow
def test_every_name_builds_without_storage() -> None:
    for name in list_models():
        with torch.device("meta"):
            model = create_model(name)
        assert all(p.is_meta for p in model.parameters()) and model.architecture == name


def test_late_is_the_mean_of_its_streams() -> None:
    model = create_model("late_mobilenetv1-025_fpn", num_classes=3)
    rgb, x = images(64, 64)
    with torch.no_grad():
        small = (model.rgb_stream(rgb) + model.x_stream(x)) / 2
        torch.testing.assert_close(model.scores(rgb, x), small)


def test_a_missing_modality_is_its_mean() -> None:
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=3)
    rgb, x = images(64, 64)
    with torch.no_grad():
        assert distance(model(rgb, None), model(rgb, torch.zeros_like(x))) < SAME
        assert distance(model(None, x), model(torch.zeros_like(rgb), x)) < SAME
    with pytest.raises(InputError, match="both modalities are None"):
        model(None, None)


@pytest.mark.parametrize(
    ("rgb", "x", "said"),
    [((1, 4, 32, 32), (1, 1, 32, 32), "rgb has shape"), ((1, 3, 32, 32), (1, 3, 32, 32), "x has shape"),
     ((1, 3, 32, 32), (1, 1, 32, 64), "differ"), ((2, 3, 32, 32), (1, 1, 32, 32), "differ")],
)  # fmt: skip
def test_wrong_shapes_are_refused(rgb: tuple[int, ...], x: tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        create_model("sum_mobilenetv1-025_fpn")(torch.zeros(rgb), torch.zeros(x))


@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("encoder", ["mobilenetv1-025", "resnet18", "mit-b0"])
def test_every_decoder_takes_fused_features_at_odd_sizes(encoder: str, decoder: str) -> None:
    options = {"unetplusplus": {}, "pspnet": {"out_channels": 64}, "fpn": {"pyramid_channels": 32}}.get(decoder, {})
    model = create_model(f"sum_{encoder}_{decoder}", num_classes=2, decoder_args=options)
    with torch.no_grad():
        whole = decoder == "pool"  # one class of the whole image
        assert model(*images(70, 97, batch=1)).shape == ((1, 2, 1, 1) if whole else (1, 2, 70, 97))


def test_an_encoder_without_five_levels_is_named() -> None:
    with pytest.raises(InputError, match="'tu-vit_tiny_patch16_224' gives no five stages"):
        build_encoder("tu-vit_tiny_patch16_224", 3)


def test_interaction_decides_what_the_streams_carry_on_with() -> None:
    """`inject` feeds fused into RGB's next stage and `exchange` both outputs; seen at the next level's probes."""
    import fusionzoo.models.two_stream as module
    from fusionzoo.fusion.base import Fused, FusionBlock
    from fusionzoo.registry import Registry

    class Marked(FusionBlock):
        def fuse(self, rgb: torch.Tensor, x: torch.Tensor) -> Fused:
            return Fused(rgb + 1, x + 2, rgb * 0 + 3)

    seen = {}
    for interaction in ("none", "inject", "exchange"):
        registry: Registry = Registry("fusion strategy")
        registry.add("marked", type("M", (Marked,), {"interaction": interaction}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "fusions", registry)
            torch.manual_seed(0)
            model = module.TwoStream("marked", "mobilenetv1-025", "fpn").eval()
        points, inputs = probe_points(model), {}
        for point, key in (("stage3.rgb", "rgb"), ("stage3.x", "x")):
            points[point].tap = lambda v, key=key, inputs=inputs: inputs.setdefault(key, v)
        with torch.no_grad():
            rgb, x = images(64, 64)
            model(rgb, x)
            r, d = rgb, x
            for level in (1, 2):
                r, d = run_stage(model.rgb_encoder, level, r), run_stage(model.x_encoder, level, d)
                if interaction != "none":
                    r, d = (r * 0 + 3, d) if interaction == "inject" else (r + 1, d + 2)
            torch.testing.assert_close(inputs["rgb"], run_stage(model.rgb_encoder, 3, r))
            torch.testing.assert_close(inputs["x"], run_stage(model.x_encoder, 3, d))
        seen[interaction] = inputs["rgb"]
    assert distance(seen["inject"], seen["none"]) > 1e-3


def test_names_and_overrides() -> None:
    model = create_model("concat_mobilenetv1-025_fpn", encoder="resnet18", decoder="unet", fusion="gate", num_classes=7,
                         x_channels=3)  # fmt: skip
    assert model.architecture == "gate_resnet18_unet"
    assert model(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)).shape == (1, 7, 32, 32)
    assert list_fusions("conc*") == ["concat"] and "late" in list_fusions()
    assert "hybrid_mit-b0_segformer" in list_models("hybrid_*")


@pytest.mark.parametrize(
    ("name", "said"),
    [("hybird_resnet18_fpn", "did you mean 'hybrid'"), ("hybrid_resnet19_fpn", "resnet18"),
     ("hybrid_resnet18_fnp", "'fpn'"), ("nonsense", "unknown model")],
)  # fmt: skip
def test_unknown_names_give_the_closest(name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        create_model(name)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"pretrained": True}, "unknown key 'pretrained'; a new model has random weights; fusionzoo.from_pretrained"),
     ({"encoder_weights": "imagenet"}, "random weights; .* finetune --init imagenet"),
     ({"in_chans": 4}, "rgb has 3 channels, and x_channels is"), ({"class_names": ["a"]}, "model.set_classes"),
     ({"classes": 5}, "did you mean 'num_classes'"), ({"num_classes": "5"}, "^num_classes is '5'; give a whole number"),
     ({"num_classes": 0}, "num_classes is 0; give a whole number from 1"), ({"num_classes": 2.5}, "is 2.5; give"),
     ({"num_classes": True}, "num_classes is True"), ({"x_channels": -1}, "x_channels is -1")],
)  # fmt: skip
def test_what_other_libraries_call_otherwise_is_said(given: dict[str, object], said: str) -> None:
    for name in ("sum_mobilenetv1-025_fpn", "mfnet"):
        with pytest.raises(InputError, match=said):
            create_model(name, **given)  # type: ignore[arg-type]


def test_an_encoder_with_underscores_is_told_how_it_is_written() -> None:
    for name, said in {
        "concat_tu-mobilenetv3_small_050_fpn": "concat_tu-mobilenetv3-small-050_fpn",
        "cross_attention_timm_regnety_002_fpn": "cross_attention_timm-regnety-002_fpn",
    }.items():
        with pytest.raises(InputError, match=f"'-' stands for '_' within the encoder's name: {said}$"):
            create_model(name)


def test_a_strategy_with_a_slip_is_named_where_the_encoder_is_known() -> None:
    for slip, meant in {"hybrid_trst": "hybrid_trust", "se_add_uni_rgbb": "se_add_uni_rgb"}.items():
        with pytest.raises(UnknownNameError, match=f"unknown fusion strategy '{slip}'; did you mean '{meant}'"):
            create_model(f"{slip}_resnet18_fpn")


def test_a_config_of_an_architecture_that_nobody_registered_says_so() -> None:
    config = create_model("mfnet", num_classes=3).config() | {"architecture": "mynet"}
    with pytest.raises(UnknownNameError, match="unknown architecture 'mynet'.*import the module that registers it"):
        build(config)


def test_a_checkpoint_name_is_not_an_architecture() -> None:
    with pytest.raises(InputError, match="from_pretrained"):
        create_model("hybrid_mobilenetv1-025_fpn.planted")


@pytest.mark.parametrize(
    ("change", "said"),
    [({"colour": 1}, "unknown key 'colour'"), ({"format_version": 9}, "format version 9"),
     ({"architecture": "sum_resnet18_fpn"}, "model_args make"), ({"class_names": ["a"]}, "class names for"),
     ({"model_args": {"fusoin": "sum"}}, "fus")],
)  # fmt: skip
def test_foreign_configs_are_refused(change: dict[str, object], said: str) -> None:
    config = create_model("sum_mobilenetv1-025_fpn").config() | change
    with pytest.raises((InputError, UnknownNameError), match=said):
        build(config)


def test_decoder_options_are_checked() -> None:
    with pytest.raises(InputError, match="divisible"):
        create_model("sum_mobilenetv1-025_fpn", decoder_args={"segmentation_channels": 16})
    with pytest.raises(InputError, match="did you mean 'pyramid_channels'"):
        create_model("sum_mobilenetv1-025_fpn", decoder_args={"pyramid_chanels": 8})


@pytest.mark.parametrize("fusion", ["sum", "gate", "early"])
@pytest.mark.parametrize(
    ("decoder", "options", "said"),
    [("fpn", {"pyramid_channels": 0}, "pyramid_channels is a whole number from 1, not 0"),
     ("fpn", {"pyramid_channels": True}, "a whole number from 1, not True"),
     ("fpn", {"dropout": True}, "dropout is a value such as 0.2, not True"),
     ("fpn", {"dropout": 2}, "'fpn' cannot be built with {'dropout': 2}: dropout probability"),
     ("fpn", {"merge_policy": "mean"}, "cannot be built with"),
     ("manet", {"reduction": 0}, "reduction is a whole number from 1"),
     ("unet", {"decoder_channels": 64}, "decoder_channels is a list of whole numbers from 1, not 64"),
     ("unet", {"decoder_channels": [64, 0, 8, 8, 8]}, "a list of whole numbers from 1"),
     ("unet", {"decoder_channels": []}, "cannot be built with"),
     ("fpn", {"pyramid_channels": 10**18}, "'fpn' cannot be built with {'pyramid_channels': 1000000000000000000}"),
     ("deeplabv3", {"atrous_rates": [1]}, "'deeplabv3' cannot be built with {'atrous_rates': [1]}"),
     ("deeplabv3", {"aspp_separable": 1}, "aspp_separable is true or false, not 1")],
)  # fmt: skip
def test_options_that_no_decoder_can_be_built_with(
    fusion: str, decoder: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        create_model(f"{fusion}_mobilenetv1-025_{decoder}", decoder_args=options)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [("gate", {"reductoin": 4}, "no option 'reductoin'; did you mean 'reduction'"), ("sum", {"a": 1}, "known: none"),
     ("gate", {"reduction": "four"}, "'gate': reduction is a whole number from 1, not 'four'"),
     ("gate", {"reduction": 0}, "whole number from 1, not 0"), ("hybrid_exchange", {"rank": -1}, "whole number from 0"),
     ("dformer", {"scale": True}, "a value such as 0.1"), ("low_rank_tensor", {"rank": 10**18}, "cannot be built with"),
     ("gate", {"level": 2}, "no option 'level'")],
)  # fmt: skip
def test_fusion_options_are_checked(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        create_model(f"{name}_mobilenetv1-025_fpn", fusion_args=options)
