from __future__ import annotations

import io
import re
from typing import Any

import pytest

from fusionzoo.dissect.words import Finding
from fusionzoo.report import terminal as show
from fusionzoo.report._terminal import comparison, use_colour
from fusionzoo.report.table import Table, text_table


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_answer_comes_first(example: dict[str, Any], checks: list[dict[str, Any]], findings: list[str]) -> None:
    lines = show(example, checks, findings, colour=False).splitlines()
    assert lines[0] == "hybrid_mobilenetv1-025_fpn.planted on planted, test, 64 images, 160x120"
    assert lines[1] == "OK: all 3 file checks passed; planted truth found (6 of 6 one-modality concepts)."
    assert lines[3].startswith("  * Depth adds 21.2 points")
    titles = ["Segmentation", "Stages", "Concepts", "Planted truth", "Probe points"]
    assert [line for line in lines if line in titles] == titles
    assert "File checks" not in lines


def test_three_lines_and_every_warning_unless_all_are_asked_for(example: dict[str, Any]) -> None:
    said = [Finding("info", "It uses both.", "use", "mIoU without each", "intervention", first=True)]
    said += [Finding("info", f"more {i}") for i in range(3)] + [Finding("warn", "look here")]
    brief, whole = (show(example, None, said, every=every, colour=False).splitlines() for every in (False, True))
    assert brief[3:6] == [
        "  * It uses both. [mIoU without each; intervention]", "  ! look here", "    3 more findings: --findings all",
    ]  # fmt: skip
    assert whole[3:8] == [brief[3], "  * more 0", "  * more 1", "  * more 2", "  ! look here"]


def test_failed_checks_are_shown_and_said(example: dict[str, Any], checks: list[dict[str, Any]]) -> None:
    checks[0]["ok"] = False
    text = show(example, checks, colour=False)
    assert text.splitlines()[1].startswith("FAILED: 1 of 3 file checks failed: sha256")
    assert re.search(r"FAILED +sha256 +model.safetensors 12ab34cd", text)
    assert show(example, None, colour=False, ok=False).splitlines()[1].startswith("FAILED: ")


@pytest.mark.parametrize("width", [80, 100])
def test_no_line_is_wider_than_asked(example: dict[str, Any], checks: list[dict[str, Any]], width: int) -> None:
    long = [f"a concept with quite a long name, number {i}" for i in range(13)]
    example["data"].update(class_names=long, concepts={})
    example["model"]["name"] = "m" * 120
    text = show(example, checks, ["word " * 60], colour=False, width=width)
    widest = max(text.splitlines(), key=len)
    assert len(widest) <= (100 if width == 100 else 97), widest  # numbers are never cut: the level table needs 97


def test_colour_only_where_wanted(
    example: dict[str, Any], checks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert use_colour(Tty()) and not use_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not use_colour(Tty())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not use_colour(Tty())
    plain, coloured = (show(example, checks, colour=c) for c in (False, True))
    assert "\x1b" not in plain and "\x1b[1;32mOK\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_escape_codes_in_names_do_not_reach_the_terminal(example: dict[str, Any]) -> None:
    example["model"]["name"] = "evil\x1b]0;title\x07\x1b[2Jname"
    example["data"]["class_names"][0] = "\x1b[31mfloor\r\n"
    text = show(example, [{"check": "a\x1b[1m", "ok": False, "detail": "\x9b31m"}], ["\x1b[5mblink"], colour=False)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_text_table_cuts_the_widest_text_first() -> None:
    table = Table("t", ("name", "kind", "n"), (("x" * 50, "short", "12345"),), "<<>")
    lines = text_table(table, width=40)
    assert max(map(len, lines)) == 40
    assert lines[2].endswith("12345") and ".." in lines[2] and "short" in lines[2]


def test_comparison(example: dict[str, Any]) -> None:
    lines = comparison([example, example], colour=False).splitlines()
    assert lines[0] == "Comparison" and len([x for x in lines if x.startswith("  hybrid")]) == 2
