"""DFormer, DFormerv2, AsymFormer: the decoder's factorisation, what depth can change, quirks behind their flags."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fusionzoo.errors import InputError
from fusionzoo.fusion.dformerv2 import GeometryPrior
from fusionzoo.models import create_model
from fusionzoo.models.published._ham import Factorise, HamDecoder, draw_bases
from fusionzoo.probes import probe
from tests.compare import SAME, distance


def pair(channels: int = 1, size: tuple[int, int] = (64, 96), batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(batch, 3, *size, generator=generator),
        torch.randn(batch, channels, *size, generator=generator),
    )


def test_factorisation_is_scikit_learns_multiplicative_update() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    channels, pixels = 24, (5, 6)
    x = torch.rand(1, channels, *pixels, generator=torch.Generator().manual_seed(1))
    part = Factorise(channels, seed=3).eval()
    rows = x[0].flatten(1).T.double().numpy()  # (N, D)
    v0 = part.bases[0].double().numpy()
    start = np.exp(rows @ v0)
    start /= start.sum(1, keepdims=True)
    codes, bases, _ = decomposition.non_negative_factorization(
        rows, W=start.copy(), H=v0.T.copy(), n_components=64, init="custom", solver="mu", max_iter=7, tol=0
    )
    codes *= (rows @ bases.T) / (codes @ bases @ bases.T)  # the codes are updated once more
    want = (codes @ bases).T.reshape(channels, *pixels)
    np.testing.assert_allclose(part(x)[0].double().numpy(), want, rtol=1e-4, atol=1e-5)


def test_factorisation_error_falls_with_every_update() -> None:
    x = torch.rand(2, 40, 7, 9, generator=torch.Generator().manual_seed(2)).flatten(2).double()
    bases = draw_bases(7, 1, 40).double().expand(2, -1, -1)
    codes = (x.transpose(1, 2) @ bases).softmax(2)
    errors = []
    for _ in range(7):
        codes = Factorise._step(codes, x.transpose(1, 2), bases)
        bases = Factorise._step(bases, x, codes)
        errors.append(float((x - bases @ codes.transpose(1, 2)).norm()))
    assert all(b < a for a, b in zip(errors[:-1], errors[1:], strict=True)), errors


def test_bases_are_one_draw_for_all_images_and_calls() -> None:
    feature = torch.rand(3, 512, 4, 5)
    fixed, random = Factorise().eval(), Factorise(random_bases=True).eval()
    torch.testing.assert_close(fixed(feature)[2:], fixed(feature[2:]), rtol=1e-5, atol=1e-6)
    assert distance(fixed(feature), fixed(feature)) < SAME
    assert distance(Factorise(seed=8)(feature), fixed(feature)) > 1e-4
    assert distance(random(feature), random(feature)) > 1e-4
    assert fixed.state_dict() == {} and not list(fixed.parameters())
    expected = np.random.RandomState(7).rand(2, 512, 64)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(draw_bases(7, 2).numpy(), expected, rtol=1e-5)
    assert torch.equal(draw_bases(7, 2)[:1], draw_bases(7))


def test_decoder_reconstructs_its_codes() -> None:
    """`codes` is what passes on: a decoder whose codes are zero sees s alone."""
    decoder = HamDecoder((4, 6, 8), 3).eval()
    maps = [torch.randn(1, c, 8 >> i, 8 >> i) for i, c in enumerate((4, 6, 8))]
    with torch.no_grad(), probe(decoder, "ham.codes", "squeezed", "context", "out") as seen:
        assert decoder(maps).shape == (1, 3, 8, 8)
    assert {m.eps for m in decoder.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}
    assert seen["ham.codes"].shape == (1, 64, 8, 8) and float(seen["ham.codes"].min()) >= 0
    decoder.ham.codes.tap = torch.zeros_like
    with torch.no_grad(), probe(decoder, "context") as silent:
        decoder(maps)
    shift = decoder.ham_out[1]
    constant = shift.bias - shift.running_mean * shift.weight / (shift.running_var + shift.eps).sqrt()
    torch.testing.assert_close(silent["context"], (seen["squeezed"] + constant.view(1, -1, 1, 1)).relu())


@pytest.mark.parametrize("name", ["dformerv2_s", "dformerv2_b", "dformerv2_l"])
def test_decays_of_every_size(name: str) -> None:
    model = create_model(name)
    heads = {"s": (4, 4, 8, 16), "b": (5, 5, 10, 16), "l": (7, 7, 14, 20)}[name[-1]]
    ranges = {"s": (4, 4, 6, 6), "b": (5, 5, 6, 6), "l": (6, 6, 6, 6)}[name[-1]]
    for level, (count, spread) in enumerate(zip(heads, ranges, strict=True), 2):
        blocks = list(model.get_submodule(f"stage{level}.fusion.blocks").children())
        for block in blocks:
            want = [math.log(1 - 2 ** (-2 - spread * h / count)) for h in range(count)]
            assert block.prior.decay.tolist() == pytest.approx(want, rel=1e-5)
            assert block.attention.decomposed == (level < 5)
            assert block.scaled == (name[-1] != "s" and level >= 4)


def test_depth_enters_dformerv2_through_two_scalars_a_block() -> None:
    model = create_model("dformerv2_s", num_classes=4)
    rgb, x = pair()
    with torch.no_grad():
        assert distance(model(rgb, -2 * x), model(rgb, x)) > 1e-4
        for part in model.modules():
            if isinstance(part, GeometryPrior):
                part.weight[1] = 0
        assert distance(model(rgb, -2 * x), model(rgb, x)) < SAME


def test_x_channels() -> None:
    model = create_model("dformer_tiny", num_classes=4, x_channels=3)
    assert model.preprocess.x_channels == 3 and model(*pair(3)).shape == (1, 4, 64, 96)
    with pytest.raises(InputError, match="one channel of depth, not 3; give 1"):
        create_model("dformerv2_s", x_channels=3)


def test_grey_depth_is_normalised_as_published() -> None:
    for name in ("dformer_tiny", "dformerv2_s"):
        with torch.device("meta"):
            model = create_model(name)
        assert model.modalities == ("rgb", "grey")
        grey = torch.tensor([0.0, 122.4, 255.0]).view(1, 1, 3)
        want = [(v / 255 - 0.48) / 0.28 for v in (0.0, 122.4, 255.0)]
        assert model.preprocess.x(grey).flatten().tolist() == pytest.approx(want, abs=1e-6)


def test_asymformers_rgb_never_receives_x() -> None:
    model = create_model("asymformer_b0t", num_classes=4)
    rgb, x = pair()
    points = [f"stage{i}.rgb" for i in range(2, 6)] + ["stage2.x", "stage3.fusion.fused"]
    with torch.no_grad():
        with probe(model, *points) as one:
            model(rgb, x)
        with probe(model, *points) as two:
            model(rgb, -2 * x)
    for point in points:
        assert (distance(two[point], one[point]) < SAME) == point.endswith(".rgb")


def test_published_scale_leaves_the_selection_constant() -> None:
    """1 / C^2 keeps the spatial gate at one half whatever the image; 1 / sqrt(C) lets it select."""
    gate = "stage3.fusion.scc.select.spatial_gate"
    for official, constant in ((True, True), (False, False)):
        torch.manual_seed(0)
        model = create_model("asymformer_b0t", num_classes=4, official_scale=official)
        with torch.no_grad(), probe(model, gate) as seen:
            model(*pair())
        assert (float((seen[gate] - 0.5).abs().max()) < 1e-3) == constant


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("dformer_tiny", 14.8),
        ("dformer_small", 28.7),
        ("dformer_base", 45.15),
        ("dformer_large", 69.0),
        ("dformerv2_s", 40.6),
        ("dformerv2_b", 77.2),
        ("dformerv2_l", 135.4),
        ("asymformer_b0t", 42.5),
    ],
)
def test_multiply_accumulates_at_480x640_are_the_originals(name: str, billions: float) -> None:
    """Never more than the originals'; AsymFormer's decoder (SegFormer's) may need fewer, DFormer's needs the same."""
    with torch.device("meta"):
        model = create_model(name)
        inputs = torch.empty(1, 3, 480, 640), torch.empty(1, 1, 480, 640)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.scores(*inputs)
    counted = counter.get_total_flops() / 2e9
    assert counted <= billions + 0.06
    if name != "asymformer_b0t":
        assert counted == pytest.approx(billions, abs=0.06)
