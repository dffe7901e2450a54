"""Writes `index.py`: names and facts that `list`, `info` and the help show without importing torch.

Run `python -m fusionzoo.cli.make_index` after adding or changing a strategy, an architecture or a conversion; a test
tells when the index is stale.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

__all__ = ["TARGET", "source"]

TARGET = Path(__file__).with_name("index.py")
HEADER = '''"""Names and facts of fusion strategies and architectures. Generated: python -m fusionzoo.cli.make_index"""

from __future__ import annotations

from typing import Any

# fmt: off
# ruff: noqa: E501
'''


def source() -> str:
    """The text of `index.py`."""
    from fusionzoo.hub.convert import METHODS
    from fusionzoo.models.describe import describe

    facts = {**describe(), "CONVERSIONS": list(METHODS)}
    parts = [HEADER]
    for name, value in facts.items():
        if isinstance(value, dict):
            rows = "".join(f"    {json.dumps(key)}: {told!r},\n" for key, told in value.items())
            parts.append(f"{name}: dict[str, dict[str, Any]] = {{\n{rows}}}\n")
        else:
            rows = textwrap.indent(textwrap.fill(", ".join(map(json.dumps, value)), 114), "    ")
            parts.append(f"{name}: list[str] = [\n{rows},\n]\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
