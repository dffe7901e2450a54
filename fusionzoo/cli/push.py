"""`fusionzoo push FOLDER REPO`: a checkpoint folder, verified, becomes one commit of a Hub repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fusionzoo.cli.output import json_option, note, print_json, say

__all__ = ["command", "write_card"]


@click.command(name="push")
@click.argument("folder", type=click.Path(file_okay=False))
@click.argument("repo")
@click.option("--private", is_flag=True, help="Make the repository private when it is made.")
@click.option("--branch", help="Upload to this branch instead of main.")
@click.option("--tag", help="Tag the commit.")
@click.option("--message", default="", help="Commit message.")
@click.option(
    "--card", is_flag=True, help="Write README.md anew first: from the record, and report.json if it is there."
)
@json_option
def command(folder: str, repo: str, card: bool, as_json_: bool, **options: Any) -> None:
    """Upload a checkpoint folder to the Hub.

    REPO is org/name. The folder must pass its own verification. The access token is the one that `hf auth login` or
    HF_TOKEN gives.
    """
    from fusionzoo.hub.publish import push

    if card:
        note(f"wrote {write_card(folder, repo)}")
    commit = push(folder, repo, **options)
    if as_json_:
        print_json({"repo": repo, "commit": commit})
    else:
        say(f"{repo}: commit {commit}")


def write_card(folder: str, repo: str = "") -> Path:
    """README.md of a checkpoint folder from its record.json, config.json and, where there is one, report.json.

    With a report, its plots are written beside the card (`*.svg`), which shows them.

    Raises:
        InputError: the folder, its record or its config is missing or cannot be used.
    """
    from fusionzoo.errors import InputError
    from fusionzoo.files import atomic_write, read_json
    from fusionzoo.hub.layout import CONFIG, README, RECORD
    from fusionzoo.hub.records import read_record
    from fusionzoo.report import card
    from fusionzoo.report.plots import plots

    place = Path(folder)
    if not (place / RECORD).is_file():
        raise InputError(f"{folder} has no {RECORD}; fusionzoo.hub.save writes one")
    report = read_json(place / "report.json", limit=64 << 20) if (place / "report.json").is_file() else {}
    dissection = report.get("dissection")
    drawn = plots(dissection) if dissection is not None else {}
    text = card(
        read_record(place),
        read_json(place / CONFIG),
        dissection,
        report.get("findings", ()),
        repo=repo.removeprefix("hf-hub:"),
        plots={name: title for name, (title, _) in drawn.items()},
    )
    for name, (_, drawing) in drawn.items():
        atomic_write(place / name, drawing)
    atomic_write(place / README, text)
    return place / README
