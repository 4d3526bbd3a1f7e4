"""Reads the ledger from the store with few requests: every trial once, then only what may have changed.

What changes a trial is its own job (so trials in live submissions are read at every poll), this controller (which
says so with `touch`), and people, whose verbs all renew control.json: a new tag of it means that everything is read
again. A full reading every few minutes covers what nobody announced.

Limits
- A result that is removed or damaged by hand is noticed with the next full reading, or the next controller.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from controller.ledger import CorruptResult, Ledger, TrialRecord
from controller.stored import read_control, read_stored
from controller.verified import VerifiedResults
from job.contract.base import Frozen
from job.contract.config import PlannedTrial
from job.contract.documents import (
    DOCUMENT_LIMIT_BYTES,
    Control,
    Failure,
    Plan,
    Progress,
    Retry,
    SubmissionEnd,
    parse,
)
from job.contract.errors import NotFoundError, ResultError
from job.store import Keys, ObjectInfo, Store
from job.store.keys import is_ours

__all__ = ["LedgerReader"]

logger = logging.getLogger(__name__)
FULL_READING_S = 300.0
_READERS = 8  # reading is waiting for the store
D = TypeVar("D", bound=Frozen)


class LedgerReader:
    """The newest known ledger of a run, and how to bring it up to date."""

    def __init__(
        self,
        store: Store,
        plan: Plan,
        *,
        results: VerifiedResults | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        full_every_s: float = FULL_READING_S,
    ) -> None:
        self._store = store
        self._results = results or VerifiedResults(store)
        self._full_every_s = full_every_s
        self._planned = {trial.trial_id: trial for trial in plan.trials}
        self._monotonic = monotonic
        self._control = Control()
        self._control_tag: str | None = None
        self._records: dict[str, TrialRecord] = {}
        self._record_tags: dict[str, dict[str, str]] = {}
        self._ends: dict[str, SubmissionEnd] = {}
        self._end_tags: dict[str, str] = {}
        self._full_at: float | None = None
        self._touched: set[str] = set()

    def touch(self, trial_ids: Iterable[str]) -> None:
        """Read these trials again at the next reading, live or not."""
        self._touched.update(trial_ids)

    def remember(self) -> None:
        """Keep in the store which results have been read in full, for whoever looks next."""
        self._results.remember()

    def read(self, *, live: Collection[str] | None) -> Ledger:
        """The ledger now; `live` are the trials that a process may be writing to, or that have just ended; None: any.

        Raises TransientError when the store does not answer; the next reading goes on from there.
        """
        self._read_control()
        self._read_ends()
        if live is None or self._full_at is None or self._monotonic() - self._full_at >= self._full_every_s:
            started = self._monotonic()
            self._read_trials(self._store.list(Keys.TRIALS), self._planned)
            self._full_at = started
        else:
            for trial_id in sorted((self._touched | set(live)) & self._planned.keys()):
                self._read_trials(self._store.list(Keys.trial(trial_id)), [trial_id])
        self._touched.clear()
        return Ledger(control=self._control, trials=dict(self._records), ends=dict(self._ends))

    def _read_control(self) -> None:
        found = self._store.stat(Keys.CONTROL)
        tag = "" if found is None else found.etag
        if tag != self._control_tag:
            self._full_at = None  # people's verbs renew control.json after what they wrote elsewhere
            self._control = read_control(self._store)
            self._control_tag = tag

    def _read_ends(self) -> None:
        for found in self._store.list(Keys.SUBMISSIONS):
            if is_ours(found.key) and self._end_tags.get(found.key) != found.etag:
                end = read_stored(self._store, SubmissionEnd, found.key)
                self.touch(end.trial_ids)  # failures are written before the end that they belong to
                self._ends[end.name] = end
                self._end_tags[found.key] = found.etag

    def _read_trials(self, listing: Iterable[ObjectInfo], wanted: Collection[str]) -> None:
        """Bring the wanted trials up to date from a listing that has every key of theirs."""
        found_keys: dict[str, dict[str, ObjectInfo]] = {trial_id: {} for trial_id in wanted}
        for found in listing:
            trial_id, _, rest = found.key.removeprefix(Keys.TRIALS).partition("/")
            if trial_id not in found_keys or rest.startswith("checkpoints/"):
                continue
            if is_ours(found.key) or rest.startswith("attempts/"):
                found_keys[trial_id][found.key] = found
        changed = {trial_id: own for trial_id, own in found_keys.items() if self._has_changed(trial_id, own)}
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            records = pool.map(lambda trial_id: self._trial(self._planned[trial_id], changed[trial_id]), changed)
            for trial_id, record in zip(changed, records, strict=True):
                self._records[trial_id] = record
                self._record_tags[trial_id] = _tags(trial_id, changed[trial_id], record)

    def _has_changed(self, trial_id: str, own: Mapping[str, ObjectInfo]) -> bool:
        record = self._records.get(trial_id, TrialRecord())
        return _tags(trial_id, own, record) != self._record_tags.get(trial_id, {})

    def _trial(self, planned: PlannedTrial, own: Mapping[str, ObjectInfo]) -> TrialRecord:
        trial_id = planned.trial_id
        record = self._records.get(trial_id, TrialRecord())
        tags, before = _tags(trial_id, own, record), self._record_tags.get(trial_id, {})
        changed = {key for key in tags.keys() | before.keys() if tags.get(key) != before.get(key)}
        under_failures, under_retries = Keys.failures(trial_id), Keys.retries(trial_id)
        if any(key.startswith(under_failures) for key in changed):
            failures = [self._failure(found, trial_id) for key, found in own.items() if key.startswith(under_failures)]
            record = replace(record, failures=tuple(failures))
        if any(key.startswith(under_retries) for key in changed):
            retries = [read_stored(self._store, Retry, key) for key in own if key.startswith(under_retries)]
            record = replace(record, retries=tuple(retries))
        if (key := Keys.progress(trial_id)) in changed:
            record = replace(record, progress=self._progress(own[key]) if key in own else None)
        key = Keys.result(trial_id)
        if key in changed or any(other.startswith(Keys.attempts(trial_id)) for other in changed):
            record = self._with_result(record, planned, own.get(key))
        return record

    def _with_result(self, record: TrialRecord, planned: PlannedTrial, found: ObjectInfo | None) -> TrialRecord:
        if found is None:
            return replace(record, result=None, corrupt=None)
        try:
            return replace(record, result=self._results.read(planned), corrupt=None)
        except ResultError as err:
            return replace(record, result=None, corrupt=CorruptResult(str(err), found.etag))

    def _failure(self, found: ObjectInfo, trial_id: str) -> Failure:
        try:
            return self._document(Failure, found)
        except ResultError as err:
            # One unreadable failure must not stop the sweep; it still counts as an attempt.
            logger.warning("unreadable failure counts as a crash: %s", err)
            attempt = found.key.rsplit("/", 1)[-1].removesuffix(".json")
            return Failure(
                trial_id=trial_id,
                attempt=attempt,
                reason="crash",
                permanent=False,
                exit_code=None,
                message=str(err),
                written_by="job",
                at=datetime.fromtimestamp(0, UTC),
            )

    def _progress(self, found: ObjectInfo) -> Progress | None:
        try:
            return self._document(Progress, found)
        except (ResultError, NotFoundError):  # a convenience for people: never worth failing for
            return None

    def _document(self, document: type[D], found: ObjectInfo) -> D:
        return parse(document, self._store.read(found.key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=found.key)


def _tags(trial_id: str, own: Mapping[str, ObjectInfo], record: TrialRecord) -> dict[str, str]:
    """The tags of what the record stands on: the trial's documents, and the files of the attempt that has won."""
    attempts = Keys.attempts(trial_id)
    won = () if record.result is None else (Keys.attempt(trial_id, record.result.attempt),)
    return {key: found.etag for key, found in own.items() if key.startswith(won) or not key.startswith(attempts)}
