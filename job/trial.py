"""One trial, top to bottom: fetch, load, train, evaluate, publish."""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError

from job.attempt import Attempt
from job.checkpoint import Checkpoints
from job.context import TrialContext
from job.contract.config import PlannedTrial, data_id
from job.contract.documents import DataSummary, Example, ManifestReference, Result, ScoredSplit, Scores, to_json
from job.contract.errors import TransientError
from job.data import Rows, load_rows
from job.measure import Measured, measure_lead, measure_model
from job.progress import ProgressWriter
from job.publishing.events import write_events
from job.publishing.examples import publish_examples
from job.publishing.provenance import versions
from job.publishing.publish import publish_attempt, publish_result
from job.recording import Recording, json_lines
from job.shared_cause import shared_by_all_trials
from job.source import fetch_data, fetch_model
from job.sources.hashes import default_cache
from job.stages import StageClock
from job.stopping import StopSignal
from job.store import Keys, Store
from job.store.results import read_result
from job.watchdog import Watchdog

__all__ = [
    "Sources",
    "disk_full_is_transient",
    "fetch_sources",
    "is_done",
    "new_context",
    "publish_trial",
    "run_trial",
    "watched",
]

logger = logging.getLogger(__name__)


class Sources(NamedTuple):
    """What every trial of a request starts from."""

    model: Path
    rows: Rows


def run_trial(trial: PlannedTrial, *, of: Attempt, startup_s: float, on_hang: Callable[[str], None]) -> None:
    """Bring one trial to a published result, from wherever an earlier attempt left it.

    `startup_s` is the time the process took to get here. Raises SweepError; StoppedError after a SIGTERM.
    """
    if is_done(of.store, trial):
        return
    context = new_context(trial, of=of, startup_s=startup_s)
    with watched(of, on_hang=on_hang):
        context.progress.stage("data")
        with context.clock.stage("data"):
            sources = fetch_sources(context)
        if trial.kind == "lead":
            measured = measure_lead(context, rows=sources.rows, model_folder=sources.model)
        else:
            measured = measure_model(context, rows=sources.rows, model_folder=sources.model)
        publish_trial(context, measured, rows=sources.rows)


def is_done(store: Store, trial: PlannedTrial) -> bool:
    """Whether a result verifies. One that does not stays where it is: only a person's `retry` removes it."""
    done = read_result(store, trial) is not None
    if done:
        logger.info("trial %s has a result already", trial.trial_id)
    return done


def new_context(trial: PlannedTrial, *, of: Attempt, startup_s: float) -> TrialContext:
    """An attempt at `trial` that begins now."""
    clock = StageClock(time.monotonic, startup_s=startup_s)
    return TrialContext(
        request=of.request,
        trial=trial,
        attempt=of.name,
        store=of.store,
        work=of.work / trial.trial_id,
        stop=of.stop,
        clock=clock,
        progress=ProgressWriter(
            of.store, trial_id=trial.trial_id, attempt=of.name, every_s=of.request.progress_every_s
        ),
        recording=Recording(clock),
        log=of.log,
        started_at=datetime.now(tz=UTC),
    )  # fmt: skip


@contextmanager
def watched(attempt: Attempt, *, on_hang: Callable[[str], None]) -> Iterator[None]:
    """Inside, a process that hangs is ended, and a full scratch disk is a reason to try again."""
    with (
        _watching(Watchdog(log=attempt.log, on_hang=on_hang), stop=attempt.stop),
        disk_full_is_transient(attempt.work),
    ):
        yield


def fetch_sources(context: TrialContext) -> Sources:
    """The model's folder and the rows, on this machine; the scored rows are in the store from now on."""
    with shared_by_all_trials():
        model = fetch_model(context.request.model, cache=default_cache())
        context.stop.check()
        rows = _load_rows(context)
        context.stop.check()
        _publish_examples(context, rows)
    return Sources(model, rows)


