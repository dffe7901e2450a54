"""What one image's streams hold -> groups of pictures: features as colours and weights by stage, concepts by stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusionzoo.dissect.results.examples import Example, Sight, StageView, Weight
from fusionzoo.report.panels import Panel
from fusionzoo.report.pictures import Picture, modality_picture, painted, striped, tinted
from fusionzoo.report.style import LIGHT
from fusionzoo.report.table import clean, points

__all__ = ["Group", "HOW_TO_READ", "inside"]

HOW_TO_READ = (
    "Inside the streams: the first three principal components of a stage's features as red, green and blue, one basis"
    " for its streams (each about its mean and at equal variance) and for all images, so that like colours are like"
    " directions; weights from dark (0) to bright (1), shares of the two modalities in their colours; striped: replaced"
    " by the other stream. A concept's detector is strong where it says yes, faint where it is close to; the black line"
    " is the outline of the concept."
)
_NEAR = 2.0
"""Standard deviations below its threshold at which a detector's score begins to be seen."""


@dataclass(frozen=True)
class Group:
    """Pictures that belong together. `kind`: how the page lays them out, "few" as many as fit, "four" in one row."""

    title: str
    panels: Sequence[Panel]
    kind: str = "few"


def inside(e: Example) -> list[Group]:
    """The groups of one image, none where nobody looked inside."""
    if e.inside is None:
        return []
    found = [_stage(e, view) for view in e.inside.stages]
    return found + [_concept(e, sight) for sight in e.inside.concepts if sight.margin]


def _name(e: Example, stream: str) -> str:
    return clean(e.modalities[1]) if stream == "x" else stream


def _stage(e: Example, view: StageView) -> Group:
    made = []
    for stream, picture in view.features.items():
        name, own = _name(e, stream), stream in view.apart
        size = f"{picture.shape[1]}x{picture.shape[0]} positions"
        words = f"{name} features of {clean(e.id)} at stage {view.stage} as colours, {size}"
        held = f"{100 * view.held[stream]:.0f} % of the variance"
        title = name + (f", colours of its own ({held})" if own else "")
        made.append(Panel(f"stage{view.stage}_{stream}", title, f"{words}; they show {held}", picture, False))
    made += [_weight(e, view.stage, w) for w in view.weights]
    shared = next((view.held[s] for s in view.features if s not in view.apart), None)
    told = "" if shared is None else f": colours show {100 * shared:.0f} % of the variance"
    return Group(f"Stage {view.stage}{told}", made)


def _weight(e: Example, stage: int, weight: Weight) -> Panel:
    values = weight.values
    words = (
        f"{clean(weight.name)} at stage {stage} ({clean(weight.meaning)}), of {clean(e.id)}: {values.min():.2f} to"
        f" {values.max():.2f}, mean {values.mean():.2f}"
    )
    if weight.mixture:
        lean = 2 * values - 1
        picture = modality_picture(np.full((*values.shape, 3), 128, np.uint8), lean, np.ones_like(lean))
        words += f" is rgb's, the rest {_name(e, 'x')}'s"
    else:
        picture = painted(values, np.zeros(values.shape, bool), (0.0, 1.0))
    replaced = weight.replaced
    if weight.of_channels:  # a row is no picture yet
        tall = max(1, values.shape[1] // 5)
        picture = np.repeat(picture, tall, 0)
        replaced = None if replaced is None else np.repeat(replaced, tall, 0)
        words += f"; one column a channel, {values.shape[1]} in all"
    if replaced is not None and weight.replaced is not None:
        words += f"; replaced in {100 * weight.replaced.mean():.0f} %"
        picture = striped(picture, replaced)
    file = re.sub(r"[^\w.-]+", "-", weight.name)
    return Panel(f"stage{stage}_{file}", clean(weight.name), words, picture, False)


def _concept(e: Example, sight: Sight) -> Group:
    name, file = clean(sight.concept), re.sub(r"[^\w.-]+", "-", sight.concept)
    size = f"{100 * sight.mask.sum() / max(1, (~sight.unknown).sum()):.1f} % of the image"
    where = f"{name} in {clean(e.id)}"
    drawn = tinted(e.rgb, np.where(sight.mask, 0.85, 0.0), LIGHT["both"])
    made = [Panel(f"concept_{file}_mask", "where it is", f"mask of {where}: {size}", drawn)]
    for stream, margin in sight.margin.items():
        yes = (margin >= 0) & ~sight.unknown
        right = 100 * (yes & sight.mask).sum() / max(1, yes.sum())
        score = points(sight.iou.get(stream))
        words = (
            f"detector of {where} in the {_name(e, stream)} features of stage {sight.stage}: says yes in"
            f" {100 * yes.mean():.1f} % of the image, {right:.0f} % of that inside the mask; set IoU {score}"
        )
        made.append(
            Panel(f"concept_{file}_{stream}", f"{_name(e, stream)}, IoU {score}", words, _seen(e, sight, stream))
        )
    return Group(f"{name}, at stage {sight.stage}", made, "four")


def _seen(e: Example, sight: Sight, stream: str) -> Picture:
    """Where a stream's detector says yes, and where it is close to, with the outline of the mask."""
    margin = sight.margin[stream]
    faint, strong = 0.4 * np.clip(1 + margin / _NEAR, 0, 1), 0.65 + 0.3 * np.clip(margin / _NEAR, 0, 1)
    return tinted(e.rgb, np.where(margin >= 0, strong, faint), LIGHT[stream if stream in LIGHT else "x"], sight.mask)
