"""The main job: is this checkpoint what it says it is, and does the model use both modalities, where, and for what?

`check` writes `report.json`; `fusionzoo.report` makes the page and the terminal text of its result.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusionzoo.data import as_kind, parse_spec
from fusionzoo.data.spec import GENERATED, label_maps
from fusionzoo.data.validate import has_labels, sorted_out, without_x
from fusionzoo.dissect import Dissection, dissect
from fusionzoo.dissect.conditions import fitted, unlike
from fusionzoo.dissect.dissection import default_metrics
from fusionzoo.dissect.effects import Effects
from fusionzoo.dissect.findings import Finding, findings
from fusionzoo.dissect.pictures.examples import chosen_examples
from fusionzoo.dissect.pictures.exemplars import exemplars
from fusionzoo.dissect.pictures.insight import Insight, insight
from fusionzoo.dissect.results.examples import Example, Exemplars
from fusionzoo.dissect.robustness import robustness as robustness_curves
from fusionzoo.dissect.split import chosen_images
from fusionzoo.dissect.trace import trace as trace_effects
from fusionzoo.errors import CheckFailed, FusionZooWarning, InputError
from fusionzoo.files import atomic_write
from fusionzoo.hub.load import resolve
from fusionzoo.hub.records import Record
from fusionzoo.hub.verification import Verification
from fusionzoo.models.device import usable_device
from fusionzoo.tasks import CLASSIFICATION, model_for, spoken

__all__ = ["CheckResult", "Finding", "check", "labelled", "measured", "open_data", "report_path", "unlike"]

FORMAT_VERSION = 1
TOLERANCE = 0.001
"""Largest accepted difference between a measured mIoU and the record's: 0.1 point."""


@dataclass
class CheckResult:
    """What `check` found.

    Attributes:
        name, source: the checkpoint, and where its files came from.
        verification: the file checks, each {"check", "ok", "detail"}.
        dissection: None when the verification failed, or the model's output is not finite.
        findings: sentences, the answer first.
        examples: the images that the dissection chose, where they were asked for; not in report.json.
        exemplars: what the elements of the dictionary look like, where both were asked for.
        beside: those that another checkpoint's dissection chose, where they were asked for.
        ok: False when a file check failed, the planted truth is not found, or the mIoU is not what the record says.
    """

    name: str
    source: str
    verification: Verification
    dissection: Dissection | None
    findings: list[Finding]
    examples: list[Example] = field(default_factory=list)
    beside: list[Example] = field(default_factory=list)
    exemplars: list[Exemplars] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.verification.ok and not any(f.level == "fail" for f in self.findings)

    @property
    def exit_status(self) -> int:
        """0 or 1, for the command line."""
        return 0 if self.ok else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the content of report.json."""
        return {
            "format_version": FORMAT_VERSION,
            "ok": self.ok,
            "checkpoint": {"name": self.name, "source": self.source},
            "findings": [f.to_dict() for f in self.findings],
            "verification": [dict(c) for c in self.verification],
            "dissection": None if self.dissection is None else self.dissection.to_dict(),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes report.json, all or nothing."""
        atomic_write(path, json.dumps(self.to_dict(), indent=1, allow_nan=False).encode() + b"\n")


