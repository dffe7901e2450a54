"""Official checkpoints of MultiMAE and Sigma: key tables, wrappers, arguments as text, what is left out."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.hub import convert, from_pretrained
from fusionzoo.hub.originals import model
from fusionzoo.hub.originals.checkpoints import multimae, sigma
from fusionzoo.hub.originals.keys import expand_table
from fusionzoo.hub.records import read_record
from fusionzoo.models import FusionModel, create_model
from tests.compare import SAME, distance

SMALL = {"dim_tokens": 24, "depth": 2, "num_heads": 2, "image_size": [32, 48], "embed_dim": 64, "decoder_depth": 1}
OURS = {"width": 24, "depth": 2, "heads": 2, "image_size": (32, 48), "head_width": 64, "head_depth": 1}


@pytest.fixture
def official() -> tuple[FusionModel, dict[str, Tensor]]:
    """A small model with 3 classes and its weights under their official names."""
    ours = create_model("multimae_base", num_classes=3, **OURS)
    state = ours.state_dict()
    return ours, {theirs: state[key] for theirs, key in expand_table(multimae.table(ours), ours).items()}


def images(height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, height, width, generator=generator), torch.randn(2, 1, height, width, generator=generator)


def test_a_checkpoint_with_its_settings_beside_it(
    official: tuple[FusionModel, dict[str, Tensor]], tmp_path: Path
) -> None:
    ours, state = official
    torch.save({"model": state, "epoch": 3, "args": argparse.Namespace(lr=1e-4, out=["x"])}, tmp_path / "a.pth")
    config = convert.run("multimae_base", tmp_path / "a.pth", tmp_path / "out", SMALL)
    assert config["model_args"]["width"] == 24 and config["model_args"]["image_size"] == [32, 48]
    loaded = from_pretrained(tmp_path / "out")
    with torch.no_grad():
        assert distance(loaded(*images(40, 50)), ours.eval()(*images(40, 50))) < SAME
    record = read_record(tmp_path / "out")
    assert "NC" in record.licence_note and "percentile" in record.notes
    torch.save({"model": state, "args": re.compile("x")}, tmp_path / "b.pth")
    with pytest.raises(InputError, match="more than tensors"):
        convert.run("multimae_base", tmp_path / "b.pth", tmp_path / "none", SMALL)


def test_arguments_as_text_are_the_arguments(official: tuple[FusionModel, dict[str, Tensor]]) -> None:
    _, state = official
    text = "ConvNeXtAdapter(3, 64, preds_per_patch 16, depth 1)"
    sizes = {k: SMALL[k] for k in ("dim_tokens", "depth", "num_heads", "image_size")}
    first = model("multivit_base", state, {**sizes, "output": text})
    second = model("multivit_tiny", state, {**SMALL, "num_classes": 3})
    rgb, depth = images(32, 64)
    with torch.no_grad():
        both = first(rgb, depth)
        assert distance(second(rgb, depth), both) < SAME
        assert distance(first({"rgb": rgb, "depth": depth}), both) < SAME
        assert distance(first({"rgb": rgb}), first(rgb)) < SAME and distance(first(rgb), both) > 1e-4
    both = multimae.head({"output": "ConvNeXtAdapter(5, 96, preds_per_patch=4, depth=2, main_tasks=('rgb', 'depth'))"})
    assert both["main_tasks"] == ("rgb", "depth") and both["head_pixels"] == 2 and both["head_depth"] == 2
    for wrong in ("DPTAdapter(3, 64)", "ConvNeXtAdapter(3)", "ConvNeXtAdapter(3, 64, preds_per_patch 8)"):
        with pytest.raises(InputError, match="multivit"):
            multimae.head({"output": wrong})
    with pytest.raises(InputError, match="only patches of 16"):
        multimae.head({"num_classes": 3, "patch_size": 8})
    with pytest.raises(CheckFailed, match="unmapped: surplus"):
        model("multivit_base", {**state, "surplus": torch.zeros(1)}, {**sizes, "output": text})


def test_an_absent_depth_has_no_tokens() -> None:
    """Without depth the model equals its blocks on RGB's tokens and the global one, written out."""
    ours = create_model("multimae_base", num_classes=3, drop_missing=True, **OURS).eval()
    rgb, depth = images(32, 48)
    with torch.no_grad():
        tokens = ours.rgb_patches(rgb).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens, ours.global_token.expand(2, -1, -1)], dim=1)
        for block in ours.blocks:
            tokens = block(tokens)
        seen = tokens[:, :6].transpose(1, 2).reshape(2, 24, 2, 3)
        want = torch.nn.functional.interpolate(ours.decoder([seen]), size=(32, 48), mode="bilinear")
        torch.testing.assert_close(ours(rgb, None), want)
        assert not torch.allclose(ours(rgb, torch.zeros_like(depth)), want)
        assert ours(None, depth).shape == want.shape
        assert ours(rgb[..., :21, :35], None).shape == (2, 3, 21, 35)
        ours.drop_missing = False  # the default
        torch.testing.assert_close(ours(rgb, None), ours(rgb, torch.zeros_like(depth)))
        torch.testing.assert_close(ours.without_x(rgb), want)


