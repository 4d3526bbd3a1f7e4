"""The rule of the edge: where all that share the top are at the end of a range that was tried, the range goes on. Pure.

Of one configuration alone at the top that holds for every number that was varied with two values; of several only
where they agree, so that a value beside the edge which is as good stops the rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from controller.collect import TrialData
from controller.report.advice.beyond import End, Numeral, beyond, end_of, is_ordered, stretched
from controller.report.advice.edits import Edit, Spec, at, edited
from controller.report.setup import settings_of
from controller.spec.model import SweepSpec
from controller.spec.varied import admit_path, admit_value
from controller.spec.vary import RandomRange, VariedValue, written
from controller.spec.yaml_tree import Path, TreeValue
from job.contract.config import PlannedTrial

__all__ = ["Edge", "edges_of", "number_at"]

_OUTER = 0.1
"""Share of a drawn range, on its own scale, that counts as its edge."""


class Edge(NamedTuple):
    """The top is at the end of a range."""

    path: str
    end: End
    value: str
    """As the spec writes it; of a drawn range, its end."""
    beyond: str | None
    """The next value; None where there is none to try."""
    why_not: str
    edits: tuple[Edit, ...]
    drawn: bool = False


class Tried(NamedTuple):
    """The trained trials: those at the top, all that were compared, and those that diverged."""

    top: tuple[PlannedTrial, ...]
    compared: tuple[PlannedTrial, ...]
    diverged: tuple[PlannedTrial, ...]

    @classmethod
    def of(cls, trials: Sequence[TrialData], *, top: Sequence[str], compared: Sequence[str]) -> Tried:
        """`top` and `compared` are letters, of the best first."""
        by_letter = {one.planned.letter: one.planned for one in reversed(trials) if one.planned.kind == "lora"}
        broken = [one.planned for one in trials if one.trouble is not None and one.trouble.reason == "diverged"]
        return cls(
            top=tuple(by_letter[letter] for letter in top),
            compared=tuple(by_letter[letter] for letter in compared),
            diverged=tuple(one for one in broken if one.kind == "lora"),
        )


def edges_of(spec: SweepSpec, tree: Spec, tried: Tried) -> Iterator[Edge]:
    """Every edge, in the order of the spec."""
    vary = spec.vary
    for path, axis in vary.grid.items():
        numbers = _numbers(path, axis.values)
        if (end := _end(path, numbers, tried)) is not None:
            yield _on_the_grid(path, numbers, end, tree, tried)
    for block, columns in enumerate(vary.paired):
        yield from _in_a_block(block, columns, tree, tried)
    for path, bounds in vary.random.ranges.items() if vary.random is not None else ():
        if (end := _outer(path, bounds, tried)) is not None:
            yield _of_a_range(path, bounds, end, tried)
    listed = [path for path in vary.paths if path not in vary.product_paths]
    for path in listed:
        numbers = _numbers(path, [trial[path] for trial in vary.trials if path in trial])
        if (end := _end(path, numbers, tried)) is not None:
            edge = _of_a_list(path, numbers, end, spec, tree, tried)
            tree = edited(tree, edge.edits)
            yield edge


def number_at(trial: PlannedTrial, path: str) -> Numeral | None:
    """The trial's number at a varied path; None where it has none there."""
    section, name = admit_path(path)
    if not section:
        return None
    if path == "lora.alpha_ratio":
        lora = trial.config.lora
        return None if lora is None else lora.lora_alpha / lora.r
    value = getattr(getattr(trial.config, section), name, None)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numbers(path: str, values: Sequence[VariedValue]) -> tuple[Numeral, ...]:
    """The values as their field holds them; empty where they are not numbers in an order."""
    held = [admit_value(path, value) for value in values]
    return tuple(held) if is_ordered(path, held) else ()


def _end(path: str, numbers: Sequence[Numeral], tried: Tried) -> End | None:
    """The end at which the top is, where something was compared that is not there."""
    if not numbers:
        return None
    found = [number_at(trial, path) for trial in tried.top]
    others = {number_at(trial, path) for trial in tried.compared}
    known = [value for value in found if value is not None]
    return end_of(numbers, known) if len(known) == len(found) and len(others) > 1 else None


def _on_the_grid(path: str, numbers: Sequence[Numeral], end: End, tree: Spec, tried: Tried) -> Edge:
    place: Path = ("vary", "grid", path)
    if isinstance(at(tree, place), dict):
        place = (*place, "values")
    listed = at(tree, place)
    value = _next(path, numbers, end, tried)
    edits = (Edit(place, [*(listed if isinstance(listed, list) else []), value]),) if value is not None else ()
    return _edge(path, numbers, end, value, tried, edits)


