"""Where the best configuration still fails, in words; each sentence follows from numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.report.diagnosis import FaultFound, LossGap, LossOrder, Shortcomings, Texts
from controller.report.numbers import counted, spoken, written_number
from controller.texts import Fault

__all__ = ["HEADING", "shortcomings_words"]

HEADING = "Where it still fails"

_OUTPUTS: Mapping[Fault, str] = {
    "unsupported": "a number or time that the input does not hold",
    "missed": "a number or time of the reference missing",
    "copied": "four fifths of their words or more in one piece from the input",
    "recited": "half of a training target or more in them, word for word",
    "runaway": "turned in circles: half of their runs of four words were there before",
    "empty": "no text at all",
    "cut": "been cut off, by max_new_tokens or the model's context",
}
_SHORT: Mapping[Fault, str] = {
    "unsupported": "unsupported numbers",
    "missed": "missing numbers",
    "copied": "copies of the input",
    "recited": "training targets",
    "runaway": "circles",
    "empty": "empty texts",
    "cut": "cuts",
}
_LENGTHS = (0.8, 1.25)
"""Between these an output is about as long as its reference, and nothing is said."""
_ALIKE = 0.5
"""Kendall's tau from which on two orders are called much the same: three of four pairs, where there are no ties."""


def shortcomings_words(
    found: Shortcomings, *, texts: Texts | None, gap: LossGap | None, order: LossOrder | None
) -> Iterator[str]:
    """The sentences, what most outputs have first."""
    if found.state == "not_measured":
        yield (
            f"What is in the outputs of {found.letter} was not measured: its results, or some of them, are of an "
            "earlier release."
        )
    yield from (_fault(one, found) for one in found.faults)
    if found.without:
        words = ", ".join(_SHORT[fault] for fault in found.without)
        yield f"Not found in any of the {counted(found.outputs, 'output')} of {found.letter} on {found.split}: {words}."
    if texts is not None and texts.length_ratio is not None and not _LENGTHS[0] <= texts.length_ratio <= _LENGTHS[1]:
        yield f"Together its outputs are {written_number(texts.length_ratio)} times as long as the references."
    if gap is not None:
        yield _gap(gap, found.letter)
    if order is not None:
        yield _order(order)


def _fault(one: FaultFound, found: Shortcomings) -> str:
    beside = "" if one.baseline_share is None else f"; {_percent(one.baseline_share)} of zero-shot"
    rows = f" Rows to look at: {', '.join(one.examples)}." if one.examples else ""
    verb = "has" if one.outputs == 1 else "have"
    return (
        f"{one.outputs:,} of {counted(found.outputs, 'output')} of {found.letter} on {found.split} "
        f"({_percent(one.share)}{beside}) {verb} {_OUTPUTS[one.fault]}.{rows}"
    )


def _gap(gap: LossGap, letter: str) -> str:
    side = "above" if gap.gap >= 0 else "below"
    return (
        f"The loss of {letter} on validation, {written_number(gap.validation)} nats per token, is "
        f"{written_number(abs(gap.gap))} {side} that of its last training steps, {written_number(gap.train)}; "
        f"a gap that grows with training is what was learnt of the training rows alone."
    )


def _order(order: LossOrder) -> str:
    agree = "much the same order" if order.tau >= _ALIKE else "different orders"
    best = (
        f"by both, {order.best_by_loss} is best"
        if order.best_by_loss == order.best_by_metric
        else f"by loss {order.best_by_loss} is best, by {spoken(order.metric)} {order.best_by_metric}"
    )
    return (
        f"{_capital(spoken(order.loss))} and {spoken(order.metric)} on {order.split} put the {order.configurations} "
        f"configurations into {agree}: they agree on {order.alike} of {counted(order.pairs, 'pair')} (Kendall's tau "
        f"{written_number(order.tau)}), and {best}."
    )


def _capital(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}"


def _percent(share: float) -> str:
    """Whole percents; of the little that there is, that it is little."""
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.01 else "under 1 %"
