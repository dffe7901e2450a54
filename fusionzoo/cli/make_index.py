"""Writes `index.py`: names and facts of strategies and architectures, so that `list` and `info` need no torch.

Run `python -m fusionzoo.cli.make_index` after adding or changing a strategy; a test tells when the index is stale.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["build", "source"]

CHANNELS = 64
TARGET = Path(__file__).with_name("index.py")
HEADER = '''"""Names and facts of fusion strategies and architectures. Generated: python -m fusionzoo.cli.make_index"""

from __future__ import annotations

from typing import Any

# fmt: off
# ruff: noqa: E501
'''


def build() -> dict[str, Any]:
    """The index from the registries: `FUSIONS`, `BASELINES`, `PUBLISHED`, `ENCODERS`, `DECODERS`."""
    import fusionzoo.fusion  # noqa: F401  registers the strategies
    from fusionzoo.models import BASELINES, presets
    from fusionzoo.registry import architectures, fusions

    strategies = {}
    for name in fusions:
        cls = fusions.get(name)
        try:
            params: int | None = sum(p.numel() for p in cls(CHANNELS).parameters())
        except TypeError:  # the strategy needs more than the number of channels
            params = None
        strategies[name] = {
            "family": cls.family,
            "interaction": cls.interaction,
            "params": params,
            "paper": cls.paper,
            "licence": cls.licence,
        }
    return {
        "FUSIONS": strategies,
        "BASELINES": list(BASELINES),
        "PUBLISHED": list(architectures),
        "ENCODERS": list(presets._NAMED_ENCODERS),
        "DECODERS": list(presets._NAMED_DECODERS),
    }


def source() -> str:
    """The text of `index.py`."""
    parts = [HEADER]
    for name, value in build().items():
        if isinstance(value, dict):
            rows = "".join(f"    {json.dumps(key)}: {facts!r},\n" for key, facts in value.items())
            parts.append(f"{name}: dict[str, dict[str, Any]] = {{\n{rows}}}\n")
        else:
            rows = "".join(f"    {json.dumps(entry)},\n" for entry in value)
            parts.append(f"{name}: list[str] = [\n{rows}]\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
