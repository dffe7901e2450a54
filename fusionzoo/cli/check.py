"""`fusionzoo check NAME...`: the main job; prints the answer and the tables, writes report.json and report.html."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusionzoo.cli.output import checkpoint_options, note, print_json, say

if TYPE_CHECKING:
    from fusionzoo._check import CheckResult
    from fusionzoo.dissect import Dissection
    from fusionzoo.dissect.results.examples import Example

__all__ = ["command"]


@click.command(name="check")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@checkpoint_options
@click.option("--absence", default="mean", show_default=True,
              help="What stands for a missing input: mean, zero, permute, noise, blur.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False), help="Folder for report.json and report.html.")
@click.option("--state", type=click.Path(dir_okay=False),
              help="Save sums here; a run that was cut off goes on from it.")  # fmt: skip
@click.option("--trace", is_flag=True, help="Also causal tracing (about 70 more forward passes of each image).")
@click.option("--robustness", is_flag=True, help="Also corruption curves (about 45 more forward passes).")
@click.option("--dictionary", is_flag=True,
              help="Also what the streams share, without labels (a second or two a stage).")  # fmt: skip
@click.option("--findings", type=click.Choice(["first", "all"]), default="first", show_default=True,
              help="Print the answer in three lines with every warning, or all findings.")  # fmt: skip
@click.option("--no-pictures", is_flag=True, help="Leave the gallery of images out of report.html.")
@click.option(
    "--save-pictures", type=click.Path(file_okay=False), metavar="DIR", help="Write the gallery's images there as PNG."
)
@click.option("--evolution", is_flag=True, help="NAMEs are checkpoints of one training, in its order: show the curves.")
def command(
    names: tuple[str, ...],
    out: str | None,
    state: str | None,
    trace: bool,
    robustness: bool,
    findings: str,
    no_pictures: bool,
    save_pictures: str | None,
    evolution: bool,
    quiet: bool,
    as_json_: bool,
    **given: Any,
) -> None:
    """Verify checkpoints, dissect them on data, say how they use each modality.

    NAME is a bundled checkpoint (fusionzoo list), a checkpoint folder, or hf-hub:org/name. Several names are compared:
    each gets a folder of its own inside --out, and comparison.html shows what they make of the same images. With
    --evolution, --out also gets evolution.json and evolution.html: how every number changed over the training. The exit
    status is 1 when a check failed.
    """
    from fusionzoo._check import check
    from fusionzoo.report import comparison, terminal

    if state is not None and len(names) > 1:
        raise click.UsageError("--state belongs to one checkpoint; name one, or leave it out")
    if no_pictures and save_pictures is not None:
        raise click.UsageError("--no-pictures leaves nothing for --save-pictures; give one of them")
    folders, albums = _folders(out, names), _folders(save_pictures, names)
    for folder in (*folders, *albums):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)  # rather now than after the work
    results: list[CheckResult] = []
    for name, folder, album in zip(names, folders, albums, strict=True):
        if not quiet and len(names) > 1:
            note(f"{name}:")
        shown = album is not None or (folder is not None and not no_pictures)
        beside = next((r for r in results if r.examples), None) if folder is not None and shown else None
        first = next((r.dissection for r in results if r.dissection is not None), None)
        if given["data"] is None and first is not None:
            given["data"] = first.data.name  # drawn, so its name is all of it; all are compared on the same images
        result = check(name, out=None, trace=trace, robustness=robustness, pictures=shown, progress=not quiet,
                       state=state, beside=beside, **given)  # fmt: skip
        results.append(result)
        if folder is not None:
            _write(result, folder)
        count = 0 if album is None else _save(result.examples, album)
        if not as_json_:
            say(terminal(
                result.dissection, result.verification, result.findings, ok=result.ok, name=result.name,
                every=findings == "all",
            ))  # fmt: skip
            if folder is not None:
                say(f"wrote {folder / 'report.json'} and {folder / 'report.html'}")
            if album is not None:
                d = result.dissection
                several = "" if d is None or len(d.model.modalities) < 3 else ", ".join(d.model.modalities)
                say(f"no pictures: they are for two modalities, and this model takes {several}" if several else
                    f"wrote the pictures of {count} images to {album}")  # fmt: skip
            if result.dissection is not None and not (trace and robustness):
                say(_more(name, trace, robustness, given))
    pairs = [(n, r.dissection) for n, r in zip(names, results, strict=True) if r.dissection is not None]
    dissected = [dissection for _, dissection in pairs]
    if as_json_:
        values = [result.to_dict() for result in results]
        print_json(values[0] if len(values) == 1 else values)
    elif len(results) > 1 and dissected:
        say(comparison(dissected))
    if out is not None and len(dissected) > 1:
        place = _compare([folder.name for folder in folders if folder is not None], results, Path(out))
        if not as_json_:
            say(f"wrote {place}")
    if evolution and dissected:
        _evolution([name for name, _ in pairs], dissected, out, quiet=as_json_)
    if not all(result.ok for result in results):
        click.get_current_context().exit(1)


def _more(name: str, trace: bool, robustness: bool, given: Mapping[str, Any]) -> str:
    """The command that shows what was left out, on the same data; for a shell, so with quotes where they are needed."""
    flags = [flag for flag, done in (("--trace", trace), ("--robustness", robustness)) if not done]
    ctx = click.get_current_context()
    same: list[str] = []
    for option in ctx.command.params:
        value = given.get(str(option.name))
        if value not in (None, False, option.get_default(ctx)):
            text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
            same += [option.opts[0]] if value is True else [option.opts[0], text]
    return f"More: {shlex.join(['fusionzoo', 'check', name, *same, *flags])}"


def _folders(out: str | None, names: tuple[str, ...]) -> list[Path | None]:
    """Where each report goes: DIR, with several names DIR/NAME, made unique."""
    if out is None:
        return [None] * len(names)
    if len(names) == 1:
        return [Path(out)]
    found: list[Path | None] = []
    for i, name in enumerate(names):
        last = name.removeprefix("hf-hub:").rstrip("/").rpartition("/")[2] or "checkpoint"
        place = Path(out) / last
        found.append(place if place not in found else Path(out) / f"{last}-{i + 1}")
    return found


def _write(result: CheckResult, folder: Path) -> None:
    """report.json and report.html, each all or nothing."""
    from fusionzoo.files import atomic_write
    from fusionzoo.report import html

    page = html(
        result.dissection, result.verification, result.findings, ok=result.ok, name=result.name,
        examples=result.examples, exemplars=result.exemplars,
    )  # fmt: skip
    result.save(folder / "report.json")
    atomic_write(folder / "report.html", page.encode())


def _compare(names: Sequence[str], results: Sequence[CheckResult], out: Path) -> Path:
    """comparison.html in `out`: the checkpoints that were dissected, on the images that the first of them chose."""
    from fusionzoo.files import atomic_write
    from fusionzoo.report import compared

    rows: list[compared.Compared] = []
    for name, result in zip(names, results, strict=True):
        if result.dissection is not None:
            own = result.examples if not any(row.examples for row in rows) else result.beside
            rows.append(compared.Compared(name, result.dissection, own))
    atomic_write(out / "comparison.html", compared.html(rows).encode())
    return out / "comparison.html"


def _save(examples: Sequence[Example], album: Path) -> int:
    """The pictures of each image in a folder of its own, and all of them on one sheet beside it; how many images."""
    from fusionzoo.files import atomic_write
    from fusionzoo.report.inside import inside
    from fusionzoo.report.panels import panels, sheet, x_scale
    from fusionzoo.report.pictures import encoded, resized

    scale = x_scale(examples)
    for i, e in enumerate(examples):
        stem = f"{i + 1}_" + re.sub(r"[^\w.-]+", "-", e.id)
        (album / stem).mkdir(exist_ok=True)
        for panel in panels(e, scale):
            atomic_write(album / stem / f"{panel.name}.png", encoded(panel.picture, "PNG"))
        for panel in (p for group in inside(e) for p in group.panels):
            large = resized(panel.picture, max(panel.picture.shape[1], e.rgb.shape[1]), smooth=False)
            atomic_write(album / stem / f"{panel.name}.png", encoded(large, "PNG"))
        atomic_write(album / f"{stem}.png", encoded(sheet(e, scale), "PNG"))
    return len(examples)


def _evolution(names: list[str], dissected: list[Dissection], out: str | None, quiet: bool) -> None:
    """The curves over the checkpoints: as text, and in `out` as evolution.json and evolution.html."""
    from fusionzoo.dissect.evolution import collect
    from fusionzoo.files import atomic_write
    from fusionzoo.report import evolution

    short = [name.rstrip("/").rpartition("/")[2] for name in names]
    made = collect(dissected, names=short if len(set(short)) == len(short) else names)
    if not quiet:
        say("\n" + evolution.text(made))
    if out is not None:
        made.save(Path(out) / "evolution.json")
        atomic_write(Path(out) / "evolution.html", evolution.html(made).encode())
        if not quiet:
            say(f"wrote {Path(out) / 'evolution.json'} and {Path(out) / 'evolution.html'}")
