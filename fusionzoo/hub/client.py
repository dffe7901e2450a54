"""One repository of the Hugging Face Hub: requests tried again, files held against its checksums, one-line errors."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)  # fmt: skip
from huggingface_hub.file_download import repo_folder_name

from fusionzoo.errors import CheckFailed, FusionZooError, InputError
from fusionzoo.files import MAX_JSON, atomic_write, git_sha1, sha256_file
from fusionzoo.hub.layout import CONFIG, RECORD, WEIGHTS, missing_file
from fusionzoo.hub.records import HEX40, HEX64

__all__ = ["HTTP_ERROR", "Hub", "checksum", "remove"]

T = TypeVar("T")

WAITS = (1.0, 2.0, 4.0)
"""Seconds before each new try after a 429, a 5xx or a lost connection.

Ours, since the client (huggingface_hub 1.0.0 to 2.4.0) tries only a 429 of a download again: `model_info`,
`create_repo` and a download's 500 or 503 fail at the first answer, and so does file metadata from 2.x on.
"""

MAX_WAIT = 60.0
"""Longest `Retry-After` that is waited for, in seconds."""

HTTP_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
"""Base of what the Hub client's HTTP library raises (the library's name changed between versions)."""


class Hub:
    """One repository at the endpoint that the environment names now; the errors of the client in our words."""

    def __init__(self, repo_id: str, token: str | bool | None, cache_dir: str | os.PathLike[str] | None) -> None:
        self.repo_id = repo_id
        self.token = token
        self.cache_dir = str(cache_dir or os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE)
        self.endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT
        wish = os.environ.get("HF_HUB_OFFLINE", "").upper()
        self.offline = constants.HF_HUB_OFFLINE or wish in constants.ENV_VARS_TRUE_VALUES
        self.api = HfApi(endpoint=self.endpoint, token=token)
        self.etags: dict[str, str] = {}

    def require_online(self, revision: str) -> None:
        if self.offline:
            raise InputError(
                f"{self.repo_id} at {revision} is not in the cache ({self.cache_dir}), and HF_HUB_OFFLINE is set:"
                " fetch it once without that"
            )

    def commit(self, revision: str) -> str:
        """The commit that `revision` names now; offline, the one it named when it was last pulled."""
        if HEX40.fullmatch(revision):
            return revision
        ref = Path(self.cache_dir) / repo_folder_name(repo_id=self.repo_id, repo_type="model") / "refs" / revision
        if self.offline:
            known = ref.read_text().strip() if ref.is_file() else ""
            if not HEX40.fullmatch(known):
                self.require_online(revision)
            return known
        found = self.call(
            lambda: self.api.model_info(self.repo_id, revision=revision, timeout=_timeout()).sha, revision
        )
        if not HEX40.fullmatch(found or ""):
            raise InputError(f"{self.endpoint} answers no commit for {self.repo_id} at {revision}: is it a Hub?")
        with contextlib.suppress(InputError):  # a read-only cache still serves what it has
            atomic_write(ref, str(found))
        return str(found)

    def cached(self, commit: str, with_record: bool) -> Path | None:
        """The snapshot's folder when all that `pull` wants is there (or known to be absent: a record)."""
        get = lambda name: try_to_load_from_cache(self.repo_id, name, cache_dir=self.cache_dir, revision=commit)  # noqa: E731
        config, weights, record = get(CONFIG), get(WEIGHTS), get(RECORD)
        if not isinstance(config, str) or not isinstance(weights, str):
            return None
        if with_record and record is None and not self.offline:
            return None
        return Path(config).parent

    def small(self, name: str, commit: str, limit: int = MAX_JSON, optional: bool = False) -> Path | None:
        """One JSON file, from the cache if it is there; None for one that is `optional` and not in the repository."""
        known = try_to_load_from_cache(self.repo_id, name, cache_dir=self.cache_dir, revision=commit)
        if isinstance(known, str):
            return Path(known)
        if optional and (known is not None or self.offline):  # known to be absent, or nobody to ask
            return None
        self.require_online(commit)
        try:
            return self.fetch(name, commit, limit, optional)
        except EntryNotFoundError:
            return None

    def fetch(self, name: str, commit: str, limit: int, optional: bool = False) -> Path:
        """One file at `commit`, at most `limit` bytes, equal to the Hub's checksum. A missing one: `missing_file`."""
        url = hf_hub_url(self.repo_id, name, revision=commit, endpoint=self.endpoint)
        known: dict[str, Any] = {"endpoint": self.endpoint, "token": self.token}
        try:
            meta = self.call(lambda: get_hf_file_metadata(url, timeout=_timeout(), **known), commit)
            etag, size = meta.etag or "", meta.size
            if not HEX64.fullmatch(etag) and not HEX40.fullmatch(etag):
                raise InputError(
                    f"{self.endpoint} states no checksum for {name} of {self.repo_id} (ETag {etag[:40]!r})"
                )
            if meta.commit_hash != commit:
                raise InputError(f"{self.endpoint} answers for another commit than {commit[:12]} of {self.repo_id}")
            if size is None or size > limit:
                stated = "no size" if size is None else f"{size:,} bytes"
                raise CheckFailed(f"{name} of {self.repo_id} has {stated}, at most {limit:,} are expected; not fetched")
            path = Path(
                self.call(
                    lambda: hf_hub_download(
                        self.repo_id, name, revision=commit, cache_dir=self.cache_dir, etag_timeout=_timeout(), **known
                    ),
                    commit,
                )
            )
        except EntryNotFoundError:
            if optional:
                # leaves the note in the cache that there is none, so that the next load makes no request
                with contextlib.suppress(HfHubHTTPError, OSError, FusionZooError, EntryNotFoundError):
                    hf_hub_download(self.repo_id, name, revision=commit, cache_dir=self.cache_dir, **known)
                raise
            info = self.call(lambda: self.api.model_info(self.repo_id, revision=commit, timeout=_timeout()), commit)
            present = [s.rfilename for s in info.siblings or []]
            raise CheckFailed(f"{self.repo_id}: {missing_file(name, present)}") from None
        if checksum(path, etag) != etag:
            remove(path)
            raise CheckFailed(
                f"{name} of {self.repo_id} differs from the Hub's own checksum {etag[:12]}...: damaged on the way;"
                " removed from the cache, try again"
            )
        self.etags[name] = etag
        return path

    def call(self, work: Callable[[], T], revision: str) -> T:
        """`work()`, again after a 429, a 5xx or a lost connection; what stays wrong becomes one line."""
        for wait in (*WAITS, None):
            try:
                return work()
            except (HTTP_ERROR, OSError, FileMetadataError) as error:
                cause: BaseException = error
                while isinstance(cause, LocalEntryNotFoundError) and cause.__cause__ is not None:
                    cause = cause.__cause__  # the client wraps what happened into "not found locally"
                if isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError):
                    raise cause from None
                pause = _pause(cause, wait)
                if pause is None:
                    raise self.explain(cause, revision) from error
                time.sleep(pause)
        raise AssertionError("unreachable")

    def explain(self, error: BaseException, revision: str) -> InputError:
        """The client's error in one line: what was wrong and what to do."""
        repo, status = self.repo_id, getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, GatedRepoError):
            return InputError(f"{repo} is gated: accept its terms at {self.endpoint}/{repo}, then run: hf auth login")
        if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
            return InputError(
                f"no repository {repo} at {self.endpoint}, or no access to it; for a private one run: hf auth login,"
                " or give a token"
            )
        if isinstance(error, RevisionNotFoundError):
            return InputError(f"{repo} has no revision {revision!r}; see {self.endpoint}/{repo}/tree/main")
        if isinstance(error, OfflineModeIsEnabled):
            return InputError(f"{repo} at {revision} is not in the cache, and HF_HUB_OFFLINE is set")
        if status == 429:
            return InputError(
                f"{self.endpoint} limits requests (status 429); wait some minutes, or log in: hf auth login"
            )
        if status is not None:
            return InputError(f"{self.endpoint} answers status {status} for {repo}; try again later")
        if isinstance(error, OSError) and error.errno is not None:
            return InputError(f"cannot write to the cache {self.cache_dir}: {error.strerror}")
        reason = (str(error).strip().splitlines() or [""])[0][:160] or type(error).__name__
        return InputError(
            f"no usable answer from {self.endpoint} for {repo} ({reason}); a pinned or cached copy loads with"
            " HF_HUB_OFFLINE=1"
        )


def _pause(error: BaseException, wait: float | None) -> float | None:
    """Seconds to wait before trying again; None when another try is useless or there is none left."""
    if wait is None or isinstance(error, OfflineModeIsEnabled | FileMetadataError):
        return None
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status == 429:
        after = str(response.headers.get("Retry-After", ""))
        asked = float(after) if after.isdigit() else wait
        return asked if asked <= MAX_WAIT else None
    if status is not None:
        return wait if status >= 500 else None
    # without a response: the transport failed (again worth a try), or the disk (not)
    return wait if isinstance(error, HTTP_ERROR) else None


def _timeout() -> float:
    """Seconds without an answer after which a connection counts as stalled; `HF_HUB_ETAG_TIMEOUT` sets it."""
    return float(constants.HF_HUB_ETAG_TIMEOUT)


def checksum(path: Path, like: str) -> str:
    """Of a file, by the method that `like` was made with: git SHA-1 (40 hex) or SHA-256."""
    return git_sha1(path.read_bytes()) if len(like) == 40 else sha256_file(path)


def remove(path: Path) -> None:
    """A file of the cache, and the blob that it links to."""
    Path(os.path.realpath(path)).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
