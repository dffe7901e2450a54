"""A name, a folder or a Hub repository -> a model that passed its checks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusionzoo.errors import CheckFailed, InputError, UnknownNameError, closest, unknown
from fusionzoo.hub import remote
from fusionzoo.hub.layout import CONFIG, RECORD
from fusionzoo.hub.records import NAME, Record, bundled, bundled_folder, load_index, read_record
from fusionzoo.hub.verification import Verification, inspect
from fusionzoo.models import FusionModel
from fusionzoo.models.presets import is_architecture
from fusionzoo.registry import architectures

__all__ = ["Checkpoint", "from_pretrained", "read_index", "resolve"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's files on this disk, found and not yet opened.

    `source` says where they came from: `bundled`, `folder PATH` or `hf-hub:org/name@commit`. `record` is the authority
    (bundled or of an index); None means that of the folder, if it has one.
    """

    name: str
    source: str
    folder: Path
    record: Record | None = None
    pulled: remote.Pulled | None = field(default=None, repr=False)

    @property
    def stated(self) -> Record | None:
        """The record that has authority: that of the index, or else the folder's own, if it has one."""
        if self.record is not None:
            return self.record
        return read_record(self.folder) if (self.folder / RECORD).is_file() else None

    def verify(self) -> Verification:
        """All checks; does not raise for what they find."""
        return self.inspect()[0]

    def load(self, verify: bool = True) -> tuple[FusionModel, Verification]:
        """The model (eval mode, float32, CPU) and the checks it passed.

        `verify` False leaves out the SHA-256 and the fingerprint, as of `from_pretrained`.

        Raises:
            CheckFailed: a check failed; damaged files of the Hub's cache are removed, so that a next call fetches them.
        """
        done, model = self.inspect(quick=not verify)
        if model is None:
            raise self.failure(done)
        return model, done

    def inspect(self, *, quick: bool = False) -> tuple[Verification, FusionModel | None]:
        """The checks, and the model where all passed; `quick`: see `fusionzoo.hub.verification.inspect`."""
        checksums = self.pulled.checksums if self.pulled is not None else None
        return inspect(self.folder, self.record, checksums, quick=quick)

    def failure(self, done: Verification) -> CheckFailed:
        """What failed, in one line; damaged files of the Hub's cache are removed on the way, and the line says so."""
        gone = remote.discard_damaged(self.pulled) if self.pulled is not None else []
        tail = f"; removed {', '.join(gone)} from the cache, try again" if gone else ""
        try:
            done.require(self.name)
        except CheckFailed as error:
            return CheckFailed(f"{error}{tail}")
        return CheckFailed(f"{self.name}: no model{tail}")