def _in_a_block(block: int, columns: dict[str, tuple[VariedValue, ...]], tree: Spec, tried: Tried) -> Iterator[Edge]:
    """Paths that go together: one more row, the best one's with every number at an edge one step further."""
    rows = len(next(iter(columns.values())))
    best = next((row for row in range(rows) if _is_at(tried.top[0], {p: v[row] for p, v in columns.items()})), None)
    if best is None:
        return
    found: dict[str, tuple[tuple[Numeral, ...], End, Numeral | None]] = {}
    for path, values in columns.items():
        numbers = _numbers(path, values)
        if (end := _end(path, numbers, tried)) is not None:
            found[path] = (numbers, end, _next(path, numbers, end, tried))
    further = {path: value for path, (_, _, value) in found.items() if value is not None}
    lists = {path: at(tree, ("vary", "paired", block, path)) for path in columns}
    edits = tuple(
        Edit(("vary", "paired", block, path), [*column, further.get(path, column[best])])
        for path, column in lists.items()
        if isinstance(column, list)
    )
    for path, (numbers, end, value) in found.items():
        first = value is not None and path == next(iter(further))
        yield _edge(path, numbers, end, value, tried, edits if first else ())


def _of_a_range(path: str, bounds: RandomRange, end: End, tried: Tried) -> Edge:
    edge = bounds.high if end == "highest" else bounds.low
    held = admit_value(path, edge)
    value = (
        None if _diverged(path, held, end, tried) else stretched(path, bounds.low, bounds.high, log=bounds.log, end=end)
    )
    place = ("vary", "random", "ranges", path, "high" if end == "highest" else "low")
    edits = () if value is None else (Edit(place, value),)
    return _edge(path, (held,), end, value, tried, edits)._replace(drawn=True)


def _of_a_list(path: str, numbers: Sequence[Numeral], end: End, spec: SweepSpec, tree: Spec, tried: Tried) -> Edge:
    """One more listed trial: the best one's, one step further."""
    best = next((place for place, one in enumerate(spec.vary.trials) if _is_at(tried.top[0], one)), None)
    value = None if best is None else _next(path, numbers, end, tried)
    listed = at(tree, ("vary", "trials"))
    edits: tuple[Edit, ...] = ()
    if best is not None and value is not None and isinstance(listed, list):
        like = listed[best]
        further: TreeValue = {**(like if isinstance(like, dict) else {}), path: value}
        edits = (Edit(("vary", "trials"), [*listed, further]),)
    return _edge(path, numbers, end, value if edits else None, tried, edits)


def _edge(
    path: str, numbers: Sequence[Numeral], end: End, value: Numeral | None, tried: Tried, edits: tuple[Edit, ...]
) -> Edge:
    edge = max(numbers) if end == "highest" else min(numbers)
    why_not = (
        ""
        if value is not None
        else ("trials with it diverged" if _diverged(path, edge, end, tried) else "the field takes no further step")
    )
    return Edge(path, end, written(edge), None if value is None else written(value), why_not, edits)


def _next(path: str, numbers: Sequence[Numeral], end: End, tried: Tried) -> Numeral | None:
    edge = max(numbers) if end == "highest" else min(numbers)
    return None if _diverged(path, edge, end, tried) else beyond(path, numbers, end)


def _diverged(path: str, edge: Numeral, end: End, tried: Tried) -> bool:
    """Whether some trial at the edge, or beyond it, has diverged."""
    sign = 1 if end == "highest" else -1
    found = [value for trial in tried.diverged if (value := number_at(trial, path)) is not None]
    return any(sign * (value - edge) >= -abs(edge) * 1e-9 for value in found)


def _outer(path: str, bounds: RandomRange, tried: Tried) -> End | None:
    """The end near which all of the top are, on the scale that was drawn from."""

    def scale(value: float) -> float:
        return math.log(value) if bounds.log else value

    low, high = scale(bounds.low), scale(bounds.high)
    found = [number_at(trial, path) for trial in tried.top]
    shares = [(scale(value) - low) / (high - low) for value in found if value is not None]
    if len(shares) < len(found) or len({number_at(trial, path) for trial in tried.compared}) < 2:
        return None
    if all(share >= 1 - _OUTER for share in shares):
        return "highest"
    return "lowest" if all(share <= _OUTER for share in shares) else None


def _is_at(trial: PlannedTrial, point: dict[str, VariedValue]) -> bool:
    """Whether the trial has these values."""
    settings = settings_of(trial)
    for path, value in point.items():
        held = admit_value(path, value)
        number = number_at(trial, path)
        if isinstance(held, int | float) and not isinstance(held, bool):
            if number is None or not math.isclose(number, held, rel_tol=1e-9):
                return False
        elif settings.get(path, "") != _as_set(held):
            return False
    return True


def _as_set(held: object) -> str:
    """As settings write it: lists without an order, and nothing for what is not set."""
    return "" if held is None else written(tuple(sorted(set(held))) if isinstance(held, tuple) else held)
