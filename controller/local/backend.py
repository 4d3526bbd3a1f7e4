"""Submissions as local processes over device slots, one process a slot.

What is known about a submission lies in its folder, never in memory alone, so that a controller that was killed and
started again sees what the first one made. A process whose controller dies is stopped by controller.local.child, with a
checkpoint; until it has ended, its trial is not started a second time.

Limits
- One machine: the folder is not shared, and a controller on another machine does not see these processes.
- POSIX only (flock, process groups).
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import job
from controller.backend import Backend, Observed, Submission
from controller.local import child
from controller.local.child_folder import ChildFolder, End, Launch, State, explained
from controller.local.slots import Slot
from job.contract.base import sha256_hex
from job.contract.errors import TransientError

__all__ = ["JOB_COMMAND", "LocalBackend", "live_names", "local_logs", "state_folder"]

JOB_COMMAND = (sys.executable, "-m", "job")
GRACE_S = 30.0  # as a pod's terminationGracePeriodSeconds
# Children must neither phone home nor warn about forked tokenizers, and their output has to arrive when it is written.
_CHILD_ENV = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def _threads(environ: Mapping[str, str]) -> dict[str, str]:
    """OpenMP threads that sleep while they wait, unless a person says otherwise.

    By default they spin. On a machine that does anything else beside, a thread that has lost its core then keeps the
    others spinning: measured on 2 shared cores, training made 11 tokens/s with spinning threads and 40 to 57 without.
    """
    return {} if "OMP_WAIT_POLICY" in environ else {"OMP_WAIT_POLICY": "PASSIVE"}


def state_folder(environ: Mapping[str, str], run_uri: str) -> Path:
    """Where this machine keeps what it needs to know about a run's processes; outside the store."""
    base = environ.get("XDG_STATE_HOME") or "~/.local/state"
    sweep, run = run_uri.rstrip("/").split("/")[-2:]
    return Path(base).expanduser() / "lorasweep" / "runs" / f"{sweep}-{run}-{sha256_hex(run_uri.encode())[:12]}"


