"""DFormer, DFormerv2 and AsymFormer: ports of every size, their options, checkpoints through `fusionzoo convert`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from fusionzoo.data import read_x
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.hub import convert, from_pretrained
from fusionzoo.hub.originals import model, original_kinds
from fusionzoo.hub.originals.checkpoints import asymformer, dformer, dformerv2
from fusionzoo.hub.originals.keys import expand_table
from fusionzoo.hub.records import read_record
from fusionzoo.models import FusionModel, create_model
from fusionzoo.models.published._ham import draw_bases
from tests.compare import SAME, distance, same_tensors

TABLES = {"dformer": dformer.table, "dformerv2": dformerv2.table, "asymformer": asymformer.table}


def official(net: FusionModel) -> dict[str, Tensor]:
    """The weights of `net` under the original's keys."""
    table = TABLES[net.architecture.partition("_")[0]](net)
    ours = net.state_dict()
    return {theirs: ours[key] for theirs, key in expand_table(table, net).items()}


@pytest.mark.parametrize("name", ["dformer_small", "dformer_base", "dformer_large", "dformerv2_b", "dformerv2_l"])
def test_key_tables_of_the_other_sizes_are_complete(name: str) -> None:
    assert {name, f"backbone_{name}"} <= set(original_kinds())
    with torch.device("meta"):
        keys = official(create_model(name))
    if name.startswith("dformerv2"):
        scaled = {k.split(".")[2] for k in keys if k.endswith("gamma_1")}
        assert scaled == {"2", "3"} and "backbone.layers.3.blocks.7.Geo.decay" in keys
        assert "backbone.layers.3.downsample.reduction.weight" not in keys
    else:
        last = "backbone.stages.3.1.attn.proj_e.weight"
        assert last not in keys and last.replace("stages.3", "stages.2") in keys
        assert not any("short_cut_linear" in k for k in keys if k.startswith("backbone.stages.0."))


def test_arguments_of_the_constructor_decide() -> None:
    """Another backbone, class number and decoder width than the kind's name says; no number is read off the tensors."""
    net = create_model("dformer_small", num_classes=7, decoder_channels=96, norm_eps=1e-2)
    state = official(net)
    ctor = {"backbone": "DFormer-Small", "decoder": "ham", "decoder_embed_dim": 96, "num_classes": 7, "bn_eps": 1e-2}
    whole = model("dformer_tiny", state, ctor)
    rgb, x = torch.randn(2, 3, 50, 70), torch.randn(2, 1, 50, 70)
    with torch.inference_mode():
        out = whole(rgb, x.expand(-1, 3, -1, -1))
        assert out.shape == (2, 7, 50, 70)
        for i in range(2):  # each image with the bases that are drawn for it
            net.decoder.ham.bases = draw_bases(7, 2)[i : i + 1]
            want = net.scores(rgb[i : i + 1], x[i : i + 1])
            want = interpolate(want, size=(50, 70), mode="bilinear", align_corners=False)
            torch.testing.assert_close(out[i : i + 1], want, rtol=1e-4, atol=1e-5)
    assert torch.equal(whole.module.decoder.ham.bases, draw_bases(7))
    with pytest.raises(CheckFailed, match="conv_seg.weight is"):
        model("dformer_tiny", state, {**ctor, "num_classes": 8})
    for wrong, message in (
        ({"decoder": "nl"}, "decoder 'nl' is not supported; only 'ham'"),
        ({"aux_rate": 0.4}, "auxiliary head"),
        ({"backbone": "DFormer-Huge"}, "'DFormer-Huge' is not a DFormer; known: DFormer-Tiny"),
        ({"backbone": "DFormerv2_S"}, "is not a DFormer;"),
    ):
        with pytest.raises(InputError, match=message):
            model("dformer_tiny", state, {**ctor, **wrong})
    with pytest.raises(InputError, match="is not a DFormerv2; known: DFormerv2_S"):
        model("dformerv2_s", state, ctor)


def test_dformer_checkpoint_with_the_norms_that_were_never_called(tmp_path: Path) -> None:
    """Class number and decoder width come from the file; predicting from an 8-bit depth image works."""
    net = create_model("dformer_tiny", num_classes=5, decoder_channels=48)
    state = official(net)
    old = {f"backbone.norm{i}.{leaf}": torch.ones(32 << i) for i in range(4) for leaf in ("weight", "bias")}
    torch.save({"model": {**state, **old}, "epoch": 3}, tmp_path / "old.pth")
    config = convert.run("dformer_tiny", tmp_path / "old.pth", tmp_path / "out")
    assert config["model_args"]["num_classes"] == 5 and config["model_args"]["decoder_channels"] == 48
    assert config["preprocess"]["x_kind"] == "grey" and config["model_args"]["norm_eps"] == 1e-3
    loaded = from_pretrained(tmp_path / "out")
    assert same_tensors(loaded.state_dict(), net.state_dict())
    record = read_record(tmp_path / "out")
    assert "non-commercial" in record.licence_note and "BGR" in record.notes
    depth = np.random.default_rng(0).integers(0, 256, (40, 52), dtype=np.uint8)
    Image.fromarray(depth).save(tmp_path / "depth.png")
    x = loaded.preprocess.x(read_x(tmp_path / "depth.png", loaded.preprocess.x_kind))
    np.testing.assert_allclose(x[0].numpy(), (depth / 255 - 0.48) / 0.28, rtol=1e-5, atol=1e-6)
    torch.save({**state, "backbone.norm4.weight": torch.ones(1)}, tmp_path / "b.pth")
    with pytest.raises(CheckFailed, match="1 unmapped: backbone.norm4.weight"):
        convert.run("dformer_tiny", tmp_path / "b.pth", tmp_path / "b")


def test_asymformer_checkpoint_of_the_first_release(tmp_path: Path) -> None:
    """1x1 convolutions for linear layers, and SCC's joining layers by their first names."""
    net = create_model("asymformer_b0t", num_classes=6, official_scale=True)
    old = {}
    for key, value in official(net).items():
        if ".kq1.weight" in key or ".out_conv.weight" in key:
            value = value.flatten(1)[..., None, None]
        key = key.replace(".SCC.conv_bn.0.", ".SCC.conv1.").replace(".SCC.conv_bn.1.", ".SCC.bn.")
        old[key] = value
    torch.save(old, tmp_path / "v1.pth")
    config = convert.run("asymformer_b0t", tmp_path / "v1.pth", tmp_path / "out")
    assert config["model_args"]["official_scale"] and config["model_args"]["num_classes"] == 6
    loaded = from_pretrained(tmp_path / "out")
    rgb, x = torch.randn(1, 3, 64, 64), torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        assert distance(loaded(rgb, x), net(rgb, x)) < SAME
