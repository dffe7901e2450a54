"""What models of RGB and any number of auxiliary modalities share (CMNeXt, StitchFusion)."""

from __future__ import annotations

from typing import Any, NamedTuple

from fusionzoo.errors import InputError
from fusionzoo.modalities import parts_of
from fusionzoo.models.base import FusionModel
from fusionzoo.preprocess import Preprocess

__all__ = ["SeveralAuxiliaries", "Sizes", "sized"]

PUBLISHED = ("hha", "event", "lidar")
"""The auxiliary modalities of the published models, in their order; all are pictures of three channels."""


class Sizes(NamedTuple):
    """How many modalities stand beside RGB, channels of all of them and of each, preprocessing (None: the default)."""

    auxiliaries: int
    x_channels: int
    widths: tuple[int, ...]
    named: bool
    preprocess: Preprocess | None


def sized(auxiliaries: int | None, x_channels: int | None, preprocess: Preprocess | dict[str, Any] | None) -> Sizes:
    """What a constructor's arguments say of the auxiliary modalities, all of them optional.

    Args:
        auxiliaries: None: as many as the preprocessing names, or 1.
        x_channels: None: those of the kinds named, or 3 for each.
        preprocess: None: images / 255 where each has three channels, of the kinds PUBLISHED.

    Raises:
        InputError: fewer modalities than none, or not as many as are named.
    """
    if isinstance(preprocess, dict):
        preprocess = Preprocess.from_dict(preprocess)
    named = parts_of(preprocess.x_kind) if preprocess is not None and "+" in preprocess.x_kind else ()
    auxiliaries = (len(named) or 1) if auxiliaries is None else auxiliaries
    if auxiliaries < 0:
        raise InputError(f"{auxiliaries} auxiliary modalities; give 0 or more")
    if named and auxiliaries not in (0, len(named)):
        raise InputError(f"{auxiliaries} auxiliary modalities, but the preprocessing names {len(named)}")
    parts = max(1, auxiliaries)
    x_channels = x_channels or (named[-1].stop if named else 3 * parts)
    if preprocess is None and x_channels == 3 * parts:
        zero, one = (0.0,) * x_channels, (1.0,) * x_channels
        kind = "+".join(PUBLISHED[:parts]) if parts <= len(PUBLISHED) else "hha"
        preprocess = Preprocess(x_kind=kind, x_scale=1 / 255, x_mean=zero, x_std=one)
    widths = tuple([p.stop - p.start for p in named] or [x_channels // parts] * parts)
    return Sizes(auxiliaries, x_channels, widths, bool(named), preprocess)


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
