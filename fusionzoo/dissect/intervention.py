"""What a trace will run: every intervention, planned before the first image is read, and the edits that it makes.

Where a model can be edited: at the points of its stages, at the inputs of each stage's fusion block (where it has such
probes: `<block>.rgb_in` and `<block>.x_in` beside `<block>.fused`), and at other probes that are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fusionzoo.dissect.conditions import unwrapped
from fusionzoo.errors import InputError
from fusionzoo.metrics import Accumulator, ConceptStatistics
from fusionzoo.metrics.health import ChannelMean
from fusionzoo.probes import Edit, mean_ablate, only, patch, probe_points, project_out, select, zero

__all__ = ["ABLATIONS", "CLEAN", "EDITS", "Edits", "Intervention", "erase", "interventions"]

RIDGE = 1e-2
"""Of the detectors whose direction is erased."""

ABLATIONS = ("mean", "zero", "swap")
"""Edits of a whole point, the first one chosen is what stages are ranked by."""
EDITS = (*ABLATIONS, "restore", "channels", "concept")
"""What `trace(edits=...)` can be asked for. "channels" and "concept" cost many forward passes."""


@dataclass(frozen=True)
class Intervention:
    """One way to run the model.

    Args:
        edit: "clean", "absent" or one of EDITS.
        points: the probes that are edited, all at once.
        stream, stage, reach: see `fusionzoo.dissect.effects.TraceRow`.
        absent: modality that is missing meanwhile ("restore") or altogether ("absent").
        part: channels "first:end" or class of the concept.
    """

    edit: str
    points: tuple[str, ...] = ()
    stream: str = ""
    stage: int | None = None
    reach: str = ""
    absent: str = ""
    part: str = ""

    @property
    def key(self) -> str:
        """Unique in a run."""
        return "/".join((self.edit, "+".join(self.points) or "-", self.absent or "-", self.part or "-"))


CLEAN = Intervention("clean")
"""The model as it is."""


def interventions(
    model: nn.Module,
    edits: Sequence[str],
    points: str | Sequence[str] | None = None,
    channels: Mapping[str, tuple[int, int]] | None = None,
    channel_groups: int = 4,
    concepts: Sequence[str] = (),
) -> list[Intervention]:
    """All that `trace` will run, the clean model first.

    Args:
        channels: probe -> (channels, dimensions of the value), for the probes that fire; needed for "channels" and
            "concept", and to leave out probes that do not fire.

    >>> from fusionzoo.models import create_model
    >>> plan = interventions(create_model("sum_mobilenetv1-025_fpn"), ["restore"])
    >>> [p.key for p in plan if p.stage == 5 and p.absent == "x"]
    ['restore/stage5.x/x/-', 'restore/stage5.fusion.x_in/x/-', 'restore/stage5.fusion.fused/x/-']
    """
    sites = _sites(model, points, channels)
    plan = [CLEAN]
    missing = [m for m in ("rgb", "x") if any(s.stream == m for s in sites)] or ["rgb", "x"]
    plan += [Intervention("absent", stream=m, reach="input", absent=m) for m in missing]
    single = [s for s in sites if s.reach == "fusion"] or [s for s in sites if s.reach == "onward"]
    single = [s for s in single if s.stream in ("rgb", "x")] or [s for s in sites if s.reach == "after"]
    for edit in edits:
        if edit in ABLATIONS:
            plan += [_at(s, edit) for s in sites]
            for stream in ("rgb", "x"):
                whole = tuple(s.points[0] for s in sites if s.stream == stream and s.reach == "onward")
                if len(whole) > 1:
                    plan.append(Intervention(edit, whole, stream, None, "stream"))
        elif edit == "restore":
            for m in missing:
                plan += [_at(s, edit, absent=m) for s in sites if s.stream in (m, "fused", "")]
        elif edit == "channels" and channels is not None:
            for s in single:
                plan += [_at(s, edit, part=part) for part in _parts(channels[s.points[0]][0], channel_groups)]
        elif edit == "concept" and channels is not None:
            maps = [s for s in single if channels[s.points[0]][1] == 4]
            plan += [_at(s, edit, part=concept) for s in maps for concept in concepts]
    if len(plan) == 1 + len(missing):
        raise InputError("nothing to trace: no point of the model fits the chosen edits")
    return plan


def _at(site: Intervention, edit: str, absent: str = "", part: str = "") -> Intervention:
    return Intervention(edit, site.points, site.stream, site.stage, site.reach, absent, part)


def _parts(channels: int, groups: int) -> list[str]:
    """Runs of neighbouring channels, as "first:end"."""
    count = min(groups, channels)
    ends = [i * channels // count for i in range(count + 1)]
    return [f"{a}:{b}" for a, b in zip(ends, ends[1:], strict=False)]


def _sites(
    model: nn.Module, points: str | Sequence[str] | None, fired: Mapping[str, tuple[int, int]] | None
) -> list[Intervention]:
    """Where to edit: the points of the stages, each stage's inputs of its fusion block, and other points if named."""
    probes = probe_points(model)
    chosen = probes if points is None else select(model, [points] if isinstance(points, str) else points)
    silent = [p for p in chosen if points is not None and fired is not None and p not in fired]
    if silent:
        raise InputError(f"the forward pass does not reach {', '.join(silent[:5])}; leave them out")
    sites: dict[str, Intervention] = {}
    for stage, at in sorted(unwrapped(model).levels.items()):
        two = "rgb" in at and "x" in at
        for stream, point in at.items():
            if stream not in ("rgb", "x", "fused"):
                continue  # one of several modalities before they are merged to x
            reach = "decoder" if stream == "fused" and two else "onward"
            sites[point] = Intervention("", (point,), stream, stage, reach)
            block = at.get("fused", "").rpartition(".")[0]
            entry = f"{block}.{stream}_in"
            if stream != "fused" and two and block and entry in probes:
                sites[entry] = Intervention("", (entry,), stream, stage, "fusion")
    if points is not None:
        for point, found in chosen.items():
            sites.setdefault(point, Intervention("", (point,), found.modality, None, "after"))
    order = {"onward": 0, "fusion": 1, "decoder": 2, "after": 3}
    kept = [s for p, s in sites.items() if p in chosen and (fired is None or p in fired)]
    return sorted(kept, key=lambda s: (s.stage or 0, order[s.reach], s.stream))


