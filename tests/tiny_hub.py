"""A hub of one model and one dataset on 127.0.0.1, as far as huggingface_hub asks for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

__all__ = ["COMMIT", "Hub", "running_hub"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(NamedTuple):
    """A running hub."""

    url: str
    asked: list[str]
    """Method and path of every request so far."""


class _Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes = b""


_REFUSED = {
    "org/down": _Answer(503, {}),
    "org/gated": _Answer(403, {"X-Error-Code": "GatedRepo"}),
    "/revision/gone": _Answer(404, {"X-Error-Code": "RevisionNotFound"}),
}
_UNKNOWN = _Answer(404, {"X-Error-Code": "RepoNotFound"})


@contextmanager
def running_hub(*, model: Path, rows: Path) -> Iterator[Hub]:
    """Serves org/tiny, a model, and org/chats, rows; org/down and org/gated refuse; there is no revision `gone`."""
    asked: list[str] = []
    folders = {"org/tiny": model, "org/chats": rows}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(f"{self.command} {path}")
            status, headers, body = _answer(path, folders=folders)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Hub(f"http://127.0.0.1:{server.server_address[1]}", asked)
        server.shutdown()


def _answer(path: str, *, folders: dict[str, Path]) -> _Answer:
    for part, refusal in _REFUSED.items():
        if part in path:
            return refusal
    folder = next((folder for repo, folder in folders.items() if repo in path), None)
    if folder is None:
        return _UNKNOWN
    if "/resolve/" in path:
        file = folder / path.rpartition("/")[2]
        return _Answer(200, {"ETag": f'"{file.name}"', "X-Repo-Commit": COMMIT}, file.read_bytes())
    if "/tree/" in path:
        files = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in folder.iterdir()]
        return _Answer(200, {}, json.dumps(files).encode())
    return _Answer(200, {}, json.dumps({"id": "org/x", "sha": COMMIT, "siblings": []}).encode())
