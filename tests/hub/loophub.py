"""A small Hugging Face Hub on 127.0.0.1 for tests, standard library only, with faults on demand.

It serves what `hf_hub_download`, `model_info` and `create_commit` ask for (LFS "basic" transfer or regular uploads),
keeps a log of requests, and lets a test break any answer: `hub.fault = function(request: Request) -> Fault | None`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS = (".safetensors", ".bin", ".pth")


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Fault:
    """What to do instead: answer a status, another body, cut it off, stall, redirect, drop headers."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    change: Callable[[bytes], bytes] | None = None
    cut: int | None = None
    stall: float = 0.0
    redirect: str = ""
    drop: tuple[str, ...] = ()


@dataclass
class Repo:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # commit -> {path: content}
    refs: dict[str, str] = field(default_factory=dict)  # branch or tag -> commit

    def commit(self, files: dict[str, bytes], branch: str = "main", message: str = "") -> str:
        digest = hashlib.sha1((self.refs.get(branch, "") + message).encode())
        for path in sorted(files):
            digest.update(path.encode() + files[path])
        self.commits[digest.hexdigest()] = dict(files)
        self.refs[branch] = digest.hexdigest()
        return digest.hexdigest()

    def resolve(self, revision: str) -> str | None:
        revision = unquote(revision)
        return revision if revision in self.commits else self.refs.get(revision)


