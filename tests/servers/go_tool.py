"""Programs that tests need, built once for each version from Go modules that lie beside the tests.

They lie outside the checkout, in `$XDG_CACHE_HOME/lorasweep/tools/<digest of go.mod, go.sum, sources and flags>/`, so
that a fresh clone and parallel test workers share one build. A lock keeps it to one builder; a rename makes a program
appear whole.
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
from dataclasses import dataclass
from pathlib import Path

ALWAYS = ("-mod=readonly", "-trimpath")
STRIPPED = "-s -w"  # no symbol tables: a third of the size


class MissingGoError(Exception):
    """There is no `go` command and no program built earlier; the message names the remedy."""


class BuildFailedError(Exception):
    """`go build` failed; the message ends with what it said."""


@dataclass(frozen=True)
class GoTools:
    """Programs of one Go module, and how they are built."""

    folder: Path
    """Holds go.mod and go.sum."""
    programs: Mapping[str, str]
    """Package by program."""
    tags: str = ""
    variables: Mapping[str, str] | None = None
    """Go variables that the linker sets, such as the version that a program reports."""
    cgo: bool = False

    def flags(self) -> tuple[str, ...]:
        linked = [STRIPPED, *(f"-X {name}={value}" for name, value in (self.variables or {}).items())]
        return (*ALWAYS, f"-ldflags={' '.join(linked)}", *([f"-tags={self.tags}"] if self.tags else []))


S3_SERVER = GoTools(
    folder=Path(__file__).resolve().parent,
    programs={"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
)


def built_program(environ: Mapping[str, str], *, tools: GoTools = S3_SERVER) -> Path:
    """Path of a module's only program, built now if this version never was. Raises MissingGoError, BuildFailedError."""
    (program,) = tools.programs
    return built_programs(environ, tools=tools) / program


def built_programs(environ: Mapping[str, str], *, tools: GoTools) -> Path:
    """The folder that holds all programs of a module. Raises MissingGoError, BuildFailedError."""
    folder = cache_folder(environ, tools=tools)
    if not _missing(tools, folder):
        return folder
    go = shutil.which("go", path=environ.get("PATH"))
    if go is None:
        raise MissingGoError(f"no `go` command: install Go 1.26 or newer, to build {', '.join(tools.programs)}")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if missing := _missing(tools, folder):
            _build(go, missing, folder=folder, environ=environ, tools=tools)
    return folder


def cache_folder(environ: Mapping[str, str], *, tools: GoTools = S3_SERVER) -> Path:
    """Where the programs of exactly these module versions, sources and flags lie."""
    files = [tools.folder / "go.mod", tools.folder / "go.sum", *sorted(tools.folder.glob("*.go"))]
    parts = [path.read_bytes() for path in files if path.exists()]
    parts.append(" ".join([*tools.flags(), f"CGO_ENABLED={int(tools.cgo)}"]).encode())
    return cache_root(environ) / "tools" / hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def cache_root(environ: Mapping[str, str]) -> Path:
    """What the tests keep between runs lies here, outside the checkout."""
    return Path(environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")) / "lorasweep"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time is inside a block that holds this file."""
    with path.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _missing(tools: GoTools, folder: Path) -> dict[str, str]:
    return {name: package for name, package in tools.programs.items() if not (folder / name).is_file()}


def _build(go: str, programs: Mapping[str, str], *, folder: Path, environ: Mapping[str, str], tools: GoTools) -> None:
    sys.stderr.write(f"building {', '.join(programs)} for the tests with {go} (once; minutes)\n")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for name, package in programs.items():
            made = Path(scratch) / name
            ended = subprocess.run(
                [go, "build", *tools.flags(), "-o", str(made), package],
                cwd=tools.folder,
                env={**environ, "CGO_ENABLED": str(int(tools.cgo))},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if ended.returncode != 0:
                raise BuildFailedError(f"go build {package} exited with {ended.returncode}:\n{ended.stdout[-4000:]}")
            made.replace(folder / name)


__all__ = [
    "S3_SERVER",
    "BuildFailedError",
    "GoTools",
    "MissingGoError",
    "built_program",
    "built_programs",
    "cache_folder",
    "cache_root",
    "locked",
]
