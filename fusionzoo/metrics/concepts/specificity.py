"""Consistent and specific concepts of two modalities, and what becomes of them in the fused feature.

For a concept c with set IoU r in rgb, d in x and f in the fused feature, errors and a noise floor (the difference of
one representation with itself):

* encoded in a stream: its IoU, less z standard errors, is above the chance level, what marking every position scores.
* bound of a difference: the larger of its floor and z standard errors of the difference.
* specific to rgb (x): encoded there, and r - d (d - r) is above the bound.
* consistent: encoded in both, |r - d| within the bound, and the bound small enough (`tolerance`) for that to mean
  alike.
* none: encoded in neither. undecided: what is left; more images are needed to tell.

Fused: "gained" above both modalities by more than the bound, "lost" below the better one by more than the bound, else
"kept". These are rules of ours; they turn IoU vectors with errors into words and nothing more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo

__all__ = ["FUSED_ROLES", "INFO", "ROLES", "ConceptRoles", "concept_roles", "fused_roles"]

ROLES = ("consistent", "rgb", "x", "none", "undecided")
FUSED_ROLES = ("gained", "kept", "lost", "absent")

INFO = MetricInfo(
    name="consistent and specific concepts",
    low=0.0,
    high=1.0,
    larger_is="more of the concepts",
    invariant_to=("order of concepts",),
    cost="O(K)",
    source="our rules on set IoU, errors and floor",
)


@dataclass(frozen=True)
class ConceptRoles:
    """Role of every concept.

    Attributes:
        roles: K names of ROLES; "rgb" and "x": specific to it.
        delta: (K,) float64 IoU of rgb minus IoU of x.
        bound: (K,) differences up to this are not told from noise.
        encoded_rgb, encoded_x: (K,) bool.
    """

    roles: tuple[str, ...]
    delta: Tensor
    bound: Tensor
    encoded_rgb: Tensor
    encoded_x: Tensor

    @property
    def counts(self) -> dict[str, int]:
        """Role -> number of concepts, all of ROLES."""
        found = Counter(self.roles)
        return {role: found[role] for role in ROLES}

    @property
    def consistency(self) -> float:
        """Share of consistent concepts among those decided and encoded; NaN where there are none."""
        counts = self.counts
        decided = counts["consistent"] + counts["rgb"] + counts["x"]
        return counts["consistent"] / decided if decided else float("nan")

    @property
    def balance(self) -> float:
        """(specific to rgb - specific to x) / (specific to either), -1 to 1; NaN where there are none."""
        counts = self.counts
        specific = counts["rgb"] + counts["x"]
        return (counts["rgb"] - counts["x"]) / specific if specific else float("nan")


def _vector(value: Tensor | None, like: Tensor) -> Tensor:
    """(K,) float64; zeros for None and for NaN."""
    if value is None:
        return torch.zeros_like(like)
    value = torch.as_tensor(value, dtype=torch.float64)
    if value.shape != like.shape:
        raise InputError(f"one value per concept: expected {tuple(like.shape)}, got {tuple(value.shape)}")
    return value.nan_to_num(0)


def concept_roles(
    rgb: Tensor,
    x: Tensor,
    *,
    se_rgb: Tensor | None = None,
    se_x: Tensor | None = None,
    se_delta: Tensor | None = None,
    floor: Tensor | None = None,
    chance: Tensor | None = None,
    z: float = 1.96,
    tolerance: float = 0.1,
) -> ConceptRoles:
    """Role of every concept from its set IoU in two modalities.

    Args:
        rgb, x: (K,) set IoU, 0 to 1; NaN concepts are "none".
        se_rgb, se_x: (K,) standard errors of the two; 0 when None.
        se_delta: (K,) standard error of the difference (`compare_curves(...).se`); from the two as if they were
            independent when None, which is too large when they share images.
        floor: (K,) difference of one representation with itself; 0 when None.
        chance: (K,) IoU of marking everything, `ConceptScores.curve[:, 0]`; 0 when None.
        z: standard errors that a difference must exceed.
        tolerance: largest bound with which two IoUs can be called alike.

    Raises:
        InputError: lengths differ.

    >>> rgb, x, chance = torch.tensor([0.6, 0.5, 0.1]), torch.tensor([0.2, 0.5, 0.1]), torch.full((3,), 0.1)
    >>> roles = concept_roles(rgb, x, chance=chance)
    >>> roles.roles, roles.consistency, roles.balance
    (('rgb', 'consistent', 'none'), 0.5, 1.0)
    """
    rgb, x = torch.as_tensor(rgb, dtype=torch.float64), torch.as_tensor(x, dtype=torch.float64)
    if rgb.ndim != 1 or rgb.shape != x.shape:
        raise InputError(f"one IoU per concept and stream: got {tuple(rgb.shape)} and {tuple(x.shape)}")
    error_rgb, error_x, level = _vector(se_rgb, rgb), _vector(se_x, rgb), _vector(chance, rgb)
    error = (error_rgb.square() + error_x.square()).sqrt() if se_delta is None else _vector(se_delta, rgb)
    bound = torch.maximum(z * error, _vector(floor, rgb))
    delta = rgb - x
    in_rgb, in_x = rgb - z * error_rgb > level, x - z * error_x > level
    names = []
    for k in range(len(rgb)):
        d, b = float(delta[k]), float(bound[k])
        if not in_rgb[k] and not in_x[k]:
            names.append("none")
        elif d > b and in_rgb[k]:
            names.append("rgb")
        elif -d > b and in_x[k]:
            names.append("x")
        elif in_rgb[k] and in_x[k] and abs(d) <= b + 1e-12 and b <= tolerance:
            names.append("consistent")
        else:
            names.append("undecided")
    return ConceptRoles(tuple(names), delta, bound, in_rgb, in_x)


def fused_roles(rgb: Tensor, x: Tensor, fused: Tensor, bound: Tensor | None = None) -> tuple[str, ...]:
    """What becomes of every concept in the fused feature.

    Args:
        rgb, x, fused: (K,) set IoU; NaN in all three is "absent", a NaN stream otherwise counts as 0.
        bound: (K,) differences up to this are not told from noise; 0 when None.

    Returns:
        K names of FUSED_ROLES.

    >>> fused_roles(torch.tensor([0.3, 0.6]), torch.tensor([0.2, 0.1]), torch.tensor([0.5, 0.4]), torch.full((2,), 0.1))
    ('gained', 'lost')
    """
    streams = [torch.as_tensor(t, dtype=torch.float64) for t in (rgb, x, fused)]
    if len({t.shape for t in streams}) > 1 or streams[0].ndim != 1:
        raise InputError(f"one IoU per concept and stream: got {[tuple(t.shape) for t in streams]}")
    slack = _vector(bound, streams[0])
    absent = torch.stack([t.isnan() for t in streams]).all(0)
    one, two, both = (t.nan_to_num(0) for t in streams)
    change = both - torch.maximum(one, two)
    names = []
    for k in range(len(change)):
        if absent[k]:
            names.append("absent")
        elif change[k] > slack[k]:
            names.append("gained")
        else:
            names.append("lost" if -change[k] > slack[k] else "kept")
    return tuple(names)
