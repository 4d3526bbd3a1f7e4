"""What of a large sweep fits a page that people read; report.json and report.csv have all of it."""

from __future__ import annotations

from typing import NamedTuple

from controller.report.document import Configuration, FailedTrial, Report
from controller.report.text import shortened

__all__ = ["NARROW", "ROOMY", "Brief", "Room", "brief"]


class Room(NamedTuple):
    """How much a page has."""

    whole: int
    """Configurations that are all shown; of more, the first `kept` and the baselines."""
    kept: int
    failures: int
    message: int
    """Characters of what a failed trial said."""
    log: int
    """Characters of the end of its log; 0 shows none, and the command that prints it is there in any case."""
    label: int
    """Characters of a configuration's label, and of each varied value."""


ROOMY = Room(whole=100, kept=50, failures=50, message=2000, log=4000, label=300)
NARROW = Room(whole=20, kept=20, failures=20, message=300, log=0, label=80)
"""For texts so long, or so full of signs that HTML writes in five letters, that the page would be over 2 MB."""


class Brief(NamedTuple):
    """A report for a page."""

    report: Report
    left_out: int
    """Configurations that are not in it."""
    failures_left_out: int


def brief(report: Report, *, room: Room = ROOMY) -> Brief:
    """The report with the configurations and failures that a page shows, in their order."""
    every = report.configurations
    shown = every
    if len(every) > room.whole:
        first = {found.letter for found in [found for found in every if found.kind == "lora"][: room.kept]}
        shown = tuple(found for found in every if found.letter in first or found.kind != "lora")
    failures = report.failures[: room.failures]
    pending = report.pending
    if len(pending) > room.failures:
        pending = (*pending[: room.failures], f"and {len(pending) - room.failures:,} more")
    update = {
        "configurations": tuple(_short_configuration(found, room) for found in shown),
        "failures": tuple(_short_failure(failed, room) for failed in failures),
        "pending": pending,
    }
    return Brief(
        report=report.model_copy(update=update),
        left_out=len(every) - len(shown),
        failures_left_out=len(report.failures) - len(failures),
    )


def _short_configuration(found: Configuration, room: Room) -> Configuration:
    values = {path: shortened(value, room.label) for path, value in found.values.items()}
    return found.model_copy(update={"label": shortened(found.label, room.label), "values": values})


def _short_failure(failed: FailedTrial, room: Room) -> FailedTrial:
    update = {
        "label": shortened(failed.label, room.label),
        "message": shortened(failed.message, room.message),
        "log_tail": failed.log_tail[-room.log :] if room.log else "",
    }
    return failed.model_copy(update=update)
