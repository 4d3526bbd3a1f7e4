"""Which rows are shown, and what was written for them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controller.collect import Measured
from controller.report.document import Objective, SampledExample, SampledOutput
from controller.report.ranking import Standing
from controller.report.text import shortened, visible
from job.contract.base import sha256_hex
from job.contract.config import PlannedTrial
from job.contract.documents import Example

__all__ = ["Shown", "chosen_rows", "sampled", "shown_writers"]

ROWS = 5
INPUT_LIMIT = 1600  # characters
TEXT_LIMIT = 800


class Shown(NamedTuple):
    """A finished trial whose texts are shown."""

    planned: PlannedTrial
    measured: Measured


def shown_writers(standings: Sequence[Standing]) -> tuple[Shown, ...]:
    """The best trained configuration and the zero-shot baseline of its prompt, each by its first finished seed."""
    best = next((standing for standing in standings if standing.trained and standing.objective is not None), None)
    zero_shots = [standing for standing in standings if standing.planned.kind == "zero-shot" and standing.measured]
    if best is not None:
        zero_shots = [s for s in zero_shots if s.planned.prompt_name == best.planned.prompt_name]
    return tuple(_first_seed(standing) for standing in (best, *zero_shots[:1]) if standing is not None)


def chosen_rows(examples: Mapping[tuple[str, str], Example], *, split: str) -> tuple[Example, ...]:
    """The same few rows in every report on the same data: those with the smallest hash of their id."""
    candidates = [example for (of_split, _), example in examples.items() if of_split == split]
    return tuple(sorted(candidates, key=lambda example: sha256_hex(example.example_id.encode()))[:ROWS])


def sampled(
    rows: Sequence[Example],
    writers: Sequence[tuple[Shown, Mapping[str, str]]],
    *,
    objective: Objective,
) -> tuple[SampledExample, ...]:
    """The rows with what each writer wrote for them, cut to a readable length; `writers` come with texts by row."""
    return tuple(
        SampledExample(
            example_id=visible(row.example_id),
            split=row.split,
            input=shortened(visible(row.input), INPUT_LIMIT),
            reference=shortened(visible(row.reference), TEXT_LIMIT),
            outputs=tuple(
                SampledOutput(
                    letter=shown.planned.letter,
                    label=visible(shown.planned.label),
                    text=shortened(visible(texts[row.example_id]), TEXT_LIMIT),
                    score=_score(shown.measured, row, objective),
                )
                for shown, texts in writers
                if row.example_id in texts
            ),
        )
        for row in rows
    )


def _first_seed(standing: Standing) -> Shown:
    return next(Shown(trial.planned, trial.measured) for trial in standing.trials if trial.measured is not None)


def _score(measured: Measured, row: Example, objective: Objective) -> float | None:
    table = measured.scores.get(row.split)
    if table is None or objective.metric not in table.values or row.example_id not in table.example_ids:
        return None
    return float(table.values[objective.metric][table.example_ids.index(row.example_id)])
