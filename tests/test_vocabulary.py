"""One word for one thing (DESIGN.md section 4): where an encoder's feature leaves is a stage, never a level."""

from __future__ import annotations

import re
from pathlib import Path

import fusionzoo

PACKAGE = Path(fusionzoo.__file__).parent
ROOT = PACKAGE.parent

OTHER = {
    "_check.py": "how serious a finding is",
    "cli/hha.py": "a camera that is held level",
    "cli/robustness.py": "levels that depth is rounded to",
    "data/corrupt.py": "grey levels; levels that depth is rounded to",
    "data/geometry.py": "a camera that is held level",
    "data/hha.py": "a camera that is held level",
    "data/planted_render.py": "faces that are level",
    "dissect/findings/effects.py": "how serious a finding is",
    "dissect/findings/use.py": "how serious a finding is",
    "dissect/formats.py": "the name in files of format 1",
    "dissect/robustness.py": "grey levels",
    "dissect/words.py": "how serious a finding is",
    "metrics/concepts/curve.py": "values that bins stand for",
    "export/formats.py": "what ONNX Runtime calls how much it logs",
    "metrics/similarity/null.py": "level of significance",
    "metrics/stats/resample.py": "level of confidence",
    "probes/intervene.py": "the usual level of a channel",
    "report/_terminal.py": "how serious a finding is",
    "report/page.html.j2": "how serious a finding is",
    "report/sections/robustness.py": "grey levels",
    "report/verdict.py": "how serious a finding is",
}
"""File -> what "level" means there."""
API = r"""
    \.levels\b | def\ levels\( | "levels"            # a model's points by stage: models of users have this property
    | \blevel:\ (int|which) | \blevel=|, \ level\b | \(channels,\ level   # the keyword of a fusion block: strategies of
    | self\.level\b | \b2\ \*\ level\b | \blevel\ (==|<)\ \w | pixels_at\(level\) | "level"   # users take it
"""


def lines() -> list[tuple[str, str]]:
    """(file, line) of everything that says "level" in the package and the pages for its users."""
    pages = [ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md"]
    files = [p for p in sorted(PACKAGE.rglob("*")) if p.suffix in (".py", ".md", ".j2")]
    found = []
    for path in [*files, *(p for p in pages if p.is_file())]:
        name = str(path.relative_to(PACKAGE if PACKAGE in path.parents else ROOT))
        found += [(name, line) for line in path.read_text(encoding="utf-8").splitlines() if says_level(line)]
    return found


def says_level(text: str) -> bool:
    return re.search(r"(?<![a-z])levels?(?![a-z])", text, re.IGNORECASE) is not None


def test_a_stage_is_called_a_stage() -> None:
    strange = [f"{name}: {line.strip()}" for name, line in lines() if name not in OTHER]
    strange = [entry for entry in strange if not re.search(API, entry, re.VERBOSE)]
    assert not strange, "\n".join(strange)


def test_every_exception_is_needed() -> None:
    assert sorted(OTHER) == sorted({name for name, _ in lines()} & set(OTHER))


def test_the_reader_sees_identifiers_too() -> None:
    assert says_level("skip_level_1 = 2") and says_level("LEVELS") and says_level("at level 3")
    assert not says_level("levelled") and not says_level("stage 3")
