from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fusionzoo.cli import index, main, make_index
from fusionzoo.cli.info import composed


def call(*args: str) -> Any:
    result = CliRunner().invoke(main, list(args))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_index_is_fresh() -> None:
    written = make_index.TARGET.read_text(encoding="utf-8")
    assert written == make_index.source(), "stale: run python -m fusionzoo.cli.make_index"


def test_the_index_names_what_the_library_lists() -> None:
    from fusionzoo.models import list_fusions, list_models

    assert sorted(list_models()) == sorted([*index.PUBLISHED, *composed()])
    assert sorted(list_fusions()) == sorted([*index.FUSIONS, *index.BASELINES])


def test_list_fusions() -> None:
    rows = json.loads(call("list", "--fusions", "--json", "con*", "sum"))
    assert [r["strategy"] for r in rows] == ["concat", "sum"]
    assert rows[0]["params at C=64"] == 2 * 64 * 64 + 2 * 64, "1x1 convolution without bias, and its norm"
    rows = {r["strategy"]: r for r in json.loads(call("list", "--fusions", "--json"))}
    assert rows["cmx"] == {
        "strategy": "cmx",
        "family": "cross-modal",
        "interaction": "exchange",
        "params at C=64": 178_370,
        "licence of the original": "MIT",
        "paper": "Zhang et al., CMX (T-ITS 2023), arXiv 2203.04838",
    }
    assert rows["dformer"]["licence of the original"] == "MIT file, README: non-commercial use only"
    assert rows["acnet"]["licence of the original"] == "no licence stated" and rows["mfnet"]["licence of the original"]
    assert rows["hybrid"]["licence of the original"] == rows["rgb_only"]["licence of the original"] == ""
    families = {r["family"] for r in rows.values()}
    assert families == {"concat", "attention", "cross-modal", "exchange", "hybrid", "baseline"}
    text = call("list", "--fusions")
    assert "licence of the original" in text and "NVIDIA non-commercial" in text
    assert "hybrid" in text and "rgb_only" in text and "\x1b" not in text


def test_list_architectures() -> None:
    rows = json.loads(call("list", "--architectures", "hybrid_*_fpn", "--json"))
    assert {"architecture": "hybrid_resnet18_fpn", "fusion": "hybrid", "encoder": "resnet18", "decoder": "fpn"} in rows
    assert {r["fusion"] for r in rows} == {"hybrid", "hybrid_exchange", "hybrid_trust"}
    assert len(rows) == 3 * len(index.ENCODERS)


def test_info_of_strategy_and_architecture() -> None:
    assert json.loads(call("info", "hybrid", "--json"))["family"] == "hybrid"
    facts = json.loads(call("info", "gate_mit-b0_segformer", "--json"))
    assert (facts["encoder"], facts["decoder"], facts["strategy"]["family"]) == ("mit-b0", "segformer", "attention")
    lines = call("info", "hybrid").splitlines()
    assert any(line.split() == ["family", "hybrid"] for line in lines)


def test_bundled_checkpoints_are_listed_by_their_records() -> None:
    from fusionzoo.hub import records

    known = records.bundled()
    if not known:
        pytest.skip("no checkpoint is bundled")
    rows = json.loads(call("list", "--json"))
    assert [r["checkpoint"] for r in rows] == list(known)
    first = next(iter(known))
    facts = json.loads(call("info", first, "--json"))
    assert set(facts) - set(known[first].to_dict()) == {"preprocess", "input_size"}


def test_info_of_a_folder_shows_record_and_preprocessing(checkpoint: Path) -> None:
    facts = json.loads(call("info", str(checkpoint), "--json"))
    assert facts["name"] == checkpoint.name and facts["metrics"][0]["miou"] == 0.0123
    assert facts["input_size"] == [120, 160] and facts["preprocess"]["x_kind"] == "depth"
    lines = {tuple(line.split(None, 1)) for line in call("info", str(checkpoint)).splitlines()}
    assert ("metrics[0].miou", "0.0123") in lines and ("input_size", "120, 160") in lines
    assert ("preprocess.x_mean", "2.842") in lines


def test_info_says_in_words_what_depth_the_weights_saw(checkpoint: Path, tmp_path: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    seen = {"x_quantiles": [0.901, 2, 2.8, 4, 8.2], "x_missing": [0.01, 1]}
    for stated, words in [
        (seen, "depth 0.901 to 8.2 m (98 % of the values), median 2.8; 1 % missing, at most 100 % in one image"),
        ({**seen, "x_kind": "thermal", "x_missing": []}, "thermal 0.901 to 8.2 (98 % of the values), median 2.8"),
        ({**seen, "x_quantiles": [1, 2]}, None),
        ({}, None),
    ]:
        preprocess = {**config["preprocess"], **stated}
        (tmp_path / "config.json").write_text(json.dumps({**config, "preprocess": preprocess}))
        lines = call("info", str(tmp_path)).splitlines()
        told = [line.removeprefix("trained on").strip() for line in lines if line.startswith("trained on")]
        assert told == ([words] if words else [])


def test_info_of_a_folder_without_record_or_config(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    facts = json.loads(call("info", str(tmp_path), "--json"))
    assert facts["architecture"] == "concat_mobilenetv1-025_fpn" and facts["record"].startswith("none")
    (tmp_path / "config.json").unlink()
    result = CliRunner().invoke(main, ["info", str(tmp_path)])
    assert result.exit_code == 2 and "is no checkpoint folder: it has no config.json" in result.stderr


def test_list_reads_an_index_file(checkpoint: Path, tmp_path: Path) -> None:
    record = json.loads((checkpoint / "record.json").read_text(encoding="utf-8"))
    record.update(repo_id="org/name", revision="a" * 40)
    index_file = tmp_path / "index.json"
    index_file.write_text(json.dumps({"format_version": 1, "records": [record]}), encoding="utf-8")
    (row,) = json.loads(call("list", "*.random", "--index", str(index_file), "--json"))
    assert (row["checkpoint"], row["data"], row["mIoU"]) == (checkpoint.name, "planted test", 1.2)
    assert call("list", "*.random", "--index", str(index_file)).splitlines()[2].startswith(checkpoint.name)
    assert json.loads(call("info", checkpoint.name, "--index", str(index_file), "--json"))["repo_id"] == "org/name"
