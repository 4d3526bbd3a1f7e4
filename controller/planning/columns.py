"""Columns that a spec names and local data lack, found before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from controller.planning.configurations import baseline_prompts
from controller.spec.model import SweepSpec
from job.contract.config import Source
from job.contract.errors import DataError, SpecError
from job.contract.nearest import nearest
from job.contract.template import template_fields
from job.sources.columns import columns_of

__all__ = ["check_columns"]


class _Use(NamedTuple):
    """Where a spec names a column."""

    field: str
    column: str
    written: str


def check_columns(spec: SweepSpec, data: Source) -> None:
    """Raises SpecError with every column of the spec that a split of local data does not have.

    Data elsewhere, and files whose beginning does not tell, are left to the job.
    """
    source = Path(data.location)
    if data.kind != "path" or not source.exists():
        return
    lacking: dict[tuple[_Use, tuple[str, ...]], list[str]] = {}
    for role, split in spec.data.splits.items():
        try:
            columns = columns_of(source, split)
        except DataError as err:
            raise SpecError(f"data.splits.{role}: {err}") from err
        if columns is None:
            continue
        for use in _uses(spec):
            if use.column not in columns:
                lacking.setdefault((use, columns), []).append(split)
    if lacking:
        raise SpecError("\n".join(_problem(use, columns, splits) for (use, columns), splits in lacking.items()))


def _problem(use: _Use, columns: tuple[str, ...], splits: list[str]) -> str:
    return (
        f"{use.field}: {use.written}: no such column in {', '.join(splits)}{nearest(use.column, columns)}; "
        f"there are {', '.join(columns)}: write one of them, or name other files in data.splits"
    )


def _uses(spec: SweepSpec) -> Iterator[_Use]:
    for role, column in spec.data.columns.items():
        yield _Use(f"data.columns.{role}", column, repr(column))
    known = set(spec.data.columns.values())
    for name in baseline_prompts(spec):
        template = spec.prompts[name]
        for part in ("prompt", "completion"):
            # One of data.columns is judged there.
            for column in sorted(template_fields(getattr(template, part)) - known):
                yield _Use(f"prompts.{name}.{part}", column, f"{{{column}}}")
