"""What `lorasweep run` says at its end."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.names import Naming
from controller.ranking import RankedRow, columns_of, rank
from controller.reconcile import Outcome
from controller.spec import Objective, SweepSpec
from controller.terminal import harmless
from job.contract.documents import Plan
from job.contract.metric_names import DIRECTIONS

__all__ = ["say_ending", "write_outcome"]

_ROWS = 20


def say_ending(outcome: Outcome, *, naming: Naming, resume: str, write: Callable[[str], object]) -> None:
    """After a signal: what is kept, how to go on, how to look."""
    done = sum(status.state == "succeeded" for status in outcome.statuses.values())
    cause = "SIGTERM" if outcome.kind == "stop" else "Ctrl-C"
    place = shlex.quote(naming.run_uri)
    write(
        f"stopped by {cause}: {done} of {len(outcome.statuses)} trials are done and kept; what was running goes on "
        f"from its newest checkpoint\n  go on:  {resume}\n  look:   lorasweep status {place}\n"
    )


def write_outcome(
    outcome: Outcome, spec: SweepSpec, *, plan: Plan, naming: Naming, report: str | None, output: str
) -> None:
    """The product on stdout: ranked table, failures with their remedy, the report's place."""
    objective = spec.objective
    direction = objective.direction or DIRECTIONS[objective.metric]
    rows = rank(plan, outcome.ledger, objective, direction=direction)
    if output == "json":
        sys.stdout.write(json.dumps(_document(outcome, rows, naming=naming, report=report), indent=1) + "\n")
        return
    if outcome.submissions == 0:
        sys.stderr.write(f"nothing to do: every trial of this plan was finished before, see {naming.run_uri}\n")
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160)
    if rows:
        console.print(_table(rows[:_ROWS], objective))
    if len(rows) > _ROWS:
        console.print(f"and {len(rows) - _ROWS} more in the report")
    for trial in plan.trials:
        status = outcome.statuses[trial.trial_id]
        if status.state in {"failed", "stopped"}:
            why = harmless(f"{status.reason or ''} {status.text}".strip()).split("\n")[0]
            console.print(
                Text(f"{status.state}: {trial.letter} {trial.trial_id} ({trial.label}): {why}"), soft_wrap=True
            )
            retry = f"  try again: lorasweep retry {shlex.quote(naming.run_uri)} {trial.trial_id}"
            console.print(Text(retry), soft_wrap=True)
    if report is not None:
        console.print(Text(f"report: {report}"), soft_wrap=True)


def _table(rows: tuple[RankedRow, ...], objective: Objective) -> Table:
    columns = columns_of(objective)
    seeds = any(row.seeds > 1 for row in rows)
    table = Table(box=None, pad_edge=False, title=f"{objective.split}, by {objective.metric}", title_justify="left")
    for name in ("rank", "", *columns, *(["seeds"] if seeds else [])):
        table.add_column(name, justify="right" if name else "left")
    table.add_column("label", overflow="ellipsis", no_wrap=True)
    for place, row in enumerate(rows, start=1):
        cells = [_number(name, row.metrics.get(name)) for name in columns]
        count = [str(row.seeds)] if seeds else []
        table.add_row(str(place), row.letter, *cells, *count, Text(harmless(row.label)))
    return table


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if name == "generated_tokens" else f"{value:.4f}"


def _document(
    outcome: Outcome, rows: tuple[RankedRow, ...], *, naming: Naming, report: str | None
) -> dict[str, object]:
    return {
        "sweep": naming.sweep,
        "run": naming.run,
        "store": naming.run_uri,
        "report": report,
        "submissions": outcome.submissions,
        "trials": {
            trial_id: {"state": status.state, "reason": status.reason, "text": status.text}
            for trial_id, status in outcome.statuses.items()
        },
        "ranking": [
            {"letter": row.letter, "label": row.label, "seeds": row.seeds, "metrics": dict(row.metrics)} for row in rows
        ],
    }
