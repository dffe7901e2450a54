"""Robustness curves: scores against the severity of sensor failures, with errors; and summaries of failure protocols.

- Corruptions act on the raw images (uint8 colours, metres) before preprocessing: see `fusionzoo.data.corrupt`.
- Missing modality with probability p, for each image by itself: the IoU of the expected counts over all patterns of
  failure, E[counts] = (1 - p) counts(both) + p counts(without). No draw, and no more forward passes than for p = 1.
- Failures after Liao et al. 2025 ("Benchmarking Multi-modal Semantic Segmentation under Sensor Failures", arXiv
  2503.18445): EMM (a modality is missing), RMM (random regions of it are missing), NM (it is noisy). Two summaries: the
  mean mIoU of the damaged combinations, and the expected mIoU where each modality fails by itself with probability p:
  sum over combinations S of p^|S| (1-p)^(2-|S|) mIoU(S). Our reading, where only the abstract and the tables were at
  hand: EMM's mean leaves out the case where nothing is left, its expectation scores that case by the model on its own
  substitutes; RMM blanks rectangles (`holes_rgb`, `holes_x`) of half the area; NM adds Gaussian noise.

Every effect is taken over the same images with and without, so errors are those of paired differences (delete one image
group, of both at once).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.data import collate
from fusionzoo.data.corrupt import CORRUPTIONS, check_severity, corrupt, corruption_names, severities
from fusionzoo.data.validate import checked
from fusionzoo.dissect.capture import lend
from fusionzoo.dissect.conditions import (
    Condition,
    Images,
    Reader,
    check_policy,
    fitted,
    inputs_of,
    normalised,
    tell_unlike,
)
from fusionzoo.dissect.effects import Curve, Failures, Robustness
from fusionzoo.dissect.measures.base import number
from fusionzoo.dissect.measures.scores import count, difference, matrix, miou_and_classes, score
from fusionzoo.dissect.run import Feed, Pass, Work, batches, run, setting_of
from fusionzoo.dissect.split import Split, chosen_images
from fusionzoo.errors import InputError, unknown
from fusionzoo.metrics import ConfusionMatrix, jackknife
from fusionzoo.metrics.cooperation import expected_score, retention
from fusionzoo.models.labels import evaluating
from fusionzoo.tasks import data_task

__all__ = ["DEFAULT", "MISSING", "PROBABILITIES", "Failure", "counted", "robustness", "ways"]

MISSING = {"missing_rgb": "rgb", "missing_x": "x"}
"""Curves over the probability that a modality is missing."""
DEFAULT = (*MISSING, "noise_rgb", "low_light", "holes_rgb", "noise_x", "holes_x", "quantise_x", "shift_x")
"""Curves that `robustness` draws unless told otherwise, as far as they make sense for the kind of x."""
PROBABILITIES = (0.05, 0.1, 0.2)
"""Failure probabilities of the expected mIoU, those of the protocol's tables."""
CHANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
REGIONS = 0.5
"""Share of the area that RMM blanks."""
NOISE = {"noise_rgb": 40.0, "noise_x": 0.2}
"""Noise of NM: grey levels; metres. Other kinds of x get the grey levels."""

Damage = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Failure:
    """One way to run the model: modalities taken away (`condition`), or corruptions of the pair (`damage`)."""

    damage: Damage = ()
    condition: Condition = Condition.BOTH

    @property
    def key(self) -> str:
        """Unique in a run: "clean", "without rgb", "noise_x 0.1 + noise_rgb 40"."""
        if self.condition != Condition.BOTH:
            names = self.condition.removeprefix("without_")
            return "without " + ("rgb and x" if self.condition == Condition.NEITHER else names.replace("+", " and "))
        return " + ".join(f"{name} {severity:.12g}" for name, severity in self.damage) or "clean"


CLEAN = Failure()


