"""Observe, decide, act, until every trial is in its final state. The loop holds no state that matters.

Whatever it knows is in the store or in the backend, so it may be killed at any instruction and started again. It looks
at the backend before the store: what a process published before it ended is then always seen with its end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple, assert_never

from controller.backend import Backend, PlaceEndingError, Submission
from controller.decide import Action, Forget, RecordEnd, StopSubmission, Submit, WriteFailure, decide, settled
from controller.interrupts import Wish
from controller.ledger import Ledger
from controller.ledger_reader import LedgerReader
from controller.names import Naming
from controller.regression.document import Status
from controller.states import Limits, Situation, TrialStatus, states
from job.contract.config import Request
from job.contract.documents import Failure, Plan, SubmissionEnd, to_json
from job.contract.errors import ConflictError, TransientError
from job.store import Keys, Store

__all__ = ["Clock", "Conclusion", "Controller", "Outcome", "Watcher", "reconcile"]

logger = logging.getLogger(__name__)
_LOG_LIMIT_BYTES = 2**20
_POLL_S = 0.5
_REST_RATIO = 5.0
# A store or API server that is down for longer needs a person; what runs is left running.
_PATIENCE_S = 1800.0
_TROUBLE_PAUSE_LIMIT_S = 30.0


class Conclusion(NamedTuple):
    """What a finished run has to show."""

    statuses: Mapping[str, TrialStatus]
    """As the report found them."""
    report: str
    """Where the report is."""
    leading: str
    """The configuration that is ranked first, with its objective, in a few words; empty where none is."""
    regression: Status | None = None
    """How the run stands beside earlier ones; None where that was not asked."""


class Watcher:
    """Who looks on: a terminal, a log, a metrics endpoint. Each takes what concerns it, and nothing of the rest."""

    def update(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> None:
        """Called after every look; most looks bring nothing new."""

    def looked(self, *, seconds: float) -> None:
        """Called after every look that was answered, with the time that it and its actions took."""

    def trouble(self, error: TransientError, *, since: datetime) -> None:
        """Called each time that store or backend did not answer."""

    def concluded(self, conclusion: Conclusion) -> None:
        """Called once, when every trial is in its final state and the report is written."""

    def leaving(self, wish: Wish, *, live: int) -> None:
        """Called once, before anything else is done, when `live` submissions are to be stopped because of a signal."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, as the loop needs it."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Controller:
    """The parts that one run's loop works with."""

    plan: Plan
    naming: Naming
    store: Store
    reader: LedgerReader
    backend: Backend
    limits: Limits
    make_request: Callable[[tuple[str, ...], Mapping[str, str]], Request]
    """From trials, and the key of an attempt with its adapter for those that need no training."""
    watcher: Watcher
    clock: Clock
    wish: Callable[[], Wish | None]
    """What a signal has asked for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the loop ended."""

    kind: Literal["settled", "stop", "interrupt"]
    statuses: Mapping[str, TrialStatus]
    ledger: Ledger
    submissions: int
    """Made by this loop; 0 says that there was nothing to do."""


def reconcile(controller: Controller) -> Outcome:
    """Bring every trial to its final state, or leave in order when a signal asks for it.

    Raises TransientError when store or backend do not answer for half an hour, and PlaceEndingError at once.
    """
    patience = _Patience(controller.clock, controller.watcher)
    submissions = live = 0
    told = controller.backend.outlives_controller  # then nothing is stopped, and nobody waits
    while True:
        wish, began = controller.wish(), controller.clock.monotonic()
        if wish is not None and not told:
            controller.watcher.leaving(wish, live=live)
            told = True
        try:
            situation = look(controller, leaving=wish is not None)
            live = sum(seen.live for seen in situation.observed or ())
            statuses = states(situation)
            controller.watcher.update(situation, statuses)
            if wish is None and settled(situation, statuses):
                return Outcome("settled", statuses, situation.ledger, submissions)
            if wish is not None and (controller.backend.outlives_controller or not situation.observed):
                return Outcome(wish, statuses, situation.ledger, submissions)
            for action in decide(situation, naming=controller.naming):
                act(controller, action, situation.ledger)
                submissions += isinstance(action, Submit)
                live += isinstance(action, Submit)
        except PlaceEndingError:
            raise
        except TransientError as err:
            patience.bear(err)
        else:
            patience.renew()
            # A look at ten thousand trials takes tenths of a second; the loop must not keep a core busy.
            spent_s = controller.clock.monotonic() - began
            controller.watcher.looked(seconds=spent_s)
            controller.clock.sleep(max(_POLL_S, _REST_RATIO * spent_s))


