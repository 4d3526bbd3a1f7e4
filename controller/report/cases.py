"""What a CI system is told: a case for each trial, and one for each thing that may page. Pure.

A failed trial is an error, since nothing was measured; a threshold that does not hold is a failure. Judging is not done
here: a threshold's case says what the report's regression says, floors included (controller/regression).
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.regression.document import Regression, TestedLoss, Untested
from controller.regression.words import loss_words
from controller.report.document import Configuration, FailedTrial, Report, SeedTrial
from controller.report.junit import Case, Outcome, Suite
from controller.report.words import opening

__all__ = ["suites_of"]

_NOT_COMPARED = {"not_comparable", "no_reference"}
_OUTCOMES: dict[str, Outcome] = {
    "regressed": "failure",
    "suspected": "skipped",
    "undecided": "skipped",
    "passed": "passed",
}


def suites_of(report: Report) -> tuple[Suite, ...]:
    """The trials in the order of the ranking, then the thresholds, where the spec has any and they were judged."""
    return (
        Suite(f"{report.sweep}: trials", tuple(_trials(report))),
        *(() if report.regression is None else (_thresholds(report, report.regression),)),
    )


def _trials(report: Report) -> Iterator[Case]:
    failed = {one.trial_id: one for one in report.failures}
    for configuration in report.configurations:
        for trial in configuration.trials:
            yield _trial(report.sweep, configuration, trial, failed.get(trial.trial_id))


def _trial(sweep: str, configuration: Configuration, trial: SeedTrial, failed: FailedTrial | None) -> Case:
    seed = "" if trial.seed is None else f", seed {trial.seed}"
    case = Case(
        classname=f"{sweep}.trials",
        name=f"{configuration.letter}: {configuration.label}{seed}",
        seconds=trial.seconds or 0.0,
    )
    if failed is not None:
        message = f"{failed.reason}: {opening(failed)}"
        return case._replace(outcome="error", kind=failed.reason, message=message, text=_story(failed))
    if trial.state != "succeeded":
        return case._replace(outcome="skipped", message=f"{trial.state}: no result yet")
    return case


def _story(failed: FailedTrial) -> str:
    parts = [
        failed.message,
        f"Failed attempts: {failed.attempts}",
        f"Way on: {failed.way_on}.",
        f"Its log: {failed.log}" if failed.log else "",
        f"Try again: {failed.retry}" if failed.retry else "",
        f"End of its log:\n{failed.log_tail}" if failed.log_tail else "",
    ]
    return "\n".join(part for part in parts if part)


def _thresholds(report: Report, judged: Regression) -> Suite:
    classname = f"{report.sweep}.thresholds"
    cases = [_threshold(classname, test) for test in judged.tests]
    cases += [Case(classname, _name(one), "skipped", message=one.why) for one in judged.untested]
    if judged.status in _NOT_COMPARED and not any(test.kind == "reference" for test in judged.tests):
        name = f"{judged.metric} beside earlier runs"
        cases.append(Case(classname, name, "skipped", message=" ".join((f"{judged.heading}.", *judged.sentences))))
    changed = [f"{one.what} {one.name}: {one.before} -> {one.after}" for one in judged.causes]
    return Suite(
        f"{report.sweep}: thresholds", tuple(cases), output="\n".join((judged.heading, *judged.warnings, *changed))
    )


def _threshold(classname: str, test: TestedLoss) -> Case:
    outcome = _OUTCOMES[test.shown]
    return Case(
        classname,
        _name(test),
        outcome,
        kind=f"{test.kind}_{test.shown}",
        message="" if outcome == "passed" else loss_words(test),
    )


def _name(test: TestedLoss | Untested) -> str:
    beside = {"floor": "its floor", "reference": "earlier runs", "anchor": "the anchor"}
    return f"{test.metric} beside {beside[test.kind]}"