def local_logs(folder: Path, trial_id: str, *, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Attempt and log of each process of the trial that this machine still knows, the newest first."""
    known = [(place, launch) for place, launch in _launched(folder) if trial_id in launch.trial_ids]
    for place, launch in sorted(known, key=lambda one: one[1].submitted_at, reverse=True):
        body = place.tail(limit_bytes)
        if body:
            yield launch.attempt, body


def live_names(folder: Path) -> list[str]:
    """Submissions of which a process lives on this machine."""
    return [launch.name for place, launch in _launched(folder) if place.alive()]


def _launched(folder: Path) -> Iterator[tuple[ChildFolder, Launch]]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        place = ChildFolder(path)
        if (launch := place.launch()) is not None:
            yield place, launch


class LocalBackend:
    """Local processes, one per slot."""

    def __init__(
        self,
        folder: Path,
        *,
        run_uri: str,
        slots: Sequence[Slot],
        command: Sequence[str] = JOB_COMMAND,
        grace_s: float = GRACE_S,
    ) -> None:
        """`command` is given the request's path, --run-uri and --attempt."""
        self._folder = folder
        self._run_uri = run_uri
        self._slots = tuple(slots)
        self._command = tuple(command)
        self._grace_s = grace_s
        # The pipe to each child tells it, by its end of file, that this controller is gone.
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def capacity(self) -> int:
        return len(self._slots)

    @property
    def outlives_controller(self) -> bool:
        return False

    def observe(self) -> tuple[Observed, ...]:
        with explained(self._folder):
            return tuple(seen for _, seen in self._look())

    def submit(self, submission: Submission) -> None:
        place = self._place(submission.name)
        with explained(place.path), place.locked() as lock:
            if lock is None or place.state() is not None or place.end() is not None:
                return
            place.ask(self._launch(place, submission), submission.request)
            self._children[submission.name] = _spawn(place, lock)

    def stop(self, name: str) -> None:
        self._signal(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        self._signal(name, signal.SIGINT)

    def forget(self, name: str) -> None:
        place = self._place(name)
        with explained(place.path):
            place.remove()
        self._reap(name)

    def logs(self, name: str, *, limit_bytes: int) -> bytes | None:
        place = self._place(name)
        with explained(place.path):
            return place.tail(limit_bytes)

    def _place(self, name: str) -> ChildFolder:
        return ChildFolder(self._folder / name)

    def _look(self) -> Iterator[tuple[Launch, Observed]]:
        for place, launch in _launched(self._folder):
            if (seen := self._see(place, launch)) is not None:
                yield launch, seen

    def _see(self, place: ChildFolder, launch: Launch) -> Observed | None:
        self._reap(launch.name)
        alive = place.alive()  # before the documents: once the lock is free, they have their last form
        state, end = place.state(), place.end()
        if alive:
            if state is not None and not _exists(state.pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(state.job_pid, signal.SIGKILL)  # the process that would see it end was killed
            return _live(launch, state)
        if state is None and end is None:
            return None  # a controller died before the process began: submitting again begins it
        return _ended(launch, state, end, tail=place.tail() or b"")

    def _launch(self, place: ChildFolder, submission: Submission) -> Launch:
        slot = self._free_slot(submission.name)
        attempt = f"{submission.number:03d}-{secrets.token_hex(4)}"
        arguments = (str(place.request_path), "--run-uri", self._run_uri, "--attempt", attempt)
        device = {} if slot.device is None else {"CUDA_VISIBLE_DEVICES": slot.device}
        return Launch(
            name=submission.name,
            number=submission.number,
            group_id=submission.group_id,
            trial_ids=submission.trial_ids,
            attempt=attempt,
            slot=slot.name,
            command=(*self._command, *arguments),
            env={**_CHILD_ENV, **_threads(os.environ), **_import_path(os.environ), **device},
            grace_s=self._grace_s,
            submitted_at=datetime.now(UTC),
        )

    def _free_slot(self, name: str) -> Slot:
        taken = {launch.slot for launch, seen in self._look() if seen.live and seen.name != name}
        for slot in self._slots:
            if slot.name not in taken:
                return slot
        raise TransientError(f"all {len(self._slots)} device slots are taken; wait for a running trial to end")

    def _signal(self, name: str, signum: signal.Signals) -> None:
        place = self._place(name)
        with explained(place.path):
            # While the family lives, its process ids have not been given to strangers.
            state = place.state()
            if state is not None and place.alive():
                with suppress(ProcessLookupError):
                    os.kill(state.pid, signum)

    def _reap(self, name: str) -> None:
        process = self._children.get(name)
        if process is not None and process.poll() is not None:
            if process.stdin is not None:
                process.stdin.close()
            del self._children[name]


def _spawn(place: ChildFolder, lock: int) -> subprocess.Popen[bytes]:
    with place.log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", child.__file__, str(place.path), str(lock)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,  # a Ctrl-C at the terminal is for the controller alone
        )


def _live(launch: Launch, state: State | None) -> Observed:
    return Observed(
        name=launch.name,
        group_id=launch.group_id,
        number=launch.number,
        trial_ids=launch.trial_ids,
        state="waiting" if state is None else "running",
        wait_reason="starting" if state is None else None,
        attempt=launch.attempt,
        stopping=state is not None and state.stopping,
        submitted_at=launch.submitted_at,
        scheduled_at=launch.submitted_at,
        started_at=None if state is None else state.started_at,
    )


def _ended(launch: Launch, state: State | None, end: End | None, *, tail: bytes) -> Observed:
    return Observed(
        name=launch.name,
        group_id=launch.group_id,
        number=launch.number,
        trial_ids=launch.trial_ids,
        state="ended",
        text="" if end is None else end.message,
        attempt=launch.attempt,
        stopping=state is not None and state.stopping,
        cause="lost" if end is None else end.cause,
        exit_code=None if end is None else end.exit_code,
        log_tail=tail.decode(errors="replace").replace("\x00", ""),
        submitted_at=launch.submitted_at,
        scheduled_at=launch.submitted_at,
        started_at=None if state is None else state.started_at,
        ended_at=None if end is None else end.ended_at,
    )


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _import_path(environ: Mapping[str, str]) -> dict[str, str]:
    """What lets a child import `job` from a checkout; an installed package needs nothing."""
    home = Path(next(iter(job.__path__))).resolve().parent
    if "site-packages" in home.parts:
        return {}
    inherited = environ.get("PYTHONPATH")
    return {"PYTHONPATH": str(home) + (os.pathsep + inherited if inherited else "")}


_: type[Backend] = LocalBackend