def check(
    name: str | os.PathLike[str],
    data: str | Any | None = None,
    out: str | os.PathLike[str] | None = "report",
    limit: int | None = None,
    *,
    split: str | None = None,
    size: tuple[int, int] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    index: str | os.PathLike[str] | None = None,
    points: str | Sequence[str] | None = None,
    trace: bool = False,
    robustness: bool = False,
    dictionary: bool = False,
    pictures: bool = False,
    beside: CheckResult | None = None,
    absence: str = "mean",
    batch_size: int = 8,
    progress: bool = True,
    state: str | os.PathLike[str] | None = None,
    align: bool = False,
    empty: str = "refuse",
    device: str | None = None,
) -> CheckResult:
    """Verifies a checkpoint, dissects it on data, and says what came out; `.ok` and `.exit_status` say how it went.

    Args:
        name: a bundled `architecture.tag`, a folder, or `hf-hub:org/name`.
        data: "planted", "nyuv2:PATH", "folder:PATH", or a dataset; None: what the checkpoint was trained on, where that
            is drawn and needs no files, else "planted".
        out: where report.json goes: "report" writes report.json, a folder gets a report.json inside; None: nowhere.
        limit: at most that many images.
        split: of the data; by default "test".
        size: (H, W) that the model sees; by default that of the record's result on this data, else the config's.
        revision, token, index: as for `fusionzoo.from_pretrained`.
        points, absence, batch_size, progress, state: as for `fusionzoo.dissect`.
        trace: also ablate and restore every stage of each modality: some 70 forward passes of each image.
        robustness: also corrupt the images: some 45 forward passes of each.
        dictionary: also what the streams share and what each has alone, without labels: no pass more, about a second
            and a half a stage; with `pictures` also what its elements look like.
        pictures: also look at a handful of images one by one (`fusionzoo.dissect.pictures.examples`), for
            `fusionzoo.report.html(..., examples=result.examples)`: four forward passes of each.
        beside: the result of another checkpoint with its examples; where both are of the same images and classes, the
            images that it chose are looked at as well, to be compared.
        align: resample x of another size than rgb's (nearest), where `data` is a text.
        empty: images without any valid x: "refuse", "skip" them, or "keep" them for their rgb.
        device: "cpu", "cuda", ...; by default the CPU.

    Raises:
        UnknownNameError, InputError: no such checkpoint or data, data of other classes than the checkpoint's, or
            without any labelled pixel.
    """
    if not isinstance(data, str | None) and (size is not None or split is not None):
        raise InputError(
            "size and split are for data that are named ('planted', 'folder:PATH'); a data set has its own: give them"
            " where it is made"
        )
    checkpoint = resolve(name, revision, token, index=index)
    verification, model = checkpoint.inspect()
    result = CheckResult(checkpoint.name, checkpoint.source, verification, None, [])
    if model is None:
        why = checkpoint.failure(verification)
        result.findings = [Finding("fail", f"The checkpoint failed its verification: {why}")]
    else:
        record = checkpoint.stated
        if device is not None:
            model.to(usable_device(device))
        dataset = open_data(data, model, record, split=split, size=size, limit=limit, align=align, empty=empty)
        model = model_for(model, dataset)
        labelled(dataset)
        remarks = [getattr(dataset, "empty_note", ""), unlike(model.preprocess, dataset)]
        try:
            common: dict[str, Any] = {"limit": limit, "batch_size": batch_size, "progress": progress}
            common |= {"absence": absence, "name": checkpoint.name}
            asked = [part for part, on in (("trace", trace), ("robustness", robustness)) if on]
            source = checkpoint.source
            learned: list[Insight] = []
            # they show the classes of pixels, and rgb beside one other
            pictures = pictures and len(model.modalities) < 3 and model.task != CLASSIFICATION
            keep = (lambda done: learned.append(insight(done))) if pictures else None
            metrics = _with_dictionary(dataset, limit) if dictionary else None
            result.dissection = dissect(
                model, dataset, points=points, state=state, source=source, then=keep, metrics=metrics, **common
            )
            result.dissection.effects = _effects(model, dataset, asked, state, common)
            if pictures:
                result.examples = chosen_examples(model, dataset, result.dissection, learned[0])
                result.exemplars = exemplars(model, dataset, result.dissection)
            if beside is not None and pictures and _alike(beside.dissection, result.dissection):
                others = [replace(e.chosen, accuracy={}) for e in beside.examples if e.chosen is not None]
                result.beside = chosen_examples(model, dataset, result.dissection, images=others)
        except CheckFailed as error:
            result.findings = [Finding("fail", f"The model cannot be dissected: {error}")]
        else:
            said = findings(result.dissection)
            front = sum(f.first for f in said)
            said[front:front] = [
                *(Finding("warn", text) for text in remarks if text),
                *_against_record(result.dissection, record, limit is None),
            ]
            result.findings = said
    if out is not None:
        result.save(report_path(out))
    return result


def _with_dictionary(data: Any, limit: int | None) -> tuple[str, ...]:
    """What is measured by default of so many images, and the dictionary."""
    return (*default_metrics(data, len(chosen_images(data, limit))), "dictionary")


def _alike(one: Dissection | None, other: Dissection) -> bool:
    """Whether two dissections are of the same images and classes."""
    facts = ("name", "split", "n", "class_names")
    return one is not None and all(getattr(one.data, fact) == getattr(other.data, fact) for fact in facts)


def _effects(model: Any, data: Any, asked: list[str], state: Any, common: dict[str, Any]) -> Effects | None:
    """Causal tracing and corruption curves, as asked for; each with a state file of its own beside the dissection's."""
    measures: dict[str, Any] = {"trace": trace_effects, "robustness": robustness_curves}
    beside = {part: state if state is None else f"{os.fspath(state)}.{part}" for part in asked}
    return Effects(**{p: measures[p](model, data, state=beside[p], **common) for p in asked}) if asked else None


def report_path(out: str | os.PathLike[str], suffix: str = ".json") -> Path:
    """The file that `out` means: a folder gets `report` + suffix inside, anything else the suffix.

    >>> report_path("no/first").as_posix(), report_path("a/b.json", ".html").as_posix(), report_path("no/").as_posix()
    ('no/first.json', 'a/b.html', 'no/report.json')
    """
    path = Path(out)
    if path.is_dir() or os.fspath(out).endswith(("/", os.sep)):
        return path / f"report{suffix}"
    return path.with_suffix(suffix) if path.suffix in (".json", ".html") else path.with_name(path.name + suffix)