def resolve(
    name: str | os.PathLike[str],
    revision: str | None = None,
    token: str | bool | None = None,
    *,
    index: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Finds a checkpoint, and fetches it when it is on the Hub.

    In this order: a folder that exists, `hf-hub:org/name`, a name of `index`, a bundled `architecture.tag`, `org/name`.

    Raises:
        UnknownNameError: no such name; the closest are given.
        InputError: a missing folder, a revision for something that has none, or what `remote.pull` raises.
    """
    if not isinstance(name, str | os.PathLike):
        raise InputError(
            f"a {type(name).__name__} is no name of a checkpoint; give a name, a folder or hf-hub:org/name"
            + ("; fusionzoo.dissect, trace, robustness and explain take a model" if hasattr(name, "forward") else "")
        )
    text = os.fspath(name)
    hub = remote.parse(text) if text.startswith(remote.PREFIX) else None
    if hub is None and os.path.isdir(text):
        _no_revision(text, revision)
        return Checkpoint(_folder_name(Path(text)), f"folder {text}", Path(text))
    if hub is None and os.path.isfile(text):
        raise InputError(
            f"{text} is a file; give the checkpoint folder with {CONFIG} and model.safetensors, or make one of foreign"
            " weights with: fusionzoo convert"
        )
    listed = read_index(index, token) if index is not None else {}
    if text in listed:
        record = listed[text]
        return _remote(record.repo_id, revision or record.revision, token, text, None if revision else record)
    if hub is None and NAME.fullmatch(text):
        if text not in bundled():
            raise _no_checkpoint(text, [*bundled(), *listed])
        _no_revision(text, revision)
        return Checkpoint(text, "bundled", bundled_folder(text))
    hub = hub or remote.parse(text)
    if hub is None:
        looks_like_path = "/" in text or os.sep in text or text.startswith((".", "~"))
        if looks_like_path or os.path.exists(text):
            raise InputError(
                f"no checkpoint folder {text!r} (a folder with {CONFIG} and model.safetensors);"
                " a Hub repository is written hf-hub:org/name"
            )
        if is_architecture(text):
            raise InputError(
                f"{text} is an architecture, not a checkpoint; weights come from fusionzoo finetune or convert, an"
                f" untrained model from fusionzoo.create_model({text!r}); fusionzoo list shows the checkpoints"
            )
        raise _no_checkpoint(text, [*bundled(), *listed])
    if hub[1] is not None and revision is not None and hub[1] != revision:
        raise InputError(f"two revisions: {hub[1]!r} in the name and {revision!r} beside it")
    try:
        return _remote(hub[0], revision or hub[1], token, text, None)
    except InputError as error:
        if text.startswith(remote.PREFIX):
            raise
        raise InputError(f"there is no folder {text}, and as a Hub repository: {error}") from error


def from_pretrained(
    name: str | os.PathLike[str],
    revision: str | None = None,
    token: str | bool | None = None,
    verify: bool = True,
    *,
    index: str | os.PathLike[str] | None = None,
) -> FusionModel:
    """The trained model called `name`, in eval mode, float32, on the CPU. Its `preprocess` belongs to the weights.

    Args:
        name: a bundled `architecture.tag`, a folder, `hf-hub:org/name[@revision]` or `org/name`.
        revision: branch, tag or commit of a Hub repository; a commit makes later loads offline and exact.
        token: for private repositories; by default the one that is logged in.
        verify: False leaves out checksums and the fingerprint, never strict keys, shapes, types and finite values.
        index: further names: an index file, or a Hub repository that holds an `index.json` (see `read_index`).

    Raises:
        UnknownNameError, InputError: nothing usable by that name; the message says what to do.
        CheckFailed: the files do not pass (`fusionzoo.hub.verify` names the checks).
    """
    return resolve(name, revision, token, index=index).load(verify)[0]


def read_index(index: str | os.PathLike[str], token: str | bool | None = None) -> dict[str, Record]:
    """Records by name from an index file, or from `hf-hub:org/name[@revision]`, a repository with an `index.json`.

    Raises:
        InputError: no such file or repository, or a malformed record in it.
    """
    text = os.fspath(index)
    hub = None if os.path.exists(text) else remote.parse(text)
    return load_index(text) if hub is None else remote.pull_index(*hub, token)


def _remote(
    repo_id: str, revision: str | None, token: str | bool | None, name: str, record: Record | None
) -> Checkpoint:
    pulled = remote.pull(repo_id, revision, token, record=record)
    source = f"{remote.PREFIX}{repo_id}@{pulled.commit}"
    return Checkpoint(name, source, pulled.folder, record, pulled)


def _folder_name(folder: Path) -> str:
    """The name in the folder's record, or the folder's own."""
    try:
        return read_record(folder).name if (folder / RECORD).is_file() else folder.resolve().name
    except InputError:
        return folder.resolve().name  # the check called "record" will say what is wrong with it


def _no_checkpoint(text: str, names: Sequence[str]) -> UnknownNameError:
    """What to say of a name that is neither: the closest checkpoint, or else an architecture that is near."""
    near = [] if closest(text, names) else closest(text, architectures, 1)
    also = f"; {near[0]} is an architecture, whose weights are new" if near else ""
    return unknown(
        "checkpoint", text, names, f"fusionzoo list; no folder has this name; on the Hub: hf-hub:org/name{also}"
    )


def _no_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise InputError(f"{name} is on this disk and has no revisions; leave out revision={revision!r}")
