"""What is known about one local submission: a folder of small documents.

launch.json is what was asked, state.json says that it started, end.json how it ended, log.txt what it wrote, and notice
that its store takes nothing. Whether a process of it lives, controller.local.family knows.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from job.contract.base import Frozen
from job.contract.config import Request
from job.contract.documents import to_json
from job.contract.errors import ConfigurationError, TransientError
from job.contract.notice import notice_body, notice_text

__all__ = ["ChildFolder", "End", "Launch", "State", "explained"]

_TAIL_BYTES = 8192
# No rights, or a file where a folder is needed: what waiting does not mend.
_LASTING = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
Pid = Annotated[int, Field(ge=2)]
D = TypeVar("D", bound=Frozen)


class Launch(Frozen):
    """What a submission's process is."""

    name: str
    number: int
    group_id: str
    trial_ids: tuple[str, ...]
    attempt: str
    slot: str
    command: tuple[str, ...]
    env: dict[str, str]
    """Added to the controller's own environment."""
    grace_s: float
    submitted_at: datetime


class State(Frozen):
    """It started."""

    attempt: str
    pid: Pid
    """Of controller.local.child, which watches the job."""
    job_pid: Pid
    """Of the job, and of its process group."""
    started_at: datetime
    stopping: bool


class End(Frozen):
    """How the process ended."""

    exit_code: int
    cause: Literal["exited", "killed", "oom"]
    message: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class ChildFolder:
    """The documents of one submission; a method is None where the document is not there yet."""

    path: Path

    @property
    def request_path(self) -> Path:
        return self.path / "request.json"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def notice_path(self) -> Path:
        return self.path / "notice"

    def notice(self) -> str:
        """What the job says of its store; empty while all is well."""
        try:
            return notice_text(self.notice_path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def launch(self) -> Launch | None:
        return _read(self.path / "launch.json", Launch)

    def state(self) -> State | None:
        return _read(self.path / "state.json", State)

    def end(self) -> End | None:
        return _read(self.path / "end.json", End)

    def ask(self, launch: Launch, request: Request) -> None:
        """Write down what is to be started."""
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.notice_path, notice_body(""))
        _write(self.request_path, to_json(request))
        _write(self.path / "launch.json", to_json(launch))

    def tail(self, limit_bytes: int = _TAIL_BYTES) -> bytes | None:
        """The end of what the process wrote."""
        try:
            with self.log_path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - limit_bytes))
                return file.read(limit_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self) -> None:
        """Delete it all; the caller holds the family's lock."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the operating system refuses, as an error that names the place and the remedy."""
    try:
        yield
    except OSError as err:
        if err.errno in _LASTING:
            raise ConfigurationError(
                f"{path}: {err.strerror}; the state of local processes is kept here: move away what is in the way, or "
                "set XDG_STATE_HOME to another place"
            ) from err
        raise TransientError(f"{path}: {err.strerror or err}; run it again") from err


def _read(path: Path, document: type[D]) -> D | None:
    with suppress(FileNotFoundError, NotADirectoryError, ValidationError):
        return document.model_validate_json(path.read_bytes())
    return None


def _write(path: Path, body: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(body)
    temporary.replace(path)
