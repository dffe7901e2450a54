"""TokenFusion and GeminiFusion beyond the shared tester: Swin's parts against torchvision's, losses, gradients."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softmax
from torchvision.models.swin_transformer import PatchMerging, shifted_window_attention

from fusionzoo.errors import InputError
from fusionzoo.models import create_model
from fusionzoo.models.published._ensemble import StreamEnsemble
from fusionzoo.models.published._swin import PatchMerge, SwinFusionBlock, offset_index, shift_mask
from fusionzoo.models.published.tokenfusion import TokenFusion
from fusionzoo.probes import listen
from fusionzoo.probes.intervene import edit, intervene
from tests.compare import SAME, distance


def names() -> list[str]:
    return ["tokenfusion_mit_b0", "gemini_mit_b0"]


def pair(height: int = 32, width: int = 64, batch: int = 1, channels: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    rgb = torch.randn(batch, 3, height, width, generator=generator)
    return rgb, torch.randn(batch, channels, height, width, generator=generator)


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("size", [(14, 21), (15, 20), (29, 9)])
def test_window_attention_is_torchvisions(size: tuple[int, int], shift: int) -> None:
    """On maps larger than a window; there torchvision moves windows as the originals do."""
    block = SwinFusionBlock(16, heads=2, window=7, shift=shift)
    attention = block.attention
    feature = torch.randn(2, *size, 16)
    padded = tuple(side + -side % 7 for side in size)
    with torch.no_grad():
        attention.bias_table.normal_()
        bias = attention.bias_table[offset_index(7, feature.device).flatten()].view(49, 49, 2).permute(2, 0, 1)
        want = shifted_window_attention(
            feature, attention.qkv.weight, attention.project.weight, bias.unsqueeze(0), [7, 7], 2, [shift, shift],
            qkv_bias=attention.qkv.bias, proj_bias=attention.project.bias,
        )  # fmt: skip
        got = block.attend(feature, shift_mask(padded, 7, (shift, shift), feature) if shift else None)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_patch_merging_is_torchvisions(size: tuple[int, int]) -> None:
    ours, theirs = PatchMerge(12), PatchMerging(12)
    theirs.load_state_dict({k.replace("reduce.", "reduction."): v for k, v in ours.state_dict().items()})
    feature = torch.randn(2, *size, 12)
    with torch.no_grad():
        torch.testing.assert_close(ours(feature), theirs(feature))


def test_windows_smaller_maps_keep_their_shift() -> None:
    """3 x 4 pixels in one moved 7 x 7 window, pixel by pixel: -100 between what the move brought together."""
    mask = shift_mask((7, 7), 7, (3, 3), torch.zeros(1))
    assert mask.shape == (1, 1, 49, 49)
    strip = [0] * 4 + [1] * 3  # rows 0..3 of the moved window are rows 3..6; then come rows 0..2
    region = [(strip[y], strip[x]) for y in range(7) for x in range(7)]
    for a, b in itertools.product(range(49), repeat=2):
        assert float(mask[0, 0, a, b]) == (0.0 if region[a] == region[b] else -100.0)


def test_offsets_by_hand() -> None:
    index = offset_index(3, torch.device("cpu"))
    for a, b in itertools.product(range(9), repeat=2):
        down, right = a // 3 - b // 3, a % 3 - b % 3
        assert int(index[a, b]) == (down + 2) * 5 + right + 2


def test_stacking_the_streams_is_running_each() -> None:
    """With a fusion that does nothing, RGB's half of a Swin block is what RGB alone gives."""
    block = SwinFusionBlock(16, heads=2, window=4, shift=2).eval()
    with torch.no_grad():
        for attend in (block.fusion.attend_rgb, block.fusion.attend_x):
            attend.out_proj.weight.zero_()
            attend.out_proj.bias.zero_()
        first, second = torch.randn(1, 8, 8, 16), torch.randn(1, 8, 8, 16)
        mask = shift_mask((8, 8), 4, (2, 2), first)
        both = block(torch.cat([first, second]), mask)
        torch.testing.assert_close(both[:1], block(torch.cat([first, first]), mask)[:1])
        torch.testing.assert_close(both[1:], block(torch.cat([second, second]), mask)[1:])


