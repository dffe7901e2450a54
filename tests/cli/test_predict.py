from __future__ import annotations

import dataclasses
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
        ("wrong", pair[1], ["--x-scale", "0.1"]),
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
        ({"--labels": "{-o}"}, "give two places"),
        ({"-o": "{rgb}"}, "would be written over"),
        ({"--x-scale": "-1"}, "(--x-scale) is -1.0"),
        ({"--x-scale": "nan"}, "(--x-scale) is nan"),
        ({"--size": "0x12"}, "'0x12' is no height x width"),
        ({"--device": "warp"}, "unknown device 'warp'"),
        ({"--x-kind": "dpeth"}, "x_kind 'dpeth' is not one of"),
        ({"rgb": "{text}"}, "cannot be read"),
        ({"rgb": "{empty}"}, "cannot be read"),
        ({"x": "{folder}"}, "is a folder"),
        ({"--model": "hybird_mobilenetv1-025_fpn.planted"}, "unknown checkpoint"),
        ({"--model": "./nowhere"}, "no checkpoint folder './nowhere'"),
        ({"-o": "/proc/none/a.png"}, "cannot be written"),
    ],
)
def test_wrong_use(change: dict[str, str], words: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    places = {**arguments, "text": tmp_path / "notes.png", "empty": tmp_path / "none.jpg", "folder": tmp_path}
    places["text"].write_text("a text, not a picture")
    places["empty"].write_bytes(b"")
    result = call(*command({**arguments, **{key: str(value).format(**places) for key, value in change.items()}}))
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


# ------------------------------------------------------------------------------------------- without x, folders, sizes


def test_without_x_the_substitute_stands_in(
    arguments: dict[str, Any], checkpoint: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    rest = ["--model", str(checkpoint), "-o", arguments["-o"], "--labels", str(tmp_path / "a.png")]
    result = call(str(pair[0]), *rest)
    assert result.exit_code == 0 and result.stderr == "without depth: the model's substitute for it stands in\n"
    model = from_pretrained(checkpoint)
    rgb = torch.from_numpy(np.asarray(Image.open(pair[0])).transpose(2, 0, 1).copy())
    small = torch.nn.functional.interpolate(rgb[None].float(), (120, 160), mode="bilinear", antialias=True).round()
    with torch.inference_mode():
        logits = model(model.preprocess.rgb(small / 255), None)
    expected = torch.nn.functional.interpolate(logits, (96, 128), mode="bilinear").argmax(1)[0].numpy()
    alone = np.asarray(Image.open(tmp_path / "a.png"))
    assert (alone == expected).mean() > 0.995
    assert call(str(pair[0]), str(pair[1]), "--no-x", *rest).exit_code == 0
    assert (np.asarray(Image.open(tmp_path / "a.png")) == alone).all()
    nothing = call(str(pair[0]), "--no-rgb", *rest)
    assert (
        nothing.exit_code == 2 and "neither rgb nor x is left" in nothing.stderr and "stands in" not in nothing.stderr
    )
    result = call(str(pair[0]), str(pair[1]), "--no-rgb", *rest)
    assert "without rgb" in result.stderr and (np.asarray(Image.open(tmp_path / "a.png")) != alone).any()


@pytest.fixture
def folders(pair: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Three pairs in two folders, one of another size; a file that is no image beside them."""
    rgb, x = tmp_path / "colour", tmp_path / "x"
    rgb.mkdir(), x.mkdir()
    for i, name in enumerate(("a", "b c", "d.1")):
        for folder, source in ((rgb, pair[0]), (x, pair[1])):
            Image.fromarray(np.asarray(Image.open(source))[i:]).save(folder / f"{name}.png")
    (rgb / "notes.txt").write_text("no image")
    return rgb, x


def test_folders(folders: tuple[Path, Path], checkpoint: Path, tmp_path: Path) -> None:
    out, labels = tmp_path / "new" / "out", tmp_path / "labels"
    both = [*map(str, folders), "--model", str(checkpoint), "-o", str(out), "--labels", str(labels)]
    result = call(*both, "--json", "--quiet")
    assert result.exit_code == 0 and result.stderr == "", result.stderr
    facts = json.loads(result.stdout)
    assert [f["id"] for f in facts] == ["a", "b c", "d.1"] and [f["size"] for f in facts] == [
        [96, 128], [95, 128], [94, 128],
    ]  # fmt: skip
    for fact in facts:
        single = tmp_path / "single.png"
        pair = [str(folder / f"{fact['id']}.png") for folder in folders]
        assert call(*pair, "--model", str(checkpoint), "-o", str(tmp_path), "--labels", str(single)).exit_code == 0
        assert (np.asarray(Image.open(single)) == np.asarray(Image.open(fact["labels"]))).all()
    (out / "a.png").unlink()
    kept = (out / "b c.png").stat().st_mtime_ns
    again = call(*both, "--skip-existing", "--quiet")
    assert again.stdout == f"wrote 1 pictures to {out} and class maps to {labels}\n2 were there already\n"
    assert (out / "b c.png").stat().st_mtime_ns == kept and (out / "a.png").is_file()


def test_a_file_without_depth_among_many(folders: tuple[Path, Path], checkpoint: Path, tmp_path: Path) -> None:
    depth = np.asarray(Image.open(folders[1] / "a.png"))
    Image.fromarray(np.zeros_like(depth)).save(folders[1] / "a.png")
    args = [*map(str, folders), "--model", str(checkpoint), "-o", str(tmp_path / "o"), "--quiet"]
    refused = call(*args)
    assert refused.exit_code == 2 and "--empty skip leaves such images out" in refused.stderr
    loud = call(*args[:-1]).stderr.rstrip("\n").split("\n")[-1]
    assert loud.startswith("fusionzoo: error: "), "the line of progress ends before the error's begins"
    result = call(*args, "--empty", "skip")
    assert result.exit_code == 0 and result.stdout.endswith("1 without any valid x left out: a\n"), result.output
    assert len(list((tmp_path / "o").glob("*.png"))) == 2 and not (tmp_path / "o" / "a.png").exists()
    assert call(*args, "--empty", "keep").exit_code == 0 and (tmp_path / "o" / "a.png").is_file()


def test_folders_whose_files_have_a_prefix(folders: tuple[Path, Path], checkpoint: Path, tmp_path: Path) -> None:
    for folder, word in zip(folders, ("rgb", "depth"), strict=True):
        for i, path in enumerate(sorted(folder.glob("*.png"))):
            path.rename(folder / f"{word}_{i:03d}.png")
    args = [*map(str, folders), "--model", str(checkpoint), "-o", str(tmp_path / "o"), "--quiet", "--json"]
    result = call(*args)
    assert result.exit_code == 0, result.stderr
    assert [f["id"] for f in json.loads(result.stdout)] == ["rgb_000", "rgb_001", "rgb_002"]


def test_folders_that_do_not_fit(folders: tuple[Path, Path], checkpoint: Path, tmp_path: Path) -> None:
    rest = ["--model", str(checkpoint), "-o"]
    (folders[1] / "b c.png").rename(folders[1] / "b_c.png")
    (tmp_path / "empty").mkdir()
    for args, words in [
        ([str(folders[0]), str(folders[1]), *rest, str(tmp_path / "o")], "the nearest is b_c.png"),
        ([str(folders[0]), str(folders[1] / "a.png"), *rest, str(tmp_path / "o")], "so x must be one"),
        ([str(folders[0]), *rest, str(folders[0])], "would be written over"),
        ([str(folders[0]), *rest, str(folders[1] / "a.png")], "give a folder"),
        ([str(tmp_path / "empty"), *rest, str(tmp_path / "o")], "has no image"),
        ([*rest, str(tmp_path / "o")], "give RGB (and X), files or folders; or --data SPEC"),
        ([str(folders[0]), "--limit", "2", *rest, str(tmp_path / "o")], "belong to --data"),
    ]:
        result = call(*args)
        assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1, result.output


def test_images_of_a_data_set(checkpoint: Path, tmp_path: Path) -> None:
    args = ["--data", "planted", "--limit", "2", "--model", str(checkpoint), "-o", str(tmp_path / "o"), "--quiet"]
    assert call(*args).exit_code == 0 and len(list((tmp_path / "o").glob("*.png"))) == 2


def test_x_of_another_size_is_resampled_when_asked(
    arguments: dict[str, Any], pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Doubling depth by repetition and halving it by nearest neighbour changes nothing."""
    large = np.asarray(Image.open(pair[1])).repeat(2, axis=0).repeat(2, axis=1)
    Image.fromarray(large).save(tmp_path / "large.png")
    maps = []
    for x, extra in ((pair[1], []), (tmp_path / "large.png", ["--align"])):
        labels = tmp_path / "labels.png"
        assert call(*command({**arguments, "x": str(x), "--labels": labels}), *extra).exit_code == 0
        maps.append(np.asarray(Image.open(labels)))
    assert (maps[0] == maps[1]).all()
    refused = call(*command({**arguments, "x": str(tmp_path / "large.png")}))
    assert refused.exit_code == 2 and "--align" in refused.stderr


def test_one_warning_for_depth_in_another_unit(folders: tuple[Path, Path], checkpoint: Path, tmp_path: Path) -> None:
    """Weights that saw rooms get depth five times too far."""
    model = from_pretrained(checkpoint)
    model.preprocess = dataclasses.replace(
        model.preprocess, x_quantiles=(1.0, 2.0, 3.0, 4.0, 8.0), x_missing=(0.0, 0.1)
    )
    model.save_pretrained(tmp_path / "knows")
    rest = ["--model", str(tmp_path / "knows"), "-o", str(tmp_path / "o"), "--quiet"]
    assert call(*map(str, folders), *rest).stderr == ""
    result = call(*map(str, folders), "--x-scale", "0.005", *rest)
    assert result.exit_code == 0 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("fusionzoo: warning: a: depth of ") and "1 to 8 (median 3) metres" in result.stderr


def test_packed_depth_is_unpacked_when_asked(
    arguments: dict[str, Any], pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """SUN RGB-D's rotation of the bits, undone by the option that the refusal of such depth names."""
    depth = np.asarray(Image.open(pair[1])).astype(np.uint16)
    Image.fromarray(depth << 3 | depth >> 13).save(tmp_path / "sun.png")
    Image.fromarray(depth.byteswap()).save(tmp_path / "swapped.png")
    maps = []
    for x, extra in ((pair[1], []), (tmp_path / "sun.png", ["sunrgbd"]), (tmp_path / "swapped.png", ["swapped"])):
        labels = tmp_path / "labels.png"
        options = ["--x-encoding", *extra] if extra else []
        result = call(*command({**arguments, "x": str(x), "--labels": labels}), *options)
        assert result.exit_code == 0, result.stderr
        maps.append(np.asarray(Image.open(labels)))
    assert (maps[0] == maps[1]).all() and (maps[0] == maps[2]).all()
    wrong = call(*command(arguments), "--x-encoding", "sunrgb")
    assert wrong.exit_code == 2 and "did you mean 'sunrgbd'" in wrong.stderr


def test_a_tensor_is_aligned_as_a_file_is(checkpoint: Path) -> None:
    import fusionzoo
    from fusionzoo.errors import InputError

    rgb, x = torch.zeros(3, 40, 60, dtype=torch.uint8), torch.full((1, 20, 30), 2.0)
    assert fusionzoo.predict(checkpoint, rgb, x, align=True).labels.shape == (40, 60)
    with pytest.raises(InputError, match="align=True"):
        fusionzoo.predict(checkpoint, rgb, x)
    with pytest.raises(InputError, match="turned by a quarter"):
        fusionzoo.predict(checkpoint, rgb, x.mT, align=True)
