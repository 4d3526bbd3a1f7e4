"""junit.xml: cases in the form that CI systems read. Pure.

The format has no standard. This is a part that Jenkins' schema has (junit-10.xsd of jenkinsci/xunit-plugin): counts in
`testsuites` and `testsuite`, seconds, a `timestamp` without a zone (UTC), and in each `testcase` at most one of
`failure`, `error` and `skipped`. ElementTree escapes; characters that XML 1.0 has no way to write are replaced by their
pictures, as everywhere in a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from xml.etree import ElementTree

from controller.report.text import one_line, shortened, visible

__all__ = ["Case", "Outcome", "Suite", "junit_xml"]

Outcome = Literal["passed", "failure", "error", "skipped"]
_NAME_LIMIT = 500  # characters
_MESSAGE_LIMIT = 1000


class Case(NamedTuple):
    """One thing that passes or does not."""

    classname: str
    """What CI systems group by; the same in every run, or they would see a new case each time."""
    name: str
    outcome: Outcome = "passed"
    kind: str = ""
    """Of a failure or an error: a short reason, from a closed list."""
    message: str = ""
    """Why it did not pass, in one line."""
    text: str = ""
    """More about it, line by line."""
    seconds: float = 0.0


class Suite(NamedTuple):
    """Cases of one sort."""

    name: str
    cases: tuple[Case, ...]
    output: str = ""
    """What is said of all of them."""


def junit_xml(name: str, suites: Sequence[Suite], *, at: datetime | None) -> bytes:
    """The document; suites without a case are left out. `at` is when the newest of it came about."""
    found = [suite for suite in suites if suite.cases]
    cases = [case for suite in found for case in suite.cases]
    root = ElementTree.Element("testsuites", {"name": _line(name, _NAME_LIMIT), **_counts(cases)})
    for suite in found:
        root.append(_suite(suite, at))
    ElementTree.indent(root, space=" ")
    body: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _suite(suite: Suite, at: datetime | None) -> ElementTree.Element:
    skipped = sum(case.outcome == "skipped" for case in suite.cases)
    attributes = {"name": _line(suite.name, _NAME_LIMIT), **_counts(suite.cases), "skipped": str(skipped)}
    if at is not None:
        attributes["timestamp"] = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    element = ElementTree.Element("testsuite", attributes)
    element.extend(_case(case) for case in suite.cases)
    if suite.output:
        ElementTree.SubElement(element, "system-out").text = visible(suite.output)
    return element


def _case(case: Case) -> ElementTree.Element:
    element = ElementTree.Element(
        "testcase",
        {
            "classname": _line(case.classname, _NAME_LIMIT),
            "name": _line(case.name, _NAME_LIMIT),
            "time": _seconds(case.seconds),
        },
    )
    if case.outcome != "passed":
        kind = {} if case.outcome == "skipped" else {"type": _line(case.kind, _NAME_LIMIT) or case.outcome}
        why = ElementTree.SubElement(element, case.outcome, {"message": _line(case.message, _MESSAGE_LIMIT), **kind})
        why.text = visible(case.text) or None
    return element


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.outcome == "failure" for case in cases)),
        "errors": str(sum(case.outcome == "error" for case in cases)),
        "time": _seconds(sum(case.seconds for case in cases)),
    }


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _line(text: str, limit: int) -> str:
    return shortened(one_line(text), limit)
