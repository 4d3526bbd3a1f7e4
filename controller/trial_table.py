"""The table of a run's trials as lines: letter, id and state are whole at any width, the rest is shared. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from controller.progress import trial_note
from controller.report.text import first_line, one_line
from controller.states import Situation, TrialStatus
from job.contract.errors import TrialState

__all__ = ["TrialRow", "table_lines", "trial_rows"]

_STYLES: dict[str, str] = {
    "pending": "dim",
    "waiting": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "stopped": "magenta",
}
_MOVING_FIRST: tuple[TrialState, ...] = ("running", "waiting", "failed", "stopped", "pending", "succeeded")
_GAP = "  "
_LEAST_LABEL = 12  # columns; a shorter piece of a label tells nothing


class TrialRow(NamedTuple):
    """One trial, in plain words on one line each."""

    letter: str
    trial_id: str
    state: TrialState
    label: str
    note: str


def trial_rows(
    situation: Situation, statuses: Mapping[str, TrialStatus], *, limit: int | None = None
) -> tuple[TrialRow, ...]:
    """A row per trial in plan order; with `limit`, those that move first and the rest left out."""
    trials = list(situation.plan.trials)
    if limit is not None and len(trials) > limit:
        trials = sorted(trials, key=lambda trial: _MOVING_FIRST.index(statuses[trial.trial_id].state))[:limit]
    return tuple(
        TrialRow(
            letter=trial.letter,
            trial_id=trial.trial_id,
            state=statuses[trial.trial_id].state,
            label=one_line(trial.label if trial.seed is None else f"{trial.label}, seed {trial.seed}"),
            note=first_line(trial_note(situation, trial, statuses[trial.trial_id])),
        )
        for trial in trials
    )


def table_lines(rows: Sequence[TrialRow], *, width: int | None) -> list[Text]:
    """A heading and a line per row, within `width` columns (None: no end) if letter, id and state leave room."""
    table = [("", "trial", "state", "label", "now"), *rows]
    letter, trial_id, state, label, note = (max(cell_len(row[column]) for row in table) for column in range(5))
    if width is not None:
        label, note = _shared(label, note, room=width - letter - trial_id - state - 3 * len(_GAP))
    lines = []
    for number, row in enumerate(table):
        line = Text(_GAP.join([_cut(row[0], letter), _cut(row[1], trial_id), ""]), style="" if number else "bold")
        line.append(_cut(row[2], state), style=_STYLES.get(row[2], ""))
        for text, columns in ((row[3], label), (row[4], note)):
            line.append(_GAP + _cut(text, columns) if columns else "")
        line.rstrip()
        lines.append(line)
    return lines


def _shared(label: int, note: int, *, room: int) -> tuple[int, int]:
    """Columns for label and note: what they need, or what there is, a half of it for the note if it needs that."""
    if label + len(_GAP) + note <= room:
        return label, note
    note = max(min(note, room // 2), room - len(_GAP) - label)
    label = room - len(_GAP) - note
    return (label, note) if label >= _LEAST_LABEL else (0, max(room, 0))


def _cut(text: str, columns: int) -> str:
    """`text` in just so many columns, with an ellipsis where it is longer."""
    if cell_len(text) <= columns:
        return set_cell_size(text, columns)
    return set_cell_size(text, columns - 1) + "\N{HORIZONTAL ELLIPSIS}"
