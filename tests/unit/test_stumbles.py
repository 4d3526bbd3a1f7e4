"""What the report says about the way to a result: attempts that failed, and a process that failed after its result."""

from __future__ import annotations

from datetime import timedelta

from fake_sweep import NOW, result_of
from situations import PLAN, A, end, failure, ledger

from controller.ledger import TrialRecord
from controller.stumbles import stumbles
from job.contract.documents import Retry

DONE = result_of(A, "p9")


def test_a_straight_way_is_not_worth_a_word() -> None:
    assert stumbles(PLAN, ledger(TrialRecord(result=DONE), ends=[end(1, "done")])) == ()


def test_a_failed_attempt_before_the_result_is_told_with_its_words() -> None:
    record = TrialRecord(result=DONE, failures=(failure("p1"),))
    told = stumbles(PLAN, ledger(record, ends=[end(1, "failed"), end(2, "done")]))
    assert told == ("A has its result after a failed attempt (crash): it broke",)


def test_a_process_that_failed_after_it_had_published_is_told() -> None:
    failed = end(1, "failed").model_copy(update={"reason": "crash", "message": "the process ended with exit 1"})
    told = stumbles(PLAN, ledger(TrialRecord(result=DONE), ends=[failed]))
    assert told == ("A has a valid result although its process failed (crash): the process ended with exit 1",)


def test_an_eviction_is_no_failure() -> None:
    assert stumbles(PLAN, ledger(TrialRecord(result=DONE), ends=[end(1, "disrupted"), end(2, "done")])) == ()


def test_trials_without_a_result_are_among_the_failures_already() -> None:
    assert stumbles(PLAN, ledger(TrialRecord(failures=(failure("p1"),)), ends=[end(1)])) == ()


def test_what_a_retry_has_taken_back_is_not_told() -> None:
    retry = Retry(trial_id=A.trial_id, at=NOW, voids=("p1", end(1).name))
    record = TrialRecord(result=DONE, failures=(failure("p1"),), retries=(retry,))
    assert stumbles(PLAN, ledger(record, ends=[end(1)])) == ()


def test_of_many_the_first_ten_are_told_and_the_rest_counted() -> None:
    failures = tuple(failure(f"p{n}", at=NOW + timedelta(seconds=n)) for n in range(12))
    told = stumbles(PLAN, ledger(TrialRecord(result=DONE, failures=failures)))
    assert len(told) == 11
    assert told[-1] == "2 more failed attempts are in the store."