@pytest.mark.parametrize("name", names())
def test_predictions_weights_and_repeated_depth(name: str) -> None:
    model = create_model(name, num_classes=3)
    assert isinstance(model, StreamEnsemble)
    rgb, x = pair(batch=2)
    with torch.no_grad():
        model.alpha.copy_(torch.tensor([0.3, -0.4]))
        first, second, both, share = model.all_scores(rgb, x)
        torch.testing.assert_close(share, softmax(torch.tensor([0.3, -0.4]), 0))
        torch.testing.assert_close(both, share[0] * first + share[1] * second)
        three = model.all_scores(rgb, x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(three[1], second)
        # one pass of the decoder for both streams is one pass for each
        alone = model.decoder([maps[0] for maps in model.features(rgb, model.three_channels(x))])
        torch.testing.assert_close(alone, first, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="give 1 or 3"):
        create_model(name, x_channels=2)


@pytest.mark.parametrize("name", names())
def test_ensemble_is_detached_only_when_asked(name: str) -> None:
    for detach in (False, True):
        model = create_model(name, num_classes=3, detach_ensemble=detach)
        model.scores(*pair()).mean().backward()
        assert (model.embed2.conv.weight.grad is None) == detach
        assert model.alpha.grad is not None


def test_swapped_inputs_swap_the_predictions() -> None:
    """Weights are shared: with the private parts exchanged too, the streams trade places."""
    model = create_model("gemini_mit_b0", num_classes=3)
    assert isinstance(model, StreamEnsemble)
    with torch.no_grad():
        for parameter in model.parameters():  # norms of both streams start equal
            parameter.add_(0.1 * parameter.std(correction=0).clamp(min=0.1) * torch.randn_like(parameter))
    twin = copy.deepcopy(model)
    swapped = {}
    for key, value in model.state_dict().items():
        parts = key.split(".")
        other = {"rgb": "x", "x": "rgb", "attend_rgb": "attend_x", "attend_x": "attend_rgb"}
        name = ".".join(other.get(p, p) for p in parts)
        swapped[name] = value.flip(0) if parts[-1] in ("key_offset", "value_offset") else value
    twin.load_state_dict(swapped)
    rgb, x = pair(channels=3)
    with torch.no_grad():
        a, b, _, _ = model.all_scores(rgb, x)
        c, d, _, _ = twin.all_scores(x, rgb)
        torch.testing.assert_close((c, d), (b, a), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model.all_scores(x, rgb)[0], b, rtol=1e-2, atol=1e-2)


def test_sparsity_is_the_sum_of_all_masks() -> None:
    model = create_model("tokenfusion_mit_b0", num_classes=3)
    assert isinstance(model, TokenFusion)
    rgb, x = pair(batch=2)
    seen: dict[str, Tensor] = {}
    with listen(model, {"*.masks.*": lambda name, value: seen.update({name: value.detach()})}):
        logits, losses = model.losses(rgb, x)
    assert set(losses) == {"sparsity"} and logits.shape == (2, 3, 32, 64)
    assert len(seen) == 2 * 8
    total = sum(float(mask.sum()) for mask in seen.values())
    assert float(losses["sparsity"].detach()) == pytest.approx(1e-6 * total / 2, rel=1e-5)
    losses["sparsity"].backward()
    for level in (2, 3, 4, 5):
        scores = model.get_submodule(f"stage{level}.fusion.score_x")
        assert all(p.grad is not None for p in scores.parameters())
    assert all(point.tap is None for point in model.probe_points().values())


def test_each_stream_scores_its_own_tokens() -> None:
    """Another x changes x's masks of the first block and not RGB's; from the second on, both."""
    model = create_model("tokenfusion_mit_b0", num_classes=3)
    assert isinstance(model, TokenFusion)
    rgb, x = pair(channels=3)
    with torch.no_grad():
        one, other = (model.features_and_masks(rgb, v)[1] for v in (x, x.flip(3)))
    assert distance(other[0][0], one[0][0]) < SAME and distance(other[0][1], one[0][1]) > 1e-3
    assert distance(other[1][0], one[1][0]) > 1e-4


def test_masks_start_alive_and_steer_the_exchange() -> None:
    """At the start some tokens are replaced, not all; with all of x's masks at 0, x's stream carries RGB's tokens."""
    model = create_model("tokenfusion_mit_b0", num_classes=3)
    assert isinstance(model, TokenFusion)
    rgb, x = pair(64, 64, channels=3)
    with torch.no_grad():
        _, masks = model.features_and_masks(rgb, x)
        for mask in itertools.chain.from_iterable(masks):
            assert float(mask.std()) > 0.05 and 0.0 < float((mask >= 0.02).float().mean())
        assert any(bool((mask < 0.02).any()) for mask in itertools.chain.from_iterable(masks))
        block = model.get_submodule("stage3.fusion.blocks.0.attention")
        seen: list[tuple[Tensor, Tensor]] = []
        handle = block.register_forward_hook(lambda _m, _i, out: seen.append(out))
        nothing, everything = edit(torch.zeros_like), edit(torch.ones_like)
        points = {"stage3.fusion.masks.0.x": nothing, "stage3.fusion.masks.0.rgb": everything}
        with intervene(model, points):
            model.features(rgb, x)
        handle.remove()
    assert distance(seen[0][1], seen[0][0]) < SAME


@pytest.mark.parametrize("name", names())
def test_published_initialisation_outside_the_fusion(name: str) -> None:
    model = create_model(name, num_classes=3)
    for key, module in model.named_modules():
        if isinstance(module, nn.Linear) and key.endswith(("query", "key_value", "widen", "narrow")):
            assert 0.015 < float(module.weight.detach().std()) < 0.021, key
    balance: list[Tensor] = []
    if name.startswith("gemini"):
        with torch.no_grad(), listen(model, {"stage2.*.balance": lambda _, value: balance.append(value.clone())}):
            model(*pair())
        assert len(balance) == 4 and all(0.005 < float(v.std()) for v in balance)


def test_options_reach_the_model_and_its_config() -> None:
    model = create_model("tokenfusion_mit_b1", threshold=0.3, embedding_dim=64, drop_path=0.0, num_classes=2)
    args = model.config()["model_args"]
    assert (args["threshold"], args["embedding_dim"], args["drop_path"]) == (0.3, 64, 0.0)
    assert model.get_submodule("stage4.fusion.blocks.1.attention").threshold == 0.3
    model = create_model("gemini_mit_b0", fusion_heads=4, drop_path=0.35)
    assert model.get_submodule("stage5.fusion.1.attention.fusion.attend_x").heads == 4
    assert model.get_submodule("stage5.fusion.1.drop").p == 0.35
    with torch.device("meta"):
        swin = create_model("gemini_swin_large_384")
    assert swin.get_submodule("stage4.fusion.blocks.17.attention").window == 12
    assert swin.get_submodule("stage4.fusion.blocks.17").shift == 6
