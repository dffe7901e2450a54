"""Pulling and pushing against a real HTTP server: what works, every fault, what stays on the disk."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from huggingface_hub import ModelCard, constants, file_download

import fusionzoo
from fusionzoo import hub as fusionzoo_hub
from fusionzoo.cli import main
from fusionzoo.errors import CheckFailed, FusionZooError, InputError
from fusionzoo.hub import client, records, remote
from fusionzoo.hub.load import read_index
from fusionzoo.hub.publish import push
from fusionzoo.models import FusionModel
from tests.compare import close, same_tensors
from tests.hub.conftest import NAME, small_model
from tests.hub.loophub import Fault, LoopHub, Repo, Request

ID = "org/name"


@pytest.fixture
def commit(server: LoopHub, saved: dict[str, bytes]) -> str:
    """The checkpoint in a repository of the loopback Hub; its commit."""
    server.repos[ID] = Repo()
    return server.repos[ID].commit(dict(saved))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return same_tensors(x, y)


def once(part: str, fault: Fault, times: int = 1, method: str = "GET") -> Callable[[Request], Fault | None]:
    """The fault for the first `times` requests whose path holds `part`."""
    left = itertools.count(times, -1)
    return lambda r: fault if part in r.path and r.method in method.split() and next(left) > 0 else None


def files(folder: Path) -> list[str]:
    """Names of real files below `folder`, without locks, tags and refs."""
    return sorted(
        p.name for p in (folder / "cache").rglob("*") if p.is_file() and not p.is_symlink() and p.parent.name == "blobs"
    )


def refused(error: type[FusionZooError], words: str, name: str = ID, **options: str) -> str:
    with pytest.raises(error, match=words) as caught:
        fusionzoo.from_pretrained(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------ what works


@pytest.mark.parametrize("name", ["hf-hub:org/name", "org/name", "hf-hub:org/name@main"])
def test_a_pulled_model_is_the_saved_one(commit: str, model: FusionModel, name: str) -> None:
    loaded = fusionzoo.from_pretrained(name)
    assert same(loaded, model) and not loaded.training
    checkpoint = fusionzoo_hub.resolve(name)
    assert checkpoint.source == f"hf-hub:org/name@{commit}"
    done = checkpoint.verify()
    assert done.ok and "and the Hub's" in next(c["detail"] for c in done if c["check"] == "sha256")


def test_revisions_by_branch_tag_and_commit(server: LoopHub, commit: str, saved: dict[str, bytes]) -> None:
    other = dict(saved) | {"config.json": saved["config.json"].replace(b"depth", b"depth", 1) + b"\n"}
    newer = server.repos[ID].commit({k: v for k, v in other.items() if k != "record.json"})
    server.repos[ID].refs["v1"] = commit
    assert fusionzoo_hub.resolve(ID).source.endswith(newer)
    assert fusionzoo_hub.resolve(ID, "v1").source.endswith(commit)
    assert fusionzoo_hub.resolve(ID, commit).source.endswith(commit)
    assert fusionzoo_hub.resolve(f"hf-hub:{ID}@v1").source.endswith(commit)
    refused(InputError, "two revisions", f"hf-hub:{ID}@v1", revision="main")
    refused(InputError, "no revision 'v9'", revision="v9")
    refused(InputError, "is no revision", revision="../../etc")


@pytest.mark.parametrize("with_record", [True, False])
def test_a_cached_pinned_load_makes_no_request(
    server: LoopHub, commit: str, saved: dict[str, bytes], with_record: bool
) -> None:
    if not with_record:
        commit = server.repos[ID].commit({k: v for k, v in saved.items() if k != "record.json"}, "bare")
    fusionzoo.from_pretrained(ID, revision=commit)
    assert server.asked()
    server.log.clear()
    done = fusionzoo_hub.resolve(ID, commit).verify()
    assert done.ok and server.asked() == []
    text = next(c["detail"] for c in done if c["check"] == "sha256")
    assert text == (
        "2 files equal the record's and the Hub's"
        if with_record
        else "2 files equal the Hub's own checksums (no record states any)"
    )


def test_offline(server: LoopHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(InputError, "HF_HUB_OFFLINE is set: fetch it once")
    refused(InputError, "HF_HUB_OFFLINE is set: fetch it once", revision=commit)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    fusionzoo.from_pretrained(ID)
    server.log.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fusionzoo_hub.resolve(ID).source.endswith(commit)
    fusionzoo.from_pretrained(ID)
    assert server.asked() == []


def info(*args: str) -> Result:
    result = CliRunner().invoke(main, ["info", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_info_of_a_repository_fetches_no_weights(
    server: LoopHub, commit: str, saved: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repos[ID].refs["v1"] = commit
    for name in (f"hf-hub:{ID}", ID, f"hf-hub:{ID}@v1", f"hf-hub:{ID}@{commit}"):
        facts = json.loads(info(name, "--json").stdout)
        assert facts["name"] == f"{NAME}.test" and facts["preprocess"]["x_kind"] == "depth"
        assert (facts["repo_id"], facts["revision"]) == (ID, commit)
    assert server.asked() and not server.asked(part="safetensors")
    server.log.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert json.loads(info(f"hf-hub:{ID}", "--json").stdout)["revision"] == commit and server.asked() == []
    for name, words in [
        ("hf-hub:org/other", "HF_HUB_OFFLINE is set: fetch it once"),
        (f"hf-hub:{ID}@v7", "HF_HUB_OFFLINE is set: fetch it once"),
        ("hf-hub:name", "the form is hf-hub:org/name"),
        ("./nowhere", "no checkpoint folder './nowhere'"),
    ]:
        result = info(name)
        assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1, result.stderr


def test_info_of_a_repository_without_record(server: LoopHub, commit: str, saved: dict[str, bytes]) -> None:
    bare = server.repos[ID].commit({"config.json": saved["config.json"]})
    facts = json.loads(info(f"hf-hub:{ID}", "--json").stdout)
    assert facts["architecture"] == NAME and facts["record"].startswith("none") and facts["revision"] == bare
    server.log.clear()
    assert json.loads(info(f"hf-hub:{ID}@{bare}", "--json").stdout) == facts and server.asked() == []
    server.repos[ID].commit({"README.md": b"nothing else"})
    result = info(f"hf-hub:{ID}")
    assert result.exit_code == 1 and "no config.json" in result.stderr and result.stderr.count("\n") == 1
    server.repos[ID].commit({"config.json": b'{"model_type": "segformer"}'})
    result = info(f"hf-hub:{ID}")
    assert result.exit_code == 2 and "names no architecture of fusionzoo" in result.stderr


def test_info_when_nobody_listens(server: LoopHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    result = info("hf-hub:org/name")
    assert result.exit_code == 2 and "no usable answer from http://127.0.0.1:9" in result.stderr


def test_private_repositories(server: LoopHub, commit: str, model: FusionModel) -> None:
    server.token = "hf_secret"
    text = refused(InputError, "no access to it; for a private one run: hf auth login")
    assert same(fusionzoo.from_pretrained(ID, token="hf_secret"), model)
    refused(InputError, "no access", "org/other", token="hf_wrong")
    assert "hf_secret" not in text


def test_an_index_names_pinned_checkpoints(
    server: LoopHub, commit: str, saved: dict[str, bytes], tmp_path: Path, model: FusionModel
) -> None:
    record = json.loads(saved["record.json"]) | {"repo_id": ID, "revision": commit}
    index = tmp_path / "mine.json"
    index.write_text(json.dumps({"format_version": 1, "records": [record]}))
    assert records.find(f"{NAME}.test", index).revision == commit
    server.repos[ID].commit({"README.md": b"emptied"})
    assert same(fusionzoo.from_pretrained(f"{NAME}.test", index=index), model)
    # the index is the authority: another checksum there fails, whatever the repository says of itself
    record["files"]["model.safetensors"]["sha256"] = "0" * 64
    index.write_text(json.dumps({"format_version": 1, "records": [record]}))
    with pytest.raises(CheckFailed, match="model.safetensors differs from the record"):
        fusionzoo.from_pretrained(f"{NAME}.test", index=index)
    server.repos["org/index"] = Repo()
    server.repos["org/index"].commit({"index.json": index.read_bytes()})
    assert list(remote.pull_index("org/index")) == [f"{NAME}.test"]
    assert read_index("hf-hub:org/index") == records.load_index(index)
    with pytest.raises(CheckFailed, match="org/name: no index.json"):
        read_index(ID)
    with pytest.raises(InputError, match="cannot read nowhere.json"):
        read_index("nowhere.json")


def test_push_then_pull(server: LoopHub, folder: Path, model: FusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    server.token = "hf_write"
    (folder / ".secret").write_text("x")
    (folder / "notes.txt").write_text("x")
    (folder / "cka.svg").write_text("<svg/>")
    oid = push(folder, "tester/new", private=True, token="hf_write", tag="v1", message="first")
    repo = server.repos["tester/new"]
    assert repo.refs["main"] == repo.refs["v1"] == oid
    sent = repo.commits[oid]
    assert set(sent) == {".gitattributes", "README.md", "cka.svg", "config.json", "model.safetensors", "record.json"}
    assert all(sent[n] == (folder / n).read_bytes() for n in sent if n != ".gitattributes")
    assert same(fusionzoo.from_pretrained("tester/new", revision="v1", token="hf_write"), model)
    again = push(folder, "tester/new", token="hf_write", branch="dev")
    assert repo.refs["dev"] == again and repo.refs["main"] == oid


def test_a_model_saves_and_pushes_itself(server: LoopHub, model: FusionModel, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "mine", half=True, record_fields={"licence": "mit"})
    assert records.read_record(folder).licence == "mit" and fusionzoo_hub.verify(folder).ok
    oid = model.push_to_hub("tester/mine", record_fields={"licence": "apache-2.0"})
    sent = server.repos["tester/mine"].commits[oid]
    assert {"README.md", "config.json", "model.safetensors", "record.json"} <= set(sent)
    assert ModelCard(sent["README.md"].decode()).data.license == "apache-2.0"
    assert same(fusionzoo.from_pretrained("tester/mine", revision=oid), model)


def test_check_of_remote_checkpoints_equals_that_of_the_local_ones(server: LoopHub, tmp_path: Path) -> None:
    """The main job on the Hub: the same numbers, several names compared, a damaged byte ends it with status 1."""
    from click.testing import CliRunner

    from fusionzoo.cli import main

    names = ["concat_mobilenetv1-025_fpn.planted", "gate_mobilenetv1-025_fpn.planted"]
    for name in names:
        server.repos[f"org/{name}"] = Repo()
        place = records.bundled_folder(name)
        server.repos[f"org/{name}"].commit({p.name: p.read_bytes() for p in place.iterdir() if p.is_file()})
    run = lambda *args: CliRunner().invoke(main, ["check", *args, "--limit", "6", "--quiet"])  # noqa: E731
    far = run(*(f"hf-hub:org/{name}" for name in names), "--json", "--out", str(tmp_path / "out"))
    near = run(*names, "--json")
    assert far.exit_code == near.exit_code, (far.stderr, near.stderr)
    for a, b, name in zip(json.loads(far.stdout), json.loads(near.stdout), names, strict=True):
        commit = server.repos[f"org/{name}"].refs["main"]
        assert a["checkpoint"]["source"] == f"hf-hub:org/{name}@{commit}" and b["checkpoint"]["source"] == "bundled"
        assert all(c["ok"] for c in a["verification"])
        assert "and the Hub's" in next(c["detail"] for c in a["verification"] if c["check"] == "sha256")
        assert close(a["dissection"]["results"], b["dissection"]["results"], 1e-3)
        assert (tmp_path / "out" / name / "report.html").is_file()
    told = run(f"hf-hub:org/{names[0]}", f"hf-hub:org/{names[1]}")
    compared = told.stdout.split("\nComparison\n")[1]
    assert all(f"hf-hub:org/{name[:12]}" in compared for name in names)
    blob = max((tmp_path / "cache").rglob("blobs/*"), key=lambda p: p.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[-1000] ^= 1
    blob.write_bytes(data)
    ends = [run(f"hf-hub:org/{name}") for name in names]
    assert sorted(r.exit_code for r in ends)[-1] == 1 and "differs from" in max(ends, key=lambda r: r.exit_code).stdout


def test_push_sends_nothing_that_fails_its_own_verification(server: LoopHub, folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckFailed, match="differs from the record"):
        push(folder, "tester/new")
    assert server.asked() == []


def test_push_without_card_or_access(server: LoopHub, folder: Path) -> None:
    (folder / "README.md").unlink()
    with pytest.raises(InputError, match="published with its model card"):
        push(folder, "tester/new")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# x\n")
    server.token = "hf_write"
    with pytest.raises(InputError, match="no access to it"):
        push(folder, "tester/new", token="hf_read")
    with pytest.raises(InputError, match="the form is org/name"):
        push(folder, "new")
    assert not server.repos


# ---------------------------------------------------------------------------------------------------------- faults


def test_a_corrupt_byte_is_caught_and_does_not_stay(
    server: LoopHub, commit: str, tmp_path: Path, model: FusionModel
) -> None:
    def flip(data: bytes) -> bytes:
        return data[:-9] + bytes([data[-9] ^ 4]) + data[-8:]

    server.fault = once("model.safetensors", Fault(change=flip))
    refused(CheckFailed, "differs from the Hub's own checksum .* removed from the cache, try again")
    assert not any(len(name) == 64 for name in files(tmp_path))
    assert same(fusionzoo.from_pretrained(ID), model)


def test_a_byte_that_rots_in_the_cache(server: LoopHub, commit: str, model: FusionModel) -> None:
    blob = fusionzoo_hub.resolve(ID, commit).folder.joinpath("model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-9] ^= 4
    blob.write_bytes(data)
    text = refused(CheckFailed, "differs from the record", revision=commit)
    assert text.endswith("removed model.safetensors from the cache, try again")
    assert same(fusionzoo.from_pretrained(ID, revision=commit), model)


def test_a_record_that_disagrees_with_a_whole_file_leaves_the_file(
    server: LoopHub, commit: str, saved: dict[str, bytes], tmp_path: Path
) -> None:
    record = json.loads(saved["record.json"])
    record["files"]["config.json"]["sha256"] = "0" * 64
    server.repos[ID].commit(dict(saved) | {"record.json": json.dumps(record).encode()})
    refused(CheckFailed, "config.json differs from the record")
    assert len(files(tmp_path)) == 3


def test_headers_that_not_every_server_sends(server: LoopHub, commit: str, model: FusionModel) -> None:
    server.fault = lambda r: Fault(drop=("X-Linked-Etag", "X-Linked-Size", "Accept-Ranges"))
    assert same(fusionzoo.from_pretrained(ID), model)


def test_a_body_cut_off_is_resumed(
    server: LoopHub, commit: str, model: FusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 256)
    server.fault = once("model.safetensors", Fault(cut=1000))
    assert same(fusionzoo.from_pretrained(ID), model)
    got = server.asked(method="GET", part="model.safetensors")
    assert len(got) == 2 and "Range" in {k.title() for k in got[1].headers}


@pytest.mark.parametrize("size", [-7, 7])
def test_a_body_of_another_length_is_refused(server: LoopHub, commit: str, tmp_path: Path, size: int) -> None:
    change = (lambda d: d[:size]) if size < 0 else (lambda d: d + bytes(size))
    server.fault = lambda r: Fault(change=change) if r.method == "GET" and "model.safetensors" in r.path else None
    refused(FusionZooError, "no usable answer|checksum")
    assert not any(len(name) == 64 for name in files(tmp_path))
    assert not any(name.endswith(".incomplete") for name in files(tmp_path))


def test_a_file_larger_than_its_config_implies_is_not_fetched(server: LoopHub, saved: dict[str, bytes]) -> None:
    server.repos[ID] = Repo()
    server.repos[ID].commit(dict(saved) | {"model.safetensors": bytes(24 << 20)})
    refused(CheckFailed, r"model.safetensors of org/name has 25,165,824 bytes, at most .* expected; not fetched")
    assert not server.asked(method="GET", part="model.safetensors")
    server.repos[ID].commit(dict(saved) | {"config.json": b" " * (5 << 20)})
    refused(CheckFailed, "config.json of org/name has 5,242,880 bytes")


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "no access"), (403, "no access"), (404, "answers status 404|no repository"), (410, "status 410")],
)
def test_answers_that_no_second_try_changes(server: LoopHub, commit: str, status: int, words: str) -> None:
    server.fault = lambda r: Fault(status=status)
    refused(InputError, words)
    assert len(server.asked()) == 1


def test_no_such_repository(server: LoopHub) -> None:
    refused(InputError, "no repository org/nothing at http://127.0.0.1", "org/nothing")


@pytest.mark.parametrize("part", ["/api/models", "config.json", "model.safetensors"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_limits_and_failures_of_the_server_are_tried_again(
    server: LoopHub, commit: str, model: FusionModel, part: str, status: int
) -> None:
    server.fault = once(part, Fault(status=status, headers={"Retry-After": "0"}), 2, "GET HEAD")
    assert same(fusionzoo.from_pretrained(ID), model)


def test_a_server_that_stays_down_or_limits_for_long(server: LoopHub, commit: str) -> None:
    server.fault = lambda r: Fault(status=503)
    refused(InputError, "answers status 503 for org/name; try again later")
    assert len(server.asked()) == 1 + len(client.WAITS)
    server.log.clear()
    server.fault = lambda r: Fault(status=429, headers={"Retry-After": "3600"})
    refused(InputError, "limits requests")
    assert len(server.asked()) == 1


@pytest.mark.parametrize("part", ["/api/models", "config.json"])
def test_a_stalled_answer_ends(server: LoopHub, commit: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WAITS", ())
    server.fault = lambda r: Fault(stall=30) if part in r.path and r.method == "GET" else None
    monkeypatch.setattr(file_download, "http_get", partial(file_download.http_get, _nb_retries=0))
    start = time.monotonic()
    refused(InputError, "no usable answer")
    assert time.monotonic() - start < 10


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, server: LoopHub) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused(InputError, "no usable answer from http://127.0.0.1:9 .*HF_HUB_OFFLINE=1")


def test_a_redirect_to_another_host_does_not_carry_the_token(
    server: LoopHub, commit: str, saved: dict[str, bytes], model: FusionModel
) -> None:
    with LoopHub() as cdn:
        cdn.repos[ID] = server.repos[ID]
        server.token = "hf_secret"
        other = cdn.url.replace("127.0.0.1", "localhost")
        server.fault = lambda r: Fault(redirect=other) if r.method == "GET" and "resolve" in r.path else None
        assert same(fusionzoo.from_pretrained(ID, token="hf_secret"), model)
        assert cdn.asked(method="GET", part="model.safetensors")
        assert not any("authorization" in {k.lower() for k in r.headers} for r in cdn.log)


def test_no_config_another_models_weights_pickles_only(
    server: LoopHub, saved: dict[str, bytes], tmp_path: Path
) -> None:
    server.repos[ID] = repo = Repo()
    repo.commit({k: v for k, v in saved.items() if k != "config.json"})
    refused(CheckFailed, "org/name: no config.json: not a fusionzoo checkpoint")
    fusionzoo_hub.save(small_model(fusion_args=None, fusion="gate"), tmp_path / "other")
    repo.commit(
        {"config.json": saved["config.json"], "model.safetensors": (tmp_path / "other/model.safetensors").read_bytes()}
    )
    refused(CheckFailed, "keys: model.safetensors is not of the model in config.json: keys .* missing, first")
    repo.commit({"config.json": saved["config.json"], "pytorch_model.bin": b"\x80\x04."})
    text = refused(CheckFailed, "pytorch_model.bin is a pickle, which could run code and is never loaded")
    assert "fusionzoo convert state_dict" in text
    assert not server.asked(method="GET", part="pytorch_model.bin")


def test_names_that_would_leave_the_cache(server: LoopHub, saved: dict[str, bytes], tmp_path: Path) -> None:
    evil = saved["record.json"].replace(b'"model.safetensors"', b'"../../../escaped"')
    server.repos[ID] = repo = Repo()
    repo.commit(dict(saved) | {"record.json": evil, "../../escaped": b"x"})
    refused(CheckFailed, "refused file name '../../../escaped': it would leave its folder")
    server.repos[ID].commit(saved)
    for etag in ("../../../../escaped", "/tmp/escaped", ""):
        headers = {"ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"'}
        server.fault = lambda r, h=headers: Fault(headers=h) if "resolve" in r.path else None
        refused(InputError, "states no checksum|no usable answer")
    server.fault = lambda r: Fault(headers={"X-Repo-Commit": "../../escaped"}) if "resolve" in r.path else None
    refused(InputError, "answers for another commit")
    assert not list(tmp_path.parent.rglob("*escaped*"))
    for name in ("hf-hub:../../x", "hf-hub:org/..", "hf-hub:org/a/b", "hf-hub:", "hf-hub:org"):
        refused(InputError, "names no Hub repository", name)


def test_a_cache_that_cannot_be_written_is_one_line(
    server: LoopHub, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    refused(InputError, "cannot write to the cache")


# -------------------------------------------------------------------------------------------------- other processes


def pull_in_child(out: Path, limit: int | None) -> None:
    """Pulls, and writes what came of it; with `limit`, no file may grow beyond that many bytes, as on a full disk."""
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        text = str(remote.pull(ID).folder)
    except FusionZooError as error:
        text = f"{type(error).__name__}: {error}"
    out.write_text(text)


def start(out: Path, limit: int | None = None) -> multiprocessing.Process:
    # fork: a child starts at once, with this process's settings of the endpoint and the cache
    job = multiprocessing.get_context("fork").Process(target=pull_in_child, args=(out, limit))
    job.start()
    return job  # type: ignore[return-value]


def wait_for_download(server: LoopHub) -> None:
    for _ in range(300):
        if server.asked(method="GET", part="model.safetensors"):
            return
        time.sleep(0.05)
    raise AssertionError("the download did not begin")


def test_two_processes_pull_the_same_checkpoint(
    server: LoopHub, commit: str, tmp_path: Path, model: FusionModel
) -> None:
    server.fault = lambda r: Fault(stall=0.3) if r.method == "GET" and "model.safetensors" in r.path else None
    jobs = [start(tmp_path / f"out{i}") for i in range(2)]
    for job in jobs:
        job.join(timeout=60)
        assert job.exitcode == 0
    assert all((tmp_path / f"out{i}").read_text().endswith(commit) for i in range(2))
    assert len(files(tmp_path)) == 3
    server.log.clear()
    assert same(fusionzoo.from_pretrained(ID, revision=commit), model) and server.asked() == []


def test_a_kill_in_the_middle_of_a_pull_leaves_no_half_file(
    server: LoopHub, commit: str, tmp_path: Path, model: FusionModel
) -> None:
    server.fault = lambda r: Fault(stall=60) if r.method == "GET" and "model.safetensors" in r.path else None
    job = start(tmp_path / "out")
    wait_for_download(server)
    time.sleep(0.2)
    assert job.is_alive() and job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    job.join(timeout=30)
    snapshot = tmp_path / "cache/models--org--name/snapshots" / commit
    assert not (snapshot / "model.safetensors").exists() and (snapshot / "config.json").exists()
    server.fault = lambda r: None
    assert same(fusionzoo.from_pretrained(ID), model)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(server: LoopHub, commit: str, tmp_path: Path) -> None:
    job = start(tmp_path / "out", limit=1 << 20)
    job.join(timeout=60)
    text = (tmp_path / "out").read_text()
    assert text.startswith("InputError: cannot write to the cache") and os.strerror(errno.EFBIG) in text
    assert len(files(tmp_path)) == 1  # the config
