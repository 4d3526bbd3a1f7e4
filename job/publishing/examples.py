"""The scored rows in the store, once for all trials that share them; what is damaged is written anew from the data."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pydantic import ValidationError

from job.contract.documents import DATA_LIMIT_BYTES, Example
from job.contract.errors import ConfigurationError, NotFoundError, ResultError
from job.publishing.publish import with_patience
from job.recording import json_lines
from job.stopping import StopSignal
from job.store import Store

__all__ = ["publish_examples"]

logger = logging.getLogger(__name__)


def publish_examples(store: Store, key: str, *, examples: Sequence[Example], stop: StopSignal) -> None:
    """Put the rows at `key`, unless they are there; lines that do not parse or have another text are damage.

    Raises ConfigurationError when the store holds rows that are none of these, as the data's digest is the same.
    """
    body = json_lines(examples)
    if with_patience(lambda: store.put_once(key, body), stop=stop):
        return
    ours = {(example.split, example.example_id) for example in examples}
    foreign = with_patience(lambda: _ids_at(store, key), stop=stop) - ours
    if foreign:
        split, example_id = min(foreign)
        raise ConfigurationError(
            f"{store.uri}/{key} holds other rows than this trial scores, such as {example_id!r} of {split}, though the "
            "data's digest is the same: another release wrote it, or it is damaged; begin another run with "
            "`--run NAME`, or remove the file, and it is written anew"
        )
    logger.warning("%s/%s was damaged and is written anew from the data", store.uri, key)
    with_patience(lambda: store.put(key, body), stop=stop)


def _ids_at(store: Store, key: str) -> set[tuple[str, str]]:
    """Split and id of every line that can be read."""
    try:
        lines = store.read(key, limit_bytes=DATA_LIMIT_BYTES).splitlines()
    except (NotFoundError, ResultError):  # removed this moment, or grown out of all bounds
        return set()
    found: set[tuple[str, str]] = set()
    for line in lines:
        try:
            example = Example.model_validate_json(line)
        except ValidationError:
            continue
        found.add((example.split, example.example_id))
    return found