def robustness(
    model: nn.Module,
    data: Any,
    *,
    corruptions: Sequence[str] | Mapping[str, Sequence[float] | None] | None = None,
    failures: bool = True,
    limit: int | None = None,
    batch_size: int = 8,
    absence: str = "mean",
    seed: int = 0,
    absence_seed: int | None = None,
    block: int = 8,
    num_workers: int = 0,
    progress: bool = True,
    state: str | os.PathLike[str] | None = None,
    name: str | None = None,
) -> Robustness:
    """Robustness curves of `model` on `data`.

    Args:
        model: a FusionModel; it runs in eval mode on the device where it is.
        data: as for `fusionzoo.dissect`.
        corruptions: names (keys of `fusionzoo.data.corrupt.CORRUPTIONS`, "missing_rgb", "missing_x"), or a mapping name
            -> severities (None: the defaults); by default DEFAULT. Of several modalities each by its name:
            "missing_thermal", "noise_thermal", ...
        failures: also the summaries EMM, RMM and NM (up to six conditions more), of two modalities.
        absence: what stands for a missing modality: "without x" is the same as of `fusionzoo.dissect`.
        seed: of the corruptions. absence_seed: the seed of `fusionzoo.dissect`.
        block: neighbouring images that stay together in a jackknife group.
        limit, batch_size, num_workers, progress, state, name: as for `fusionzoo.dissect`.

    Under `torchrun` the processes share the batches, each image once, and all return the same Robustness.

    Raises:
        InputError: model and data do not fit, unusable images, a severity that cannot be, a state file of another run.
        UnknownNameError: unknown corruption.
        CheckFailed: the model's output is not finite.
    """
    started = time.monotonic()
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give 1 or more")
    check_policy(absence)
    model, data = fitted(model, data)
    wanted = _wanted(corruptions, data.x_kind)
    if not wanted and not failures:
        raise InputError("nothing to measure: no corruption is chosen, and no failures")
    protocols = _protocols(data.x_kind) if failures else {}
    indices = chosen_images(data, limit)
    tell_unlike(model, data, indices)
    plan = ways(wanted, protocols)
    drawn = int(getattr(data, "seed", 0)) if absence_seed is None else absence_seed
    options = {"seed": seed, "absence": absence, "absence_seed": drawn, "plan": [one.key for one in plan]}
    with evaluating(model):
        first = collate([checked(data[indices[0]], data)])
        split = Split.of(len(indices), block)
        work = Work(model, data, indices, split, batch_size, num_workers, progress, state, "robustness", options)
        sums = counted(work, plan)
    counts = {key: own.state_dict()["counts"] for key, own in sums.items()}
    task = data_task(data)
    return Robustness(
        setting=setting_of(work, name, first["rgb"].shape[-2:], seed, time.monotonic() - started),
        clean=score(counts[CLEAN.key], task),
        curves=[_curve(name, values, counts, data.x_kind, task) for name, values in wanted.items()],
        failures=[_failures(name, table, counts, task) for name, table in protocols.items()],
    )


# ------------------------------------------------------------------------------------------------------------ the plan


def _wanted(
    corruptions: Sequence[str] | Mapping[str, Sequence[float] | None] | None, x_kind: str
) -> dict[str, tuple[float, ...]]:
    """Curve -> severities, 0 first."""
    missing = missing_of(x_kind)
    if corruptions is None:
        every = (*missing, *corruption_names(x_kind)) if "+" in x_kind else DEFAULT
        corruptions = [n for n in every if n in missing or severities(n, x_kind) is not None]
        corruptions = [n for n in corruptions if not n.startswith("levels_")]
    corruptions = [corruptions] if isinstance(corruptions, str) else corruptions
    given = corruptions if isinstance(corruptions, Mapping) else dict.fromkeys(corruptions)
    wanted = {}
    for name, values in given.items():
        if name not in missing and name not in CORRUPTIONS and name not in corruption_names(x_kind):
            known = corruption_names(x_kind) if "+" in x_kind else CORRUPTIONS
            raise unknown("corruption", name, [*missing, *known])
        found = severities(name, x_kind) if name not in missing else ("probability", CHANCES)
        if found is None:
            check_severity(name, 0, x_kind)  # says why
        chosen = tuple(float(v) for v in (values if values is not None else found[1] if found else ()))
        for value in chosen:
            if name not in missing:
                check_severity(name, value, x_kind)
            elif not 0 <= value <= 1:
                raise InputError(f"{name}: probability {value:g} is not 0 to 1")
        wanted[name] = (0.0, *(v for v in dict.fromkeys(chosen) if v != 0))
        if len(wanted[name]) < 2:
            raise InputError(f"{name}: no severity above 0 is given")
    return wanted


def missing_of(x_kind: str) -> dict[str, str]:
    """Curve over the probability that a modality is missing -> the modality."""
    return {f"missing_{name}": name for name in inputs_of(x_kind)}


def _protocols(x_kind: str) -> dict[str, dict[str, Failure]]:
    """Protocol -> what fails -> how the model is run. They are made for two modalities."""
    if "+" in x_kind:
        return {}
    none = {"none": CLEAN}
    missing = {s: Failure(condition=Condition.without(s)) for s in ("rgb", "x")}
    table = {"EMM": none | missing | {"both": Failure(condition=Condition.NEITHER)}}
    depth = severities("holes_x", x_kind) is not None
    noise = (("noise_rgb", NOISE["noise_rgb"]), ("noise_x", NOISE["noise_x"] if depth else NOISE["noise_rgb"]))
    pairs: dict[str, Damage] = {"NM": noise}
    if depth:
        pairs = {"RMM": (("holes_rgb", REGIONS), ("holes_x", REGIONS)), **pairs}
    for name, (rgb, x) in pairs.items():
        table[name] = none | {"rgb": Failure((rgb,)), "x": Failure((x,)), "both": Failure((rgb, x))}
    return table


def ways(wanted: Mapping[str, Sequence[float]], protocols: Mapping[str, Mapping[str, Failure]]) -> list[Failure]:
    """All that must be run, each once, the clean model first.

    >>> [one.key for one in ways({"missing_x": (0, 0.5, 1), "noise_x": (0, 0.1)}, {})]
    ['clean', 'without x', 'noise_x 0.1']
    """
    plan = [CLEAN]
    for name, values in wanted.items():
        if name.startswith("missing_"):
            plan.append(Failure(condition=Condition.without(name.removeprefix("missing_"))))
        else:
            plan += [Failure(((name, float(v)),)) for v in values if v != 0]
    plan += [one for protocol in protocols.values() for one in protocol.values()]
    return list(dict.fromkeys(plan))


