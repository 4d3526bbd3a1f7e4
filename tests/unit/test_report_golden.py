"""report.md and report.html of one run, letter by letter: what changes in them is seen in a diff."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run

from controller.report.write import write_report
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
    run.finish(trial, scores=scores, losses=tuple(3.0 - 0.125 * step for step in range(1, 13)))


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
