"""report.md and report.html of one run, letter by letter: what changes in them is seen in a diff."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from numpy.typing import NDArray

from controller.report.write import write_report
from job.contract import diagnostic_names as names
from job.contract.config import PlannedTrial
from job.contract.documents import DATA_LIMIT_BYTES
from job.store import Keys

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
UPDATE = "LORASWEEP_UPDATE_GOLDEN=1 python -m pytest tests/unit/test_report_golden.py"


def finish(run: MadeRun, trial: PlannedTrial, *, place: int) -> None:
    """Scores from arithmetic alone, so that no library decides about a digit."""
    rows = np.arange(8, dtype=float)
    rouge = 0.12 + 0.02 * place + 0.03 * ((rows * 5 + place) % 8)
    scores = {
        "rouge1": rouge + 0.05,
        "rouge2": rouge / 4,
        "rougeL": rouge,
        "generated_tokens": 20 + rows,
        "completion_nll": (12 + rows) * (3.0 - rouge),
        "target_tokens": 12 + rows,
    }
    losses = tuple(3.0 - 0.125 * step for step in range(1, 13))
    run.finish(trial, scores=scores, losses=losses, diagnostics=diagnostics(unsupported=place))


def diagnostics(*, unsupported: int) -> dict[str, NDArray[np.float64]]:
    """Of outputs with two numbers each, of which some in the first `unsupported` rows are not in the input."""
    rows = np.arange(8, dtype=float)
    numbers = names.UNSUPPORTED_NUMBERS, names.MISSED_NUMBERS
    none = dict.fromkeys(names.DIAGNOSTICS, 0 * rows)
    return none | {
        names.OUTPUT_CHARACTERS: 60 + rows,
        names.REFERENCE_CHARACTERS: 50 + rows,
        names.OUTPUT_WORDS: 12 + rows,
        names.OUTPUT_NUMBERS: 0 * rows + 2,
        names.REFERENCE_NUMBERS: 0 * rows + 2,
        names.COVERAGE: 0.5 + rows / 20,
        names.DENSITY: 1.5 + rows / 4,
        names.LONGEST_COPY: 3 + rows,
        **{name: (rows < unsupported).astype(float) for name in numbers},
    }


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    text = GRID.replace("training.learning_rate: [5e-4, 2e-4]", "training.learning_rate: [5e-4]")
    made = made_run(tmp_path, text)
    made.rows = {"validation": 8, "test": 8}
    for place, trial in enumerate(made.plan.trials):
        if trial.letter == "C":
            made.fail(trial)
        elif trial.letter != "D":
            finish(made, trial, place=place if trial.kind == "lora" else 0)
    return made


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_the_report_is_the_golden_one(run: MadeRun, name: str) -> None:
    write_report(run.store, plan=run.plan, spec_text=run.loaded.text)
    found = run.store.read(Keys.report(name), limit_bytes=DATA_LIMIT_BYTES).decode()
    golden = GOLDEN / name
    if os.environ.get("LORASWEEP_UPDATE_GOLDEN"):
        golden.write_text(found)
    assert found == golden.read_text(), f"if the change is meant: {UPDATE}"