def look(controller: Controller, *, leaving: bool) -> Situation:
    """The situation now."""
    observed = tuple(controller.backend.observe())
    ledger = controller.reader.read(live={trial_id for seen in observed for trial_id in seen.trial_ids})
    controller.reader.remember()
    limits = replace(controller.limits, leaving=leaving)
    return Situation(controller.plan, ledger, observed, limits, controller.clock.now())


def act(controller: Controller, action: Action, ledger: Ledger) -> None:
    """Carry out one action; each may be carried out twice, or by two controllers, with the same effect as once."""
    match action:
        case Submit():
            _submit(controller, action, ledger)
        case WriteFailure(failure):
            _write_failure(controller, failure)
        case RecordEnd(end):
            _record_end(controller, end)
        case StopSubmission(name):
            logger.info("stopping submission=%s", name)
            controller.backend.stop(name)
        case Forget(name):
            controller.backend.forget(name)
        case unreachable:
            assert_never(unreachable)


def _submit(controller: Controller, submit: Submit, ledger: Ledger) -> None:
    request = controller.make_request(submit.trial_ids, _adapters(controller.plan, ledger, submit.trial_ids))
    submission = Submission(name=submit.name, number=submit.number, group_id=submit.group_id, request=request)
    controller.reader.touch(submit.trial_ids)
    try:
        controller.backend.submit(submission)
    except ConflictError as err:
        for trial_id in submit.trial_ids:
            _write_failure(controller, _conflict(trial_id, submit.name, str(err), at=controller.clock.now()))
        return
    logger.info("submitted submission=%s trials=%s", submit.name, ",".join(submit.trial_ids))


def _adapters(plan: Plan, ledger: Ledger, trial_ids: tuple[str, ...]) -> dict[str, str]:
    """For trials whose adapter another trial has already trained: the attempt that holds it."""
    trained = {
        trial.adapter_id: Keys.attempt(trial.trial_id, result.attempt)
        for trial in plan.trials
        if trial.adapter_id is not None and (result := ledger.record(trial.trial_id).result) is not None
    }
    wanted = {trial.trial_id: trial.adapter_id for trial in plan.trials if trial.trial_id in set(trial_ids)}
    return {
        trial_id: trained[adapter_id]
        for trial_id, adapter_id in wanted.items()
        if adapter_id is not None and adapter_id in trained
    }


def _conflict(trial_id: str, name: str, message: str, *, at: datetime) -> Failure:
    return Failure(
        trial_id=trial_id,
        attempt=name,
        reason="conflict",
        permanent=True,
        exit_code=None,
        message=message,
        written_by="controller",
        at=at,
    )


def _write_failure(controller: Controller, failure: Failure) -> None:
    controller.reader.touch([failure.trial_id])
    if controller.store.put_once(Keys.failure(failure.trial_id, failure.attempt), to_json(failure)):
        logger.warning(
            "attempt failed trial=%s attempt=%s reason=%s: %s",
            failure.trial_id,
            failure.attempt,
            failure.reason,
            failure.message,
        )


def _record_end(controller: Controller, end: SubmissionEnd) -> None:
    controller.reader.touch(end.trial_ids)
    if end.outcome != "done" and end.attempt is not None:
        _keep_log(controller, end, attempt=end.attempt)
    if controller.store.put_once(Keys.submission(end.name), to_json(end)):
        logger.info("ended submission=%s outcome=%s exit_code=%s", end.name, end.outcome, end.exit_code)


def _keep_log(controller: Controller, end: SubmissionEnd, *, attempt: str) -> None:
    """Keep what the process wrote, where it has not published its log itself."""
    log = controller.backend.logs(end.name, limit_bytes=_LOG_LIMIT_BYTES)
    if log:
        for trial_id in end.trial_ids:
            controller.store.put_once(Keys.attempt_file(trial_id, attempt, "log.txt"), log)


class _Patience:
    """Waits longer each time, says since when, and gives up after half an hour."""

    def __init__(self, clock: Clock, watcher: Watcher) -> None:
        self._clock = clock
        self._watcher = watcher
        self.renew()

    def renew(self) -> None:
        self._since: datetime | None = None
        self._began = 0.0
        self._pause_s = 1.0

    def bear(self, error: TransientError) -> None:
        if self._since is None:
            self._since, self._began = self._clock.now(), self._clock.monotonic()
        if self._clock.monotonic() - self._began > _PATIENCE_S:
            raise TransientError(f"no answer since {self._since.isoformat(timespec='seconds')}: {error}") from error
        self._watcher.trouble(error, since=self._since)
        self._clock.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, _TROUBLE_PAUSE_LIMIT_S)
