"""HDBFormer in a narrow form: its Swin against torchvision's, order of merged channels, sizes, both passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.swin_transformer import SwinTransformer

from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.hub.originals import model as official
from fusionzoo.hub.originals.checkpoints.hdbformer import PATHS, SWIN, reordered
from fusionzoo.models import FusionModel, build, create_model
from fusionzoo.probes import listen, probe
from tests.compare import SAME, distance
from tests.declared import check_declaration


def images(height: int, width: int, channels: int = 1, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    rgb = torch.randn(batch, 3, height, width, generator=generator)
    return rgb, torch.randn(batch, channels, height, width, generator=generator)


@pytest.fixture(scope="module")
def net() -> FusionModel:
    torch.manual_seed(0)
    return create_model("hdbformer_swin_base", num_classes=5, width=32).eval()


@torch.inference_mode()
def test_swin_is_torchvisions_where_windows_do_not_cover_the_map() -> None:
    """The first two stages on maps of 15 x 23 and 8 x 12; torchvision leaves out the shift on smaller ones."""
    torch.manual_seed(1)
    model = create_model("hdbformer_swin_base", width=32).eval()
    for value in model.swin.parameters():
        value.add_(torch.randn_like(value) * (0.3 if value.ndim < 2 else value[0].numel() ** -0.5))
    whole = SwinTransformer([4, 4], 32, [2, 2], [1, 2], [7, 7], num_classes=1).eval()
    names = {"attention.bias_table": "attn.relative_position_bias_table", "attention.qkv": "attn.qkv",
             "attention.project": "attn.proj", "norm1": "norm1", "norm2": "norm2", "widen": "mlp.0",
             "narrow": "mlp.3"}  # fmt: skip
    state = whole.state_dict()
    for i in (0, 1):
        for key, value in model.swin[i].state_dict().items():
            _, number, rest = key.split(".", 2)
            ours = next(n for n in names if rest.startswith(n))
            state[f"features.{2 * i + 1}.{number}.{names[ours]}{rest.removeprefix(ours)}"] = value
    merge = {"norm.weight": "norm.weight", "norm.bias": "norm.bias", "reduction.weight": "reduce.weight"}
    state |= {f"features.2.{a}": model.merge[0].state_dict()[b] for a, b in merge.items()}
    whole.load_state_dict(state, strict=True)
    tokens = torch.randn(1, 15, 23, 32)
    first = model.swin[0](tokens)
    torch.testing.assert_close(first, whole.features[1](tokens), rtol=1e-4, atol=1e-4)
    second = model.swin[1](model.merge[0](first))
    torch.testing.assert_close(second, whole.features[3](whole.features[2](first)), rtol=1e-4, atol=1e-4)


def test_merged_channels_are_reordered() -> None:
    """The original's merging on unfolded maps, with its own weights, is ours with the reordered ones."""
    channels = 6
    generator = torch.Generator().manual_seed(2)
    norm, weight = torch.randn(4 * channels, generator=generator), torch.randn(3, 4 * channels, generator=generator)
    feature = torch.randn(1, 4, 6, channels, generator=generator)
    theirs = torch.nn.functional.unfold(feature.movedim(3, 1), 2, stride=2).transpose(1, 2)  # (B, N, 4 C), as published
    key = f"{SWIN}stages.0.downsample."
    want = (theirs * norm) @ weight.T
    four = torch.cat([feature[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], dim=3).flatten(1, 2)
    got = (four * reordered(key + "norm.weight", norm)) @ reordered(key + "reduction.weight", weight).T
    torch.testing.assert_close(got, want)
    assert torch.equal(reordered("backbone.final.weight", weight), weight)


@torch.inference_mode()
def test_any_size_alone_and_in_a_batch(net: FusionModel) -> None:
    rgb, x = images(33, 50)
    both = net(rgb, x)
    assert both.shape == (2, 5, 33, 50)
    torch.testing.assert_close(both[1:], net(rgb[1:], x[1:]), rtol=1e-4, atol=1e-5)
    assert net.scores(rgb, x).shape == (2, 5, 9, 13)  # as they are, filled up to fours
    torch.testing.assert_close(net.scores(rgb, x.expand(-1, 3, -1, -1)), net.scores(rgb, x))


@torch.inference_mode()
def test_probes_of_both_passes(net: FusionModel) -> None:
    points = net.probe_points()
    count = dict.fromkeys(points, 0)

    def tally(point: str, value: Tensor) -> None:
        count[point] += 1
        check_declaration(points[point], value, point, {"B": 2})

    rgb, x = images(64, 96)
    with listen(net, dict.fromkeys(count, tally)):
        want = net(rgb, x)
    assert set(count.values()) == {1}
    with probe(net, "stage3.*") as seen:
        net(rgb, x)
    place = "stage3.fusion.miim.passes"
    assert distance(seen[f"{place}.0.rgb_local"], seen[f"{place}.1.rgb_local"]) > 1e-3
    block = net.get_submodule("stage3.fusion.miim")
    once = block(*block(seen["stage3.rgb"], seen["stage3.x"]))
    assert distance(once[0], seen["stage3.fusion.fused"]) < SAME
    twin = build(net.config())
    twin.load_state_dict(net.state_dict(), strict=True)
    assert distance(twin(rgb, x), want) < SAME
    with pytest.raises(InputError, match="one channel of depth or three, not 2; give 1 or 3"):
        create_model("hdbformer_swin_base", x_channels=2, width=32)


def test_the_index_of_every_block_is_asked_for() -> None:
    assert len(PATHS) == 24
    with pytest.raises(CheckFailed, match=r"missing: backbone.encoder2.stages.0.blocks.0.attn.w_msa.relative_position"):
        official("hdbformer_swin_b", {}, {"num_classes": 40})
    with pytest.raises(InputError, match="backbone 'swin_t' is not supported; only 'swin_b'"):
        official("hdbformer_swin_b", {}, {"backbone": "swin_t"})
