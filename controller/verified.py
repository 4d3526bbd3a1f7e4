"""Which results count: the one definition of done, for run, status, report, retry, plan and clean.

A result counts when every byte of it is what its manifest says and its numbers parse. Its files are read in full when
they are first seen, and again once the store has another tag for one of them; report/verified.json remembers.

Limits
- Damage under an unchanged tag (a disk that rots, a tool that puts the time back) is found where a report reads
  numbers, and else by reading everything again: `lorasweep report RUN --verify`.
- Of two processes that write the memory at the same time one may lose what it learnt, and reads it once more.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field

from controller.attempt_files import read_records, read_scores
from job.contract.base import Frozen
from job.contract.config import PlannedTrial
from job.contract.documents import DATA_LIMIT_BYTES, Result, parse, to_json
from job.contract.errors import NotFoundError, ResultError
from job.store import Keys, Store
from job.store.results import SealedResult, untrusted, verify_result

__all__ = ["VerifiedResults"]

_MEMORY = Keys.report("verified.json")


class Verified(Frozen):
    """What was read in full and found to be right."""

    schema_version: Literal[1] = 1
    seals: dict[str, str] = Field(default_factory=dict)
    """Trial to the seal of its result (job.store.results)."""


class VerifiedResults:
    """The results of one run. May be asked from many threads at once."""

    def __init__(self, store: Store, *, trusting: bool = True) -> None:
        """With `trusting` false, what earlier processes have verified is read in full again."""
        self._store = store
        self._trusting = trusting
        self._learnt: dict[str, str | None] = {}

    def read(self, trial: PlannedTrial) -> Result | None:
        """The trial's verified result, or None when there is none yet.

        Raises ResultError for a result that does not verify, TransientError and ConfigurationError as the store does.
        """
        known = self._learnt.get(trial.trial_id) or self._remembered.get(trial.trial_id)
        try:
            found = verify_result(self._store, trial, seal=known)
            if found is None:
                return None
            if found.seal != known:
                self._check_numbers(trial, found)
        except ResultError:
            self.forget(trial.trial_id)
            raise
        if found.seal != known:
            self._learnt[trial.trial_id] = found.seal
        return found.result

    def forget(self, trial_id: str) -> None:
        """Read this trial's files in full the next time, whoever looks."""
        self._learnt[trial_id] = None
        self._remembered.pop(trial_id, None)

    def remember(self) -> None:
        """Keep in the store what was learnt since the last time, beside what others have written there."""
        if not self._learnt:
            return
        before = _read_memory(self._store)
        seals = {trial_id: seal for trial_id, seal in (before | self._learnt).items() if seal is not None}
        if seals != before:
            self._store.put(_MEMORY, to_json(Verified(seals=dict(sorted(seals.items())))))
        self._remembered = seals
        self._learnt = {}

    @cached_property
    def _remembered(self) -> dict[str, str]:
        return _read_memory(self._store) if self._trusting else {}

    def _check_numbers(self, trial: PlannedTrial, found: SealedResult) -> None:
        try:
            read_scores(self._store, found.manifest)
            read_records(self._store, found.manifest)
        except ResultError as err:
            raise untrusted(trial, err) from err


def _read_memory(store: Store) -> dict[str, str]:
    try:
        return parse(Verified, store.read(_MEMORY, limit_bytes=DATA_LIMIT_BYTES), name=_MEMORY).seals
    except (NotFoundError, ResultError):  # it saves reading; without it everything is read
        return {}
