"""Submissions as local processes over device slots, one process a slot.

What is known about a submission lies in its folder, so that a controller that was killed and started again sees what
the first one made. A process whose controller dies is stopped by controller.local.child, with a checkpoint; until it
has ended, its trial is not started a second time. Three witnesses say what lives: the state folder of this machine,
the locks beside the run (controller.local.family), and the processes that this controller itself has started.

Limits
- A process that another state folder knows is waited for and not signalled: it ends by itself, its controller is gone.
- POSIX only (flock, process groups).
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import job
from controller.backend import Backend, Observed, Submission
from controller.local import child
from controller.local.child_folder import ChildFolder, Launch, explained
from controller.local.family import Family, living
from controller.local.observation import ended, launched, live, state_of, without_folder
from controller.local.slots import Slot
from controller.state_home import state_home
from job.contract.base import sha256_hex
from job.contract.errors import TransientError
from job.contract.notice import NOTICE_VARIABLE

__all__ = ["GRACE_S", "JOB_COMMAND", "LocalBackend", "child_environment", "state_folder"]

JOB_COMMAND = (sys.executable, "-m", "job")
GRACE_S = 30.0  # as a pod's terminationGracePeriodSeconds
# Children must neither phone home nor warn about forked tokenizers, and their output has to arrive when it is written.
_CHILD_ENV = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# Either of them, set by a person, says how threads wait.
_SPIN = {"GOMP_SPINCOUNT": "10000", "OMP_WAIT_POLICY": ""}


def _threads(environ: Mapping[str, str]) -> dict[str, str]:
    """How long OpenMP threads (GNU's, which torch's wheels bring) spin before they sleep, unless a person says so.

    By default they spin for milliseconds. On a machine that does anything else beside, a thread that has lost its core
    then keeps the others spinning. Measured on 2 cores, 16 rows of the quickstart scored: alone 8.5 s by default, 7.7 s
    so, 10.5 s with sleeping threads (PASSIVE); beside two busy processes 37 s by default, 19 s so, 10 to 14 s sleeping.
    """
    return {} if _SPIN.keys() & environ.keys() else {"GOMP_SPINCOUNT": _SPIN["GOMP_SPINCOUNT"]}


def child_environment(environ: Mapping[str, str], slot: Slot) -> dict[str, str]:
    """What a job process on that slot gets besides the variables that are there."""
    device = {} if slot.device is None else {"CUDA_VISIBLE_DEVICES": slot.device}
    return {**_CHILD_ENV, **_threads(environ), **_import_path(environ), **device}


def state_folder(environ: Mapping[str, str], run_uri: str) -> Path:
    """Where this machine keeps what it needs to know about a run's processes; outside the store."""
    sweep, run = run_uri.rstrip("/").split("/")[-2:]
    return state_home(environ) / "runs" / f"{sweep}-{run}-{sha256_hex(run_uri.encode())[:12]}"


