"""A tensor too many, one of another shape or type: refused by its check whatever checksums say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fusionzoo.hub.load import resolve
from fusionzoo.hub.verification import inspect

State = dict[str, Tensor]


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        (
            lambda s: s | {"head.weights": torch.zeros(1)},
            "keys",
            "1 unknown, first 'head.weights' (closest known 'head.",
        ),
        (lambda s: s | {"head.bias": s["head.bias"][:-1]}, "shapes", "head.bias has shape"),
        (lambda s: s | {"head.bias": s["head.bias"].double()}, "dtypes", "head.bias is F64, wanted F32 or F16 or BF16"),
    ],
    ids=["one too many", "another shape", "another type"],
)
@pytest.mark.parametrize("quick", [False, True])
def test_weights_that_are_not_the_model_s(
    folder: Path, change: Callable[[State], State], check: str, said: str, quick: bool
) -> None:
    (folder / "record.json").unlink()  # no checksum stands in for the check
    path = folder / "model.safetensors"
    save_file({name: value.contiguous() for name, value in change(load_file(path)).items()}, path)
    try:
        done, model = inspect(folder, quick=quick)
    except Exception as error:
        pytest.fail(f"inspect raised {type(error).__name__}: what is wrong inside a checkpoint is a failed check")
    assert model is None
    assert [(c["check"], said in c["detail"]) for c in done if not c["ok"]] == [(check, True)]


def test_the_fingerprint_of_a_bundled_checkpoint_is_what_its_record_states() -> None:
    """Stated when it was trained: the seeded input and all that is computed from it must not change."""
    done = {c["check"]: c for c in resolve("hybrid_mobilenetv1-025_fpn.planted").verify()}
    assert done["fingerprint"]["ok"] and "not compared" not in done["fingerprint"]["detail"]


def test_the_lowest_bit_of_a_weight_is_noticed_by_its_checksum_alone(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-4] ^= 1  # little-endian float32: the last bit of the mantissa
    path.write_bytes(data)
    done, model = inspect(folder)
    assert [c["check"] for c in done if not c["ok"]] == ["sha256"] and model is None
