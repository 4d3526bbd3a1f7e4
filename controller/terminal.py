"""Progress on stderr for a person: a table that renews itself on a terminal, a line per change elsewhere."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from controller.interrupts import Wish
from controller.local.backend import GRACE_S
from controller.progress import SweepProgress, duration, progress_of, trial_note
from controller.reconcile import Watcher
from controller.remedies import pause_text
from controller.states import Situation, TrialStatus
from controller.streams import tell
from controller.trial_table import table_lines, trial_rows
from job.contract.errors import TransientError, TrialState

__all__ = [
    "Display",
    "LiveTable",
    "PlainLines",
    "columns_of",
    "display_on_stderr",
    "harmless",
    "leaving_text",
    "summary",
]

logger = logging.getLogger(__name__)
_ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NOTE_EVERY_S = 30.0  # of a running trial, where lines stay on the screen
_ROWS = 30
_HEADING = 2  # lines: that of the table, and the one the cursor is left in
_IN_LINE = frozenset({"slot", "canary", "paused", None})


class Display(Watcher, ABC):
    """A watcher that can also say a sentence, and has to be closed."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Write one line for the person."""

    @abstractmethod
    def best(self, text: str) -> None:
        """From the next update on show which configuration is ahead; empty while none is."""

    @abstractmethod
    def close(self) -> None:
        """Give the terminal back."""


def harmless(text: str) -> str:
    """`text` without what a terminal would obey: escape sequences and other control characters but tab and newline."""
    return _ESCAPES.sub("\N{REPLACEMENT CHARACTER}", text)


def summary(progress: SweepProgress) -> str:
    """`5/11 done, 1 running, 5 pending, about 3 min 20 s left`."""
    order: tuple[TrialState, ...] = ("failed", "stopped", "running", "waiting", "pending")
    parts = [f"{progress.done}/{progress.total} done"]
    parts += [f"{progress.counts[state]} {state}" for state in order if progress.counts.get(state)]
    if progress.eta_s is not None and progress.done < progress.total:
        parts.append(f"about {duration(progress.eta_s)} left")
    return ", ".join(parts)


def leaving_text(wish: Wish, *, live: int) -> str:
    """What happens now, after a signal, to so many processes."""
    cause = "SIGTERM" if wish == "stop" else "Ctrl-C"
    if not live:
        return f"{cause}: ending"
    what, them = ("1 process", "it") if live == 1 else (f"{live} processes", "them")
    return (
        f"{cause}: stopping {what}, with {GRACE_S:.0f} s for a checkpoint; "
        f"Ctrl-C{' again' if wish == 'interrupt' else ' twice'} kills {them} at once"
    )


def columns_of(stream: TextIO) -> int | None:
    """How wide lines on `stream` may be; None where no terminal is, and nothing has to be cut."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def display_on_stderr(run: str) -> Display:
    """The display that fits where stderr goes: a live table, lines, or log records with LORASWEEP_LOG=json.

    `run` is the place of the run, for the commands that it names.
    """
    if os.environ.get("LORASWEEP_LOG") == "json":
        return PlainLines(lambda line: logger.info(line.rstrip()), run=run, monotonic=time.monotonic)
    if sys.stderr.isatty():
        return LiveTable(Console(stderr=True), run=run)
    return PlainLines(tell, run=run, monotonic=time.monotonic)


class PlainLines(Display):
    """A line when a trial changes its state, and now and then one about what runs."""

    def __init__(self, write: Callable[[str], object], *, run: str, monotonic: Callable[[], float]) -> None:
        self._write = write
        self._run = run
        self._monotonic = monotonic
        self._states: dict[str, tuple[str, str | None, bool]] = {}
        self._noted_at: dict[str, float] = {}
        self._notes: dict[str, str] = {}
        self._troubled = False
        self._paused = False
        self._best = self._said_best = ""

    def update(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> None:
        self._troubled = False
        self._say_pause(situation, statuses)
        first = not self._states
        for trial in situation.plan.trials:
            status = statuses[trial.trial_id]
            # That something is said of what runs, such as a wait for the store, is news; its numbers are not.
            now = (status.state, status.reason, status.state == "running" and bool(status.text))
            changed = self._states.get(trial.trial_id) != now
            self._states[trial.trial_id] = now
            # What an earlier run has finished and what stands in line are in the summary, and there may be many.
            if (status.state == "pending" and status.reason in _IN_LINE) or (first and status.final):
                continue
            if changed or self._note_is_due(trial.trial_id, status):
                note = trial_note(situation, trial, status)
                if changed or note != self._notes.get(trial.trial_id):
                    whole = summary(progress_of(situation, statuses)) if changed and status.final else ""
                    self._line(f"{trial.letter} {trial.trial_id}", status.state, note, trial.label, whole)
                self._noted_at[trial.trial_id], self._notes[trial.trial_id] = self._monotonic(), note
        if self._best and self._best != self._said_best:  # after the trial that it may be
            self.say(self._best)
        self._said_best = self._best

    def trouble(self, error: TransientError, *, since: datetime) -> None:
        if not self._troubled:
            self.say(f"waiting since {since.isoformat(timespec='seconds')}: {error}")
        self._troubled = True

    def say(self, text: str) -> None:
        self._write(harmless(text) + "\n")

    def best(self, text: str) -> None:
        self._best = text

    def leaving(self, wish: Wish, *, live: int) -> None:
        self.say(leaving_text(wish, live=live))

    def close(self) -> None:
        """Nothing to give back."""

    def _say_pause(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> None:
        """At the begin and at the end of a pause; how many still run meanwhile is no news."""
        state = situation.ledger.control.state
        if not self._paused and (text := pause_text(situation, statuses, run=self._run)):
            self.say(text)
        elif self._paused and state == "running":
            self.say("the pause is over")
        self._paused = state == "paused"

    def _note_is_due(self, trial_id: str, status: TrialStatus) -> bool:
        noted_at = self._noted_at.get(trial_id)
        return status.state == "running" and (noted_at is None or self._monotonic() - noted_at >= _NOTE_EVERY_S)

    def _line(self, trial: str, state: str, note: str, label: str, whole: str) -> None:
        parts = [f"{trial} {state}", note, label, f"[{whole}]" if whole else ""]
        self.say("  ".join(part.replace("\n", " ") for part in parts if part))


class LiveTable(Display):
    """The table of trials, renewed in place."""

    def __init__(self, console: Console, *, run: str) -> None:
        self._console = console
        self._run = run
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()
        self._shown = ""
        self._best = ""

    def update(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> None:
        below = [summary(progress_of(situation, statuses)), self._best, pause_text(situation, statuses, run=self._run)]
        # What does not fit, rich cuts off at the bottom, where the summary is.
        room = self._console.height - sum(-(-cell_len(line) // self._console.width) for line in below) - _HEADING
        rows = trial_rows(situation, statuses, limit=max(1, min(_ROWS, room)))
        lines = table_lines(rows, width=self._console.width)
        self._live.update(Group(*lines, *(Text(line) for line in below if line)), refresh=True)

    def trouble(self, error: TransientError, *, since: datetime) -> None:
        text = f"waiting since {since.isoformat(timespec='seconds')}: {error}"
        if text != self._shown:
            self.say(text)
        self._shown = text

    def best(self, text: str) -> None:
        self._best = text

    def leaving(self, wish: Wish, *, live: int) -> None:
        self.say(leaving_text(wish, live=live))

    def say(self, text: str) -> None:
        self._console.print(Text(harmless(text)), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()
