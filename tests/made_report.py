"""Reports of made runs, and where to look in them."""

from __future__ import annotations

import numpy as np
from made import MadeRun
from numpy.typing import NDArray

from controller.report.document import Configuration, Report
from controller.report.write import write_report
from job.contract.documents import DATA_LIMIT_BYTES
from job.store import Keys

SKILL = {"A": 0.23, "B": 0.22, "C": 0.25, "D": 0.24, "E": 0.26, "F": 0.21, "G": 0.28, "H": 0.2, "I": 0.12, "J": 0.11}
"""Letter to mean ROUGE-L, roughly."""
FILES = ("report.json", "report.csv", "report.md", "report.html", "junit.xml")


def finish_all(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial, score=SKILL.get(trial.letter, 0.2))


def report_of(run: MadeRun) -> Report:
    return write_report(run.store, plan=run.plan, spec_text=run.loaded.text)


def stored(run: MadeRun, name: str) -> str:
    return run.store.read(Keys.report(name), limit_bytes=DATA_LIMIT_BYTES).decode()


def row(report: Report, letter: str) -> Configuration:
    return next(found for found in report.configurations if found.letter == letter)


def flat(value: float, *, rows: int = 32) -> dict[str, NDArray[np.float64]]:
    """Scores that are the same on every row."""
    return {"rougeL": np.full(rows, value), "generated_tokens": np.full(rows, 9.0)}
