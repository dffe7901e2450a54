"""Official checkpoints of DPLNet and StitchFusion: what is left out, told apart, refused; ports at further sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fusionzoo.errors import CheckFailed, FusionZooError, InputError
from fusionzoo.hub import convert, from_pretrained
from fusionzoo.hub.originals import block, model
from fusionzoo.hub.originals.checkpoints import dplnet, stitchfusion
from fusionzoo.hub.originals.checkpoints.cmnext import pictures
from fusionzoo.hub.originals.keys import expand_table
from fusionzoo.hub.records import read_record
from fusionzoo.models import FusionModel, create_model
from tests.compare import SAME, distance, off_zero


def official(net: FusionModel) -> dict[str, Tensor]:
    """The weights of `net` under the original's keys, linear layers as the original has them."""
    table = dplnet.table(net) if net.architecture.startswith("dplnet") else stitchfusion.table(net)
    ours = net.state_dict()
    linear = ("ada", "feature_cross.liner", "fc1.weight", "fc2.weight", "channel_attns")
    out = {}
    for theirs, key in expand_table(table, net).items():
        value = ours[key]
        flat = value.ndim == 4 and value.shape[2:] == (1, 1) and any(part in theirs for part in linear)
        out[theirs] = value.flatten(1) if flat else value
    return out


def images(*channels: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, c, 34, 46, generator=generator) for c in channels]


def test_dplnet_leaves_out_the_head_that_is_never_called() -> None:
    ours = off_zero(create_model("dplnet_mit_b1", num_classes=3, width=32, head_classes=5))
    state = official(ours)
    ctor = {"backbone": "mit_b1", "num_classes": 3, "head_dim": 32, "head_classes": 5}
    port = model("dplnet_mit_b5", state | {"rgb.head.linear_pred.weight": torch.zeros(150, 768, 1, 1)}, ctor)
    rgb, x = images(3, 1)
    with torch.inference_mode():
        got = port(rgb, x.expand(-1, 3, -1, -1))
        assert got.shape == (1, 3, 36, 48)  # four times the finest map
        want = interpolate(ours.scores(rgb, x), scale_factor=4, mode="bilinear")
    assert distance(got, want) < SAME
    assert {n for n, p in port.named_parameters() if not p.requires_grad} == {
        f"module.{n}" for n, p in ours.named_parameters() if not p.requires_grad
    }
    with pytest.raises(CheckFailed, match=r"unmapped: rgb\.other\.weight"):
        model("dplnet_mit_b1", state | {"rgb.other.weight": torch.zeros(1)}, ctor)
    with pytest.raises(InputError, match="'mit_b0' is not one of mit_b1 to mit_b5"):
        model("dplnet_mit_b1", state, ctor | {"backbone": "mit_b0"})


@pytest.mark.parametrize(("adapters", "auxiliaries"), [("pair", 1), ("directed", 2), ("shared", 2), ("pair", 0)])
def test_stitchfusion_is_told_apart_by_its_keys(adapters: str, auxiliaries: int) -> None:
    ours = create_model(
        "stitchfusion_mit_b0", num_classes=3, auxiliaries=auxiliaries, adapters=adapters, in_order=auxiliaries > 0
    )
    state = official(off_zero(ours))
    loaded = model("stitchfusion_mit_b0_2m", state, {"num_classes": 3}).module
    assert loaded.model_args["adapters"] == adapters and loaded.model_args["auxiliaries"] == auxiliaries
    assert loaded.model_args["in_order"] == (auxiliaries > 0)
    rgb, x = images(3, 3 * max(1, auxiliaries))
    with torch.inference_mode():
        assert distance(loaded(rgb, x), ours(rgb, x)) < SAME
    modals = ["img", "depth", "event", "lidar"][: auxiliaries + 2]
    with pytest.raises(InputError, match=f"are {len(modals)}, the weights are of {auxiliaries + 1} modalities"):
        model("stitchfusion_mit_b0_2m", state, {"num_classes": 3, "modals": modals})


