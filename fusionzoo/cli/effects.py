"""What `fusionzoo trace` and `fusionzoo robustness` share: options, opening checkpoint and data, tables of results."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fusionzoo.cli.output import align_option, device_option, json_option, print_json, say, size_option

if TYPE_CHECKING:
    from fusionzoo.dissect.effects import Curve, Failures, Rest, Robustness, Scores, Setting, Trace
    from fusionzoo.report.tables import Table

__all__ = ["conclude", "heading", "options", "robustness_text", "subject", "trace_text"]

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R", "Trace", "Robustness")

MOST = 3
"""Places of a ranking that a sentence names."""


def options(command: F) -> F:
    """The options of `fusionzoo check` that make sense for one checkpoint, and --state."""
    for option in reversed(
        (
            click.option(
                "--data",
                default="planted",
                show_default=True,
                metavar="SPEC",
                help="planted, nyuv2:PATH or folder:PATH.",
            ),
            click.option("--split", help="Split of the data.  [default: test]"),
            click.option("--limit", type=click.IntRange(min=1), help="Use at most so many images, evenly spread."),
            size_option,
            align_option,
            device_option,
            click.option("--out", type=click.Path(dir_okay=False), metavar="FILE", help="Also write the JSON here."),
            click.option("--state", type=click.Path(dir_okay=False), metavar="FILE", help="Save sums here; resume."),
            click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True),
            click.option("--revision", help="Branch, tag or commit of a Hub repository."),
            click.option(
                "--index", metavar="FILE|REPO", help="Look for NAME in this index or hf-hub:org/name as well."
            ),
            click.option("--quiet", is_flag=True, help="No progress on stderr."),
            json_option,
        )
    ):
        command = option(command)
    return command


def subject(
    name: str,
    data: str,
    split: str | None,
    limit: int | None,
    revision: str | None,
    index: str | None,
    out: str | None = None,
    *,
    size: tuple[int, int] | None = None,
    align: bool = False,
    device: str | None = None,
) -> tuple[Any, Any, str]:
    """(model, dataset, name) of a checkpoint on data, the same images at the same size as `fusionzoo check` takes.

    The folder of the file `out` is made, rather now than after the work.

    Raises:
        CheckFailed: the checkpoint fails its verification. UnknownNameError, InputError: no such checkpoint or data.
    """
    from fusionzoo._check import open_data, record_of, unlike
    from fusionzoo.hub.load import resolve
    from fusionzoo.models.device import usable_device

    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    checkpoint = resolve(name, revision, index=index)
    model, _ = checkpoint.load()
    if device is not None:
        model.to(usable_device(device))
    found = open_data(data, model, record_of(checkpoint), split=split, size=size, limit=limit, align=align)
    unlike(model, found)
    return model, found, checkpoint.name


# --------------------------------------------------------------------------------------------------------------- words


def conclude(found: R, text: Callable[[R], str], out: str | None, as_json_: bool) -> None:
    """Saves a result to `out`, where that is given, and prints it as JSON or as `text` tells it."""
    if out is not None:
        found.save(out)
    if as_json_:
        print_json(found.to_dict())
    else:
        say(text(found) + (f"\nwrote {out}" if out is not None else ""))


def heading(s: Setting) -> str:
    """One line: which checkpoint on which data."""
    return f"{s.model} on {s.data}, {s.split}, {s.n} images, {s.size[1]}x{s.size[0]}"


def _called(s: Setting, stream: str) -> str:
    """How a sentence calls a stream."""
    return s.modalities[1] if stream == "x" and len(s.modalities) > 1 else stream


def _with_error(value: float | None, error: float | None) -> str:
    from fusionzoo.report.tables import points

    return points(value) + (f" ±{points(error)}" if value is not None and error is not None else "")


def _clean(scores: Scores) -> str:
    return f"mIoU {_with_error(scores.miou, scores.miou_error)}"


def trace_text(found: Trace) -> str:
    """The answer in sentences, then the tables."""
    lines = [heading(found.setting), _clean(found.clean)]
    for text in _answers(found):
        lines += _wrap(text, "  * ", "    ")
    for table in (_levels_table(found), _restored_table(found), _classes_table(found), _parts_table(found)):
        lines += _section(table)
    return "\n".join(lines) + "\n"


def _answers(found: Trace) -> list[str]:
    said = []
    s = found.setting
    for title, ranking in (("The prediction rests most on", found.ranking), ("Most comes back from", found.restored)):
        places = [r for r in ranking if r.signal and r.effect > 0][:MOST]
        if places:
            said.append(f"{title} {', '.join(_place(s, r) for r in places)}.")
        elif ranking:
            said.append("No level of either modality by itself matters measurably.")
    if found.found is not None:
        verdict = "rest on it" if found.found else "do NOT all rest on it"
        said.append(f"Planted truth: the recognised classes that one modality alone shows {verdict}.")
    return said


def _place(s: Setting, r: Rest) -> str:
    return f"{_called(s, r.stream)} at level {r.level} ({_with_error(r.effect, r.effect_error)})"


def _levels_table(found: Trace) -> Table:
    """mIoU lost by each ablation, level by level: the level's block alone, and the stream from there on."""
    from fusionzoo.report.tables import Table

    rows = []
    for edit in [e for e in found.edits if e in ("mean", "zero", "swap")]:
        of = [r for r in found.rows if r.edit == edit]
        for level in sorted({r.level for r in of if r.level is not None}):
            cells = []
            for reach in ("fusion", "onward"):
                for stream in ("rgb", "x"):
                    cells.append(_cell(r for r in of if (r.level, r.reach, r.stream) == (level, reach, stream)))
            fused = _cell(r for r in of if r.level == level and r.stream == "fused")
            rows.append((edit, str(level), *cells, fused))
        whole = [_cell(r for r in of if r.reach == "stream" and r.stream == stream) for stream in ("rgb", "x")]
        if any(c != "-" for c in whole):
            rows.append((edit, "all", "-", "-", *whole, "-"))
        for r in of:
            if r.level is None and r.reach == "after":
                rows.append((edit, r.point, *["-"] * 4, _with_error(r.effect, r.effect_error)))
    absent = [_cell(r for r in found.rows if r.edit == "absent" and r.stream == stream) for stream in ("rgb", "x")]
    rows.append(("absent", "input", "-", "-", *absent, "-"))
    x = _called(found.setting, "x")
    columns = ("edit", "level", "rgb alone", f"{x} alone", "rgb onward", f"{x} onward", "fused")
    note = (
        "mIoU lost in points. Alone: what the level's fusion block gets; onward: the stream from this level on;"
        " ± one standard error."
    )
    return Table("Ablation", columns, tuple(rows), "<<>>>>>", note)


