"""The lock that every process of a submission holds: taken exactly while one of them lives.

The watcher and the job inherit it from the controller that started them, so it needs no process ids and no tidying. It
lies in the run's folder, beside the controller's own lock: whoever runs the sweep next finds these processes there,
whatever has become of the state folder of this machine. The file says what the submission is.

Limits
- Of a run in S3 the locks are in the state folder: a controller with another XDG_STATE_HOME does not see them.
- Another machine sees them where the file system has flock over the network.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from controller.local.child_folder import Launch
from job.contract.documents import to_json
from job.store.whole_file import explained

__all__ = ["Family", "families_folder", "living", "living_families"]

_FOLDER = ".alive"  # the leading dot keeps it out of every listing of the store


def families_folder(run_uri: str, *, state: Path) -> Path:
    """Where the locks of a run's submissions are; `state` is the run's state folder on this machine."""
    return (state if "://" in run_uri else Path(run_uri)) / _FOLDER


def living(folder: Path) -> Iterator[Launch]:
    """What each submission is of which a process lives."""
    for family in living_families(folder):
        launch = family.launch()
        if launch is not None and launch.name == family.path.name:
            yield launch


def living_families(folder: Path) -> Iterator[Family]:
    """Each family of which a process lives, whether or not its file says what it is."""
    with explained(folder):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    yield from (family for family in map(Family, paths) if family.lives())


@dataclass(frozen=True, slots=True)
class Family:
    """The lock file of one submission."""

    path: Path

    def lives(self) -> bool:
        """Whether any process of the submission lives."""
        with explained(self.path):
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
            return False

    def launch(self) -> Launch | None:
        """What was started last under this lock; None when the file does not say."""
        with explained(self.path), suppress(FileNotFoundError, NotADirectoryError, ValidationError):
            return Launch.model_validate_json(self.path.read_bytes())
        return None

    @contextmanager
    def locked(self) -> Iterator[int | None]:
        """A descriptor that holds the lock, also for a process that inherits it; None when the family lives."""
        with explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, 0o666)
        try:
            yield descriptor if _taken(descriptor) else None
        finally:
            os.close(descriptor)

    def announce(self, descriptor: int, launch: Launch) -> None:
        """Say under the lock what is about to be started."""
        with explained(self.path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, to_json(launch), 0)

    def remove(self) -> None:
        """Remove the file; the caller holds the lock, or knows that the family is dead."""
        with explained(self.path), suppress(FileNotFoundError):
            self.path.unlink()


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
