"""The figures of a dissection that a benchmark keeps of each run: one number each, and their balance.

Balance asks how evenly a model leans on what both streams say and on what each says alone (all in [0, 1]):

    balance shares   4 c (1 - c), c the redundant share of the fused variance / (redundant + unique): 1 at half and half
    balance streams  1 - |u_rgb - u_x| / (u_rgb + u_x): 1 where both streams give as much of their own
    balance concepts 4 k (1 - k), k the share of the consistent among the recognised concepts
"""

from __future__ import annotations

from typing import Any

from fusionzoo.dissect import dissect
from fusionzoo.dissect.results import Dissection
from fusionzoo.models import FusionModel

__all__ = ["ATOMS", "dissected", "figures"]

STAGED = ("cka gap", "cka pix", "angular pix", "unique_rgb", "unique_x", "redundant", "semantic variance", "consistent",
          "rgb-specific", "x-specific")  # fmt: skip
"""Numbers that a dissection has of each stage; the mean over the stages is kept, and each stage's own."""
ATOMS = ("unique_rgb", "unique_x", "redundant", "synergistic")
"""Parts of what the streams tell of the concepts (partial information decomposition), as shares: "pid NAME"."""


def dissected(model: FusionModel, data: Any, limit: int, batch_size: int = 8) -> dict[str, float]:
    """Figures of `model` on `limit` images of `data`, evenly spread."""
    return figures(dissect(model, data, limit=limit, batch_size=batch_size, progress=False))


def figures(found: Dissection) -> dict[str, float]:
    """Name -> value: means over the stages, "NAME stage I" of each, Shapley values in fractions of mIoU, balances.

    A figure that the model does not have (one stream, no fused feature) is left out.
    """
    out: dict[str, float] = {}
    for stage in found.rows:
        for name, value in stage.numbers().items():
            if name in STAGED and value.value is not None:
                out[f"{name} stage {stage.stage}"] = value.value
    information = found.results.get("information")
    for told in information.stages if information else []:
        if told.concepts is not None:
            shares = {name: getattr(told.concepts.shares, name).value for name in ATOMS}
            out |= {f"pid {name} stage {told.stage}": v for name, v in shares.items() if v is not None}
    for name in (*STAGED, *(f"pid {atom}" for atom in ATOMS)):
        values = [v for key, v in out.items() if key.startswith(f"{name} stage ")]
        if values:
            out[name] = sum(values) / len(values)
    if found.contribution is not None:
        for stream, share in found.contribution.shapley.items():
            if share.miou is not None:
                out[f"shapley {stream}"] = share.miou
        joint = found.contribution.interaction
        if joint is not None and joint.miou is not None:
            out["interaction"] = joint.miou
    return out | _balance(out)


def _balance(values: dict[str, float]) -> dict[str, float]:
    out = {}
    own = [max(values.get(f"unique_{s}", 0.0), 0.0) for s in ("rgb", "x")]
    shared = max(values.get("redundant", 0.0), 0.0)
    if sum(own) + shared > 0:
        c = shared / (shared + sum(own))
        out["balance shares"] = 4 * c * (1 - c)
    if sum(own) > 0:
        out["balance streams"] = 1 - abs(own[0] - own[1]) / sum(own)
    kinds = [values.get(name, 0.0) for name in ("consistent", "rgb-specific", "x-specific")]
    if sum(kinds) > 0:
        k = kinds[0] / sum(kinds)
        out["balance concepts"] = 4 * k * (1 - k)
    return out
