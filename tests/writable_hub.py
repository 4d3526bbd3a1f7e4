"""A hub on 127.0.0.1 that takes model repositories, as far as huggingface_hub makes and fills them.

Limits
- Large files come as with Git LFS; whoever asks it sets HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["TOKEN", "Repository", "WritableHub", "writable_hub"]

TOKEN = "a-token-that-may-write"


@dataclass
class Repository:
    """One repository: its newest files and how often it was committed to."""

    visibility: str | None = None
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.safetensors filter=lfs\n"})
    commits: int = 1

    @property
    def sha(self) -> str:
        return f"{self.commits:040x}"


@dataclass
class WritableHub:
    """A running hub."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    """By `org/name`."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    """What was uploaded for a later commit, by SHA-256."""
    refusal: int | None = None
    """The status of every answer, where it is set."""

    def answer(self, method: str, path: str, body: bytes, *, allowed: bool) -> tuple[int, dict[str, str], bytes]:
        if self.refusal is not None:
            return self.refusal, {}, b""
        if method == "PUT":
            self.blobs[path.rpartition("/")[2]] = body
            return 200, {}, b""
        if method == "GET":
            return self._described(path, allowed=allowed)
        if not allowed:
            return 401, {}, b""
        return self._changed(path, body)

    def _described(self, path: str, *, allowed: bool) -> tuple[int, dict[str, str], bytes]:
        name = "/".join(path.removeprefix("/api/models/").split("/")[:2])
        found = self.repositories.get(name) if allowed else None
        if found is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        siblings = [{"rfilename": file} for file in sorted(found.files)]
        return 200, {}, _json({"id": name, "sha": found.sha, "siblings": siblings})

    def _changed(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/api/validate-yaml":
            return 200, {}, _json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.repositories.setdefault(name, Repository(visibility=asked.get("visibility")))
            return 200, {}, _json({"url": f"{self.url}/{name}", "name": name})
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {}, self._batch(json.loads(body))
        _, _, name = path.partition("/api/models/")
        org, repository, action = name.split("/")[:3]
        found = self.repositories[f"{org}/{repository}"]
        if action == "preupload":
            return 200, {}, _preupload(found, json.loads(body))
        commit = self._commit(found, [json.loads(line) for line in body.splitlines()])
        return 200, {}, _json({"commitUrl": f"{self.url}/{org}/{repository}/commit/{commit}", "commitOid": commit})

    def _batch(self, asked: dict[str, Any]) -> bytes:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.url}/blobs/{one['oid']}"}}} for one in asked["objects"]
        ]
        return _json({"transfer": "basic", "objects": objects})

    def _commit(self, repository: Repository, lines: list[dict[str, Any]]) -> str:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.blobs[value["oid"]]
        repository.commits += 1
        return repository.sha


@contextmanager
def writable_hub() -> Iterator[WritableHub]:
    """A hub without a repository; whoever has TOKEN may make one."""
    hub = WritableHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def do_PUT(self) -> None:
            self._do()

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, headers, answer = hub.answer(self.command, self.path.partition("?")[0], body, allowed=allowed)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


def _preupload(repository: Repository, asked: dict[str, Any]) -> bytes:
    files = []
    for one in asked["files"]:
        path = one["path"]
        large = path.endswith(".safetensors")
        body = repository.files.get(path)
        oid = None if body is None else hashlib.sha256(body).hexdigest() if large else _git_blob(body)
        files.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid})
    return _json({"files": files})


def _git_blob(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
