"""A data set looked at before anything is trained: what is there, what cannot be read, what is in two splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fusionzoo.data.auxiliary import DEPTH_KINDS
from fusionzoo.data.base import IGNORE
from fusionzoo.data.images import resize_nearest, resize_rgb, rgb_bytes
from fusionzoo.data.inspection import Example, Inspection, Same, SplitFacts, Unreadable, XFacts
from fusionzoo.data.official import Facts
from fusionzoo.data.similar import alike, fingerprint
from fusionzoo.data.spec import open_splits
from fusionzoo.data.validate import checked, no_x
from fusionzoo.errors import FusionZooError, InputError
from fusionzoo.preprocess import QUANTILES, missing_x
from fusionzoo.tasks import is_whole

__all__ = ["inspect"]

_VALUES = 2048  # of x of an image, of which the quantiles are
_WIDE = 240  # pixels of an example's picture, at most
_NAMED = 3  # images that a remark names


def inspect(
    data: Any,
    *,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    num_classes: int | None = None,
    near: bool = False,
    examples: int = 4,
    workers: int = 0,
    progress: bool = False,
) -> Inspection:
    """Reads every image of a data set once and says what is there.

    Args:
        data: a spec ("folder:PATH", "mfnet:PATH", ...), a data set of `fusionzoo.data`, or split -> data set.
        splits: of a spec, those to look at; None: all that do not overlap.
        limit: at most that many images of each split, evenly spread.
        num_classes: of a spec, as of `parse_spec`.
        near: also look for nearly equal images in two splits (see `fusionzoo.data.similar`).
        examples: images of each split to keep small pictures of.
        workers: processes that read.
        progress: show a bar on stderr.

    Raises:
        InputError: nothing can be opened. What single images lack is in the result instead.

    >>> found = inspect("planted", splits=["val"], limit=2)
    >>> found.ok, found.splits[0].n, found.splits[0].sizes, found.splits[0].x.unit
    (True, 2, {'120x160': 2}, 'm')
    """
    refused: dict[str, str] = {}
    if isinstance(data, str):
        opened, refused = open_splits(data, splits, limit=limit, num_classes=num_classes)
    elif splits is not None or limit is not None or num_classes is not None:
        raise InputError("splits, limit and num_classes belong to a spec such as 'folder:PATH'; give the data sets cut")
    else:
        opened = dict(data) if isinstance(data, Mapping) else {str(data.split): data}
    first = next(iter(opened.values()), None)
    if first is None:
        raise InputError("no split to look at; give a data set, or split -> data set")
    seen = {split: list(_seen(source, examples, near, workers, progress)) for split, source in opened.items()}
    splits_ = [_facts(split, source, seen[split]) for split, source in opened.items()]
    equal = _equal(seen) + (_near(seen) if near else [])
    stated = getattr(first, "facts", None)
    told = ("title", "paper", "licence", "get") if isinstance(stated, Facts) else ()
    return Inspection(
        name=first.name,
        class_names=list(first.class_names),
        x_kind=first.x_kind,
        x_channels=first.x_channels,
        splits=splits_,
        unreadable=[Unreadable(split, s.id, s.error) for split, rows in seen.items() for s in rows if s.error],
        refused=refused,
        equal=equal,
        remarks=_remarks(splits_, equal, list(first.class_names), first.x_kind),
        facts={key: getattr(stated, key) for key in told},
        palette=list(getattr(first, "palette", ())),
        examples=[Example(split, *s.example) for split, rows in seen.items() for s in rows if s.example],
    )


@dataclass(frozen=True)
class _Seen:
    """What is kept of one image."""

    id: str
    error: str = ""
    size: str = ""
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    ends: tuple[float, float] | None = None
    missing: float = 0.0
    labelled: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    digest: bytes = b""
    print: np.ndarray | None = None
    example: tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None


class _Look(Dataset[_Seen]):
    """The images of `data`, each read and measured where a worker of a loader asks for it."""

    def __init__(self, data: Any, examples: int, near: bool) -> None:
        self.data, self.near = data, near
        n, k = len(data), min(examples, len(data))
        self.shown = {i * n // k for i in range(k)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> _Seen:
        name = str(self.data.ids[index])
        try:
            sample = checked(self.data[index], self.data)
        except FusionZooError as error:
            return _Seen(name, str(error))
        rgb, x, label = sample["rgb"], sample["x"], sample["label"]
        hole = missing_x(x, self.data.x_kind)
        valid = x[~hole]
        plain = np.ascontiguousarray(rgb.numpy())
        return _Seen(
            id=name,
            size=f"{rgb.shape[-2]}x{rgb.shape[-1]}",
            values=valid[:: max(1, -(-valid.numel() // _VALUES))].float().numpy(),
            ends=None if no_x(x, self.data.x_kind) else (float(valid.min()), float(valid.max())),
            missing=float(hole.float().mean()),
            labelled=np.bincount(label.flatten().numpy().astype(np.uint8), minlength=256),
            digest=hashlib.blake2b(f"{plain.shape}{plain.dtype}".encode() + plain.tobytes(), digest_size=20).digest(),
            print=fingerprint(rgb) if self.near else None,
            example=_example(name, rgb, x, hole.any(dim=0), label) if index in self.shown else None,
        )


def _seen(data: Any, examples: int, near: bool, workers: int, progress: bool) -> Iterator[_Seen]:
    from tqdm import tqdm

    look = _Look(data, examples, near)
    rows = DataLoader(look, None, num_workers=workers) if workers else (look[i] for i in range(len(look)))
    yield from tqdm(rows, total=len(look), unit="image", desc=str(data.split), disable=not progress)


def _example(
    name: str, rgb: Tensor, x: Tensor, hole: Tensor, label: Tensor
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    height, width = rgb.shape[-2:]
    size = (max(1, height * min(_WIDE, width) // width), min(_WIDE, width))
    small = label if is_whole(label.shape, (height, width)) else resize_nearest(label, size)
    return (
        name,
        resize_rgb(rgb_bytes(rgb), size).permute(1, 2, 0).contiguous().numpy(),  # (3, h, w) -> (h, w, 3)
        resize_nearest(x.float(), size).contiguous().numpy(),
        resize_nearest(hole, size).contiguous().numpy(),
        small.to(torch.uint8).contiguous().numpy(),
    )


def _facts(split: str, data: Any, rows: Sequence[_Seen]) -> SplitFacts:
    read = [row for row in rows if not row.error]
    ends = [row.ends for row in read if row.ends is not None]
    values = np.concatenate([row.values for row in read]) if read else np.zeros(0, np.float32)
    labelled = sum((row.labelled for row in read), np.zeros(256, np.int64))
    within = np.stack([row.labelled > 0 for row in read]) if read else np.zeros((1, 256), bool)
    x = XFacts(
        unit="m" if data.x_kind in DEPTH_KINDS else "",
        low=min((low for low, _ in ends), default=None),
        high=max((high for _, high in ends), default=None),
        quantiles=tuple(float(v) for v in np.quantile(values.astype(np.float64), QUANTILES)) if values.size else (),
        missing=float(np.mean([row.missing for row in read])) if read else 0.0,
        most=max((row.missing for row in read), default=0.0),
        empty=[row.id for row in read if row.ends is None],
    )
    count, every = data.num_classes, max(1, int(labelled.sum()))
    return SplitFacts(
        split=split,
        n=len(rows),
        sizes=dict(Counter(row.size for row in read).most_common()),
        x=x,
        pixels=[int(v) for v in labelled[:count]],
        images=[int(v) for v in within[:, :count].sum(axis=0)],
        ignored=float(labelled[IGNORE] / every),
    )


def _equal(seen: Mapping[str, Sequence[_Seen]]) -> list[Same]:
    """Every image whose pixels an earlier one has."""
    first: dict[bytes, tuple[str, str]] = {}
    found = []
    for split, rows in seen.items():
        for row in rows:
            if row.digest and first.setdefault(row.digest, (split, row.id)) != (split, row.id):
                found.append(Same(first[row.digest], (split, row.id)))
    return found


def _near(seen: Mapping[str, Sequence[_Seen]]) -> list[Same]:
    """Of each image the nearest of an earlier split, where it is nearly, but not quite, equal."""
    found, names = [], list(seen)
    for at, later in enumerate(names):
        for earlier in names[:at]:
            ours, theirs = ([(r, r.print) for r in seen[name] if r.print is not None] for name in (later, earlier))
            for i, j, bits in alike([p for _, p in ours], [p for _, p in theirs]):
                mine, other = ours[i][0], theirs[j][0]
                if mine.digest != other.digest:
                    found.append(Same((earlier, other.id), (later, mine.id), max(bits, 1)))
    return found


def _remarks(splits: Sequence[SplitFacts], equal: Sequence[Same], names: Sequence[str], x_kind: str) -> list[str]:
    said = []
    for what, chosen in (
        ("{n} images of two splits are equal in every pixel", [e for e in equal if not e.bits and _apart(e)]),
        ("{n} images are in one split twice", [e for e in equal if not e.bits and not _apart(e)]),
        ("{n} images of two splits are nearly equal", [e for e in equal if e.bits]),
    ):
        if chosen:
            pairs = ", ".join(f"{'/'.join(e.first)} = {'/'.join(e.second)}" for e in chosen[:_NAMED])
            said.append(f"{what.format(n=len(chosen))}: {pairs}{', ...' if len(chosen) > _NAMED else ''}")
    for s in splits:
        if s.x.empty:
            said.append(f"{s.split}: {len(s.x.empty)} of {s.n} images have no valid {x_kind}: {_some(s.x.empty)}")
        if len(s.sizes) > 1:
            said.append(f"{s.split}: images of {len(s.sizes)} sizes, {_some(list(s.sizes))}")
        if s.n and not sum(s.pixels):
            said.append(f"{s.split}: no pixel is labelled")
    trained = next((s for s in splits if s.split.startswith("train")), None)
    if trained is not None and any(trained.pixels):
        unseen = [name for name, count in zip(names, trained.pixels, strict=True) if not count]
        if unseen:
            said.append(f"{trained.split} has no pixel of {len(unseen)} classes: {_some(unseen)}")
    medians = {s.split: s.x.quantiles[2] for s in splits if s.x.quantiles and s.x.quantiles[2] > 0}
    if medians and max(medians.values()) > 2 * min(medians.values()):
        told = ", ".join(f"{value:.3g} in {split}" for split, value in medians.items())
        said.append(f"the median of {x_kind} is {told}: is it one unit everywhere?")
    return said


def _apart(pair: Same) -> bool:
    return pair.first[0] != pair.second[0]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
