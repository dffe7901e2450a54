"""What each modality is for: the classes that break without it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusionzoo.dissect.findings.use import USED, Use, uses
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import ERRORS, RECOGNISED, Finding, points, real, words

__all__ = ["breaks"]

LOST, SURELY = 0.8, 0.5
"""A class is lost when it loses this share of its IoU, and this share beyond its errors."""
SHOWN = 0.02
"""Less IoU is not worth a word."""
MOST = 3
"""So many classes are named that lose or gain, the largest changes."""


@dataclass
class _Changes:
    """What becomes of the classes without one modality: lost, less (not lost), more; with the change of IoU."""

    lost: list[str] = field(default_factory=list)
    less: list[tuple[float, str]] = field(default_factory=list)
    more: list[tuple[float, str]] = field(default_factory=list)


def breaks(d: Dissection) -> list[Finding]:
    """Which classes break without which modality."""
    both, found = d.segmentation.get("both"), uses(d)
    names = [repr(name) for name in d.data.class_names]
    if both is None or len(found) < 2 or all(iou is None for iou in both.iou):
        return []
    basis = ("breaks", "class IoU with and without each modality", "intervention")
    read = [use for use in found.values() if use.kind != "unread"]
    if len(read) == 1:
        known = [(iou, name) for iou, name in zip(both.iou, names, strict=True) if iou is not None]
        seen, missed = ([n for iou, n in known if (iou >= RECOGNISED) == well] for well in (True, False))
        text = f"From {read[0].name} alone it recognises {words(seen) if seen else 'no class'}"
        text += f"; not {words(missed)} (IoU below {points(RECOGNISED)})" if missed else ""
        return [Finding("info", f"{text}.", *basis, first=True)]
    if not read or all(use.drop.miou_error is None for use in read):
        return []
    changes = {use.stream: _changed(use, both.iou, names) for use in read}
    needed = [name for name in names if all(name in made.lost for made in changes.values())]
    parts = [f"without {use.name} {_said(use, changes[use.stream], needed)}" for use in read]
    if needed:
        parts.append(f"{words(needed)} need{'' if len(needed) > 1 else 's'} both: lost without either")
    text = "; ".join(parts)
    return [Finding("info", f"{text[0].upper()}{text[1:]}.", *basis, first=True)]


def _changed(use: Use, both: list[float | None], names: list[str]) -> _Changes:
    made = _Changes()
    for iou, value, error, name in zip(both, use.drop.iou, use.drop.iou_error, names, strict=True):
        if iou is None or value is None or error is None or not real(abs(value), error, SHOWN):
            continue
        if value < 0:
            made.more.append((-value, name))
        elif iou >= RECOGNISED and value >= LOST * iou and value - ERRORS * error >= SURELY * iou:
            made.lost.append(name)
        else:
            made.less.append((value, name))
    return made


def _said(use: Use, made: _Changes, needed: list[str]) -> str:
    if use.kind == "unchanged":
        return "nothing changes"
    if use.kind not in USED:
        return "no class changes measurably"
    listed = lambda rows: words(f"{name} ({points(value)})" for value, name in sorted(rows, reverse=True)[:MOST])  # noqa: E731
    alone = [name for name in made.lost if name not in needed]
    said = [f"{words(alone)} {'is' if len(alone) == 1 else 'are'} lost"] if alone else []
    if made.less and not made.lost:
        said.append(f"{listed(made.less)} lose{'s' if len(made.less) == 1 else ''} most IoU")
    if made.more:
        said.append(f"{listed(made.more)} gain{'s' if len(made.more) == 1 else ''} IoU")
    if said:
        return ", ".join(said)
    return "no other class is lost" if made.lost else "no class loses measurably"