class LoopHub:
    """Use as a context manager; `hub.url` is the endpoint."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.log: list[Request] = []
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self.token: str | None = None
        self.info_names: dict[str, list[str]] = {}  # what model_info lists besides the commit's files
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def asked(self, *, method: str = "", part: str = "") -> list[Request]:
        """Logged requests, without the client's question for tools that run it."""
        return [
            r for r in self.log if "agent-harnesses" not in r.path and r.method.startswith(method) and part in r.path
        ]

    def __enter__(self) -> LoopHub:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(hub: LoopHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        now: Fault = Fault()

        def log_message(self, *args: Any) -> None:
            pass

        def send(self, code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            out = {"Content-Length": str(len(body)), **(headers or {})}
            fault = self.now
            if self.command != "HEAD" and fault.change is not None:
                body = fault.change(body)
                out["Content-Length"] = str(len(body))
            self.send_response(code)
            for key, value in out.items():
                if key not in fault.drop:
                    self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            try:
                if fault.stall:
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    time.sleep(fault.stall)
                    body = body[len(body) // 2 :]
                if fault.cut is not None:
                    self.wfile.write(body[: fault.cut])
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def json(self, values: Any, code: int = 200) -> None:
            self.send(code, json.dumps(values).encode(), {"Content-Type": "application/json"})

        def error(self, code: int, kind: str, message: str, extra: dict[str, str] | None = None) -> None:
            self.send(
                code,
                json.dumps({"error": message}).encode(),
                {"X-Error-Code": kind, "X-Error-Message": message} | (extra or {}),
            )

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            out = b""
            while count := int(self.rfile.readline().split(b";")[0], 16):
                out += self.rfile.read(count)
                self.rfile.readline()
            self.rfile.readline()
            return out

        def route(self) -> None:
            url = urlsplit(self.path)
            path = url.path
            request = Request(self.command, self.path, dict(self.headers))
            hub.log.append(request)
            body = self.body() if self.command in ("POST", "PUT") else b""
            self.now = hub.fault(request) or Fault()
            if self.now.status:
                return self.error(self.now.status, "", f"planted {self.now.status}", self.now.headers)
            if self.now.redirect:
                return self.send(302, b"", {"Location": self.now.redirect + self.path})
            if hub.token and "/objects/" not in path and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.error(401, "RepoNotFound", "Invalid credentials in Authorization header")
            for method, pattern, work in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and self.command in method:
                    return work(self, found, body, parse_qs(url.query))
            return self.error(404, "", f"no route {self.command} {path}")

        do_GET = do_HEAD = do_POST = do_PUT = route

    def repo_of(h: Any, name: str, revision: str) -> tuple[Repo, str] | None:
        repo = hub.repos.get(name)
        if repo is None:
            h.error(404, "RepoNotFound", "Repository not found")
            return None
        commit = repo.resolve(revision)
        if commit is None:
            h.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo, commit

    def resolve(h: Any, m: re.Match[str], body: bytes, query: Any) -> None:
        found = repo_of(h, m[1], m[2])
        if found is None:
            return
        repo, commit = found
        name = unquote(m[3])
        data = repo.commits[commit].get(name)
        if data is None:
            return h.error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        lfs = name.endswith(LFS)
        etag = hashlib.sha256(data).hexdigest() if lfs else git_sha1(data)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))}
        headers |= h.now.headers
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", h.headers.get("Range", ""))
        if part and h.command == "GET":
            start, stop = int(part[1]), int(part[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{min(stop, len(data) - 1)}/{len(data)}"
            return h.send(206, data[start : stop + 1], headers)
        return h.send(200, data, headers)

    def info(h: Any, m: re.Match[str], body: bytes, query: Any) -> None:
        found = repo_of(h, m[1], m[2] or "main")
        if found is not None:
            names = [*sorted(found[0].commits[found[1]]), *hub.info_names.get(m[1], [])]
            siblings = [{"rfilename": n} for n in names]
            h.json({"id": m[1], "modelId": m[1], "sha": found[1], "private": False, "tags": [], "siblings": siblings})

    def create(h: Any, m: re.Match[str], body: bytes, query: Any) -> None:
        values = json.loads(body)
        name = f"{values.get('organization') or 'tester'}/{values['name']}"
        if name in hub.repos:
            return h.json({"error": "You already created this model repo", "url": f"{hub.url}/{name}"}, 409)
        hub.repos[name] = Repo()
        hub.repos[name].commit({".gitattributes": b""})
        return h.json({"url": f"{hub.url}/{name}", "name": name, "id": name})

    def preupload(h: Any, m: re.Match[str], body: bytes, query: Any) -> None:
        kind = lambda path: "lfs" if path.endswith(LFS) else "regular"  # noqa: E731
        files = json.loads(body)["files"]
        h.json({"files": [{"path": f["path"], "shouldIgnore": False, "uploadMode": kind(f["path"])} for f in files]})

    def batch(h: Any, m: re.Match[str], body: bytes, query: Any) -> None:
        objects = []
        for o in json.loads(body)["objects"]:
            entry = {"oid": o["oid"], "size": o["size"]}
            if o["oid"] not in hub.objects:
                entry["actions"] = {"upload": {"href": f"{hub.url}/objects/{o['oid']}"}}
            objects.append(entry)
        h.json({"transfer": "basic", "objects": objects})

    def put(h: Any, m: re.Match[str], body: bytes, query: Any) -> None:
        if hashlib.sha256(body).hexdigest() != m[1]:
            return h.error(400, "", "checksum differs")
        hub.objects[m[1]] = body
        return h.send(200)

    def commit(h: Any, m: re.Match[str], body: bytes, query: Any) -> None:
        repo, branch = hub.repos[m[1]], unquote(m[2])
        files = dict(repo.commits.get(repo.resolve(branch) or "", {}))
        message = ""
        for line in body.decode().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                message = value["summary"]
            elif operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = hub.objects[value["oid"]]
        oid = repo.commit(files, branch, message)
        h.json({"success": True, "commitOid": oid, "commitUrl": f"{hub.url}/{m[1]}/commit/{oid}", "hookOutput": ""})

    def refer(h: Any, m: re.Match[str], body: bytes, query: Any) -> None:
        values, repo = json.loads(body or b"{}"), hub.repos[m[1]]
        name = values["tag"] if m[2] == "tag" else unquote(m[3])
        base = unquote(m[3]) if m[2] == "tag" else values.get("startingPoint", "main")
        repo.refs[name] = repo.resolve(base) or ""
        h.json({})

    name = r"([^/]+/[^/]+)"
    ROUTES: list[tuple[tuple[str, ...], str, Callable[..., None]]] = [
        (("GET", "HEAD"), rf"/{name}/resolve/([^/]+)/(.+)", resolve),
        (("GET",), rf"/api/models/{name}(?:/revision/([^/]+))?", info),
        (("GET",), r"/api/whoami-v2", lambda h, *a: h.json({"name": "tester", "type": "user", "orgs": [], "auth": {}})),
        (("POST",), r"/api/repos/create", create),
        (("POST",), r"/api/validate-yaml", lambda h, *a: h.json({"errors": [], "warnings": []})),
        (("POST",), rf"/api/models/{name}/preupload/([^/]+)", preupload),
        (("POST",), rf"/{name}\.git/info/lfs/objects/batch", batch),
        (("PUT",), r"/objects/([0-9a-f]{64})", put),
        (("POST",), rf"/api/models/{name}/commit/([^/]+)", commit),
        (("POST",), rf"/api/models/{name}/(tag|branch)/([^/]+)", refer),
    ]
    return Handler
