"""Trade-offs as people read them: sentences, and the lines of a table. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from controller.report.choices import Front, Need, Option, Tradeoffs
from controller.report.conclusions import Decided
from controller.report.numbers import bytes_written, listed, money, seconds, spoken, written_number
from controller.report.verdict_words import difference, spanned

__all__ = ["NEEDS", "TRADEOFFS_LEGEND", "OptionLine", "amount_written", "option_lines", "said", "tradeoffs_heading"]

NEEDS: Mapping[Need, str] = {"train_s": "training time", "peak_bytes": "peak memory", "adapter_bytes": "adapter size"}
STANDINGS = {"tied": "tied at the top", "worse": "shown worse", "baseline": "baseline"}
TRADEOFFS_LEGEND = (
    "Needs are of one adapter: device-seconds of training (mean of the seeds), the largest peak, the published file. "
    "An adapter that another trial trained counts with the seconds of that trial, and baselines train nothing. The "
    "front has those that no other is at least as good as, by its mean, while it needs less; "
    "5\N{NO-BREAK SPACE}% less time or memory is not counted as less."
)


class OptionLine(NamedTuple):
    """One option in a table."""

    letter: str
    mean: str
    standing: str
    needs: Mapping[Need, str]
    fronts: frozenset[Need]
    """Of which it is on the front."""
    cost: str


def tradeoffs_heading(found: Tradeoffs) -> str:
    """What the section is called."""
    return f"Trade-offs: what {spoken(found.metric)} on {found.split} takes"


def amount_written(need: Need, amount: float) -> str:
    """An amount with its unit, as `28 s` or `9.3 MiB`; zero bytes are none."""
    if need == "train_s":
        return f"{seconds(amount)} s"
    return bytes_written(round(amount)) if amount else "none"


def option_lines(found: Tradeoffs) -> tuple[OptionLine, ...]:
    """Every option in the order of the ranking."""
    fronts = {front.need: front.letters for front in found.fronts}
    return tuple(
        OptionLine(
            letter=one.letter,
            mean=written_number(one.mean, found.metric),
            standing=STANDINGS[one.standing],
            needs={need: _cell(need, amount) for need, amount in _amounts(one).items()},
            fronts=frozenset(need for need, letters in fronts.items() if one.letter in letters),
            cost=money(one.cost),
        )
        for one in found.options
    )


def said(found: Tradeoffs, decided: Decided, shared: Collection[str]) -> tuple[str, ...]:
    """What follows for the choice; `shared` are the letters of those whose peak is of a process of several."""
    by_letter = {one.letter: one for one in found.options}
    if len(decided.tied) == 1:
        chosen = [(front, _next_on(front, by_letter)) for front in found.fronts]
    else:
        chosen = [(front, front.cheapest_tied) for front in found.fronts]
    by_choice: dict[str, list[Need]] = {}
    for front, letter in chosen:
        by_choice.setdefault(letter, []).append(front.need)
    words = _beside_the_winner if len(decided.tied) == 1 else _of_the_tied
    return (
        *(words(letter, needs, by_letter, decided) for letter, needs in by_choice.items()),
        *_chance(found),
        *_same(found),
        *_not_known(found, shared),
    )


def _amounts(option: Option) -> dict[Need, float | None]:
    return {"train_s": option.train_s, "peak_bytes": option.peak_bytes, "adapter_bytes": option.adapter_bytes}


def _cell(need: Need, amount: float | None) -> str:
    return "\N{EN DASH}" if amount is None else amount_written(need, amount)


def _next_on(front: Front, by_letter: Mapping[str, Option]) -> str:
    """The letter of the trained one that is the next to the winner on the front; empty where there is none."""
    cheaper = [letter for letter in front.letters if by_letter[letter].standing == "worse"]
    return cheaper[-1] if cheaper else ""


def _of_the_tied(letter: str, needs: Sequence[Need], by_letter: Mapping[str, Option], decided: Decided) -> str:
    """Who needs least of those that are not shown worse than any other."""
    best, count = decided.best[0], len(decided.tied)
    if letter == best:
        least = _joined([f"{NEEDS[need]} ({_cell(need, _amounts(by_letter[letter])[need])})" for need in needs])
        return f"{best} has the best mean and, of the {count} tied at the top, needs the least {least}."
    least = _joined([_beside(need, by_letter[letter], by_letter[best]) for need in needs])
    return f"Of the {count} tied at the top {letter} needs the least: {least} of {best}, which has the best mean."


def _beside_the_winner(letter: str, needs: Sequence[Need], by_letter: Mapping[str, Option], decided: Decided) -> str:
    """What one gives up with the next on the front that needs less."""
    winner = decided.tied[0]
    if not letter:
        named = _joined([NEEDS[need] for need in needs])
        return f"No trained configuration that needs less {named} than {winner} is on the front: {winner} is the one."
    given_up = next((one for one in decided.compared if one.letter == letter), None)
    metric = decided.metric
    behind = (
        ""
        if given_up is None
        else f", for a mean that is worse by {difference(given_up.behind, metric)} "
        f"({spanned(given_up.low, given_up.high, metric)})"
    )
    less = _joined([_beside(need, by_letter[letter], by_letter[winner]) for need in needs])
    return f"Next to {winner} on the front, {letter} needs less: {less} of {winner}{behind}."


def _beside(need: Need, one: Option, other: Option) -> str:
    return f"{NEEDS[need]} {_cell(need, _amounts(one)[need])} beside {_cell(need, _amounts(other)[need])}"


def _joined(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _chance(found: Tradeoffs) -> Iterator[str]:
    """Steps of a front between configurations that are tied."""
    tied = {one.letter for one in found.options if one.standing == "tied"}
    steps = {tuple(letter for letter in front.letters if letter in tied) for front in found.fronts}
    for letters in sorted(letters for letters in steps if len(letters) > 1):
        yield f"{listed(letters)} are on one front and tied: that more buys a better mean among them is not shown."


def _same(found: Tradeoffs) -> Iterator[str]:
    drawn = {front.need for front in found.fronts}
    trained = [_amounts(one) for one in found.options if one.standing != "baseline"]
    same = [NEEDS[need] for need in NEEDS if need not in drawn and all(one[need] is not None for one in trained)]
    if same:
        yield f"About the same for all trained configurations: {listed(same)}."


def _not_known(found: Tradeoffs, shared: Collection[str]) -> Iterator[str]:
    letters = [one.letter for one in found.options if one.letter in shared]
    if letters:
        yield (
            f"{listed(letters)}: trials shared a process, so the peak memory of the process is of all of them and is "
            "not compared."
        )
    outside = [one.letter for one in found.options if one.train_s is None]
    if outside:
        yield f"{listed(outside)}: the adapter was trained outside of this run, so what it took is not known."