class _Child(NamedTuple):
    launch: Launch
    process: subprocess.Popen[bytes]
    """Its pipe tells the child, by its end of file, that this controller is gone."""

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def hang_up(self) -> None:
        """Close the pipe: the child takes it for the controller's end, and stops the job with a checkpoint."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def signal(self, signum: signal.Signals) -> None:
        """As a signal, where nothing tells whether the child has its handlers yet."""
        if signum == signal.SIGTERM:
            self.hang_up()
        else:
            self.process.send_signal(signum)


class LocalBackend:
    """Local processes, one per slot."""

    def __init__(
        self,
        folder: Path,
        *,
        families: Path,
        run_uri: str,
        slots: Sequence[Slot],
        command: Sequence[str] = JOB_COMMAND,
        grace_s: float = GRACE_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`folder` and `families` are those of the run; `command` is given the request's path, --run-uri, --attempt."""
        self._folder = folder
        self._families = families
        self._run_uri = run_uri
        self._slots = tuple(slots)
        self._command = tuple(command)
        self._grace_s = grace_s
        self._now = now
        self._children: dict[str, _Child] = {}

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
        place, family = self._place(submission.name), self._family(submission.name)
        with explained(place.path), family.locked() as lock:
            known = submission.name in self._children or place.state() is not None or place.end() is not None
            if lock is None or known:
                return
            launch = self._launch(place, submission)
            place.ask(launch, submission.request)
            family.announce(lock, launch)
            self._children[launch.name] = _Child(launch, _spawn(place, lock))

    def stop(self, name: str) -> None:
        self._signal(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        self._signal(name, signal.SIGINT)

    def forget(self, name: str) -> None:
        place, family = self._place(name), self._family(name)
        if name not in self._known() or self._lives(name):
            return
        with explained(place.path), family.locked() as lock:
            if lock is not None:
                place.remove()
                family.remove()
                self._children.pop(name, None)

    def logs(self, name: str, *, limit_bytes: int) -> bytes | None:
        place = self._place(name)
        with explained(place.path):
            return place.tail(limit_bytes)

    def _place(self, name: str) -> ChildFolder:
        return ChildFolder(self._folder / name)

    def _family(self, name: str) -> Family:
        return Family(self._families / name)

    def _lives(self, name: str) -> bool:
        own = self._children.get(name)
        return (own is not None and own.runs) or self._family(name).lives()

    def _known(self) -> dict[str, Launch]:
        """By name; of two launches under one name that of the living process."""
        known = {launch.name: launch for _, launch in launched(self._folder)}
        known |= {name: child.launch for name, child in self._children.items()}
        return known | {launch.name: launch for launch in living(self._families)}

    def _look(self) -> Iterator[tuple[Launch, Observed]]:
        for launch in self._known().values():
            if (seen := self._see(launch)) is not None:
                yield launch, seen

    def _see(self, launch: Launch) -> Observed | None:
        self._reap(launch.name)
        place = self._place(launch.name)
        alive = self._lives(launch.name)  # before the documents: once nobody lives, they have their last form
        state, end = state_of(launch, place), place.end()
        if alive:
            if state is not None and not _exists(state.pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(state.job_pid, signal.SIGKILL)  # the process that would see it end was killed
            known = place.launch()
            if known is None or known.attempt != launch.attempt:
                return without_folder(launch, own=launch.name in self._children)
            return live(launch, state, notice=place.notice())
        if state is None and end is None and launch.name not in self._children:
            return None  # a controller died before the process began: submitting again begins it
        return ended(launch, state, end, tail=place.tail() or b"")

    def _launch(self, place: ChildFolder, submission: Submission) -> Launch:
        slot = self._free_slot(submission.name)
        attempt = f"{submission.number:03d}-{secrets.token_hex(4)}"
        arguments = (str(place.request_path), "--run-uri", self._run_uri, "--attempt", attempt)
        notice = {NOTICE_VARIABLE: str(place.notice_path)}
        return Launch(
            name=submission.name,
            number=submission.number,
            group_id=submission.group_id,
            trial_ids=submission.trial_ids,
            attempt=attempt,
            slot=slot.name,
            command=(*self._command, *arguments),
            env={**child_environment(os.environ, slot), **notice},
            grace_s=self._grace_s,
            submitted_at=self._now(),
        )

    def _free_slot(self, name: str) -> Slot:
        taken = {launch.slot for launch, seen in self._look() if seen.live and seen.name != name}
        for slot in self._slots:
            if slot.name not in taken:
                return slot
        raise TransientError(f"all {len(self._slots)} device slots are taken; wait for a running trial to end")

    def _signal(self, name: str, signum: signal.Signals) -> None:
        own, place, family = self._children.get(name), self._place(name), self._family(name)
        with explained(place.path):
            launch = family.launch()
            state = None if launch is None else state_of(launch, place)
            # While the family lives, its process ids have not been given to strangers.
            if state is not None and family.lives():
                with suppress(ProcessLookupError):
                    os.kill(state.pid, signum)
            elif own is not None and own.runs:
                own.signal(signum)

    def _reap(self, name: str) -> None:
        own = self._children.get(name)
        if own is not None and not own.runs:
            own.hang_up()


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
