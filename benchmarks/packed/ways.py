"""The four ways, each as the processes that a user would start."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from job.contract.config import PlannedTrial
from job.contract.documents import to_json
from job.contract.template import render
from job.data import Row, Rows
from job.seeds import streams
from job.windows import windows
from packed.ablations import ABLATIONS, PER_LANE
from packed.measured import MeasuredTrial, MeasuredWay, of_job, of_trl
from packed.process import Ran, run
from packed.sweep import SPLITS, Engine, Sweep
from packed.trl_task import TrlTask

__all__ = ["Ways"]


@dataclass(frozen=True)
class Ways:
    """The ways to run one sweep, in a folder of their own."""

    sweep: Sweep
    folder: Path
    on_cuda: bool

    def run(self, way: str) -> MeasuredWay:
        """The whole sweep in this way. Raises BenchmarkError when a process fails."""
        trials = self.sweep.trials
        if way == "trl":
            ran, measured = self._trl(trials)
        elif way == "reference":
            ran, measured = self._apart(way, engine="reference", ablation=None)
        elif way == f"packed-{PER_LANE}":
            ran, measured = self._apart(way, engine="lanes", ablation=None)
        else:
            name = way.removeprefix("packed").removeprefix("-")
            ran, measured = self._job(way, trials, engine="lanes", ablation=name if name in ABLATIONS else None)
        return MeasuredWay.made(way, ran, measured, measured_at=f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC")

    def _apart(self, way: str, *, engine: Engine, ablation: str | None) -> tuple[list[Ran], list[MeasuredTrial]]:
        ran: list[Ran] = []
        measured: list[MeasuredTrial] = []
        for trial in self.sweep.trials:
            one = self._job(f"{way}-{trial.trial_id}", [trial], engine=engine, ablation=ablation)
            ran += one[0]
            measured += one[1]
        return ran, measured

    def _job(
        self, name: str, trials: Sequence[PlannedTrial], *, engine: Engine, ablation: str | None
    ) -> tuple[list[Ran], list[MeasuredTrial]]:
        folder = self.folder / name
        folder.mkdir(parents=True)
        request = folder / "request.json"
        request.write_bytes(to_json(self.sweep.request(trials, engine=engine)))
        store = folder / "store"
        arguments = (str(request), "--run-uri", str(store), "--attempt", "bench")
        if ablation is None:
            ran = run("job", *arguments, log=folder / "log.txt")
        else:
            ran = run("packed.without", ablation, *arguments, log=folder / "log.txt")
        return [ran], [of_job(store, trial, on_cuda=self.on_cuda) for trial in trials]

    def _trl(self, trials: Sequence[PlannedTrial]) -> tuple[list[Ran], list[MeasuredTrial]]:
        rows = self.sweep.rows()
        ran, measured = [], []
        for trial in trials:
            folder = self.folder / f"trl-{trial.trial_id}"
            task = _trl_task(self.sweep, trial, rows, folder=folder)
            ran.append(run("packed.trl_trial", str(task), log=folder / "log.txt"))
            measured.append(of_trl(folder, trial))
        return ran, measured


def _trl_task(sweep: Sweep, trial: PlannedTrial, rows: Rows, *, folder: Path) -> Path:
    """A file with the trial as TRL takes it: texts as prompt and completion, train rows in the order of training."""
    config = trial.config
    ordered = {**rows.splits, "train": tuple(_in_training_order(trial, rows.splits["train"]))}
    folder.mkdir(parents=True)
    for split, file in SPLITS.items():
        texts = [json.dumps(_texts(trial, row), ensure_ascii=False) + "\n" for row in ordered[split]]  # type: ignore[index]  # SPLITS has the roles
        (folder / file).write_text("".join(texts), encoding="utf-8")
    task = TrlTask(
        config=config,
        seed=streams(config.seed or 0).init,
        model=sweep.model.location,
        rows=str(folder),
        eval_batch_size=sweep.settings.eval_batch_size,
        output=str(folder),
    )
    path = folder / "task.json"
    path.write_bytes(to_json(task))
    return path


def _texts(trial: PlannedTrial, row: Row) -> dict[str, str]:
    template = trial.config.prompt
    if template is None:
        raise ValueError(f"trial {trial.label!r} has no prompt")
    return {"prompt": render(template.prompt, row.fields), "completion": render(template.completion, row.fields)}


def _in_training_order(trial: PlannedTrial, rows: Sequence[Row]) -> Iterator[Row]:
    """The rows as the job takes them; all of them where the trial trains nothing."""
    options = trial.config.training
    if options is None:
        yield from rows
        return
    seeds = streams(trial.config.seed or 0)
    for window in windows(len(rows), options=options, order_seed=seeds.order, start=0):
        for batch in window:
            yield from (rows[index] for index in batch)