def measured(d: Dissection) -> dict[str, Any]:
    """The dissection's result with both modalities as a record states results (`metrics` of record.json).

    `protocol` names all that the number depends on and the data and split do not say: one forward pass of each image at
    the given height x width, logits upsampled to the labels' own size.
    """
    both = d.segmentation["both"]
    return {
        "data": d.data.name,
        "split": d.data.split,
        "protocol": f"single scale, {d.data.size[0]}x{d.data.size[1]}",
        "miou": both.miou,
        "pixel_accuracy": both.pixel_accuracy,
        "n": d.data.n,
    }


def open_data(
    data: str | Any | None,
    model: Any,
    record: Record | None = None,
    *,
    split: str | None = None,
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    align: bool = False,
    empty: str = "refuse",
) -> Any:
    """The dataset that `data` names (None: see `check`), as the model takes it: its kind of x, its classes, its size.

    Without `size` that is the size of the record's result on this data, or else of the config.
    With `empty` "skip" or "keep" its `note` says which images without x there are, if any; and so does a warning.

    Raises:
        UnknownNameError, InputError: no such data, data of which the model's x cannot be made, or of other classes.
    """
    data = _usual_data(record) if data is None else data
    named = isinstance(data, str)
    if named:
        kind, classes = data.partition(":")[0], len(model.class_names)
        size = size or _stated_size(record, kind, split or "test") or model.input_size
        options: dict[str, Any] = {"align": align or None, "empty_depth": None if empty == "refuse" else "keep"}
        if kind in GENERATED:
            options["cache"] = True  # small, and drawing a scene costs as much as dissecting it
        if kind == "nyuv2" or classes in label_maps(kind):
            options["num_classes"] = classes
        dataset = parse_spec(data, split=split, size=size, limit=limit, **options)
    else:
        _, dataset = fitted(model, data)
    # with "refuse" they are refused when they are met: looking for them costs a pass over x
    dataset, note = sorted_out(dataset, without_x(dataset) if empty in ("skip", "keep") else (), empty)
    if note:
        warnings.warn(note, FusionZooWarning, stacklevel=3)
    dataset = as_kind(dataset, model.preprocess.x_kind) if named else dataset
    _same_classes(model_for(model, dataset), dataset, record)
    return dataset


def _usual_data(record: Record | None) -> str:
    """The drawn scenes that a checkpoint was trained on last, as far as its record says so; else planted."""
    trained = record.data[0].name if record is not None and record.data else ""
    return trained if trained in GENERATED else "planted"


def labelled(data: Any) -> None:
    """InputError where `data` has not one labelled pixel: nothing can be scored on it."""
    if not has_labels(data):
        raise InputError(
            f"{data.name}, {data.split}: none of {len(data)} images has a labelled pixel (all are ignored), so"
            " nothing can be scored; name a labelled split (--split), or see ignore in dataset.toml;"
            " fusionzoo predict needs no labels"
        )


def _stated_size(record: Record | None, data: str, split: str) -> tuple[int, int] | None:
    for metric in record.metrics if record is not None else ():
        height, cross, width = metric.protocol.rpartition(" ")[2].partition("x")
        if (metric.data, metric.split) == (data, split) and cross and height.isdecimal() and width.isdecimal():
            return int(height), int(width)
    return None


def _same_classes(model: Any, data: Any, record: Record | None) -> None:
    ours, theirs = list(model.class_names), list(data.class_names)
    if ours == theirs:
        return
    trained = ", ".join(d.name for d in record.data) if record is not None else ""
    hint = f"; it was trained on {trained}: give --data for that" if trained else ""
    if len(ours) == len(theirs) and ours == [f"class {i}" for i in range(len(ours))]:
        hint = (f"; it does not name its classes: if they are those of {data.name}, model.set_classes([...]) and"
                " model.save_pretrained(FOLDER) write that down")  # fmt: skip
    odd = next(((a, b) for a, b in zip(ours, theirs, strict=False) if a != b), None)
    first = f", the first that differs is {odd[0]!r} and {odd[1]!r}" if odd is not None else ""
    raise InputError(f"the checkpoint has {len(ours)} classes and {data.name} {len(theirs)}{first}{hint}")


def _against_record(d: Dissection, record: Record | None, whole: bool) -> list[Finding]:
    """The measured mIoU against the record's result on the same data. `whole`: no limit was asked for."""
    now = measured(d)
    same = [m for m in (record.metrics if record else ()) if (m.data, m.split) == (now["data"], now["split"])]
    if not same or now["miou"] is None:
        return []
    exact = [m for m in same if m.protocol == now["protocol"] and (m.n == now["n"] or (m.n is None and whole))]
    stated = (exact or same)[0]
    text = spoken(f"mIoU {100 * now['miou']:.2f}, the record says {100 * stated.miou:.2f}", d.data.task)
    if not exact:
        images = "" if stated.n is None else f", {stated.n} images"
        here = f"{now['protocol']}, {now['n']} images"
        return [Finding("info", f"{text} by another protocol ({stated.protocol}{images}; here {here}): not compared")]
    difference = abs(now["miou"] - stated.miou)
    if difference > TOLERANCE:
        return [Finding("fail", f"{text}: {100 * difference:.2f} points apart, more than 0.1")]
    return [Finding("info", f"{text}: as stated")]
