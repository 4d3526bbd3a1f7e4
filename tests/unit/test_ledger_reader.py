"""The ledger is read with few requests, is never behind where it matters, and survives what is not ours."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fake_sweep import NOW, lora_trial, plan_of, publish
from memory_store import MemoryStore

from controller.ledger import Ledger, TrialRecord
from controller.ledger_reader import FULL_READING_S, LedgerReader
from controller.stored import DamagedError
from job.contract.documents import Control, Failure, Progress, Retry, SubmissionEnd, to_json
from job.contract.errors import TransientError
from job.store import Keys

TRIALS = tuple(lora_trial(number) for number in range(3))
A, B, _ = TRIALS
PLAN = plan_of(TRIALS)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(store: MemoryStore, clock: Clock) -> LedgerReader:
    return LedgerReader(store, PLAN, monotonic=clock)


def failure(attempt: str) -> Failure:
    return Failure(
        trial_id=A.trial_id,
        attempt=attempt,
        reason="crash",
        permanent=False,
        exit_code=1,
        message="it broke",
        written_by="job",
        at=NOW,
    )


def progress(step: int) -> Progress:
    return Progress(attempt="p1", stage="train", step=step, max_steps=4, updated_at=NOW)


def end(name: str) -> SubmissionEnd:
    return SubmissionEnd(
        name=name,
        group_id="g",
        number=1,
        trial_ids=(A.trial_id,),
        attempt="p1",
        outcome="failed",
        exit_code=1,
        reason="crash",
        started_at=NOW,
        ended_at=NOW,
    )


def test_an_empty_store_is_an_empty_ledger(reader: LedgerReader) -> None:
    assert reader.read(live=()) == Ledger()


def test_everything_that_is_stored_is_in_the_ledger(store: MemoryStore, reader: LedgerReader) -> None:
    publish(store, A, "p1")
    store.put(Keys.failure(A.trial_id, "p0"), to_json(failure("p0")))
    store.put(Keys.retry(A.trial_id, 1), to_json(Retry(trial_id=A.trial_id, at=NOW, voids=("p0",))))
    store.put(Keys.progress(A.trial_id), to_json(progress(3)))
    store.put(Keys.submission("demo-1"), to_json(end("demo-1")))
    store.put(Keys.CONTROL, to_json(Control(state="paused")))
    ledger = reader.read(live=())
    record = ledger.record(A.trial_id)
    assert record.result is not None
    assert record.result.attempt == "p1"
    assert record.failures == (failure("p0"),)
    assert record.counted_failures == ()
    assert record.progress == progress(3)
    assert ledger.ends == {"demo-1": end("demo-1")}
    assert ledger.control.state == "paused"
    assert ledger.record(B.trial_id) == TrialRecord()


def test_a_quiet_poll_lists_live_trials_and_reads_nothing(store: MemoryStore, reader: LedgerReader) -> None:
    for trial in TRIALS:
        publish(store, trial, "p1")
    reader.read(live=())
    store.reads.clear()
    reader.read(live=[B.trial_id])
    assert store.reads == [Keys.SUBMISSIONS, Keys.trial(B.trial_id)]


def test_files_of_attempts_and_checkpoints_are_never_read(store: MemoryStore, reader: LedgerReader) -> None:
    store.put(Keys.attempt_file(A.trial_id, "p1", "result.json"), b"not ours")
    store.put(Keys.checkpoint(A.trial_id, "p1", 4) + "progress.json", b"not ours")
    assert reader.read(live=[A.trial_id]).record(A.trial_id) == TrialRecord()


def test_a_result_of_a_live_trial_is_seen_at_the_next_poll(store: MemoryStore, reader: LedgerReader) -> None:
    reader.read(live=())
    publish(store, A, "p1")
    assert reader.read(live=()).record(A.trial_id).result is None
    assert reader.read(live=[A.trial_id]).record(A.trial_id).result is not None


@pytest.mark.parametrize("announce", ["touch", "control", "end", "time"])
def test_a_change_is_seen_once_it_is_announced_or_time_has_passed(
    store: MemoryStore, reader: LedgerReader, clock: Clock, announce: str
) -> None:
    reader.read(live=())
    store.put(Keys.failure(A.trial_id, "p0"), to_json(failure("p0")))
    assert reader.read(live=()).record(A.trial_id).failures == ()
    match announce:
        case "touch":
            reader.touch([A.trial_id])
        case "control":
            store.put(Keys.CONTROL, to_json(Control()))
        case "end":
            store.put(Keys.submission("demo-1"), to_json(end("demo-1")))
        case _:
            clock.now += FULL_READING_S
    assert reader.read(live=()).record(A.trial_id).failures == (failure("p0"),)


def test_what_is_removed_is_gone_from_the_ledger(store: MemoryStore, reader: LedgerReader) -> None:
    publish(store, A, "p1")
    store.put(Keys.progress(A.trial_id), to_json(progress(1)))
    reader.read(live=())
    store.delete(Keys.result(A.trial_id))
    store.delete(Keys.progress(A.trial_id))
    assert reader.read(live=[A.trial_id]).record(A.trial_id) == TrialRecord()


def test_a_ledger_that_was_given_out_does_not_change(store: MemoryStore, reader: LedgerReader) -> None:
    before = reader.read(live=())
    publish(store, A, "p1")
    reader.read(live=[A.trial_id])
    assert before == Ledger()


def test_nothing_is_lost_when_the_store_fails_in_the_middle_of_a_reading(
    store: MemoryStore, reader: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trial in TRIALS:
        publish(store, trial, "p1")
    read, failed = store.read, set[str]()

    def failing(key: str, *, limit_bytes: int) -> bytes:
        if key not in failed:
            failed.add(key)
            raise TransientError("connection reset")
        return read(key, limit_bytes=limit_bytes)

    monkeypatch.setattr(store, "read", failing)
    for _ in range(10):
        try:
            ledger = reader.read(live=())
            break
        except TransientError:
            continue
    assert {trial_id for trial_id, record in ledger.trials.items() if record.result} == {t.trial_id for t in TRIALS}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"trial_id": "x"}', b'{"schema_version": 99}', b"\xff\xfe", b"null", b"NaN"]
)
def test_a_result_that_does_not_parse_is_corrupt_and_says_so(
    store: MemoryStore, reader: LedgerReader, body: bytes
) -> None:
    store.put(Keys.result(A.trial_id), body)
    record = reader.read(live=()).record(A.trial_id)
    assert record.result is None
    assert record.corrupt is not None
    assert "cannot be trusted" in record.corrupt.message
    tag = store.stat(Keys.result(A.trial_id))
    assert tag is not None
    assert record.corrupt.etag == tag.etag


def test_a_result_of_another_trial_is_corrupt(store: MemoryStore, reader: LedgerReader) -> None:
    publish(store, B, "p1")
    store.put(Keys.result(A.trial_id), store.objects[Keys.result(B.trial_id)])
    assert reader.read(live=()).record(A.trial_id).corrupt is not None


def test_a_failure_that_does_not_parse_counts_as_a_crash(store: MemoryStore, reader: LedgerReader) -> None:
    store.put(Keys.failure(A.trial_id, "p0"), b"{")
    (found,) = reader.read(live=()).record(A.trial_id).counted_failures
    assert (found.reason, found.attempt, found.permanent) == ("crash", "p0", False)


def test_progress_that_does_not_parse_is_no_progress(store: MemoryStore, reader: LedgerReader) -> None:
    store.put(Keys.progress(A.trial_id), b"{")
    assert reader.read(live=()).record(A.trial_id).progress is None


@pytest.mark.parametrize("key", [Keys.CONTROL, Keys.submission("demo-1"), Keys.retry(A.trial_id, 1)])
def test_documents_that_decide_are_refused_by_name_and_with_a_remedy(
    store: MemoryStore, reader: LedgerReader, key: str
) -> None:
    store.put(key, b'{"schema_version": 2}')
    with pytest.raises(DamagedError, match=rf"{store.uri}/{key} is not a valid .*move it out of the run") as caught:
        reader.read(live=())
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("folder", [Keys.SUBMISSIONS, Keys.failures(A.trial_id), Keys.retries(A.trial_id)])
def test_what_somebody_put_beside_the_documents_is_not_read(
    store: MemoryStore, reader: LedgerReader, folder: str
) -> None:
    store.put(folder + "notes.txt", b"buy milk")
    assert reader.read(live=()) == Ledger()


def test_a_retry_voids_what_was_stored_when_it_was_written_whatever_the_clocks_say() -> None:
    old, new = failure("p1"), failure("p2").model_copy(update={"at": NOW - timedelta(hours=1)})
    before = Ledger(trials={A.trial_id: TrialRecord(failures=(old,))}, ends={"demo-1": end("demo-1")})
    retry = before.retry(A.trial_id, at=NOW)
    assert retry.voids == ("demo-1", "p1")
    assert TrialRecord(failures=(old, new), retries=(retry,)).counted_failures == (new,)
    assert TrialRecord(failures=(old, new)).counted_failures == (new, old)
