"""Forward fingerprint: what a model answers to an input that integer arithmetic makes, the same on every machine.

The raw input (blocks of colour and depth, with holes) goes through the checkpoint's own preprocessing, so that a
changed normalisation shows as much as a changed weight or a changed line of model code. Not a checksum: SHA-256 finds
a flipped bit, this finds a model that no longer computes what it did when it was saved.

Margin, measured over the bundled checkpoints (torch 2.14.1, an Intel Xeon with AMX): the largest difference from the
stored fingerprint, in units of the logits' spread, is 0 to 2.9e-6 with 1 and 5 threads, 4.3e-6 without vector
instructions (ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE) and 6.1e-7 with AVX2. That is
1/23 of the default tolerance 1e-4, and 1/230 of the 1e-3 that the records of the bundled checkpoints state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fusionzoo.errors import CheckFailed, first_line
from fusionzoo.hub.records import Fingerprint
from fusionzoo.modalities import METRIC, parts_of
from fusionzoo.models import FusionModel
from fusionzoo.models.labels import evaluating
from fusionzoo.preprocess import Preprocess

__all__ = ["compare", "fingerprint", "integers", "raw_input"]

SIZE = (64, 96)
SAMPLES = 16
_RUN_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, IndexError, MemoryError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
"""What a forward pass of a model with senseless arguments may raise."""

_MASK = (1 << 32) - 1


def integers(count: int, seed: int) -> Tensor:
    """(count,) int64 in [0, 2^32): the 32-bit finaliser of MurmurHash3 over a counter, in integer arithmetic only.

    >>> integers(3, 0).tolist()
    [0, 1364076727, 821347078]
    """
    v = (torch.arange(count, dtype=torch.int64) + seed * 0x9E3779B1) & _MASK
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        v = v ^ (v >> shift)
        # 32 x 32 bits do not fit into int64: multiply the halves of v apart
        v = ((v & 0xFFFF) * factor + ((((v >> 16) * factor) & 0xFFFF) << 16)) & _MASK
    return v ^ (v >> 16)


def raw_input(preprocess: Preprocess, size: tuple[int, int] = SIZE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Raw rgb uint8 (1, 3, H, W) and x float (1, Cx, H, W): metres with one block in eight missing, or 0..255.

    Blocks of 8 x 8 pixels of one value, plus an eighth of the range of noise.
    """
    height, width = size
    channels = 3 + preprocess.x_channels
    rows, columns = math.ceil(height / 8), math.ceil(width / 8)
    blocks = integers(channels * rows * columns, seed).view(channels, rows, columns) >> 24  # 0..255
    blocks = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]  # (C, H, W)
    noise = integers(channels * height * width, seed + 1).view(channels, height, width) >> 27  # 0..31
    image = (blocks * 7 // 8 + noise).clamp(max=255)[None]  # (1, C, H, W)
    rgb, x = image[:, :3].to(torch.uint8), image[:, 3:].float()
    missing = (blocks[3:] < 32)[None]
    metres = ((x + 16) / 32).masked_fill(missing, 0.0)  # 0.5 m to 8.5 m in steps of 1/32 m, exact in binary
    for part in parts_of(preprocess.x_kind, preprocess.x_channels):
        if part.kind in METRIC:
            part.of(x).copy_(part.of(metres))
    return rgb, x


def fingerprint(
    model: FusionModel, seed: int = 0, size: tuple[int, int] | None = None, tolerance: float = 1e-4
) -> Fingerprint:
    """Mean and spread of each class's logits, and `SAMPLES` single logits, on the CPU in float32, eval mode.

    The model is left in the mode it was in; its parameters must be float32 on the CPU. `size` (H, W) is by default
    `SIZE`, or for a model that runs only at its own `input_size`, that.

    Raises:
        CheckFailed: the model does not run on its own kind of input, or its logits are not finite.
    """
    sizes = [size] if size is not None else [SIZE, *([model.input_size] if model.input_size is not None else [])]
    with evaluating(model):
        logits, size = _first_that_runs(model, seed, sizes)
    if not bool(torch.isfinite(logits).all()):
        raise CheckFailed("the model's logits are not finite on the seeded input")
    flat = logits.flatten()
    where = integers(SAMPLES, seed + 2) % flat.numel()
    mean, std = logits.mean((1, 2)), logits.std((1, 2), correction=0)
    return Fingerprint(seed, size, _rounded(mean), _rounded(std), _rounded(flat[where]), tolerance)


def _first_that_runs(model: FusionModel, seed: int, sizes: Sequence[tuple[int, int]]) -> tuple[Tensor, tuple[int, int]]:
    """Logits (K, H, W) in float64 at the first size the model accepts, and that size."""
    for size in sizes:
        try:
            return model(*model.preprocess(*raw_input(model.preprocess, size, seed)))[0].double(), size
        except _RUN_ERRORS as error:
            failure = CheckFailed(f"the model does not run on a {size[0]}x{size[1]} input: {first_line(error)}")
            failure.__cause__ = error
    raise failure


def compare(wanted: Fingerprint, found: Fingerprint) -> float:
    """Largest difference of any number of the two, in units of the spread of all logits; infinite when sizes differ."""
    pairs = [(wanted.mean, found.mean), (wanted.std, found.std), (wanted.samples, found.samples)]
    if any(len(a) != len(b) for a, b in pairs):
        return math.inf
    between = torch.tensor(wanted.mean).double()
    within = torch.tensor(wanted.std).double()
    spread = float((within.square().mean() + between.var(correction=0)).sqrt())
    worst = max((abs(p - q) for a, b in pairs for p, q in zip(a, b, strict=True)), default=math.inf)
    return worst / max(spread, 1e-12) if math.isfinite(worst) else math.inf


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{v:.7g}") for v in values.tolist()]