def _cell(rows: Any) -> str:
    row = next(iter(rows), None)
    return "-" if row is None else _with_error(row.effect, row.effect_error)


def _restored_table(found: Trace) -> Table:
    from fusionzoo.report.tables import Table

    of = [r for r in found.rows if r.edit == "restore" and r.level is not None]
    rows = []
    for level in sorted({r.level for r in of if r.level is not None}):
        cells = []
        for reach in ("fusion", "onward"):
            for m in ("rgb", "x"):
                row = next((r for r in of if (r.level, r.reach, r.stream, r.absent) == (level, reach, m, m)), None)
                share = None if row is None else row.share
                cells.append("-" if share is None else f"{100 * share:.0f} %")
        rows.append((str(level), *cells))
    x = _called(found.setting, "x")
    note = "Share of the mIoU lost without the modality that comes back when this level gets its clean value."
    return Table(
        "Restoration", ("level", "rgb alone", f"{x} alone", "rgb onward", f"{x} onward"), tuple(rows), "<>>>>", note
    )


def _classes_table(found: Trace) -> Table:
    from fusionzoo.report.tables import Table, clean, points

    rows = []
    for c in found.classes:
        place = f"{c.point}" if c.point else "-"
        cells = (points(c.iou), _with_error(c.rgb, c.rgb_error), _with_error(c.x, c.x_error))
        rows.append((clean(c.name), c.kind or "-", *cells, _called(found.setting, c.rests_on) or "-", place))
    columns = ("class", "shows in", "IoU", "rgb costs", f"{_called(found.setting, 'x')} costs", "rests on", "most at")
    note = "IoU lost in points when a whole stream is ablated; the point whose ablation costs the class most."
    return Table("Classes", columns, tuple(rows), "<<>>><<", note)


