"""The images encode their own coordinates: rgb = (x, y, 0) in steps, x and label are the pixel number."""

from __future__ import annotations

import time

import pytest
import torch
from torchvision.transforms.v2 import RandomRotation
from torchvision.transforms.v2 import functional as F

from fusionzoo.data.transforms import as_plain, as_tv, colour_jitter, eval_transform, train_transform
from fusionzoo.errors import InputError

H, W = 48, 64
STEP = 3.0  # grey levels a pixel in the colour ramp


def pattern() -> dict:
    rows, cols = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    rgb = torch.stack([cols * STEP, rows * STEP, torch.full((H, W), 40.0)]).to(torch.uint8)
    number = rows * W + cols
    return {"rgb": rgb, "x": (number + 1).float()[None] / 8, "label": number, "id": "p"}


def coordinates(sample: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(label row, label col, rgb row, rgb col), in source pixels, and NaN where padded."""
    label = sample["label"].double()
    padded = sample["x"][0] == 0
    label[padded] = float("nan")
    row = torch.floor(label / W)
    return row, label - row * W, sample["rgb"][1] / STEP, sample["rgb"][0] / STEP


CASES = {
    "zoom in": {"size": (24, 32), "scale": (1.0, 2.0)},
    "zoom out": {"size": (24, 32), "scale": (0.4, 0.9)},
    "tall crop of a wide image": {"size": (40, 20), "base": (24, 32), "scale": (0.8, 1.8)},
    "as stored": {"size": (20, 30), "base": (H, W), "scale": (1.0, 1.0)},
    "enlarged": {"size": (60, 80), "base": (96, 128), "scale": (1.0, 1.5)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_all_three_stay_aligned(case: str, flip: float) -> None:
    options = CASES[case]
    transform = train_transform(flip=flip, jitter=0, generator=torch.Generator().manual_seed(1), **options)
    source = pattern()
    values = set(source["x"].unique().tolist())
    flipped = padded = 0
    for _ in range(40):
        out = transform(source)
        assert out["rgb"].shape == (3, *options["size"]) and out["rgb"].dtype == torch.uint8
        assert out["x"].shape == (1, *options["size"]) and out["x"].dtype == torch.float32
        assert out["label"].shape == options["size"] and out["label"].dtype == torch.int64
        inside = out["x"][0] != 0
        # x is label in another unit: exactly the same source pixel, no value invented, padding in the same place
        assert torch.equal((out["x"][0] * 8 - 1).long()[inside], out["label"][inside])
        assert set(out["x"][:, inside].unique().tolist()) <= values
        assert (out["label"][~inside] == 255).all()
        assert (out["rgb"][:, ~inside] == torch.tensor([[124], [116], [104]])).all()
        row, col, rgb_row, rgb_col = coordinates(out)
        # one pixel of the coarser grid; linear ramps are smoothed by antialiasing only at the border of the crop
        tolerance = max(1.0, H / (options.get("base") or options["size"])[0] / options["scale"][0]) / 2 + 1.01 / STEP
        inner = torch.zeros_like(inside)
        inner[1:-1, 1:-1] = inside[1:-1, 1:-1]
        near = (rgb_row - row).abs()[inner].max(), (rgb_col - col).abs()[inner].max()
        assert max(near) <= tolerance, (near, tolerance)
        mirrored = bool(col[inside].reshape(-1)[0] > col[inside].reshape(-1)[-1])
        flipped += mirrored
        padded += not bool(inside.all())
    assert flipped == 40 * flip if flip != 0.5 else 8 < flipped < 32
    assert (padded > 0) == (options["scale"][0] < 1)


def test_zoom_is_what_was_asked_and_crops_move() -> None:
    transform = train_transform(
        (24, 32), scale=(1.5, 1.5), flip=0, jitter=0, generator=torch.Generator().manual_seed(0)
    )
    corners, widths = set(), set()
    for _ in range(200):
        _, col, _, _ = coordinates(transform(pattern()))
        corners.add(int(col[0, 0]))
        widths.add(int(col[0, -1] - col[0, 0]) + 1)
    assert widths <= {W * 2 // 3, W * 2 // 3 + 1}  # the crop shows 1 / 1.5 of the width
    assert min(corners) == 0 and max(corners) == W - round(W / 1.5) and len(corners) > 15


def test_a_crop_as_large_as_the_image_is_the_image() -> None:
    source = pattern()
    out = train_transform((H, W), scale=(1, 1), flip=0, jitter=0)(source)
    for key in ("rgb", "x", "label"):
        assert torch.equal(out[key], source[key]), key
    mirrored = train_transform((H, W), scale=(1, 1), flip=1, jitter=0)(source)
    for key in ("rgb", "x", "label"):
        assert torch.equal(mirrored[key], source[key].flip(-1)), key
    assert torch.equal(source["label"], pattern()["label"]) and torch.equal(source["rgb"], pattern()["rgb"])


def test_jitter_leaves_x_and_label_alone_and_changes_rgb() -> None:
    source = pattern()
    transform = train_transform((H, W), scale=(1, 1), flip=0, jitter=0.4)
    changed = 0
    for _ in range(10):
        out = transform(source)
        assert torch.equal(out["x"], source["x"]) and torch.equal(out["label"], source["label"])
        changed += not torch.equal(out["rgb"], source["rgb"])
    assert changed == 10


def test_depth_scale_divides_by_the_zoom() -> None:
    sample = pattern()
    sample["x"] = torch.full((1, H, W), 3.0)
    out = train_transform((24, 32), scale=(1.5, 1.5), depth_scale=True)(sample)
    assert torch.allclose(out["x"], torch.full((1, 24, 32), 2.0))


def test_base_is_the_size_that_zoom_1_shows_the_image_at() -> None:
    made = train_transform([24, 32])
    assert made.base == (24, 32) and train_transform((24, 32), [30, 40]).base == (30, 40)
    made.base = (H, W)  # may be set afterwards: zoom 1 now crops the image as it is
    made.scale, made.flip, made.jitter = (1.0, 1.0), 0.0, 0.0
    label = made(pattern())["label"]
    assert int(label[0, 1] - label[0, 0]) == 1 and int(label[1, 0] - label[0, 0]) == W


def test_the_seed_decides() -> None:
    def draw(seed: int) -> list[dict]:
        transform = train_transform((24, 32), generator=torch.Generator().manual_seed(seed))
        return [transform(pattern()) for _ in range(5)]

    same = [all(torch.equal(a[k], b[k]) for k in ("rgb", "x", "label")) for a, b in zip(draw(3), draw(3), strict=True)]
    other = [torch.equal(a["rgb"], b["rgb"]) for a, b in zip(draw(3), draw(4), strict=True)]
    assert all(same) and not any(other)
    torch.manual_seed(5)
    first = train_transform((24, 32))(pattern())
    torch.manual_seed(5)
    assert torch.equal(train_transform((24, 32))(pattern())["rgb"], first["rgb"])


COLOURS = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3  # nothing gets clamped


@pytest.mark.parametrize(
    ("arguments", "oracle"),
    [
        ((1.2, 1, 1, 0), lambda v: F.adjust_brightness(v, 1.2)),
        ((1, 1.3, 1, 0), lambda v: F.adjust_contrast(v, 1.3)),
        ((1, 0.6, 1, 0), lambda v: F.adjust_contrast(v, 0.6)),
        ((1, 1, 1.4, 0), lambda v: F.adjust_saturation(v, 1.4)),
        ((1, 1, 0.5, 0), lambda v: F.adjust_saturation(v, 0.5)),
        (
            (0.9, 1.2, 1.2, 0),
            lambda v: F.adjust_saturation(F.adjust_contrast(F.adjust_brightness(v, 0.9), 1.2), 1.2),
        ),
    ],
)
def test_colour_jitter_against_torchvision(arguments: tuple, oracle) -> None:
    expected = oracle(COLOURS)
    assert 0 < expected.min() and expected.max() < 1
    assert (colour_jitter(COLOURS, *arguments) - expected).abs().max() < 2e-3  # luma weights differ in the 4th digit
    eight = (COLOURS * 255).round().to(torch.uint8)
    out = colour_jitter(eight, *arguments)
    assert out.dtype == torch.uint8
    assert (out.int() - (oracle(eight / 255) * 255).round().int()).abs().max() <= 1


def test_hue_turns_and_keeps_luma() -> None:
    weights = torch.tensor([0.299, 0.587, 0.114])
    grey = torch.full((3, 4, 4), 0.4)
    assert torch.allclose(colour_jitter(grey, 1, 1, 1, 0.2), grey, atol=2e-3)  # grey has no hue
    turned = colour_jitter(COLOURS, 1, 1, 1, 0.03)
    assert (turned - COLOURS).abs().max() > 0.02
    luma = lambda v: torch.einsum("c,chw->hw", weights, v)  # noqa: E731
    assert (luma(turned) - luma(COLOURS)).abs().max() < 2e-3
    back = colour_jitter(turned, 1, 1, 1, -0.03)
    assert (back - COLOURS).abs().max() < 2e-3
    once = colour_jitter(COLOURS, 1, 1, 1, 1.0)
    assert (once - COLOURS).abs().max() < 2e-3  # a full turn


def test_colour_jitter_is_clamped() -> None:
    bright = torch.full((3, 2, 2), 250, dtype=torch.uint8)
    assert (colour_jitter(bright, 1.4, 1, 1, 0) == 255).all()
    assert (colour_jitter(torch.ones(3, 2, 2), 1.4, 1, 1, 0) == 1).all()


def test_eval_transform() -> None:
    source = pattern()
    out = eval_transform((24, 32))(source)
    assert out["rgb"].shape == (3, 24, 32) and out["x"].shape == (1, 24, 32)
    assert torch.equal(out["label"], source["label"])
    oracle = F.resize(source["rgb"], [24, 32], antialias=True)
    assert torch.equal(out["rgb"], oracle)
    assert set(out["x"].unique().tolist()) <= set(source["x"].unique().tolist())
    small = eval_transform([24, 32], label="input")(source)
    assert torch.equal((small["x"][0] * 8 - 1).long(), small["label"])
    row, col, rgb_row, rgb_col = coordinates(small)
    assert (row - rgb_row).abs().max() < 1.1 and (col - rgb_col).abs().max() < 1.1


def test_any_v2_transform_goes_through_as_tv() -> None:
    source = pattern()
    source["label"] = source["label"] % 256  # classes 0..254 and ignore
    same = as_plain(as_tv(source))
    assert all(type(same[k]) is torch.Tensor and torch.equal(same[k], source[k]) for k in ("rgb", "x", "label"))
    out = as_plain(RandomRotation((90, 90), expand=True)(as_tv(source)))
    assert torch.equal((out["x"][0] * 8 - 1).long() % 256, out["label"])
    assert torch.equal(out["label"], torch.rot90(source["label"]))
    turned = train_transform((64, 48), scale=(1, 1), flip=0, jitter=0, extra=RandomRotation((90, 90), expand=True))
    assert torch.equal(turned(source)["label"], torch.rot90(source["label"]))
    skew = as_plain(RandomRotation((30, 30))(as_tv(source)))
    outside = skew["x"][0] == 0
    assert outside[0, 0] and not outside[H // 2, W // 2] and (skew["label"][outside] == 255).all()


def test_misuse_is_refused() -> None:
    sample = pattern()
    sample["label"] = sample["label"][::2]
    with pytest.raises(InputError, match="label_size='input'"):
        train_transform((24, 32))(sample)
    for bad in ({"scale": (0, 1)}, {"scale": (2, 1)}, {"flip": 2}, {"jitter": 1.5}, {"base": (0, 4)}):
        with pytest.raises(InputError):
            train_transform((24, 32), **bad)
    with pytest.raises(InputError, match="'native' or 'input'"):
        eval_transform((24, 32), label="small")
    with pytest.raises(InputError, match="height, width"):
        eval_transform((24,))


def test_speed_of_a_training_crop() -> None:
    """128 x 160 out of 240 x 320 takes about 1 ms; the time of this thread, as the machine may be busy."""
    sample = {
        "rgb": torch.randint(0, 256, (3, 240, 320), dtype=torch.uint8),
        "x": torch.rand(1, 240, 320),
        "label": torch.randint(0, 40, (240, 320)),
        "id": "s",
    }
    transform = train_transform((128, 160))
    best = 1.0
    for _ in range(30):
        start = time.thread_time()
        transform(sample)
        best = min(best, time.thread_time() - start)
    assert best < 0.006
