from __future__ import annotations

import json
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
    text = call("list", "--fusions")
    assert "hybrid" in text and "rgb_only" in text and "\x1b" not in text


def test_list_architectures() -> None:
    rows = json.loads(call("list", "--architectures", "hybrid_*_fpn", "--json"))
    assert {"architecture": "hybrid_resnet18_fpn", "fusion": "hybrid", "encoder": "resnet18", "decoder": "fpn"} in rows
    assert all(r["fusion"] == "hybrid" for r in rows) and len(rows) == len(index.ENCODERS)


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
    assert json.loads(call("info", first, "--json")) == json.loads(json.dumps(known[first].to_dict()))
