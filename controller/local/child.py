"""The process between controller and job: sees the job end whatever happens to the controller. Standard library only.

    python -I -S child.py FOLDER LOCK_FD

FOLDER/launch.json says what to start. Three facts keep "one live process per trial" true without a daemon:
- LOCK_FD is a lock (controller.local.family) held by the controller before this process exists and inherited by the
  job: while anyone of the family lives, the lock is taken, whatever happens to process ids or to FOLDER.
- Standard input is a pipe from the controller. End of file means that the controller is gone, however it died; the
  job is then asked to stop (SIGTERM, so that it saves a checkpoint) and killed after the grace period.
- FOLDER/end.json, written after the job's end, has its exit code for a controller that was started later.

The job's temporary files are in a folder of its own, which goes when the job has ended: who is killed tidies nothing
up.

SIGTERM asks the job to stop; SIGINT kills it at once. Whatever FOLDER cannot take (it was deleted, the disk is full)
is left unsaid: this process never leaves a job without a watcher.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TextIO

__all__ = ["main"]


class Wishes:
    """What signals have asked for."""

    def __init__(self) -> None:
        self.stop = False
        self.kill = False

    def remember(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.stop = self.stop or signum in {signal.SIGTERM, signal.SIGINT}
        self.kill = self.kill or signum == signal.SIGINT


def main(arguments: list[str]) -> int:
    """Run the job of FOLDER to its end and write end.json."""
    folder, lock = Path(arguments[0]), int(arguments[1])
    launch = json.loads((folder / "launch.json").read_text())
    wishes = Wishes()
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(signum, wishes.remember)
    kills_before, started_at = _system_kills(), _now()
    scratch = _scratch()
    try:
        job = _start(folder, launch, lock, scratch=scratch)
    except OSError as err:
        _remove(scratch)
        _write(folder / "end.json", {"exit_code": 127, "cause": "exited", "message": str(err), "ended_at": _now()})
        return 0
    state = {"attempt": launch["attempt"], "pid": os.getpid(), "job_pid": job.pid, "started_at": started_at}
    _write(folder / "state.json", {**state, "stopping": False})
    killed = _watch(job, folder=folder, state=state, wishes=wishes, wake=wake, grace_s=launch["grace_s"])
    _kill_group(job.pid)  # what the job may have left behind, such as data loader workers
    exit_code = job.returncode if job.returncode >= 0 else 128 - job.returncode
    _remove(scratch)
    by_system = exit_code == 137 and not killed and _system_kills() > kills_before
    cause = "killed" if killed else "oom" if by_system else "exited"
    _write(folder / "end.json", {"exit_code": exit_code, "cause": cause, "message": "", "ended_at": _now()})
    return 0


def _scratch() -> str | None:
    """An empty folder where temporary files go; None where there is no room for one: the job will say so itself."""
    with suppress(OSError):
        return tempfile.mkdtemp(prefix="lorasweep-")
    return None


def _remove(scratch: str | None) -> None:
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)


def _start(folder: Path, launch: dict[str, object], lock: int, *, scratch: str | None) -> subprocess.Popen[bytes]:
    command = launch["command"]
    extra = launch["env"]
    if not isinstance(command, list) or not isinstance(extra, dict):
        raise OSError("launch.json is not ours")
    temporary = {} if scratch is None else {"TMPDIR": scratch}
    work = folder / "work"
    work.mkdir(exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=work,
            env={**os.environ, **temporary, **extra},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            process_group=0,
        )


def _watch(
    job: subprocess.Popen[bytes],
    *,
    folder: Path,
    state: dict[str, object],
    wishes: Wishes,
    wake: socket.socket,
    grace_s: float,
) -> bool:
    """Wait for the job's end; True when it had to be killed."""
    inputs: list[socket.socket | TextIO] = [wake, sys.stdin]
    deadline: float | None = None
    killed = False
    while job.poll() is None:
        left = None if deadline is None or killed else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select(inputs, [], [], left)
        if wake in ready:
            wake.recv(4096)
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
            inputs.remove(sys.stdin)
            wishes.stop = True
        if wishes.stop and deadline is None:
            deadline = time.monotonic() + grace_s
            if not wishes.kill:
                job.terminate()
            _write(folder / "state.json", {**state, "stopping": True})
        if not killed and (wishes.kill or (deadline is not None and time.monotonic() >= deadline)):
            killed = job.poll() is None
            _kill_group(job.pid)
    return killed


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(group, signal.SIGKILL)


def _system_kills() -> int:
    """How many processes the Linux kernel has killed for memory since boot; 0 where it does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _write(path: Path, document: dict[str, object]) -> None:
    """The document appears whole, or not at all where the folder cannot take it."""
    temporary = path.with_suffix(".new")
    with suppress(OSError), temporary.open("w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