def publish_trial(
    context: TrialContext, measured: Measured, *, rows: Rows, now: Callable[[], float] = time.monotonic
) -> None:
    """Make it a result; what was kept to go on from is removed.

    What it took by the clock `now`, in seconds, is counted as publishing.
    """
    began = now()
    context.progress.stage("publish")
    reference = _publish_files(context, measured)
    context.clock.charge("publish", now() - began)
    result = _result(context, measured, rows=rows, manifest=reference)
    publish_result(context.store, result=result, stop=context.stop)
    logger.info("trial %s: %s", context.trial.trial_id, {s: _headline(result, s) for s in measured.final})
    checkpoints = Checkpoints(
        context.store, trial_id=context.trial.trial_id, attempt=context.attempt, spool=context.work / "spool"
    )
    checkpoints.remove_all()
    context.progress.stage("done")
    shutil.rmtree(context.work, ignore_errors=True)


def _load_rows(context: TrialContext) -> Rows:
    options = context.config.data
    path = fetch_data(context.request.data, files=tuple(options.splits.values()), cache=default_cache())
    rows = load_rows(path, source=context.request.data, options=options)
    logger.info("rows: %s; left out: %s", {role: len(split) for role, split in rows.splits.items()}, dict(rows.dropped))
    return rows


def _publish_examples(context: TrialContext, rows: Rows) -> None:
    examples = [
        Example(example_id=row.example_id, split=role, input=row.input, reference=row.target)
        for role in ("validation", "test")
        for row in rows.splits.get(role, ())
    ]
    publish_examples(context.store, Keys.examples(data_id(context.config.data)), examples=examples, stop=context.stop)


def _publish_files(context: TrialContext, measured: Measured) -> ManifestReference:
    """Write the attempt's files and upload them."""
    trial, recording = context.trial, context.recording
    folder = measured.folder
    scores = Scores(trial_id=trial.trial_id, splits={s: recording.scores[s, measured.steps] for s in measured.final})
    (folder / "scores.json").write_bytes(to_json(scores))
    (folder / "predictions.jsonl").write_bytes(json_lines(recording.predictions))
    (folder / "metrics.jsonl").write_bytes(recording.lines(measured.history))
    write_events(
        folder / "events",
        history=measured.history,
        evaluations=recording.evaluations,
        every=context.request.execution.logging_steps,
    )
    shutil.copyfile(context.log, folder / "log.txt")
    return publish_attempt(context.store, trial=trial, attempt=context.attempt, folder=folder, stop=context.stop)


def _result(context: TrialContext, measured: Measured, *, rows: Rows, manifest: ManifestReference) -> Result:
    trial, recording = context.trial, context.recording
    return Result(
        trial_id=trial.trial_id,
        adapter_id=trial.adapter_id,
        config_id=trial.config_id,
        attempt=context.attempt,
        config=trial.config,
        engine=measured.engine,
        metrics={split: recording.metrics(split=split, step=measured.steps) for split in measured.final},
        steps=measured.steps,
        train_tokens=sum(record.tokens for record in measured.history),
        seconds=context.clock.seconds(),
        device=measured.device,
        data=DataSummary(
            digest=context.config.data.digest,
            rows={role: len(split) for role, split in rows.splits.items()},
            dropped={**rows.dropped, **measured.dropped},
        ),
        versions=versions(),
        provenance=context.request.provenance,
        adapter_bytes=measured.adapter_bytes,
        reused_from=context.request.adapters.get(trial.trial_id),
        started_at=context.started_at,
        finished_at=datetime.now(tz=UTC),
        manifest=manifest,
    )


def _headline(result: Result, split: ScoredSplit) -> dict[str, float]:
    return {name: round(value.mean, 4) for name, value in result.metrics[split].items()}


@contextmanager
def _watching(watchdog: Watchdog, *, stop: StopSignal) -> Iterator[None]:
    """Whatever asks whether to stop is at work: training per step, decoding per token, publishing per file."""
    watchdog.start()
    stop.on_check = watchdog.beat
    try:
        yield
    finally:
        stop.on_check = None
        watchdog.stop()


@contextmanager
def disk_full_is_transient(work: Path) -> Iterator[None]:
    """A full scratch disk is nobody's mistake in the spec: say where, how much is free, and try again later."""
    try:
        yield
    except (OSError, SafetensorError) as err:
        if not _is_disk_full(err):
            raise
        free = shutil.disk_usage(work).free
        raise TransientError(f"the disk is full: {work} ({free:,} bytes free); make room: {err}") from err


def _is_disk_full(err: OSError | SafetensorError) -> bool:
    """safetensors reports the system's error in words alone, as Rust writes it."""
    full = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(err, OSError):
        return err.errno in full
    return any(f"os error {number})" in str(err) for number in full)