def test_a_checkpoint_of_named_modalities(tmp_path: Path) -> None:
    ours = create_model("stitchfusion_mit_b0", num_classes=3, auxiliaries=2, in_order=True)
    torch.save(official(ours), tmp_path / "a.pth")
    convert.run("stitchfusion_mit_b0", tmp_path / "a.pth", tmp_path / "out", {"modals": "img,depth,lidar"})
    assert from_pretrained(tmp_path / "out").modalities == ("rgb", "hha", "lidar")
    assert "commercial" in read_record(tmp_path / "out").licence_note


@pytest.mark.parametrize(("modals", "said"), [
    ("img,depth,foo", "unknown modality 'foo'; known: depth, event, lidar, thermal"),
    ("img,depth,evnt", "unknown modality 'evnt'; did you mean 'event'"),
    ("img,depth,depth", "each modality beside RGB once"),
    ("img,thermal,depth", "thermal by itself"),
])  # fmt: skip
def test_modalities_that_are_no_kind_of_x_are_refused(modals: str, said: str) -> None:
    ours = create_model("stitchfusion_mit_b0", num_classes=3, auxiliaries=2, in_order=True)
    with pytest.raises(FusionZooError, match=said):
        model("stitchfusion_mit_b0_2m", official(ours), {"num_classes": 3, "modals": modals})


def test_thermal_alone_is_a_picture_of_three_channels() -> None:
    assert (
        pictures(["thermal"])["preprocess"].x_kind == "thermal" and pictures(["thermal"])["preprocess"].x_channels == 3
    )
    assert pictures(["", ""]) == {} and pictures(["depth", "event"])["preprocess"].x_kind == "hha+event"


def test_the_original_s_order_is_not_symmetric_and_ours_is() -> None:
    """Exchanged inputs give exchanged outputs; what the official order does to that was measured on the original."""
    torch.manual_seed(0)
    ctor = {"dim": 64, "num_heads": 1, "sr_ratio": 8, "num_modalities": 2, "H": 8, "W": 8}
    blank = block("stitch_block", fresh("stitch_block", ctor), ctor)
    one, two = torch.randn(2, 1, 64, 64)
    for part in blank.module["stitch"].children():
        assert part.in_order
        part.in_order = False
    with torch.inference_mode():
        there, back = blank(one, two), blank(two, one)
        assert distance(back[1], there[0]) < SAME and distance(back[0], there[1]) < SAME
        for part in blank.module["stitch"].children():
            part.in_order = True
        there, back = blank(one, two), blank(two, one)
        assert distance(back[1], there[0]) > 0.05 and distance(back[0], there[1]) > 0.05


def fresh(kind: str, ctor: dict[str, int]) -> dict[str, Tensor]:
    """Random values under the original's keys of a block of two modalities."""
    channels = ctor["dim"]
    shapes = {"norm1": channels, "norm2": channels, "attn.norm": channels}
    layers = {"attn.q": (channels, channels), "attn.kv": (2 * channels, channels), "attn.proj": (channels, channels),
              "attn.sr": (channels, channels, 8, 8), "mlp.fc1": (4 * channels, channels),
              "mlp.dwconv.dwconv": (4 * channels, 1, 3, 3), "mlp.fc2": (channels, 4 * channels)}  # fmt: skip
    for name in ("adap_t_att12", "adap_t_mlp12"):
        layers |= {f"{name}.adapter_down": (8, channels), f"{name}.adapter_mid": (8, 8)}
        layers |= {f"{name}.adapter_up": (channels, 8)}
    out = {f"{name}.{leaf}": torch.ones(size) for name, size in shapes.items() for leaf in ("weight", "bias")}
    for name, shape in layers.items():
        weight = torch.randn(shape)
        out |= {f"{name}.weight": weight * weight[0].numel() ** -0.5, f"{name}.bias": torch.zeros(shape[0])}
    return out
