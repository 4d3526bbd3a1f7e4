"""What `lorasweep run` says at its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Literal

from controller.names import Naming
from controller.reconcile import Conclusion, Outcome
from controller.regression.document import Status
from controller.remedies import remedies
from controller.report.document import Report
from controller.report.numbers import plus_minus
from controller.report.terminal import ranked_table
from controller.states import TrialStatus
from controller.streams import deliver, deliver_json, tell
from controller.terminal import columns_of, harmless
from job.contract.documents import Plan
from job.store import Keys

__all__ = ["as_reported", "conclusion_of", "interruption", "write_outcome"]


def interruption(
    outcome: Outcome, *, naming: Naming, resume: str, kind: Literal["local", "kubernetes"] = "local"
) -> str:
    """After a signal: what is kept, how to go on, how to look, and how to end what goes on by itself."""
    if kind == "kubernetes":
        return _departure(outcome, naming=naming, resume=resume)
    done = sum(status.state == "succeeded" for status in outcome.statuses.values())
    cause = "SIGTERM" if outcome.kind == "stop" else "Ctrl-C"
    return (
        f"stopped by {cause}: {done} of {len(outcome.statuses)} trials are done and kept; what was running goes on "
        f"from its newest checkpoint\n"
        f"  go on:  {resume}\n"
        f"  look:   lorasweep status {shlex.quote(naming.run_uri)}\n"
    )


def _departure(outcome: Outcome, *, naming: Naming, resume: str) -> str:
    done = sum(status.state == "succeeded" for status in outcome.statuses.values())
    live = sum(status.name is not None for status in outcome.statuses.values())
    cause = "SIGTERM" if outcome.kind == "stop" else "Ctrl-C"
    run = shlex.quote(naming.run_uri)
    return (
        f"left after {cause}: {done} of {len(outcome.statuses)} trials are done and kept, {live} go on in the cluster; "
        f"nothing new is started without a controller\n"
        f"  go on:  {resume}\n"
        f"  look:   lorasweep status {run}\n"
        f"  end:    lorasweep stop {run}, and then go on as above until they have ended\n"
    )


def as_reported(statuses: Mapping[str, TrialStatus], report: Report) -> dict[str, TrialStatus]:
    """The statuses with what the report found since: a result may be damaged under the eyes of the loop."""
    found = {
        failed.trial_id: TrialStatus("failed", failed.reason, failed.message, failed.attempts)
        for failed in report.failures
        if statuses[failed.trial_id].state != "failed"
    }
    return {**statuses, **found}


def conclusion_of(outcome: Outcome, report: Report, *, naming: Naming) -> Conclusion:
    """What is told of a finished run in one sentence."""
    return Conclusion(outcome.statuses, report=_place(naming), leading=_leading(report), regression=_regression(report))


def _place(naming: Naming) -> str:
    return f"{naming.run_uri}/{Keys.report('report.html')}"


def _regression(report: Report) -> Status | None:
    return None if report.regression is None else report.regression.status


def _leading(report: Report) -> str:
    """The first of the ranking with its objective and interval; empty where nothing is ranked."""
    first = next((found for found in report.configurations if found.rank == 1), None)
    if first is None:
        return ""
    goal = report.objective
    metric = first.metrics[goal.split][goal.metric]
    return f"{first.letter} ({first.label}): {goal.metric} {plus_minus(metric, goal.metric)} on {goal.split}"


def write_outcome(outcome: Outcome, report: Report, *, plan: Plan, naming: Naming, output: str) -> None:
    """The product on stdout: ranked table and the report's place; on stderr failures with their remedy."""
    place = _place(naming)
    if output == "json":
        deliver_json(_document(outcome, report, naming=naming, place=place))
    else:
        deliver(ranked_table(report, columns_of(sys.stdout)))
        deliver(f"report: {place}\n")
        if report.regression is not None:
            deliver(
                "".join(f"{harmless(line)}\n" for line in (report.regression.heading, *report.regression.sentences))
            )
    if outcome.submissions == 0:
        tell("nothing to do: every trial of this plan was finished before\n")
    tell(remedies(plan, outcome.statuses, run=naming.run_uri))


def _document(outcome: Outcome, report: Report, *, naming: Naming, place: str) -> dict[str, object]:
    return {
        "sweep": naming.sweep,
        "run": naming.run,
        "store": naming.run_uri,
        "submissions": outcome.submissions,
        "report": place,
        "regression": None if (found := report.regression) is None else found.model_dump(mode="json"),
        "trials": {
            trial_id: {"state": status.state, "reason": status.reason, "text": status.text}
            for trial_id, status in outcome.statuses.items()
        },
        "configurations": [
            configuration.model_dump(mode="json", include={"rank", "letter", "label", "kind", "metrics"})
            for configuration in report.configurations
        ],
    }
