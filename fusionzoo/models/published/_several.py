"""What models of RGB and any number of auxiliary modalities share (CMNeXt, StitchFusion)."""

from __future__ import annotations

from typing import Any

from fusionzoo.errors import InputError
from fusionzoo.models.base import FusionModel

__all__ = ["SeveralAuxiliaries", "counted"]


def counted(auxiliaries: int | None, named: int) -> int:
    """How many modalities stand beside RGB: as given, else as many as the preprocessing names, else 1.

    Raises:
        InputError: fewer than none, or not as many as are named.
    """
    auxiliaries = (named or 1) if auxiliaries is None else auxiliaries
    if auxiliaries < 0:
        raise InputError(f"{auxiliaries} auxiliary modalities; give 0 or more")
    if named and auxiliaries not in (0, named):
        raise InputError(f"{auxiliaries} auxiliary modalities, but the preprocessing names {named}")
    return auxiliaries


class SeveralAuxiliaries(FusionModel):
    """A model with `auxiliaries` modalities beside RGB; with 0 it ignores x. `own_map`: probe of one of them, with the
    stage and its number filled in."""

    auxiliaries: int
    own_map: str

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("rgb", "x") if self.auxiliaries else ("rgb",)

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        """Also each of several auxiliary modalities by its name, before they meet."""
        found: dict[int, dict[str, Any]] = super().levels
        names = self.modalities[1:]
        own = dict(enumerate(names)) if len(names) == self.auxiliaries > 1 else {}
        return {i: at | {n: self.own_map.format(stage=i, before=i - 1, number=j) for j, n in own.items()}
                for i, at in found.items()}  # fmt: skip
