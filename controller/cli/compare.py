"""`lorasweep compare A B`: whether run B is worse than run A."""

from __future__ import annotations

import argparse

from controller.cli.errand import Errand
from controller.cli.target import Target, open_target
from controller.collect import collect, read_examples
from controller.regression.document import Cause, Regression
from controller.regression.judge import judged_beside
from controller.regression.match import Night
from controller.report.content import objective_of
from controller.report.text import first_line, shortened
from controller.spec.model import Regression as Asked
from controller.streams import deliver
from controller.terminal import harmless
from job.contract.documents import to_json
from job.contract.errors import ExitCode, NotFoundError, SpecError

__all__ = ["cause_line", "run_compare"]

_SHOWN = 100  # characters of a value that changed


def run_compare(args: argparse.Namespace) -> int:
    """Say how B stands beside A, by what B's spec asks for; 1 when it has regressed.

    Raises SpecError when both are the same run, NotFoundError when one of them has no result.
    """
    before, after = (open_target(word, store=None, run=None, errand=Errand("compare")) for word in (args.a, args.b))
    if before.naming.run_uri == after.naming.run_uri:
        raise SpecError(f"{args.a!r} and {args.b!r} are both {after.naming.run_uri}; name two runs")
    # Two sweeps may each have a run `main`.
    known = before.naming.run if before.naming.run != after.naming.run else f"{before.naming.run}-before"
    found = judged_beside(
        _night(after, after.naming.run),
        [(_night(before, known), before.store)],
        store=after.store,
        objective=objective_of(after.spec),
        asked=after.spec.regression or Asked(),
    )
    deliver(to_json(found).decode() if args.output == "json" else "".join(f"{line}\n" for line in _lines(found)))
    return int(ExitCode.FINISHED_WITH_FAILURES if found.status == "regression" else ExitCode.DONE)


def _night(target: Target, name: str) -> Night:
    collected = collect(target.store, target.plan, target.spec)
    if not any(trial.measured for trial in collected.trials):
        raise NotFoundError(f"{target.naming.run_uri}: no trial has a result yet; compare it when one has")
    return Night(name, collected, read_examples(target.store, target.plan))


def _lines(found: Regression) -> list[str]:
    lines = [found.heading, *found.sentences, *(f"note: {warning}" for warning in found.warnings)]
    return [harmless(line) for line in (*lines, *map(cause_line, found.causes))]


def cause_line(cause: Cause) -> str:
    """A difference between the runs in one line."""
    before, after = (shortened(first_line(text), _SHOWN) for text in (cause.before, cause.after))
    return f"changed: {cause.name}: {before} -> {after}"
