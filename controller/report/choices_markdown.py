"""Trade-offs and takeaways as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from controller.report.choices import Takeaway
from controller.report.document import Report
from controller.report.escaped import code, fenced, prose
from controller.report.numbers import title
from controller.report.reproduction import reproduction_of
from controller.report.tradeoff_words import TRADEOFFS_LEGEND, option_lines, tradeoffs_heading

__all__ = ["reproduction_parts", "takeaways_parts", "tradeoffs_parts"]

_NEEDS = ("Training", "Peak memory", "Adapter")


def tradeoffs_parts(report: Report) -> Iterator[str]:
    """What quality takes: sentences, and a table of those that are on a front, tied or baselines."""
    found = report.tradeoffs
    if found is None:
        return
    yield f"## {tradeoffs_heading(found)}"
    if found.sentences:
        yield "\n".join(f"- {prose(sentence)}" for sentence in found.sentences)
    if not found.fronts:
        return
    priced = report.spent.price_per_gpu_hour is not None
    rows = []
    for line in option_lines(found):
        if not line.fronts and line.standing == "shown worse":
            continue
        needs = [f"{amount}{' **front**' if need in line.fronts else ''}" for need, amount in line.needs.items()]
        needs[1:1] = [line.cost or "\N{EN DASH}"] if priced else []
        rows.append(f"| {line.letter} | {line.mean} | {line.standing} | {' | '.join(needs)} |")
    needs = [*_NEEDS[:1], *(["Cost"] if priced else []), *_NEEDS[1:]]
    rule = f"| --- | ---: | --- |{' ---: |' * len(needs)}"
    yield "\n".join([f"|  | {title(found.metric)} | Quality | {' | '.join(needs)} |", rule, *rows])
    yield TRADEOFFS_LEGEND


def takeaways_parts(report: Report) -> Iterator[str]:
    """What follows, and the next spec folded away."""
    found = report.takeaways
    if found is None:
        return
    yield "## Takeaways and the next sweep"
    if found.found:
        yield "\n".join(f"{place}. {_takeaway(one)}" for place, one in enumerate(found.found, start=1))
    yield prose(found.said)
    following = found.next_sweep
    if following is None:
        return
    yield f"<details><summary>The next sweep, to copy</summary>\n\n{fenced(following.spec.rstrip())}\n\n</details>"
    left_out = f"; the last part alone stands for {', '.join(map(code, following.places))}" if following.places else ""
    yield f"Saved as `next.yaml` beside the present spec{left_out}: {code(following.command)}"


def reproduction_parts(report: Report) -> Iterator[str]:
    """The commands that make the report again."""
    found = reproduction_of(report)
    yield f"To run it again\n\n{fenced(chr(10).join(found.commands))}"
    yield prose(found.said)


def _takeaway(one: Takeaway) -> str:
    changes = [f"{code(change.path)}: {code(change.before)} becomes {code(change.after)}" for change in one.changes]
    said = " ".join(map(prose, one.sentences))
    return "\n   - ".join([said, *changes])
