"""What the elements of a dictionary look like: pieces of the images where their codes are largest, in rgb and in x."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.data.images import rgb_bytes
from fusionzoo.dissect.conditions import fitted
from fusionzoo.dissect.masks import plain_data
from fusionzoo.dissect.measures.dictionary import FOUND_AGAIN, Dictionary, Place, StageDictionary
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.results.examples import Exemplars
from fusionzoo.preprocess import missing_x

__all__ = ["exemplars", "worth_showing"]

SIDE = 0.2
"""Side of a piece, as a share of the image's shorter side."""
OF_A_KIND = 2
"""Elements shown of each kind at each stage."""
Piece = tuple[Tensor, Tensor, Tensor]


def exemplars(model: nn.Module, data: Any, found: Dissection) -> list[Exemplars]:
    """Pieces of the images that show the top elements of each stage and kind; none where no dictionary was measured.

    Args:
        model, data: those of the dissection.
    """
    made: Dictionary | None = found.results.get("dictionary")
    if made is None:
        return []
    plain = plain_data(fitted(model, data)[1])
    chosen = [(row, i) for row in made.stages for i in worth_showing(row)]
    places = [place for row, i in chosen for place in row.elements[i].places]
    pieces: dict[tuple[int, float, float], Piece] = {}
    for image in sorted({place.image for place in places}):  # each is read once, and let go
        sample = plain[image]
        here = (place for place in places if place.image == image)
        pieces |= {(image, place.top, place.left): _piece(sample, place, plain.x_kind) for place in here}
    shown = []
    for row, i in chosen:
        parts = zip(*(pieces[p.image, p.top, p.left] for p in row.elements[i].places), strict=True)
        rgb, x, missing = (torch.stack(part).numpy() for part in parts)
        names = (str(found.model.modalities[0]), str(found.model.modalities[1]))
        shown.append(Exemplars(row.stage, i, row.elements[i], rgb, x, missing, names, plain.x_kind))
    return shown


def worth_showing(row: StageDictionary) -> list[int]:
    """Numbers of the elements to show: of each kind but "mixed" those found again that hold most variance."""
    found: list[int] = []
    for kind in ("shared", "rgb", "x"):
        mine = [i for i, e in enumerate(row.elements) if e.kind == kind and e.again >= FOUND_AGAIN and e.places]
        found += mine[:OF_A_KIND]
    return found


def _piece(sample: dict[str, Any], place: Place, kind: str) -> Piece:
    """A square about a place, moved inside where it would reach beyond: uint8 (s, s, 3), float (Cx, s, s), (s, s)."""
    height, width = sample["rgb"].shape[-2:]
    side = max(1, round(SIDE * min(height, width)))
    top = min(max(0, round(place.top * height - side / 2)), height - side)
    left = min(max(0, round(place.left * width - side / 2)), width - side)
    rgb, x = (sample[key][..., top : top + side, left : left + side] for key in ("rgb", "x"))
    return rgb_bytes(rgb).permute(1, 2, 0).contiguous(), x.float(), missing_x(x, kind).any(0)
