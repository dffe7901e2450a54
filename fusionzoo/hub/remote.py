"""Pulling from the Hugging Face Hub: pinned, checked files in the Hub's own cache.

huggingface_hub does the transport, its cache and its locks. What it does not do is done here: the revision is resolved
to a commit before anything is fetched, so that one checkpoint never mixes two commits; only the files we name are
fetched; their sizes are bounded first; each is compared with the Hub's own checksum (the client compares lengths
only); a damaged file does not stay in the cache; every error is one line. A cached, pinned checkpoint costs no request.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import EntryNotFoundError

from fusionzoo.errors import InputError
from fusionzoo.files import MAX_JSON, read_json
from fusionzoo.hub.client import Hub, checksum, remove
from fusionzoo.hub.expect import expected
from fusionzoo.hub.layout import CONFIG, MAX_HEADER, RECORD, WEIGHTS
from fusionzoo.hub.records import HEX40, HEX64, INDEX, Record, load_index, read_record

__all__ = ["Hub", "Pulled", "discard_damaged", "parse", "pull", "pull_facts", "pull_index"]

PREFIX = "hf-hub:"


@dataclass(frozen=True)
class Pulled:
    """A checkpoint in the Hub's cache: `checksums` are the Hub's own, file name -> SHA-256 or git SHA-1 (40 hex)."""

    folder: Path
    repo_id: str
    commit: str
    checksums: dict[str, str]


def parse(name: str) -> tuple[str, str | None] | None:
    """`hf-hub:org/name[@revision]` or `org/name` -> (repository, revision); None when `name` has another form.

    >>> parse("hf-hub:org/name@v1"), parse("org/name"), parse("hybrid_mobilenetv1-025_fpn.planted")
    (('org/name', 'v1'), ('org/name', None), None)
    """
    explicit = name.startswith(PREFIX)
    body, _, revision = name.removeprefix(PREFIX).partition("@")
    word = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
    if not re.fullmatch(f"{word}/{word}", body) or ".." in body or "--" in body:
        if explicit:
            raise InputError(
                f"{name!r} names no Hub repository; the form is hf-hub:org/name or hf-hub:org/name@revision"
            )
        return None
    return body, _revision(revision) if revision else None


def _revision(revision: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}", revision) or ".." in revision:
        raise InputError(f"{revision[:80]!r} is no revision: give a branch, a tag or a commit")
    return revision


def pull(
    repo_id: str,
    revision: str | None = None,
    token: str | bool | None = None,
    *,
    record: Record | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Pulled:
    """config.json, model.safetensors and, where there is one, record.json of a repository, at one commit.

    With `HF_HUB_OFFLINE=1`, or for a commit that is in the cache, no request is made. `HF_ENDPOINT` is read now.

    Args:
        repo_id: `org/name`.
        revision: branch, tag or commit (40 hex); `main` by default.
        token: for private repositories; by default the one that is logged in, or `HF_TOKEN`.
        record: when given, record.json of the repository is not fetched.
        cache_dir: the Hub's cache by default.

    Raises:
        InputError: no such repository, revision or file; no access; offline and not cached; the Hub does not answer.
        CheckFailed: a pickle instead of safetensors, a file larger than its config implies, or damaged on the way.
    """
    hub = Hub(repo_id, token, cache_dir)
    revision = _revision(revision or "main")
    commit = hub.commit(revision)
    folder = hub.cached(commit, record is None)
    if folder is None:
        hub.require_online(revision)
        config = hub.fetch(CONFIG, commit, MAX_JSON)
        wanted = expected(read_json(config)).tensors.values()
        room = sum(math.prod(shape) * 8 for _, shape in wanted) + MAX_HEADER + 8
        hub.fetch(WEIGHTS, commit, room)
        if record is None:
            with contextlib.suppress(EntryNotFoundError):
                hub.fetch(RECORD, commit, MAX_JSON, optional=True)
        folder = config.parent
    return Pulled(folder, repo_id, commit, {**hub.etags, **_blob_names(folder)})


def pull_facts(
    repo_id: str, revision: str | None = None, token: str | bool | None = None
) -> tuple[str, dict[str, Any], Record | None]:
    """(commit, config, record or None) of a repository, without its weights; from the cache where they are there.

    Errors are as of `pull`.
    """
    hub = Hub(repo_id, token, None)
    commit = hub.commit(_revision(revision or "main"))
    config = hub.small(CONFIG, commit)
    record = hub.small(RECORD, commit, optional=True)
    assert config is not None
    return commit, read_json(config), read_record(record) if record is not None else None


def pull_index(repo_id: str, revision: str | None = None, token: str | bool | None = None) -> dict[str, Record]:
    """The records of a Hub repository that holds an `index.json` of checkpoints."""
    hub = Hub(repo_id, token, None)
    commit = hub.commit(_revision(revision or "main"))
    path = hub.small(INDEX, commit, 64 << 20)
    assert path is not None
    return load_index(path)


def discard_damaged(pulled: Pulled) -> list[str]:
    """Removes files from the cache whose content differs from the Hub's checksum; returns their names."""
    gone = []
    for name, stated in pulled.checksums.items():
        path = pulled.folder / name
        if path.is_file() and checksum(path, stated) != stated:
            remove(path)
            gone.append(name)
    return gone


def _blob_names(folder: Path) -> dict[str, str]:
    """The Hub's checksums from the cache: each file is a link to a blob that is called by its checksum."""
    out = {}
    for name in (CONFIG, WEIGHTS, RECORD):
        blob = Path(os.path.realpath(folder / name))
        if blob.parent.name == "blobs" and (HEX64.fullmatch(blob.name) or HEX40.fullmatch(blob.name)):
            out[name] = blob.name
    return out