def _parts_table(found: Trace) -> Table:
    """The largest effects of channel groups and concept directions."""
    from fusionzoo.report.tables import Table, clean

    of = [r for r in found.rows if r.edit in ("channels", "concept") and r.effect is not None]
    of.sort(key=lambda r: -(r.effect or 0.0))
    names = found.setting.class_names
    rows = []
    for r in of[:20]:
        own = "-"
        if r.edit == "concept":
            k = names.index(r.part)
            own = _with_error(r.class_effect[k], r.class_effect_error[k])
        rows.append((r.edit, r.point, clean(r.part), _with_error(r.effect, r.effect_error), own))
    columns = ("edit", "point", "part", "mIoU lost", "the class's IoU lost")
    return Table("Channels and concepts, largest effects", columns, tuple(rows), "<<<>>")


def robustness_text(found: Robustness) -> str:
    """The curves and the failure protocols."""
    lines = [heading(found.setting), _clean(found.clean)]
    worst = min((c for c in found.curves if c.kept is not None), key=lambda c: c.kept or 0.0, default=None)
    if worst is not None and worst.kept is not None:
        kept = f"{100 * worst.kept:.0f} % of its mIoU, averaged over the severities"
        lines.append(f"  * It keeps least under {worst.corruption}: {kept}.")
    lines += [*_section(_curves_table(found.curves)), *_section(_failures_table(found.failures))]
    return "\n".join(lines) + "\n"


def _curves_table(curves: Sequence[Curve]) -> Table:
    from fusionzoo.report.tables import Table, points

    most = max((len(c.severities) for c in curves), default=1) - 1
    rows = []
    for c in curves:
        cells = [f"{s:g}: {points(v)}" for s, v in zip(c.severities[1:], c.miou[1:], strict=True)]
        kept = "-" if c.kept is None else f"{100 * c.kept:.0f} %"
        rows.append((c.corruption, _unit(c.unit), *cells, *[""] * (most - len(cells)), kept))
    columns = ("corruption", "unit", *(["severity: mIoU"] + [""] * most)[:most], "kept")
    note = "Kept: mean mIoU over the severities, of the clean mIoU. Errors and classes are in the JSON."
    return Table("Curves", columns, tuple(rows), "<<" + "<" * most + ">", note)


def _unit(unit: str) -> str:
    """What fits a column: the unit itself, without what it is the unit of."""
    short = unit.rpartition(", ")[2]
    return {"grey levels of 255": "grey", "stops (halvings of the light)": "stops"}.get(
        short, short.replace(" of the area", "").replace(" of the model's input", "")
    )


def _failures_table(failures: Sequence[Failures]) -> Table:
    from fusionzoo.report.tables import Table, points

    rows = []
    for f in failures:
        expected = [_with_error(v, e) for v, e in zip(f.expected, f.expected_error, strict=True)]
        conditions = [points(f.conditions.get(c)) for c in ("rgb", "x", "both")]
        rows.append((f.name, *conditions, _with_error(f.average, f.average_error), *expected))
    chances = failures[0].probability if failures else []
    columns = ("protocol", "rgb", "x", "both", "average", *(f"p={p:g}" for p in chances))
    note = "mIoU with that modality failing; mean over failures; expectation when each fails with probability p. " + (
        "; ".join(f"{f.name}: {f.note}" for f in failures)
    )
    return Table("Failures", columns, tuple(rows), "<" + ">" * (len(columns) - 1), note)


def _section(table: Table) -> list[str]:
    from fusionzoo.report.terminal import text_table

    if not table.rows:
        return []
    return ["", table.title, *text_table(table), *(_wrap(table.note) if table.note else [])]


def _wrap(text: str, first: str = "  ", rest: str = "  ") -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=first, subsequent_indent=rest)
