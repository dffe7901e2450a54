"""What every speed benchmark writes beside its numbers: the machine, the versions, the command; and their spread."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "about", "spread", "write"]

RESULTS = Path(__file__).parents[1] / "results"
PEERS = ("torch_cka", "pytorch-cka", "cka-pytorch")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest, 4 digits."""
    short = lambda v: float(f"{v:.4g}")  # noqa: E731
    return {"median": short(statistics.median(values)), "min": short(min(values)), "max": short(max(values))}


def about(name: str, load: Sequence[float], **setting: Any) -> dict[str, Any]:
    """The head of a result. `load`: load averages before, between and after the rounds."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return {
        "format_version": 1,
        "benchmark": f"speed/{name}",
        "command": shlex.join(["python", f"benchmarks/speed/{name}.py", *sys.argv[1:]]),
        "setting": setting,
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "load_average": [round(v, 1) for v in load],
        },
        "versions": {"python": platform.python_version(), "commit": commit.stdout.strip(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", "torchvision", "fusionzoo", *PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def write(result: dict[str, Any], path: Path) -> None:
    """The result as JSON."""
    text = json.dumps(result, indent=1, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {path}")
