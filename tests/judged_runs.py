"""Nightly runs in one store, whose scores are made: what the verdict on a run is tested with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from made import START, MadeRun, made_run

from controller.regression.document import Regression
from controller.report.document import Report
from controller.report.write import write_report

SPEC = """\
version: 1
name: nightly
model: {{id: model}}
data:
  source: rows
  splits: {{train: a, validation: b, test: c}}
  columns: {{id: id, input: dialogue, target: summary}}
prompts:
  v1: {{prompt: "{prompt}", completion: " {{summary}}"}}
trial:
  lora: {{alpha_ratio: 2}}
  training: {{max_steps: 12}}
vary:
  grid: {{lora.r: [8, 16]}}
  seeds: {seeds}
  baselines: []
regression: {asked}
"""
PROMPT = "Summarize:\\n{dialogue}\\nSummary:"


@dataclass
class Nightly:
    """A store in which one run after another is made."""

    folder: Path
    asked: str = "{}"
    runs: int = 0

    def run(
        self,
        mean: float = 0.25,
        *,
        seeds: Sequence[int] | None = None,
        prompt: str = PROMPT,
        name: str | None = None,
        rows: int = 40,
        versions: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
        unfinished: int = 0,
    ) -> MadeRun:
        """A run of about that mean, its last `unfinished` trials to come; its seeds are its own unless given."""
        number = self.runs
        self.runs += 1
        own = list(range(number * 3, number * 3 + 3)) if seeds is None else list(seeds)
        text = SPEC.format(prompt=prompt, seeds=own, asked=self.asked)
        run = made_run(self.folder, text, run=name or f"night-{number}")
        run.rows = {"validation": rows, "test": 8}
        run.clock = START + timedelta(days=number)
        for trial in run.plan.trials[: len(run.plan.trials) - unfinished]:
            run.finish(trial, score=mean, versions=versions, without=without)
        return run

    def judged(self, mean: float = 0.25, *, seeds: Sequence[int] | None = None, prompt: str = PROMPT) -> Regression:
        """The verdict on one more run."""
        found = reported(self.run(mean, seeds=seeds, prompt=prompt)).regression
        assert found is not None
        return found


def reported(run: MadeRun) -> Report:
    """The report, written."""
    return write_report(run.store, plan=run.plan, spec_text=run.loaded.text)
