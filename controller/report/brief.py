"""What of a large sweep fits a page that people read; report.json and report.csv have all of it."""

from __future__ import annotations

from typing import NamedTuple

from controller.report.document import Report

__all__ = ["Brief", "brief"]

WHOLE = 100
"""Configurations that are all shown; of more, the first KEPT and the baselines."""
KEPT = 50
FAILURES = 50


class Brief(NamedTuple):
    """A report for a page."""

    report: Report
    left_out: int
    """Configurations that are not in it."""
    failures_left_out: int


def brief(report: Report) -> Brief:
    """The report with the configurations and failures that a page shows, in their order."""
    every = report.configurations
    shown = every
    if len(every) > WHOLE:
        first = {found.letter for found in [found for found in every if found.kind == "lora"][:KEPT]}
        shown = tuple(found for found in every if found.letter in first or found.kind != "lora")
    failures = report.failures[:FAILURES]
    pending = report.pending
    if len(pending) > FAILURES:
        pending = (*pending[:FAILURES], f"and {len(pending) - FAILURES:,} more")
    return Brief(
        report=report.model_copy(update={"configurations": shown, "failures": failures, "pending": pending}),
        left_out=len(every) - len(shown),
        failures_left_out=len(report.failures) - len(failures),
    )
