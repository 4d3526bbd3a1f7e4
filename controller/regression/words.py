"""The verdict in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.regression.document import Status, TestedLoss
from controller.regression.noise import FEWEST_PAST
from controller.report.numbers import counted, listed, spoken, written_number

__all__ = ["against_words", "heading_of", "loss_words", "sentences_of"]

_HEADINGS: dict[Status, str] = {
    "ok": "No regression: this run is not shown worse",
    "regression": "Regression: {what}",
    "suspicion": "A regression is suspected, and more seeds will decide",
    "not_comparable": "Not compared with an earlier run",
    "no_reference": "No earlier run to compare with yet",
}


def heading_of(status: Status, tests: Sequence[TestedLoss]) -> str:
    """The verdict as a heading."""
    shown = [test for test in tests if test.shown == "regressed"]
    what = "; ".join(_short(test) for test in shown)
    return _HEADINGS[status].format(what=what)


def sentences_of(status: Status, tests: Sequence[TestedLoss], *, reason: str, past: int) -> tuple[str, ...]:
    """What was compared and how it came out; `reason` is why something was not."""
    return tuple(_sentences(status, tests, reason=reason, past=past))


def _sentences(status: Status, tests: Sequence[TestedLoss], *, reason: str, past: int) -> Iterator[str]:
    if reason:
        said = reason[0].upper() + reason[1:]
        yield said if said.endswith(".") else f"{said}."
    for test in tests:
        yield loss_words(test)
    compared = [test for test in tests if test.kind != "floor" and test.shown != "undecided"]
    if compared and past < FEWEST_PAST:
        before = counted(past, "good run") if past else "no good run"
        yield f"How much runs vary is taken from seeds within the runs, as {before} came before; 5 would say it."
    if status == "suspicion":
        yield "`lorasweep run` adds seeds, which decide."


def loss_words(test: TestedLoss) -> str:
    """One sentence with the numbers."""
    metric, size = test.metric, written_number(abs(test.size), test.metric)
    before = f"{spoken(metric)} is {written_number(test.mean, metric)} on average over configurations, {size} "
    side = "worse" if test.size > 0 else "better"
    allowed = f"; {written_number(test.tolerance, metric)} is allowed" if test.tolerance else ""
    bound = ""
    if test.low is not None and test.low > 0:
        bound = f", by more than {written_number(test.low, metric)} with 99 %"
    shown = {
        "regressed": "that is more than chance",
        "suspected": "that may be chance",
        "passed": "no loss is shown" if not test.tolerance else "no larger loss is shown",
        "undecided": "whether that is chance cannot be said",
    }[test.shown]
    sentence = f"{before}{side} than {against_words(test)}{bound}{allowed}: {shown} (p = {_p(test.p)})."
    return sentence[0].upper() + sentence[1:]


def against_words(test: TestedLoss) -> str:
    """What it was compared with."""
    if test.kind == "floor":
        return f"the floor of {written_number(test.other, test.metric)}"
    other = written_number(test.other, test.metric)
    if test.kind == "anchor":
        return f"in the anchor {test.against[0]} ({other})"
    if len(test.against) == 1:
        return f"in {test.against[0]} ({other})"
    return f"in the mean of {len(test.against)} good runs ({other}; {listed(test.against)})"


def _short(test: TestedLoss) -> str:
    size = written_number(test.size, test.metric)
    what = {"reference": "than before", "anchor": "than the anchor", "floor": "than its floor"}[test.kind]
    return f"{spoken(test.metric)} is {size} worse {what}"


def _p(value: float) -> str:
    return "below 0.0001" if value < 0.0001 else f"{value:.2g}"
