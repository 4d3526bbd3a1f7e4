"""A run in MLflow: an experiment for the sweep, and in it one MLflow run for each trial that has ended.

A trial's MLflow run is known by its tags. The tag `lorasweep.attempt` is written last: a run without it was cut off
and is made anew, as is that of an attempt which no longer counts. What is deleted goes to MLflow's own bin.

Limits
- What is searched for and then made is made twice when two exports of one run go on at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from controller.exports.values import scalars_of, trial_name
from controller.report.setup import settings_of
from job.contract.config import PlannedTrial
from job.contract.documents import EvaluationRecord, StepRecord
from job.contract.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Ended", "MlflowExperiment", "open_client"]

T = TypeVar("T")
# The most that MLflow takes in one request (mlflow.utils.validation).
_METRICS, _PARAMETERS, _PAGE = 1000, 100, 1000
_VALUE = 6000  # characters of a parameter


class Ended(NamedTuple):
    """A trial that has ended, well or not."""

    planned: PlannedTrial
    attempt: str
    began: datetime
    ended: datetime
    records: tuple[StepRecord | EvaluationRecord, ...]
    reason: str | None
    """Why it failed; None for a trial with a result."""


class MlflowExperiment:
    """The trials of one run in one experiment."""

    def __init__(self, client: MlflowClient, *, name: str, marks: Mapping[str, str]) -> None:
        """`marks` are the tags by which the MLflow runs of this run are known."""
        self._client = client
        self._marks = dict(marks)
        with _explained():
            found = client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage != "active":
                raise ConfigurationError(
                    f"mlflow experiment {name!r} is deleted; restore it (`mlflow experiments restore`) or name another"
                )
            self._id = client.create_experiment(name) if found is None else found.experiment_id
        self._known = self._search()

    def holds(self, trial: PlannedTrial, attempt: str) -> bool:
        """Whether the attempt of this trial is there, whole."""
        return any(known.attempt == attempt for known in self._known.get(trial.trial_id, ()))

    def put(self, trial: Ended) -> None:
        """Write the trial, in the place of what earlier exports wrote of it. Raises as the tracking store does."""
        planned = trial.planned
        with _explained():
            for known in self._known.pop(planned.trial_id, ()):
                self._client.delete_run(known.run_id)
            tags = {**self._marks, **_tags(trial)}
            made = self._client.create_run(
                self._id, start_time=_milliseconds(trial.began), tags=tags, run_name=trial_name(planned)
            )
            run_id = made.info.run_id
            self._write(run_id, trial)
            status = "FINISHED" if trial.reason is None else "FAILED"
            self._client.set_terminated(run_id, status=status, end_time=_milliseconds(trial.ended))
            self._client.set_tag(run_id, "lorasweep.attempt", trial.attempt)
        self._known[planned.trial_id] = [_Known(run_id, trial.attempt)]

    def _write(self, run_id: str, trial: Ended) -> None:
        from mlflow.entities import Metric, Param

        parameters = [Param(name, value[:_VALUE]) for name, value in settings_of(trial.planned).items()]
        at = _milliseconds(trial.ended)  # a record has no time of its own
        metrics = [
            Metric(scalar.tag, scalar.value, at, record.step)
            for record in trial.records
            for scalar in scalars_of(record)
        ]
        for part in _parts(parameters, _PARAMETERS):
            self._client.log_batch(run_id, params=part)
        for part in _parts(metrics, _METRICS):
            self._client.log_batch(run_id, metrics=part)

    def _search(self) -> dict[str, list[_Known]]:
        """By trial."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in self._marks.items())
        known: dict[str, list[_Known]] = {}
        token = None
        with _explained():
            while True:
                page = self._client.search_runs([self._id], wanted, max_results=_PAGE, page_token=token)
                for found in page:
                    tags = found.data.tags
                    one = _Known(found.info.run_id, tags.get("lorasweep.attempt"))
                    known.setdefault(tags.get("lorasweep.trial", ""), []).append(one)
                token = page.token
                if not token:
                    return known


class _Known(NamedTuple):
    run_id: str
    attempt: str | None


def open_client(uri: str | None) -> MlflowClient:
    """A client of the tracking store at `uri`; None: the one that MLflow's own settings name.

    Raises ConfigurationError for a store that mlflow-skinny cannot open.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient(tracking_uri=uri)
    except (MlflowException, ImportError) as err:
        raise ConfigurationError(
            f"mlflow cannot open this tracking store: {err}; name a server as mlflow:http://HOST:PORT, or install all "
            "of mlflow for a database"
        ) from err


@contextmanager
def _explained() -> Iterator[None]:
    """Maps what mlflow raises to ours."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as err:
        what = (
            f"mlflow: {str(err).strip().splitlines()[0]}" if str(err).strip() else "mlflow failed and did not say why"
        )
        if err.get_http_status_code() >= 500:
            raise TransientError(f"{what}; look at the server, then run this again: it goes on") from err
        raise ConfigurationError(
            f"{what}; check the address, and MLFLOW_TRACKING_TOKEN or its user and password"
        ) from err


def _tags(trial: Ended) -> dict[str, str]:
    planned = trial.planned
    found = {
        "lorasweep.trial": planned.trial_id,
        "lorasweep.adapter": planned.adapter_id,
        "lorasweep.configuration": planned.config_id,
        "lorasweep.letter": planned.letter,
        "lorasweep.label": planned.label,
        "lorasweep.kind": planned.kind,
        "lorasweep.seed": None if planned.seed is None else str(planned.seed),
        "lorasweep.failed": trial.reason,
    }
    return {name: value for name, value in found.items() if value is not None}


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _parts(values: Sequence[T], size: int) -> Iterator[list[T]]:
    left = iter(values)
    while part := list(islice(left, size)):
        yield part
