"""Makes the README's table of checkpoints anew: python -m fusionzoo.cli.make_readme README.md (a test compares)."""

from __future__ import annotations

import sys
from pathlib import Path

from fusionzoo.files import atomic_write
from fusionzoo.hub import records
from fusionzoo.report.summary import readme

__all__ = ["fresh"]


def fresh(text: str) -> str:
    """README `text` with its table as the records say."""
    return readme(text, {name: record.to_dict() for name, record in records.bundled().items()})


if __name__ == "__main__":
    target = Path(sys.argv[1])
    atomic_write(target, fresh(target.read_text(encoding="utf-8")))
