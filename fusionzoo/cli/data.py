"""`fusionzoo data SPEC`: what a data set holds, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fusionzoo.cli.output import json_option, note, print_json, quiet_option, say

if TYPE_CHECKING:
    from fusionzoo.data.assumed import Draft

__all__ = ["command"]


@click.command(name="data")
@click.argument("spec")
@click.option("--out", type=click.Path(), help="Folder for data.html, data.json and a draft of dataset.toml.")
@click.option("--split", "splits", multiple=True, help="Look at this split; may be given again.  [default: all]")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many images of each split, evenly spread.")
@click.option("--num-classes", type=click.IntRange(min=1), help="Of data that can be read with several label maps.")
@click.option("--near", is_flag=True, help="Look for nearly equal images in two splits as well.")
@click.option("--examples", type=click.IntRange(0, 24), default=4, show_default=True, help="Pictures of each split.")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that read.")
@quiet_option
@json_option
def command(
    spec: str,
    out: str | None,
    splits: tuple[str, ...],
    num_classes: int | None,
    examples: int,
    quiet: bool,
    as_json_: bool,
    **options: Any,
) -> None:
    """Look at a data set before anything is trained.

    SPEC is folder:PATH, nyuv2:PATH, planted, or a published data set (fusionzoo list --data). Says what is in each
    split: images, sizes, range of x, missing pixels, classes, files that cannot be read, images that two splits share.
    Exit status 1 when images cannot be read. A folder without dataset.toml gets a draft of that file.
    """
    from fusionzoo.data import inspect
    from fusionzoo.errors import CheckFailed

    draft = _draft(spec, num_classes)
    if draft is not None and draft.undecided:
        _undecided(draft, out, as_json_)
    options |= {"num_classes": num_classes, "examples": examples if out else 0, "progress": not quiet}
    found = inspect(spec, splits=splits or None, **options)
    facts: dict[str, Any] = {"spec": spec, **found.to_dict(), "draft": None if draft is None else draft.text}
    written = [] if out is None else _write(out, found, facts, draft)
    from fusionzoo.report import data_page

    if as_json_:
        print_json(facts)
    else:
        say(data_page.text(found).rstrip("\n"))
        if draft is not None and out is None:
            say(f"\nThe folder has no dataset.toml; a draft:\n\n{draft.text.rstrip()}")
    if written and not quiet:
        note(f"wrote {', '.join(written)}")
    if not found.ok:
        first = found.unreadable[0].error if found.unreadable else ""
        raise CheckFailed(data_page.verdict(found).rstrip(".") + (f"; the first: {first}" if first else ""))


def _draft(spec: str, num_classes: int | None) -> Draft | None:
    """Of the folder that a spec names, where it has no dataset.toml."""
    from fusionzoo.data.assumed import draft
    from fusionzoo.data.layout import Layout
    from fusionzoo.data.spec import open_path

    if not spec.startswith("folder:"):
        return None
    root, _ = open_path(spec)
    if not root.is_dir() or (root / "dataset.toml").is_file():
        return None
    return draft(Layout(root, {}, None), num_classes)


def _undecided(draft: Draft, out: str | None, as_json: bool) -> None:
    """Hands over the draft and says what is to be decided."""
    from pathlib import Path

    from fusionzoo.errors import InputError
    from fusionzoo.files import atomic_write

    place = draft.root / "dataset.toml"
    if out is not None:
        atomic_write(Path(out) / "dataset.toml", draft.text)
    if as_json:
        print_json({"draft": draft.text, "undecided": draft.undecided})
    elif out is None:
        say(draft.text.rstrip())
    where = "the draft above" if out is None else f"{Path(out) / 'dataset.toml'}"
    raise InputError(f"{place} does not exist, and {draft.undecided[0]}; correct {where} and save it as {place}")


def _write(out: str, found: Any, facts: dict[str, Any], draft: Draft | None) -> list[str]:
    """The files of --out; their paths."""
    from pathlib import Path

    from fusionzoo.cli.output import as_json
    from fusionzoo.errors import InputError
    from fusionzoo.files import atomic_write
    from fusionzoo.report import data_page

    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{out} is a file; --out is a folder for data.html and data.json")
    files = {"data.html": data_page.html(found), "data.json": as_json(facts) + "\n"}
    if draft is not None:
        files["dataset.toml"] = draft.text
    for name, content in files.items():
        atomic_write(folder / name, content)
    return [str(folder / name) for name in files]
