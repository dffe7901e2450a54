"""A dissection as a script: `job.py FOLDER N [SECONDS]`. Under torchrun each process writes FOLDER/RANK.json.

SECONDS is how long reading one image takes, so that a test can kill the process between two saved states.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch

from fusionzoo.dissect import dissect, run
from tests.dissect.test_engine import blurred
from tests.dissect.toy import Toy, ToyData

SIZE = 4


def data(n: int) -> ToyData:
    """Images whose features are not all alike."""
    images = blurred(n)
    images.read = 0
    return images


def main(folder: Path, n: int, seconds: float) -> None:
    torch.set_num_threads(1)
    run.SAVE_EVERY = 1
    images = data(n)
    if seconds:
        images.__class__ = type("Slow", (ToyData,), {"__getitem__": lambda self, i: _slowly(self, i, seconds)})
    rank = int(os.environ.get("RANK", 0))
    together = "RANK" in os.environ
    if together:
        torch.distributed.init_process_group("gloo")
    found = dissect(Toy(), images, progress=False, batch_size=SIZE, state=folder / "state")
    found.save(folder / f"{rank}.json")
    (folder / f"{rank}.read").write_text(str(images.read))
    if together:
        torch.distributed.destroy_process_group()


def _slowly(images: ToyData, index: int, seconds: float) -> dict:
    time.sleep(seconds)
    return ToyData.__getitem__(images, index)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
