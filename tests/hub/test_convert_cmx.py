"""CMX's and CMNeXt's checkpoints through `fusionzoo convert`; ports of other sizes, modalities and classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.nn.functional import interpolate

from fusionzoo.cli import main
from fusionzoo.errors import CheckFailed
from fusionzoo.hub import convert, from_pretrained
from fusionzoo.hub.originals import model, original_kinds
from fusionzoo.hub.originals.checkpoints import cmnext, cmx
from fusionzoo.hub.originals.keys import expand_table
from fusionzoo.hub.records import read_record
from fusionzoo.models import FusionModel, create_model
from tests.compare import SAME, distance, same_tensors


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def official(net: FusionModel) -> dict[str, Tensor]:
    """The weights of `net` under the original's keys."""
    if net.architecture.startswith("cmx"):
        table = cmx.mit_table(net, "rgb_encoder") | cmx.mit_table(net, "x_encoder", "extra_")
        table |= cmx.exchange_table() | cmx.head_table("0", "1")
    else:
        table = cmnext.table(net, net.auxiliaries)  # type: ignore[arg-type]
    ours = net.state_dict()
    return {theirs: ours[key] for theirs, key in expand_table(table, net).items()}


@pytest.mark.parametrize("size", range(6))
def test_key_tables_of_all_sizes_are_complete(size: int) -> None:
    blocks = {"0": (2, 2, 2, 2), "1": (2, 2, 2, 2), "2": (3, 4, 6, 3), "3": (3, 4, 18, 3), "4": (3, 8, 27, 3),
              "5": (3, 6, 40, 3)}[str(size)]  # fmt: skip
    assert {f"cmx_mit_b{size}", *(f"cmnext_b{size}_{m}m" for m in (1, 2, 3, 4))} <= set(original_kinds())
    with torch.device("meta"):
        both = official(create_model(f"cmx_mit_b{size}"))
        four = official(create_model(f"cmnext_mit_b{size}", auxiliaries=3))
    for i, count in enumerate(blocks, 1):
        for prefix in (f"backbone.block{i}", f"backbone.extra_block{i}"):
            for keys in (both, four):
                assert f"{prefix}.{count - 1}.norm2.weight" in keys and f"{prefix}.{count}.norm2.weight" not in keys
        assert (f"backbone.block{i}.0.attn.sr.weight" in both) == (i < 4)
    assert "backbone.extra_score_predictor.3.score_nets.2.1.bias" in four
    assert "decode_head.linear_fuse.0.bias" in both and "decode_head.linear_fuse.conv.bias" not in four


@pytest.mark.parametrize("count", [1, 2, 3])
def test_modalities_come_in_the_originals_order(count: int) -> None:
    """The port takes them one by one; ours takes RGB, and the others in one tensor."""
    net = create_model("cmnext_mit_b0", num_classes=6, auxiliaries=count - 1, scrambled=count > 2)
    names = ["img", "depth", "event"][:count]
    port = model(f"cmnext_b0_{count}m", official(net), {"backbone": "CMNeXt-B0", "num_classes": 6, "modals": names})
    assert port.module.config() == net.config()  # type: ignore[union-attr, operator]
    maps = torch.randn(count, 2, 3, 50, 70)
    with torch.inference_mode():
        wanted = net.scores(maps[0], torch.cat(list(maps[1:]), 1) if count > 1 else maps[0])
        out = port(*maps)
        assert distance(out, interpolate(wanted, size=(50, 70), mode="bilinear")) < SAME
        if count == 3:
            assert distance(port(maps[0], maps[2], maps[1]), out) > 1e-3


def test_cmx_checkpoint_and_its_options(tmp_path: Path) -> None:
    net = create_model("cmx_mit_b0", num_classes=7, width=24, decoder_eps=1e-3)
    torch.save({"model": {f"module.{k}": v for k, v in official(net).items()}}, tmp_path / "cmx.pth")
    with pytest.raises(CheckFailed, match=r"decode_head.linear_c1.proj.weight is \(24, 32\), wanted \(512, 32\)"):
        convert.run("cmx_mit_b0", tmp_path / "cmx.pth", tmp_path / "out")
    config = convert.run("cmx_mit_b0", tmp_path / "cmx.pth", tmp_path / "out", {"decoder_embed_dim": 24})
    assert config["model_args"]["decoder_eps"] == 1e-3 and config["model_args"]["num_classes"] == 7
    loaded = from_pretrained(tmp_path / "out")
    assert loaded.preprocess.x_kind == "hha" and loaded.preprocess.x_std == loaded.preprocess.rgb_std
    rgb, x = torch.randn(2, 1, 3, 40, 64)
    with torch.inference_mode():
        assert distance(loaded(rgb, x), net(rgb, x)) < SAME
    record = read_record(tmp_path / "out")
    assert record.name == "cmx_mit_b0.original" and record.licence == "mit" and "NVIDIA" in record.licence_note


def test_cmnext_checkpoint_of_four_modalities(tmp_path: Path) -> None:
    net = create_model("cmnext_mit_b0", num_classes=5, auxiliaries=3, scrambled=True)
    torch.save(official(net), tmp_path / "a.pth")
    args = ["convert", "cmnext_mit_b0", str(tmp_path / "a.pth"), str(tmp_path / "out")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 1 and "unmapped: backbone.extra_downsample_layers.0.norm.ln_1.bias" in result.stderr
    result = CliRunner().invoke(main, [*args, "--option", "modals=img,depth,event,lidar"])
    assert result.exit_code == 0, result.stderr
    loaded = from_pretrained(tmp_path / "out")
    assert loaded.config() == net.config() and loaded.preprocess.x_mean == (0.0,) * 9
    assert same_tensors(loaded.state_dict(), net.state_dict())
