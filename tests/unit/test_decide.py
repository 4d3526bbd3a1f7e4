"""The decision table, row by row: what is stored and observed, and what is done about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fake_sweep import NOW, result_of
from situations import (
    DONE,
    LATER,
    LIMITS,
    A,
    actions,
    end,
    ended,
    failure,
    ledger,
    name_of,
    seen,
    situation,
    status,
    submits,
)

from controller.backend import Observed
from controller.decide import Forget, RecordEnd, Submit, WriteFailure
from controller.ledger import CorruptResult, TrialRecord
from controller.states import Limits
from job.contract.documents import Failure, Retry
from job.contract.errors import FailureReason


def test_a_new_sweep_submits_as_many_groups_as_may_run() -> None:
    assert submits(situation()) == [("A", 1), ("B", 1)]


def test_what_waits_takes_a_place_as_what_runs_does() -> None:
    assert submits(situation(observed=[seen(state="waiting")])) == [("B", 1)]


def test_a_finished_trial_is_never_submitted() -> None:
    assert submits(situation(ledger(DONE))) == [("B", 1), ("C", 1)]


def test_the_next_submission_waits_until_the_end_of_the_last_is_stored() -> None:
    failed = TrialRecord(failures=(failure("p1"),))
    assert "A" not in dict(submits(situation(ledger(failed), [ended(exit_code=1)], now=LATER)))
    assert ("A", 2) in submits(
        situation(ledger(failed, ends=[end()]), now=LATER, limits=replace(LIMITS, parallelism=3))
    )


def test_nothing_is_submitted_for_a_trial_that_any_live_submission_holds() -> None:
    other_plan = replace(seen((A.trial_id, "feedfeedfeed")), name="demo-00000000-1")
    assert submits(situation(observed=[other_plan])) == [("B", 1)]


def test_a_retry_queues_behind_first_attempts() -> None:
    failed = TrialRecord(failures=(failure("p1"),))
    assert submits(situation(ledger(failed, ends=[end()]), now=LATER)) == [("B", 1), ("C", 1)]


@pytest.mark.parametrize(
    ("seen_end", "outcome", "reason", "permanent"),
    [
        (ended(exit_code=0), "failed", "result_missing", False),
        (ended(exit_code=1), "failed", "crash", False),
        (ended(exit_code=139), "failed", "crash", False),
        (ended(exit_code=None), "failed", "crash", False),
        (ended(exit_code=64), "failed", "usage", True),
        (ended(exit_code=65), "failed", "data", True),
        (ended(exit_code=70), "failed", "bug", True),
        (ended(exit_code=75), "retry", "unavailable", False),
        (ended(exit_code=78), "failed", "configuration", True),
        (ended(exit_code=79), "failed", "gpu_oom", True),
        (ended(exit_code=80), "failed", "diverged", True),
        (ended(exit_code=81), "failed", "timeout", True),
        (ended(exit_code=137), "failed", "crash", False),
        (ended(exit_code=137, cause="oom"), "failed", "oom", True),
        (ended(cause="deleted"), "failed", "crash", False),
        (ended(exit_code=85), "disrupted", None, None),
        (ended(exit_code=143), "disrupted", None, None),
        (ended(exit_code=137, cause="killed"), "disrupted", None, None),
        (ended(cause="evicted"), "disrupted", None, None),
        (ended(cause="lost"), "disrupted", None, None),
    ],
)
def test_an_end_becomes_one_failure_or_none_and_is_recorded(
    seen_end: Observed, outcome: str, reason: FailureReason | None, permanent: bool | None
) -> None:
    done = [one for one in actions(situation(observed=[seen_end])) if not isinstance(one, Submit)]
    recorded = done.pop()
    assert isinstance(recorded, RecordEnd)
    assert (recorded.end.outcome, recorded.end.reason, recorded.end.number) == (outcome, reason, 1)
    if reason is None:
        assert done == []
        return
    (written,) = done
    assert isinstance(written, WriteFailure)
    found = written.failure
    assert (found.reason, found.permanent, found.attempt, found.trial_id) == (reason, permanent, "p1", A.trial_id)
    assert found.log_tail == "last words"
    assert found.written_by == "controller"


def test_a_failure_that_the_job_wrote_is_not_written_again() -> None:
    stored = ledger(TrialRecord(failures=(failure("p1", "diverged"),)))
    kinds = [type(one) for one in actions(situation(stored, [ended(exit_code=80)]))]
    assert kinds == [RecordEnd, Submit, Submit]


def test_a_result_wins_over_the_exit_code_and_over_failures() -> None:
    stored = ledger(TrialRecord(result=result_of(A, "p1"), failures=(failure("p0", "diverged"),)))
    given = situation(stored, [ended(exit_code=137)])
    assert status(given).state == "succeeded"
    assert not [one for one in actions(given) if isinstance(one, WriteFailure)]


def test_an_ended_submission_is_forgotten_only_when_its_end_is_stored() -> None:
    assert Forget(name_of()) not in actions(situation(ledger(DONE), [ended(exit_code=0)]))
    assert Forget(name_of()) in actions(situation(ledger(DONE, ends=[end(outcome="done")]), [ended(exit_code=0)]))


@pytest.mark.parametrize(
    ("failures", "voids", "state", "reason"),
    [
        ((), (), "pending", "slot"),
        ((failure("p1"),), (), "pending", "slot"),
        ((failure("p1"), failure("p2"), failure("p3")), (), "failed", "crash"),
        ((failure("p1", "diverged"),), (), "failed", "diverged"),
        ((failure("p1", "diverged"),), ("p1",), "pending", "slot"),
        ((failure("p1"), failure("p2"), failure("p3")), ("p1", "p2"), "pending", "slot"),
        ((failure("p1", "diverged"), failure("p2", "data")), ("p1",), "failed", "data"),
        ((failure("p1", "diverged", at=LATER), failure("p2")), (), "failed", "diverged"),
        ((failure("p1"), failure("p2", "unavailable", at=LATER)), (), "pending", "backoff"),
    ],
)
def test_a_trial_has_failed_when_an_unvoided_failure_is_permanent_or_its_attempts_are_spent(
    failures: tuple[Failure, ...], voids: tuple[str, ...], state: str, reason: str
) -> None:
    record = TrialRecord(failures=failures, retries=(Retry(trial_id=A.trial_id, at=NOW, voids=voids),))
    found = status(situation(ledger(record), now=LATER))
    assert (found.state, found.reason) == (state, reason)


def test_a_result_that_does_not_verify_is_a_failure_that_is_not_repeated() -> None:
    record = TrialRecord(corrupt=CorruptResult("adapter.safetensors is missing", "tag"))
    given = situation(ledger(record))
    assert (status(given).state, status(given).reason) == ("failed", "result_corrupt")
    assert submits(given) == [("B", 1), ("C", 1)]


@pytest.mark.parametrize(("waited_s", "due"), [(0, False), (9, False), (10, True), (-3600, True)])
def test_the_second_retry_waits_twice_as_long_and_a_clock_set_back_does_not_prolong_it(
    waited_s: int, due: bool
) -> None:
    stored = ledger(TrialRecord(failures=(failure("p1"), failure("p2"))), ends=[end(1), end(2)])
    given = situation(stored, now=NOW + timedelta(seconds=waited_s), limits=replace(LIMITS, parallelism=3, backoff_s=5))
    assert (("A", 3) in submits(given)) is due


def test_a_backoff_is_bounded() -> None:
    assert Limits(backoff_s=5, backoff_limit_s=300).backoff(10_000) == timedelta(seconds=300)


def test_disruptions_are_no_failures_until_there_are_too_many() -> None:
    two = ledger(TrialRecord(), ends=[end(1, "disrupted"), end(2, "disrupted")])
    given = situation(two, limits=replace(LIMITS, parallelism=3))
    assert ("A", 3) in submits(given)
    three = ledger(TrialRecord(), ends=[end(number, "disrupted") for number in (1, 2, 3)])
    written = [one for one in actions(situation(three)) if isinstance(one, WriteFailure)]
    assert [(one.failure.reason, one.failure.permanent) for one in written] == [("disruptions", True)]
    assert "A" not in dict(submits(situation(three)))


def test_a_retry_voids_disruptions_too() -> None:
    ends = [end(number, "disrupted") for number in (1, 2, 3)]
    retry = ledger(TrialRecord(), ends=ends).retry(A.trial_id, at=NOW)
    stored = ledger(TrialRecord(retries=(retry,)), ends=ends)
    assert ("A", 4) in submits(situation(stored, now=LATER, limits=replace(LIMITS, parallelism=3)))


def test_stops_that_were_asked_for_do_not_count() -> None:
    stored = ledger(TrialRecord(), ends=[end(number, "stopped") for number in range(1, 9)])
    assert ("A", 9) in submits(situation(stored, limits=replace(LIMITS, parallelism=3)))