def test_positions_are_interpolated_to_other_grids() -> None:
    ours = create_model("multimae_base", num_classes=3, **OURS).eval()
    patches = ours.rgb_patches
    rgb, _ = images(32, 48)
    with torch.no_grad():
        torch.testing.assert_close(patches(rgb) - patches.project(rgb), patches.positions.expand(2, -1, -1, -1))
        wide = torch.nn.functional.interpolate(rgb, size=(64, 48))
        got = (patches(wide) - patches.project(wide))[0]
    # the middle of a bicubic enlargement by two, from its four weights
    weights = torch.tensor([-0.10546875, 0.87890625, 0.26171875, -0.03515625])
    rows = patches.positions[0][:, [0, 0, 1, 1]]  # rows outside repeat the border
    torch.testing.assert_close(got[:, 1], torch.einsum("r,crw->cw", weights, rows), rtol=1e-4, atol=1e-5)


def test_sizes_that_do_not_divide_are_refused() -> None:
    for wrong in (
        {"width": 26},
        {"heads": 5},
        {"image_size": 40},
        {"head_width": 70},
        {"main_tasks": ["hha"]},
        {"main_tasks": ["depth"], "drop_missing": True},
    ):
        with pytest.raises(InputError):
            create_model("multimae_tiny", **wrong)


def test_sigma_normalises_three_copies_of_one_channel_as_rgb() -> None:
    from fusionzoo.models.published.sigma import Sigma, single_channel

    with torch.device("meta"):
        ours = create_model("sigma_tiny")
    assert isinstance(ours, Sigma) and ours.preprocess == single_channel() and ours.modalities == ("rgb", "grey")
    grey = torch.randint(0, 256, (1, 4, 5)).float()
    as_rgb = ours.preprocess.rgb(grey.expand(3, -1, -1).to(torch.uint8))
    torch.testing.assert_close(ours._three_copies(ours.preprocess.x(grey)[None])[0], as_rgb, rtol=1e-5, atol=1e-5)
    assert create_model_meta("sigma_tiny", x_channels=3).preprocess.x_kind == "hha"


def create_model_meta(name: str, **args: object) -> FusionModel:
    with torch.device("meta"):
        return create_model(name, **args)


def test_sigma_key_table_is_one_to_one_at_every_size() -> None:
    for kind in sigma.KINDS:
        with torch.device("meta"):
            ours = create_model(kind)
        table = expand_table(sigma.table(ours), ours)
        assert sorted(table.values()) == sorted(ours.state_dict())
        deepest = f"backbone.vssm.layers.2.blocks.{8 if kind == 'sigma_tiny' else 26}.op.Ds"
        assert deepest in table and f"{deepest.replace('blocks.', 'blocks.1')}" not in table
    with pytest.raises(InputError, match="MambaDecoder"):
        model("sigma_tiny", {}, {"backbone": "sigma_tiny", "decoder": "MLPDecoder", "num_classes": 40})
    with pytest.raises(InputError, match="give 1 or 3"):
        create_model("sigma_tiny", x_channels=2)