# ------------------------------------------------------------------------------------------------------------ the edits


class Edits:
    """What the interventions put in place of what passes a point, made of the data's means and concept statistics.

    Args:
        plan: all interventions.
        channels: see `interventions`.
        class_names: of the data; the concepts.

    Attributes:
        means, statistics: point -> what must be summed up over the data before the first edit of it.
    """

    def __init__(
        self, plan: Sequence[Intervention], channels: Mapping[str, tuple[int, int]], class_names: Sequence[str]
    ) -> None:
        at = {edit: {p for one in plan if one.edit == edit for p in one.points} for edit in EDITS}
        self.class_names = list(class_names)
        self.means = {p: ChannelMean(channels[p][0]) for p in channels if p in at["mean"] | at["channels"]}
        self.statistics = {
            p: ConceptStatistics(channels[p][0], len(class_names)) for p in channels if p in at["concept"]
        }
        self._made: dict[str, Edit] = {}

    def sums(self) -> dict[str, Accumulator]:
        """Both, by names that are unique in a run."""
        sums: dict[str, Accumulator] = {f"mean {p}": own for p, own in self.means.items()}
        return sums | {f"concepts {p}": own for p, own in self.statistics.items()}

    def of(self, one: Intervention, point: str, clean: Mapping[str, Tensor], donors: Mapping[str, Tensor]) -> Edit:
        """The edit of an intervention at one of its points.

        Args:
            clean: point -> what passes it in the clean run of these images. donors: what passes it for others.
        """
        if one.edit in ("restore", "swap"):
            return patch((clean if one.edit == "restore" else donors)[point])
        if one.edit == "zero":
            return zero()
        key = f"{one.edit} {point} {one.part}"
        if key not in self._made:
            self._made[key] = self._fixed(one, point)
        return self._made[key]

    def _fixed(self, one: Intervention, point: str) -> Edit:
        """An edit that is the same for every image."""
        if one.edit == "concept":
            return erase(self.statistics[point], self.class_names.index(one.part))
        mean = mean_ablate(self.means[point].compute())
        if one.edit == "channels":
            first, end = map(int, one.part.split(":"))
            return only(mean, range(first, end))
        return mean


def erase(statistics: ConceptStatistics, concept: int) -> Edit:
    """Least-squares erasure of a concept from raw channels; nothing for a concept without pixels or covariance."""
    sums = statistics.state_dict()
    n = sums["weight"]
    mean, share = sums["sum_x"] / n, sums["sum_t"][concept] / n
    covariance = sums["cross"][:, concept] / n - mean * share
    weight = statistics.solve(RIDGE).weight[concept].double()
    if float(weight.abs().max()) == 0 or float(weight @ covariance) <= 0:
        return Edit("nothing()", lambda value: value)
    return project_out(weight, mean, along=covariance)
