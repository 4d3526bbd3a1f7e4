"""The verdict beside earlier runs, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from controller.regression.document import Cause, Regression
from controller.report.document import Report
from controller.report.escaped import code, fenced, prose
from controller.report.numbers import spoken, written_number

__all__ = ["regression_parts", "regression_title"]

_SHORT = 80  # characters of a value that stands in its line


def regression_title(report: Report) -> Iterator[str]:
    """The heading and what was compared."""
    if (found := report.regression) is not None:
        yield f"## {prose(found.heading)}"
        yield "\n".join(f"- {prose(sentence)}" for sentence in found.sentences)


def regression_parts(report: Report) -> Iterator[str]:
    """What changed, what else was seen, and the rows that lost most."""
    if (found := report.regression) is None:
        return
    if found.warnings:
        yield "\n".join(f"- **Note.** {prose(sentence)}" for sentence in found.warnings)
    if found.reference:
        yield f"### What changed since {prose(found.reference[0])}"
        yield from _causes(found)
    if found.status in ("regression", "suspicion"):
        yield from _affected(found)


def _causes(found: Regression) -> Iterator[str]:
    if not found.causes:
        yield "Nothing that the runs' documents know of."
    short = [cause for cause in found.causes if _is_short(cause)]
    if short:
        yield "\n".join(
            f"- {cause.what}, {code(cause.name)}: {code(cause.before)} is now {code(cause.after)}{_of(cause)}"
            for cause in short
        )
    for cause in (cause for cause in found.causes if not _is_short(cause)):
        yield f"{cause.what}, {code(cause.name)}{_of(cause)}, was"
        yield fenced(cause.before)
        yield f"and is now\n\n{fenced(cause.after)}"


def _is_short(cause: Cause) -> bool:
    return all(len(text) <= _SHORT and "\n" not in text for text in (cause.before, cause.after))


def _of(cause: Cause) -> str:
    return f" (of {', '.join(map(code, cause.labels))})" if cause.labels else ""


def _affected(found: Regression) -> Iterator[str]:
    if found.affected:
        yield "### The rows that lost most"
    for row in found.affected:
        before, after = (written_number(value, found.metric) for value in (row.before_score, row.after_score))
        yield f"**{prose(row.example_id)}**, {prose(spoken(found.metric))} {before} is now {after}"
        yield f"Input\n\n{fenced(row.input)}"
        yield f"Reference\n\n{fenced(row.reference)}"
        yield f"{code(row.label)} before\n\n{fenced(row.before)}"
        yield f"and now\n\n{fenced(row.after)}"
