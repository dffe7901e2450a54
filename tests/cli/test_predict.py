from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from fusionzoo.cli import main
from fusionzoo.hub import from_pretrained
from fusionzoo.report.overlay import palette


def call(*args: str) -> Result:
    return CliRunner().invoke(main, ["predict", *args])


@pytest.fixture
def arguments(checkpoint: Path, pair: tuple[Path, Path], tmp_path: Path) -> dict[str, Any]:
    return {"rgb": str(pair[0]), "x": str(pair[1]), "--model": str(checkpoint), "-o": str(tmp_path / "out.png")}


def command(values: dict[str, Any]) -> list[str]:
    return [values["rgb"], values["x"], *(str(part) for k, v in values.items() if k[0] == "-" for part in (k, v))]


def by_hand(checkpoint: Path, pair: tuple[Path, Path], x_scale: float = 0.001) -> np.ndarray:
    """Class map by plain steps: nearest depth by index arithmetic, logits back up to the image's size."""
    model = from_pretrained(checkpoint)
    rgb = torch.from_numpy(np.asarray(Image.open(pair[0])).transpose(2, 0, 1).copy())
    depth = np.asarray(Image.open(pair[1])).astype(np.float32) * np.float32(x_scale)
    rows, cols = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in ((120, 96), (160, 128)))
    small = (
        torch.nn.functional.interpolate(rgb[None].float(), (120, 160), mode="bilinear", antialias=True).round() / 255
    )
    p = model.preprocess
    rgb_in = (small - torch.tensor(p.rgb_mean).view(3, 1, 1)) / torch.tensor(p.rgb_std).view(3, 1, 1)
    x = torch.from_numpy(depth[rows][:, cols])[None, None]
    x_in = torch.where(x > 0, (x - p.x_mean[0]) / p.x_std[0], 0.0)
    with torch.inference_mode():
        logits = torch.nn.functional.interpolate(model(rgb_in, x_in), (96, 128), mode="bilinear", align_corners=False)
    return logits.argmax(1)[0].numpy()


def test_overlay_labels_and_shares(
    arguments: dict[str, Any], checkpoint: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    arguments["--labels"] = tmp_path / "classes.png"
    result = call(*command(arguments), "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    classes = np.asarray(Image.open(tmp_path / "classes.png"))
    expected = by_hand(checkpoint, pair)
    assert (classes == expected).mean() > 0.995  # antialiased resizing rounds a few pixels the other way
    assert len(np.unique(classes)) >= 2, "a constant map would test nothing"
    counts = np.bincount(classes.ravel(), minlength=12)
    assert [(r["class"], r["share"]) for r in facts["classes"]] == [
        (int(k), pytest.approx(counts[k] / counts.sum())) for k in np.argsort(-counts, kind="stable") if counts[k]
    ]
    picture = np.asarray(Image.open(arguments["-o"]))
    assert picture.shape[0] >= 96 and picture.shape[1] > 128
    inner = (classes[1:-1, 1:-1] == classes[:-2, 1:-1]) & (classes[1:-1, 1:-1] == classes[1:-1, :-2])
    row, column = np.argwhere(inner)[40] + 1
    rgb = np.asarray(Image.open(pair[0]))[row, column]
    blend = 0.45 * rgb + 0.55 * palette(12)[classes[row, column]]
    np.testing.assert_allclose(picture[row, column], blend, atol=1)


def test_plain_output_names_classes(arguments: dict[str, Any]) -> None:
    result = call(*command(arguments))
    assert result.exit_code == 0
    assert "%" in result.stdout.splitlines()[0] and result.stdout.endswith(f"wrote {arguments['-o']}\n")


def test_x_scale_is_the_unit(arguments: dict[str, Any], tmp_path: Path, pair: tuple[Path, Path]) -> None:
    millimetres = np.asarray(Image.open(pair[1]))
    Image.fromarray((millimetres * 5 // 1).astype(np.uint16)).save(tmp_path / "fifth.png")  # 1/5000 m a step
    np.save(tmp_path / "metres.npy", millimetres.astype(np.float32) / 1000)
    maps = {}
    for name, x, extra in (
        ("mm", pair[1], []),
        ("fifth", tmp_path / "fifth.png", ["--x-scale", "0.0002"]),
        ("metres", tmp_path / "metres.npy", []),
        ("wrong", pair[1], ["--x-scale", "0.005"]),
    ):
        labels = tmp_path / f"{name}.labels.png"
        result = call(*command({**arguments, "x": str(x), "--labels": labels}), *extra)
        assert result.exit_code == 0, result.stderr
        maps[name] = np.asarray(Image.open(labels))
    assert (maps["mm"] == maps["metres"]).mean() > 0.999 and (maps["mm"] == maps["fifth"]).mean() > 0.999
    assert (maps["mm"] != maps["wrong"]).mean() > 0.01


def broken(kind: str, pair: tuple[Path, Path], folder: Path) -> dict[str, str]:
    """Arguments with one fault each."""
    depth = np.asarray(Image.open(pair[1]))
    metres = depth.astype(np.float32) / 1000
    out = folder / f"{kind}.npy"
    if kind == "size":
        np.save(out, metres[:, :-1])
    elif kind == "zero":
        np.save(out, metres * 0)
    elif kind == "negative":
        np.save(out, metres - 100)
    elif kind == "missing":
        pass
    elif kind == "truncated":
        out = folder / "cut.png"
        out.write_bytes(pair[1].read_bytes()[:500])
    elif kind == "eight bit":
        out = folder / "eight.png"
        Image.fromarray((depth // 100).astype(np.uint8)).save(out)
    return {"x": str(out)}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("size", "x is 127x96 but rgb is 128x96"),
        ("zero", "depth is zero everywhere"),
        ("negative", "depth has negative values"),
        ("missing", "does not exist"),
        ("truncated", "cannot be read"),
        ("eight bit", "its depth unit is unknown"),
    ],
)
def test_unusable_depth(
    kind: str, words: str, arguments: dict[str, Any], pair: tuple[Path, Path], tmp_path: Path
) -> None:
    result = call(*command({**arguments, **broken(kind, pair, tmp_path)}))
    assert result.exit_code == 2 and result.stdout == ""
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert not Path(arguments["-o"]).exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"-o": "picture.jpg"}, "a name that ends in .png"),
        ({"--x-scale": "-1"}, "--x-scale is -1.0"),
        ({"--x-scale": "nan"}, "--x-scale is nan"),
        ({"--model": "hybird_mobilenetv1-025_fpn.planted"}, "unknown checkpoint"),
        ({"--model": "./nowhere"}, "no checkpoint folder './nowhere'"),
        ({"-o": "/proc/none/a.png"}, "cannot be written"),
    ],
)
def test_wrong_use(change: dict[str, str], words: str, arguments: dict[str, Any]) -> None:
    result = call(*command({**arguments, **change}))
    assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1


def test_a_damaged_checkpoint_fails_its_check(arguments: dict[str, Any], checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / checkpoint.name
    copy.mkdir()
    for file in checkpoint.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1000] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    result = call(*command({**arguments, "--model": copy}))
    assert result.exit_code == 1 and "differs from the record" in result.stderr and result.stderr.count("\n") == 1
