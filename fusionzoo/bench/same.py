"""What the rows of one table must share beside the protocol: images, labels, and the weights that encoders start from.

Names do not say it: a folder of images can be filled anew, and two folders of one last name can hold two encoders.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fusionzoo.bench.protocol import BenchProtocol
from fusionzoo.bench.results import RunResult
from fusionzoo.data import parse_spec
from fusionzoo.data.base import spread
from fusionzoo.data.spec import GENERATED
from fusionzoo.dissect.run import state_digest
from fusionzoo.errors import InputError
from fusionzoo.hub.encoders import initial_weights
from fusionzoo.models import FusionModel
from fusionzoo.models.parts import encoder_parts
from fusionzoo.train import Settings
from fusionzoo.train.start import initial_encoder

__all__ = ["check_same", "labels_digest", "weights_digest"]


def check_same(results: Iterable[RunResult], out: Path, data: str, tested: Any, labels: str, weights: str) -> None:
    """InputError where a result in `out` is of other data than `tested`, other `labels`, or other `weights`.

    A digest that an older version did not write, "", is not compared.
    """
    for r in results:
        if (r.data, r.class_names) != (tested.name, list(tested.class_names)):
            raise InputError(
                f"{out} holds results on {r.data} with {len(r.class_names)} classes, not on {tested.name} with"
                f" {tested.num_classes}; give a new --out folder for other data"
            )
        if r.labels not in ("", labels) or (r.phase == "final" and r.images != len(tested)):
            raise InputError(
                f"{out} holds results on {r.data} with other images or labels than {data} has now; give a new --out"
                " folder: rows of one table are of the same images"
            )
        if "" not in (r.weights, weights) and r.weights != weights:
            raise InputError(
                f"{out} holds results of encoders that started from other weights than --init {r.protocol.init} names"
                " now; give a new --out folder: rows of one table start from the same weights"
            )


def labels_digest(data: str, protocol: BenchProtocol) -> str:
    """Digest of the names of the images that `protocol` trains and tests on, and of 16 labels of each part, evenly
    spread; "" of drawn scenes, which are the same everywhere. Labels are numbers: no decoder rounds them otherwise.
    """
    if data.partition(":")[0] in GENERATED:
        return ""
    return _labels_digest(data, (protocol.final_split, protocol.test_split), protocol.base, protocol.num_classes)


@functools.lru_cache(maxsize=1)
def _labels_digest(
    data: str, splits: tuple[str, ...], size: tuple[int, int], num_classes: int | None, looked_at: int = 16
) -> str:
    digest = hashlib.sha256()
    for split in splits:
        images = parse_spec(data, split=split, size=size, num_classes=num_classes, empty_depth="keep")
        digest.update(chr(0).join(map(str, images.ids)).encode())
        for i in spread(range(len(images)), looked_at):
            digest.update(images[i]["label"].numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_digest(settings: Settings, lent: FusionModel | None) -> str:
    """Digest of names and values of the encoders' weights that `settings.init` names.

    `lent`: the model where it names a checkpoint, see `fusionzoo.train.start.lender`.
    """
    if lent is None:
        return state_digest(initial_weights(settings.init, initial_encoder(settings.model)).state)[:16]
    parts = encoder_parts(lent)
    return state_digest({f"{part}.{k}": v for part, module in parts.items() for k, v in module.state_dict().items()})[
        :16
    ]
