"""Publishing: a folder that passes its own verification becomes one commit of a Hub repository."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from huggingface_hub import CommitOperationAdd, ModelCard

from fusionzoo.errors import InputError
from fusionzoo.files import inside
from fusionzoo.hub.layout import CONFIG, README, RECORD, WEIGHTS
from fusionzoo.hub.records import read_record
from fusionzoo.hub.remote import Hub, parse
from fusionzoo.hub.verification import verify

__all__ = ["push"]


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | bool | None = None,
    branch: str | None = None,
    tag: str | None = None,
    message: str = "",
    extra: Sequence[str] = ("report.json", "report.html"),
) -> str:
    """Verifies a checkpoint folder and uploads it in one commit; returns the commit (40 hex).

    Uploaded: config.json, model.safetensors, record.json, README.md, files that the record lists, those of `extra` that
    are there, and images beside the card (`*.svg`, `*.png`). Nothing else, hidden files least of all.

    Raises:
        CheckFailed: the folder does not pass its own verification. Nothing was sent.
        InputError: no README.md, no access, or the Hub does not answer.
    """
    folder = Path(folder)
    where = parse(repo_id)
    if where is None or where[1] is not None:
        raise InputError(f"{repo_id!r} names no Hub repository; the form is org/name")
    verify(folder).require(str(folder))
    if not (folder / README).is_file():
        raise InputError(f"{folder} has no {README}: a checkpoint is published with its model card")
    try:
        ModelCard.load(folder / README)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            f"{folder / README}: its head of metadata is malformed ({str(error).splitlines()[0]})"
        ) from error
    listed = list(read_record(folder).files) if (folder / RECORD).is_file() else []
    images = [p.name for p in sorted(folder.iterdir()) if p.suffix in (".svg", ".png") and not p.name.startswith(".")]
    names = dict.fromkeys([CONFIG, WEIGHTS, RECORD, README, *listed, *extra, *images])
    operations = [
        CommitOperationAdd(path_in_repo=n, path_or_fileobj=str(inside(folder, n)))
        for n in names
        if inside(folder, n).is_file()
    ]
    hub = Hub(where[0], token, None)
    hub.require_online(branch or "main")

    def send() -> str:
        hub.api.create_repo(hub.repo_id, private=private, exist_ok=True)
        if branch is not None:
            hub.api.create_branch(hub.repo_id, branch=branch, exist_ok=True)
        info = hub.api.create_commit(
            hub.repo_id, operations, commit_message=message or f"Upload {folder.name} with fusionzoo", revision=branch
        )
        if tag is not None:
            hub.api.create_tag(hub.repo_id, tag=tag, revision=info.oid)
        return str(info.oid)

    return hub.call(send, "push")
