"""The README's picture, drawn as on the report's page: what a bundled checkpoint takes from each modality.

python benchmarks/picture.py        # checks the checkpoint, writes .github/report.svg
"""

from __future__ import annotations

from pathlib import Path

import fusionzoo
from fusionzoo.files import atomic_write
from fusionzoo.report.plots import plots

CHECKPOINT = "hybrid_mobilenetv1-025_fpn.planted"
TARGET = Path(__file__).resolve().parents[1] / ".github/report.svg"


def main() -> None:
    result = fusionzoo.check(CHECKPOINT, out=None)
    drawings = plots(result.dissection)
    atomic_write(TARGET, drawings["modalities.svg"][1])
    print(f"{TARGET.name}: {drawings['modalities.svg'][0]} ({', '.join(drawings)})")


if __name__ == "__main__":
    main()
