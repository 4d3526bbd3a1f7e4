"""The files that an attempt published, read and compared with their manifest: scores, records of training, texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, TypeAdapter

from job.contract.base import sha256_hex
from job.contract.documents import (
    DATA_LIMIT_BYTES,
    EvaluationRecord,
    Manifest,
    Prediction,
    Result,
    Scores,
    StepRecord,
    parse,
)
from job.contract.errors import NotFoundError, ResultError
from job.store import Keys, Store
from job.store.results import load_manifest

__all__ = ["read_predictions", "read_records", "read_scores"]

_STRING = TypeAdapter(str)
_RECORD: TypeAdapter[StepRecord | EvaluationRecord] = TypeAdapter(
    Annotated[StepRecord | EvaluationRecord, Field(discriminator="kind")]
)


def read_scores(store: Store, manifest: Manifest) -> Scores:
    """The per-example scores. Raises ResultError when they are not the manifest's, do not parse, or are of another."""
    scores = parse(Scores, _read_file(store, manifest, "scores.json"), name="scores.json")
    if scores.trial_id != manifest.trial_id:
        raise ResultError(f"scores.json is of trial {scores.trial_id!r}, not of {manifest.trial_id!r}")
    return scores


def read_records(store: Store, manifest: Manifest) -> tuple[StepRecord | EvaluationRecord, ...]:
    """Steps and evaluations in the order of their writing. Raises ResultError as `read_scores`."""
    records = []
    for number, line in enumerate(_read_file(store, manifest, "metrics.jsonl").splitlines(), start=1):
        try:
            records.append(_RECORD.validate_json(line))
        except ValueError as err:
            raise ResultError(f"metrics.jsonl, line {number}: neither a step nor an evaluation") from err
    return tuple(records)


def read_predictions(store: Store, result: Result, *, split: str, example_ids: frozenset[str]) -> dict[str, str]:
    """What the trial finally wrote for these rows of a split, by example id.

    Raises ResultError when the file is not the one that the manifest vouches for, or a line does not parse.
    """
    manifest = load_manifest(store, result.manifest)
    quoted = [_STRING.dump_json(example_id) for example_id in sorted(example_ids)]
    texts: dict[str, str] = {}
    for line in _read_file(store, manifest, "predictions.jsonl").splitlines():
        # Most lines are of other rows and steps: look before a model is built.
        if line and _holds_any(line, quoted):
            found = parse(Prediction, line, name="predictions.jsonl")
            if (found.split, found.step) == (split, result.steps) and found.example_id in example_ids:
                texts[found.example_id] = found.text
    return texts


def _holds_any(line: bytes, parts: Sequence[bytes]) -> bool:
    return any(part in line for part in parts)


def _read_file(store: Store, manifest: Manifest, path: str) -> bytes:
    """The file's bytes, which are those that the manifest lists."""
    key = Keys.attempt_file(manifest.trial_id, manifest.attempt, path)
    listed = {file.path: file.sha256 for file in manifest.files}
    if path not in listed:
        raise ResultError(f"{key} is not in its manifest")
    try:
        body = store.read(key, limit_bytes=DATA_LIMIT_BYTES)
    except NotFoundError as err:
        raise ResultError(f"{key} is missing, the manifest lists it") from err
    if sha256_hex(body) != listed[path]:
        raise ResultError(f"{key} has SHA-256 {sha256_hex(body)}, the manifest says {listed[path]}")
    return body
