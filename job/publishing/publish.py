"""Files first, then their manifest, then the result: the store shows a trial as done or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from job.contract.base import sha256_hex
from job.contract.config import PlannedTrial
from job.contract.documents import (
    DOCUMENT_LIMIT_BYTES,
    Manifest,
    ManifestFile,
    ManifestReference,
    Result,
    parse,
    to_json,
)
from job.contract.errors import ResultError, TransientError
from job.stopping import StopSignal
from job.store import Keys, Store
from job.store.hashing import file_sha256

__all__ = ["STORE_PATIENCE_S", "publish_attempt", "publish_result", "with_patience"]

logger = logging.getLogger(__name__)

STORE_PATIENCE_S = 1800.0
"""How long a finished trial waits for its store before it gives up with exit 75; what it computed is worth that."""
_PAUSE_S = 10.0
T = TypeVar("T")


def with_patience(
    action: Callable[[], T],
    *,
    stop: StopSignal,
    patience_s: float = STORE_PATIENCE_S,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `action` returns, once the store answers.

    Raises the last TransientError after `patience_s`, and StoppedError as soon as a stop is asked for.
    """
    deadline = now() + patience_s
    waited = False
    while True:
        stop.check()
        try:
            done = action()
        except TransientError as err:
            if now() >= deadline:
                raise
            waited = True
            logger.warning("waiting for the store: %s", err, extra={"notice": f"waiting for the store: {err}"})
        else:
            if waited:
                logger.info("the store answers again", extra={"notice": ""})
            return done
        sleep(_PAUSE_S)


def publish_attempt(
    store: Store, *, trial: PlannedTrial, attempt: str, folder: Path, stop: StopSignal
) -> ManifestReference:
    """Upload every file under `folder`, then the manifest that lists them; gives the reference for the result."""
    files: list[ManifestFile] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative = path.relative_to(folder).as_posix()
        key = Keys.attempt_file(trial.trial_id, attempt, relative)
        with_patience(partial(store.upload, key, path), stop=stop)
        files.append(ManifestFile(path=relative, size_bytes=path.stat().st_size, sha256=file_sha256(path)))
    manifest = to_json(Manifest(trial_id=trial.trial_id, attempt=attempt, files=tuple(files)))
    key = Keys.manifest(trial.trial_id, attempt)
    with_patience(lambda: store.put(key, manifest), stop=stop)
    return ManifestReference(key=key, size_bytes=len(manifest), sha256=sha256_hex(manifest))


def publish_result(store: Store, *, result: Result, stop: StopSignal) -> bool:
    """Put the result once. True when this attempt's result is the one that counts.

    Another attempt may have been first: its result stays. Raises ResultError when that one is of another trial.
    """
    key = Keys.result(result.trial_id)
    if with_patience(lambda: store.put_once(key, to_json(result)), stop=stop):
        return True
    there = parse(Result, store.read(key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=key)
    ours, theirs = _identity(result), _identity(there)
    if ours != theirs:
        raise ResultError(f"{key} is of {theirs}, this attempt computed {ours}; remove it with `lorasweep retry`")
    if there.metrics != result.metrics:
        logger.warning("attempt %s published first, with other numbers; its result counts", there.attempt)
    else:
        logger.info("attempt %s published first, with the same numbers", there.attempt)
    return False


def _identity(result: Result) -> tuple[str, str | None, str]:
    return (result.trial_id, result.adapter_id, result.config_id)
