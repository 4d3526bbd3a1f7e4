"""What the documents of a local submission say about it, as the rest of the controller wants to hear it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from controller.backend import Observed
from controller.local.child_folder import ChildFolder, End, Launch, State
from controller.local.family import living

__all__ = ["ended", "launched", "live", "lives", "local_logs", "state_of", "without_folder"]


def local_logs(folder: Path, trial_id: str, *, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Attempt and log of each process of the trial that this machine still knows, the newest first."""
    known = [(place, launch) for place, launch in launched(folder) if trial_id in launch.trial_ids]
    for place, launch in sorted(known, key=lambda one: one[1].submitted_at, reverse=True):
        body = place.tail(limit_bytes)
        if body:
            yield launch.attempt, body


def launched(folder: Path) -> Iterator[tuple[ChildFolder, Launch]]:
    """Every submission that the state folder knows, live or not."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        place = ChildFolder(path)
        if (launch := place.launch()) is not None:
            yield place, launch


def lives(folder: Path, families: Path) -> tuple[Observed, ...]:
    """Every submission of a run of which a process lives, for those who look on and start nothing."""
    found = []
    for launch in living(families):
        place = ChildFolder(folder / launch.name)
        state = state_of(launch, place)
        found.append(replace(live(launch, state, notice=place.notice()), state="running", wait_reason=None))
    return tuple(found)


def state_of(launch: Launch, place: ChildFolder) -> State | None:
    """The state of this very process: another controller's may have had the same name, and left its documents."""
    state = place.state()
    return state if state is not None and state.attempt == launch.attempt else None


def live(launch: Launch, state: State | None, *, notice: str = "") -> Observed:
    """A submission of which a process lives."""
    return Observed(
        name=launch.name,
        group_id=launch.group_id,
        number=launch.number,
        trial_ids=launch.trial_ids,
        state="waiting" if state is None else "running",
        wait_reason="starting" if state is None else None,
        text=notice,
        attempt=launch.attempt,
        stopping=state is not None and state.stopping,
        submitted_at=launch.submitted_at,
        scheduled_at=launch.submitted_at,
        started_at=None if state is None else state.started_at,
    )


def without_folder(launch: Launch, *, own: bool) -> Observed:
    """A process of which nothing but its life is known."""
    text = (
        "it runs on, though its state folder is gone"
        if own
        else "a controller that is gone started it; it saves a checkpoint and ends, and then the trial goes on"
    )
    return replace(live(launch, None), state="running", wait_reason=None, text=text)


def ended(launch: Launch, state: State | None, end: End | None, *, tail: bytes) -> Observed:
    """A submission of which none lives any more."""
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
