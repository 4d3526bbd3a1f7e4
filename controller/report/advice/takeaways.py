"""Takeaways of a report: what the rules found, what that changes, and the next sweep. Pure."""

from __future__ import annotations

from controller.collect import Collected
from controller.report.advice.edits import Spec, change_of
from controller.report.advice.next_spec import proposed
from controller.report.advice.rules import findings_of
from controller.report.choices import NextSweep, Takeaway, Takeaways
from controller.report.document import Report
from controller.report.numbers import counted

__all__ = ["takeaways_of"]

_NOTHING = "Without a verdict there is nothing to conclude from."
_UNFINISHED = "The run is not finished; what to do next is said once every trial has a result or has failed."


def takeaways_of(report: Report, collected: Collected, tree: Spec) -> Takeaways:
    """What to do next; `tree` is the spec as it was written, and `report` is complete but for this."""
    if report.verdict.kind == "none" or report.state == "partial":
        said = _UNFINISHED if report.state == "partial" else _NOTHING
        return Takeaways(found=(), said=said, next_sweep=None)
    found = proposed(findings_of(report, collected, tree), collected, tree)
    takeaways = tuple(
        Takeaway(
            rule=one.rule,
            sentences=one.sentences,
            changes=tuple(change_of(tree, edit) for edit in one.edits),
        )
        for one in found.findings
    )
    return Takeaways(found=takeaways, said=_said(takeaways, found.next_sweep, report), next_sweep=found.next_sweep)


def _said(takeaways: tuple[Takeaway, ...], next_sweep: NextSweep | None, report: Report) -> str:
    if not takeaways:
        return _no_rule(report)
    if next_sweep is None:
        return "Nothing in the spec follows from that, so there is no next sweep to copy."
    changes = sum(len(one.changes) for one in takeaways)
    new = f"{counted(next_sweep.trials, 'trial')}, {next_sweep.new_trials:,} of them new"
    used = (
        "makes every trained trial another one, so that no adapter of this run is used again"
        if next_sweep.to_train == next_sweep.adapters
        else f"goes on with the run {report.run} and keeps what that has"
    )
    return (
        f"The next sweep is this spec with {counted(changes, 'change')} and nothing else: {new}, "
        f"{next_sweep.to_train:,} to train. It {used}."
    )


def _no_rule(report: Report) -> str:
    zero_shots = [one for one in report.verdict.baselines if one.label.startswith("zero-shot")]
    best = report.verdict.best[0]
    above = f"{best} is shown better than zero-shot" if zero_shots else "there is no zero-shot baseline to be above"
    return (
        f"None of the four rules applies: {above}, no number that was varied is best at an end of its range, no loss "
        "is seen to fall at the end, and nothing is tied at the top. No next sweep follows from these numbers."
    )
