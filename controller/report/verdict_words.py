"""The verdict in words: a heading, two sentences, and what it rests on. Pure, and each word follows from a number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from controller.report.conclusions import BesideBaseline, Decided, MoreData, Verdict
from controller.report.numbers import counted, listed, spoken, written_number
from controller.report.variants import spoken_variant

__all__ = ["about", "difference", "spanned", "worded"]

_NOTHING: Mapping[str, str] = {
    "no_trial": "The plan has no trial, so there is nothing to report.",
    "no_trained": "The plan has no trained configuration; there are baselines only.",
    "pending": "No trained configuration has a result yet, so nothing is ranked.",
    "failed": "Every trained configuration failed, so nothing is ranked.",
}
_LEFT_OUT: Mapping[str, str] = {
    "pending": "no result yet",
    "failed": "failed",
    "unscored": "without the objective",
    "other_rows": "scored on other rows",
}


def worded(found: Decided, *, means: Mapping[str, str]) -> Verdict:
    """The verdict with its words; `means` are the means of the objective as people read them, by letter."""
    return Verdict.model_validate(
        {
            **dict(found),
            "heading": _heading(found),
            "sentences": tuple(_sentences(found, means)),
            "notes": tuple(_notes(found)),
        }
    )


def about(number: int) -> str:
    """A number for planning: two digits of it, rounded up, as `1,300`."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return f"{math.ceil(number / unit) * unit:,}"


def difference(size: float, metric: str = "") -> str:
    """A difference in the metric's unit; one that its decimals do not show is said to be less than the last."""
    written = written_number(abs(size), metric)
    least = written_number(0.0, metric)[:-1] + "1"
    return f"less than {least}" if written == written_number(0.0, metric) and size else written_number(size, metric)


def spanned(low: float | None, high: float | None, metric: str = "") -> str:
    """The interval of a difference, as `0.002 to 0.031`."""
    if low is None or high is None:
        return "no spread, so no interval"
    return f"{written_number(low, metric)} to {written_number(high, metric)}"


def _heading(found: Decided) -> str:
    if found.kind == "none":
        return "No verdict yet" if found.nothing == "pending" else "No verdict"
    whole = _who_is_best(found) + _not_above(found)
    if found.adapters_only:
        single = found.kind == "single"
        whose = "This adapter, not its configuration" if single else "These adapters, not these configurations"
        return f"{whose}: {whole}"
    return f"{whole[0].upper()}{whole[1:]}"


def _who_is_best(found: Decided) -> str:
    count, noun = len(found.compared), "adapters" if found.adapters_only else "configurations"
    if found.kind == "single":
        return f"{found.best[0]} has no other to be compared with"
    if found.kind == "winner":
        others = "the other one" if count == 2 else f"all {count - 1} others"
        return f"{found.best[0]} is shown better than {others}"
    if len(found.tied) == count:
        between = "two" if count == 2 else f"{count}"
        return f"no difference is shown between the {between} {noun}"
    return f"no single winner: {len(found.tied)} of {count} {noun} are tied at the top"


def _not_above(found: Decided) -> str:
    """The baselines that the best does not beat; nothing where it beats all of them."""
    worse = [_named(one) for one in found.baselines if one.shown == "worse"]
    neither = [_named(one) for one in found.baselines if one.shown == "neither"]
    said = [f"worse than {' and '.join(worse)}"] if worse else []
    said += [f"not shown better than {' or '.join(neither)}"] if neither else []
    return f", and {_first(found)} is {' and '.join(said)}" if said else ""


def _sentences(found: Decided, means: Mapping[str, str]) -> Iterator[str]:
    if found.kind == "none":
        yield _why_nothing(found)
        return
    yield _first_sentence(found, means)
    yield _against_baselines(found)


def _why_nothing(found: Decided) -> str:
    where = f"{spoken(found.metric)} on {found.split}"
    if found.nothing == "unscored":
        return (
            f"No trained configuration has {where}, so nothing is ranked: configurations are in order of their letters."
        )
    if found.nothing == "one_row":
        return f"One row of {found.split} says nothing about the spread between rows, so nothing can be compared."
    return _NOTHING[found.nothing or "pending"]


def _first_sentence(found: Decided, means: Mapping[str, str]) -> str:
    where = f"mean {spoken(found.metric)} on {found.split}"
    first = _first(found)
    if found.kind == "single":
        return f"{first} has a {where} of {means[first]}; no other trained configuration has scores on the same rows."
    if len(found.best) == len(found.compared):
        return f"All {len(found.best)} trained configurations have the same {where}, {means[first]}."
    if len(found.best) > 1:
        best = f"{listed(found.best)} share the best {where}, {means[first]}"
    else:
        best = f"{first} has the best {where}, {means[first]}"
    if found.kind == "winner":
        behind = [one for one in found.compared if one.letter not in found.best]
        nearest = min(behind, key=lambda one: one.behind).letter
        return f"{best}; the nearest is {nearest}, {_behind(found, nearest)}."
    others = [letter for letter in found.tied if letter not in found.best]
    if not others or found.would_show is None:
        return f"{best}."
    nearest = found.would_show.against
    tied = f"{listed(others)} {'is' if len(others) == 1 else 'are'} not shown worse"
    return f"{best}, but {tied}: {nearest} is {_behind(found, nearest)}{_more(found.would_show)}."