# ------------------------------------------------------------------------------------------------------------- the run


def counted(work: Work, plan: Sequence[Failure]) -> dict[str, ConfusionMatrix]:
    """Key of each way to run the model (in eval mode) -> confusion counts in image groups, in one pass over the images.

    Args:
        work: with the options "seed" of the corruptions, "absence" and "absence_seed".
    """
    sums = {one.key: matrix(work.data) for one in plan}
    absence, drawn = work.options["absence"], work.options["absence_seed"]
    lent = lend([one.condition for one in plan], absence)
    places = work.split.cycle(drawn) if lent else range(len(work.indices))
    opened = partial(_running, Reader(work.model, work.data, absence, drawn, lent), plan, sums, work)
    run([Pass("conditions", lambda: sums, opened, batches(places, work.batch_size, lent), work.data)], work)
    return sums


@contextmanager
def _running(
    reader: Reader, plan: Sequence[Failure], sums: Mapping[str, ConfusionMatrix], work: Work
) -> Iterator[Feed]:
    """Every way to run the model on every image."""

    def feed(samples: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
        for images in reader.images(samples, places):
            for one in plan:
                damaged = _damaged(reader, images, one.damage, work.options["seed"]) if one.damage else images.here
                inputs = damaged if one.damage else reader.inputs(one.condition, images)
                count(sums[one.key], reader.model(*inputs), images, work.split, one.key)

    yield feed


def _damaged(reader: Reader, images: Images, damage: Damage, seed: int) -> tuple[Tensor, Tensor]:
    made = []
    for parts in zip(*(images.batch[key] for key in ("rgb", "x", "id")), strict=True):
        sample = dict(zip(("rgb", "x", "id"), parts, strict=True))
        for corruption, severity in damage:
            sample = corrupt(sample, corruption, severity, x_kind=reader.data.x_kind, seed=seed)
        made.append(sample)
    return normalised(reader.model, {key: torch.stack([s[key] for s in made]) for key in ("rgb", "x")})


# ---------------------------------------------------------------------------------------------------------- the result


def _curve(name: str, values: Sequence[float], counts: Mapping[str, Tensor], x_kind: str, task: str) -> Curve:
    clean = counts[CLEAN.key]
    if name.startswith("missing_"):
        modality, unit = name.removeprefix("missing_"), "probability"
        without = counts[Failure(condition=Condition.without(modality)).key]
        at = [(1 - p) * clean.double() + p * without.double() for p in values]
    else:
        at = [counts[Failure(((name, float(v)),) if v != 0 else ()).key] for v in values]
        found = severities(name, x_kind)
        assert found is not None
        modality = CORRUPTIONS[name].modality if name in CORRUPTIONS else name.rpartition("_")[2]
        unit = found[0]
    scores = [score(c, task) for c in at]
    drops = [difference(clean, c, task) for c in at]
    mean, kept = retention([math.nan if s.miou is None else s.miou for s in scores])
    return Curve(
        corruption=name,
        modality=modality,
        unit=unit,
        severities=list(values),
        miou=[s.miou for s in scores],
        miou_error=[s.miou_error for s in scores],
        drop=[number(value[0]) for value, _ in drops],
        drop_error=[number(error[0]) for _, error in drops],
        iou=[s.iou for s in scores],
        iou_error=[s.iou_error for s in scores],
        mean=number(mean),
        kept=number(kept),
    )


_NOTES = {
    "EMM": "a modality is missing; the mean is over one missing, the expectation counts both missing as well",
    "RMM": f"random rectangles of a modality are missing, {REGIONS:.0%} of the area",
    "NM": "Gaussian noise, {noise}",
}


def _failures(name: str, table: Mapping[str, Failure], counts: Mapping[str, Tensor], task: str) -> Failures:
    tallies = [counts[table[what].key] for what in ("none", "rgb", "x", "both")]

    def summary(*parts: Tensor) -> Tensor:
        none, rgb, x, both = (miou_and_classes(part, task)[0] for part in parts)
        average = (rgb + x) / 2 if name == "EMM" else (rgb + x + both) / 3
        intact = {("rgb", "x"): none, ("x",): rgb, ("rgb",): x, (): both}
        expected = [expected_score(intact, p) for p in PROBABILITIES]
        return torch.stack([none, rgb, x, both, average, *expected])

    value, error = jackknife(summary, tallies)
    noise = " and ".join(f"{c} {s:g}" for c, s in table["both"].damage)
    return Failures(
        name=name,
        conditions={what: number(value[i]) for i, what in enumerate(("none", "rgb", "x", "both"))},
        average=number(value[4]),
        average_error=number(error[4]),
        probability=list(PROBABILITIES),
        expected=[number(v) for v in value[5:]],
        expected_error=[number(v) for v in error[5:]],
        note=_NOTES[name].format(noise=noise),
    )
