"""`fusionzoo data`, and `fusionzoo list --data`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fusionzoo.cli import main
from tests.train.rooms import rooms

H, W = 24, 32


def call(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images in two splits, without dataset.toml."""
    root = tmp_path / "rooms"
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for i in range(2):
            for part, array in (
                ("rgb", rng.integers(0, 256, (H, W, 3)).astype(np.uint8)),
                ("depth", rng.integers(900, 4000, (H, W)).astype(np.uint16)),
                ("label", rng.integers(0, 3, (H, W)).astype(np.uint8)),
            ):
                (root / split / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / split / part / f"{split[0]}{i}.png")
    return root


def test_tables_page_and_draft(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "look"
    result = call("data", f"folder:{root}", "--out", out, "--quiet", "--examples", 2)
    assert result.exit_code == 0, result.output
    assert "train       2  24x32" in result.stdout and "Range of x: depth (m)" in result.stdout
    assert {p.name for p in out.iterdir()} == {"data.html", "data.json", "dataset.toml"}
    page = (out / "data.html").read_text()
    assert page.count("<img ") == 12 and len(page) < 3_000_000
    facts = json.loads((out / "data.json").read_text())
    assert facts["ok"] and [s["n"] for s in facts["splits"]] == [2, 2] and facts["draft"].startswith("# A draft")
    # the draft is what the folder is read by
    (root / "dataset.toml").write_text((out / "dataset.toml").read_text())
    assert tomllib.loads((out / "dataset.toml").read_text()) == {"x_kind": "depth", "num_classes": 3, "ignore": []}
    again = call("data", f"folder:{root}", "--quiet", "--json")
    assert again.exit_code == 0 and again.stderr == ""
    assert {**json.loads(again.stdout), "draft": None} == {**facts, "draft": None}
    assert json.loads(again.stdout)["draft"] is None


def test_files_that_cannot_be_read_end_with_status_1(root: Path, tmp_path: Path) -> None:
    (root / "dataset.toml").write_text('x_kind = "depth"\nnum_classes = 3')
    for name in ("train/rgb/t0.png", "test/depth/t1.png"):
        (root / name).write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    result = call("data", f"folder:{root}", "--quiet", "--out", tmp_path / "look")
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert "2 of 4 images cannot be used; the first: " in result.stderr and "train/rgb/t0.png" in result.stderr
    assert "Images that cannot be used" in result.stdout
    facts = json.loads((tmp_path / "look" / "data.json").read_text())
    assert [u["id"] for u in facts["unreadable"]] == ["t0", "t1"] and "FAILED" in (
        tmp_path / "look/data.html"
    ).read_text()
    assert call("data", f"folder:{root}", "--quiet", "--split", "train", "--json").exit_code == 1


@pytest.mark.parametrize("toml", [True, False])
def test_incomplete_pairs_are_named_and_the_rest_is_looked_at(toml: bool, tmp_path: Path) -> None:
    spec, out = rooms(tmp_path / "rooms"), tmp_path / "look"
    for name in ("003", "004"):
        (tmp_path / "rooms" / "x" / f"{name}.png").unlink()
    if not toml:
        (tmp_path / "rooms" / "dataset.toml").unlink()
    result = call("data", spec, "--quiet", "--out", out)
    assert result.exit_code == 1 and "2 of 6 images cannot be used; the first: " in result.stderr
    assert "add x/003.png" in result.stderr and "Images that cannot be used" in result.stdout
    facts = json.loads((out / "data.json").read_text())
    assert [u["id"] for u in facts["unreadable"]] == ["003", "004"]
    assert sum(s["sizes"]["48x64"] for s in facts["splits"]) == 4
    assert ((out / "dataset.toml").is_file(), facts["draft"] is None) == (not toml, toml)
    assert "003" in (out / "data.html").read_text()


def test_painted_labels_are_drafted_with_their_colours(root: Path, tmp_path: Path) -> None:
    paint = np.array([[0, 0, 0], [128, 64, 32], [7, 8, 9]], np.uint8)
    for path in root.glob("*/label/*.png"):
        Image.fromarray(paint[np.asarray(Image.open(path))]).save(path)
    result = call("data", f"folder:{root}", "--out", tmp_path / "look", "--quiet")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "correct" in result.stderr
    drafted = (tmp_path / "look" / "dataset.toml").read_text()
    said = tomllib.loads(drafted)
    assert {tuple(c) for c in said["label_colours"].values()} == set(
        map(tuple, paint.tolist())
    ) and "# To decide:" in drafted
    (root / "dataset.toml").write_text(drafted)
    facts = json.loads(call("data", f"folder:{root}", "--quiet", "--json").stdout)
    assert facts["ok"] and sum(facts["splits"][0]["pixels"]) == 2 * H * W


def test_an_unknown_unit_is_drafted_to_be_decided(root: Path) -> None:
    for path in root.glob("*/depth/*.png"):
        Image.fromarray((np.asarray(Image.open(path)) // 20).astype(np.uint8)).save(path)
    result = call("data", f"folder:{root}", "--quiet")
    assert result.exit_code == 2 and "8-bit, so its depth unit is unknown" in result.stderr
    assert "x_scale = 0.001" in result.stdout and "num_classes = 3" in result.stdout, "the labels are drafted too"
    told = call("data", f"folder:{root}", "--quiet", "--json")
    assert told.exit_code == 2 and len(json.loads(told.stdout)["undecided"]) == 1


def test_published_sets_and_wrong_use(root: Path, tmp_path: Path) -> None:
    rows = json.loads(call("list", "--data", "--json").stdout)
    names = [row["data"].partition(":")[0] for row in rows]
    generated = ["planted", "planted-2", "planted-multi", "planted-scenes", "planted-joint", "planted-saliency"]
    assert names[:10] == [*generated, "nyuv2", "nyuv2-scenes", "nyuv2-joint", "folder"] and {
        "mfnet",
        "deliver",
        "cityscapes",
        "sunrgbd",
    } <= set(names)
    (deliver,) = json.loads(call("list", "--data", "deliver", "--json").stdout)
    assert "train 3983" in deliver["images"] and "event" in deliver["words"] and deliver["classes"] == "25"
    assert call("list", "--data", "--fusions").exit_code == 2 and "mfnet:PATH" in call("list", "--data").stdout
    (tmp_path / "file").write_text("")
    for args, words in (
        (["folder:/nowhere"], "does not exist"),
        (["folder"], "has no path"),
        (["mfnett:x"], "did you mean 'mfnet'"),
        ([f"folder:{root}", "--split", "tran"], "did you mean 'train'"),
        ([f"fmb:{root}"], "has no images, not 1220"),
    ):
        result = call("data", *args, "--quiet")
        assert result.exit_code == 2 and words in result.stderr, (args, result.stderr)
    (root / "dataset.toml").write_text("num_classes = 3")
    result = call("data", f"folder:{root}", "--out", tmp_path / "file", "--quiet")
    assert result.exit_code == 2 and "is a file" in result.stderr
