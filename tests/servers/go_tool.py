"""The S3 server's program, built once for each version from the Go module beside this file.

The program lies outside the checkout, in `$XDG_CACHE_HOME/lorasweep/tools/<digest of go.mod and go.sum>/`, so that a
fresh clone and parallel test workers share one build. A lock keeps it to one builder; a rename makes it appear whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

MODULE = Path(__file__).resolve().parent
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
PROGRAM = "versitygw"


class MissingGoError(Exception):
    """There is no `go` command and no program built earlier; the message names the remedy."""


class BuildFailedError(Exception):
    """`go build` failed; the message ends with what it said."""


def built_program(environ: Mapping[str, str], *, module: Path = MODULE) -> Path:
    """Path of the server's program, built now if this version never was. Raises MissingGoError, BuildFailedError."""
    program = cache_folder(environ, module=module) / PROGRAM
    if program.is_file():
        return program
    go = shutil.which("go", path=environ.get("PATH"))
    if go is None:
        raise MissingGoError("no `go` command: install Go 1.25 or newer to run the tests against a real S3 server")
    program.parent.mkdir(parents=True, exist_ok=True)
    with _locked(program.parent / "lock"):
        if not program.is_file():
            _build(go, program, environ=environ, module=module)
    return program


def cache_folder(environ: Mapping[str, str], *, module: Path = MODULE) -> Path:
    """Where the program of exactly these module versions lies."""
    digest = hashlib.sha256((module / "go.mod").read_bytes() + (module / "go.sum").read_bytes()).hexdigest()[:16]
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lorasweep" / "tools" / digest


def _build(go: str, program: Path, *, environ: Mapping[str, str], module: Path) -> None:
    sys.stderr.write(f"building the S3 test server with {go} (once, 1 to 3 minutes)\n")
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        made = Path(scratch) / PROGRAM
        ended = subprocess.run(
            [go, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", str(made), PACKAGE],
            cwd=module,
            env={**environ, "CGO_ENABLED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise BuildFailedError(f"go build {PACKAGE} exited with {ended.returncode}:\n{ended.stdout[-4000:]}")
        made.replace(program)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


__all__ = ["BuildFailedError", "MissingGoError", "built_program", "cache_folder"]