def _behind(found: Decided, letter: str) -> str:
    one = next(one for one in found.compared if one.letter == letter)
    size = difference(one.behind, found.metric)
    return f"behind by {size} (95 % interval {spanned(one.low, one.high, found.metric)})"


def _more(more: MoreData) -> str:
    if more.size == 0:
        return ""
    ways = [f"{about(more.rows)} more {'row' if more.rows == 1 else 'rows'}"] if more.rows else []
    ways += [f"{about(more.seeds)} more {'seed' if more.seeds == 1 else 'seeds'} each"] if more.seeds else []
    if ways:
        return f"; about {' or '.join(ways)} would show one of this size"
    if more.rows is None and more.seeds is None and more.seeds_known:
        return "; neither more rows nor more seeds alone would show one of this size"
    return "; more seeds would narrow that, by how much cannot be told from so few" if more.seeds_known else ""


def _against_baselines(found: Decided) -> str:
    first = _first(found)
    if not found.baselines:
        return f"No baseline of {first} has scores on the same rows, so nothing says whether training helped."
    picked = ", which also picked it," if found.baselines_split == found.split else ", which did not pick it,"
    if found.kind == "single":
        picked = ""
    said = " and ".join(_beside(one, found.metric) for one in found.baselines)
    return f"On {found.baselines_split}{picked} {first} is {said}."


def _beside(one: BesideBaseline, metric: str) -> str:
    span = spanned(one.low, one.high, metric)
    if one.shown == "better":
        return f"better than {_named(one)} by {difference(one.better_by, metric)} ({span})"
    if one.shown == "worse":
        other_way = spanned(_minus(one.high), _minus(one.low), metric)
        return f"worse than {_named(one)} by {difference(-one.better_by, metric)} ({other_way})"
    return f"not shown better than {_named(one)} (difference {difference(one.better_by, metric)}, {span})"


def _named(one: BesideBaseline) -> str:
    """`zero-shot`, `lead-3`: only the zero-shot baseline of the same prompt is compared, so the prompt says nothing."""
    return spoken_variant(one.label.split(",")[0], one.variant)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _notes(found: Decided) -> Iterator[str]:
    if found.kind != "none":
        yield from _size(found)
    if found.without_spread:
        yield f"{listed(found.without_spread)}: all rows have the same score, so there is no spread and no interval."
    for one in found.uneven:
        yield (
            f"{one.letter}: its seeds differ by {difference(one.seed_sd, found.metric)} (SD), those of the others by "
            f"{difference(one.others_sd, found.metric)}; all intervals rest on one spread for all, so that comparisons "
            f"with {one.letter} are less sure than they say."
        )
    if found.would_show is not None:
        yield (
            f"A difference of {difference(found.would_show.detectable, found.metric)} between {_first(found)} and "
            f"{found.would_show.against} would have been shown in four of five repetitions."
        )
    if found.optimism:
        yield _optimism(found, found.optimism)
    if found.missing_baselines:
        yield f"Not compared, as it has no scores on the same rows: {listed(found.missing_baselines)}."
    if found.left_out and found.kind != "none":
        yield f"Not in the verdict: {'; '.join(_left_out(found))}."


def _optimism(found: Decided, size: float) -> str:
    free = found.baselines_split not in (None, found.split)
    return (
        f"{_first(found)} was picked as the best of {len(found.compared)} means on {found.split}, which on average "
        f"makes such a mean too good by {difference(size, found.metric)}"
        f"{f'; its mean on {found.baselines_split} is free of that choice' if free else ''}."
    )


def _size(found: Decided) -> Iterator[str]:
    count = len(found.compared)
    rest = "one trained configuration" if count == 1 else f"{count:,} trained configurations compared row by row"
    yield f"{counted(found.rows, 'row')}, {counted(found.seeds, 'seed')}, {rest}."
    if found.small:
        yield "Fewer rows than the 32 from which on it was checked how often such intervals are right."
    if found.adapters_only:
        whose = "this adapter, not its configuration" if count == 1 else "these adapters, not these configurations"
        yield f"With one seed the numbers are about {whose}: another seed gives other adapters."
    elif found.few_seeds:
        yield "So few seeds say little about how much seeds differ, and the intervals are wider for it."


def _left_out(found: Decided) -> Iterator[str]:
    for why in dict.fromkeys(one.why for one in found.left_out):
        yield f"{listed([one.letter for one in found.left_out if one.why == why])} ({_LEFT_OUT[why]})"


def _first(found: Decided) -> str:
    """The best that was compared with baselines: the first of those with the best mean."""
    return found.best[0]
