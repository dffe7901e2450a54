from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard

from fusionzoo.cli import main
from fusionzoo.cli.push import write_card


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / checkpoint.name))


def test_card_from_record_config_and_report(folder: Path) -> None:
    write_card(str(folder), "hf-hub:org/name")
    plain = (folder / "README.md").read_text(encoding="utf-8")
    assert "What it uses each modality for" not in plain and 'from_pretrained("hf-hub:org/name")' in plain
    segmentation = {"both": {"miou": 0.5, "pixel_accuracy": 0.6, "iou": [0.5]}}
    dissection: dict[str, Any] = {
        "format_version": 1,
        "model": {"name": "m", "architecture": "m", "num_params": 1, "modalities": ["rgb", "depth"]},
        "protocol": {"absence": "mean", "recipe": "fast", "tau": 0.05}, "segmentation": segmentation,
        "data": {"name": "planted", "split": "test", "n": 4, "class_names": ["floor"], "size": [8, 8]},
        "levels": [], "probes": [],
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps({"dissection": dissection, "findings": ["Depth adds nothing."]}))
    write_card(str(folder))
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "- Depth adds nothing." in text and "| both | 50.0 |" in text
    assert "![mIoU with both modalities and without either](modalities.svg)\n" in text and "variance.svg" not in text
    root = ElementTree.parse(folder / "modalities.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.find("{*}style") is not None
    assert "50.0" in [e.text for e in root.findall(".//{*}text")]
    assert ModelCard(text).data.library_name == "fusionzoo"


def test_push_sends_the_folder_and_says_the_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def fake(folder: str, repo: str, **options: Any) -> str:
        seen.update(folder=folder, repo=repo, **options)
        return "c" * 40

    monkeypatch.setattr(importlib.import_module("fusionzoo.hub.publish"), "push", fake)
    result = CliRunner().invoke(main, ["push", str(folder), "org/name", "--private", "--tag", "v1", "--card", "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"repo": "org/name", "commit": "c" * 40}
    assert seen == {
        "folder": str(folder), "repo": "org/name", "private": True, "branch": None, "tag": "v1", "message": "",
    }  # fmt: skip
    assert result.stderr.startswith("wrote ")


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["push", "{folder}", "not a repo"], 2, "names no Hub repository"),
        (["push", "nowhere", "org/name"], 2, "nowhere"),
        (["push", "nowhere", "org/name", "--card"], 2, "nowhere has no record.json"),
        (["convert", "mobilnet_v1", "{folder}", "out"], 2, "did you mean 'mobilenet_v1'"),
        (["convert", "mobilenet_v1", "nowhere", "out"], 2, "nowhere does not exist"),
    ],
)
def test_wrong_use(args: list[str], status: int, words: str, folder: Path) -> None:
    result = CliRunner().invoke(main, [a.format(folder=folder) for a in args])
    assert result.exit_code == status
    assert words in result.stderr and result.stderr.count("\n") == 1 and result.stdout == ""


def test_a_damaged_folder_is_not_pushed(folder: Path) -> None:
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-9] ^= 4
    (folder / "model.safetensors").write_bytes(weights)
    result = CliRunner().invoke(main, ["push", str(folder), "org/name"])
    assert result.exit_code == 1 and "failed verification" in result.stderr


def test_help_names_every_method() -> None:
    from fusionzoo.hub.convert import METHODS

    result = CliRunner().invoke(main, ["convert", "--help"])
    shown = " ".join(result.stdout.split())
    assert result.exit_code == 0 and f"Methods: {', '.join(METHODS)}" in shown


def test_convert_says_what_it_wrote(shared: Path, tmp_path: Path) -> None:
    source = shared / "weights" / "mobilenet_v1_0.25_224_tfjs"
    if not source.is_dir():
        pytest.skip(f"no MobileNet v1 layer files: {source} is not a folder")
    out = tmp_path / "encoder"
    result = CliRunner().invoke(main, ["convert", "mobilenet_v1", str(source), str(out)])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{out}: ") and "licence apache-2.0" in result.stdout
    assert (out / "model.safetensors").is_file() and (out / "config.json").is_file()
