"""junit.xml: what a CI system is told of trials and thresholds, in a form that its parser takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, get_args
from xml.etree import ElementTree  # parses what this package has written, and nothing else
from xml.etree.ElementTree import Element

import pytest
from hostile import HOSTILE
from hostile_run import make_hostile
from hypothesis import given
from hypothesis import strategies as st
from made import GRID, MadeRun, made_run
from made_report import finish_all, report_of, stored

from controller.regression.document import Cause, Regression, TestedLoss
from controller.report.cases import suites_of
from controller.report.document import Report
from controller.report.junit import Case, Outcome, Suite, junit_xml

AT = datetime(2026, 3, 1, 12, 7, 20, tzinfo=UTC)


class Shape(NamedTuple):
    """What an element of junit-10.xsd may hold."""

    children: frozenset[str]
    needed: frozenset[str]
    allowed: frozenset[str]


_ENDS = Shape(frozenset(), frozenset(), frozenset({"message", "type"}))
_COUNTS = frozenset({"tests", "failures", "errors"})
SCHEMA: Mapping[str, Shape] = {
    "testsuites": Shape(frozenset({"testsuite"}), frozenset(), _COUNTS | {"name", "time"}),
    "testsuite": Shape(
        frozenset({"testcase", "properties", "system-out", "system-err", "testsuite"}),
        _COUNTS | {"name"},
        frozenset({"time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url", "group"}),
    ),
    "testcase": Shape(
        frozenset({"failure", "error", "skipped", "system-out", "system-err"}),
        frozenset({"name"}),
        frozenset({"time", "classname", "group"}),
    ),
    "failure": _ENDS,
    "error": _ENDS,
    "skipped": _ENDS,
    "system-out": Shape(frozenset(), frozenset(), frozenset()),
}


def assert_fits(element: Element) -> None:
    """Elements, attributes and counts are those of the schema (junit-10.xsd of Jenkins' xunit plugin)."""
    shape = SCHEMA[element.tag]
    assert {child.tag for child in element} <= shape.children
    assert shape.needed <= set(element.attrib) <= shape.needed | shape.allowed
    if element.tag in ("testsuites", "testsuite"):
        cases = list(element.iter("testcase"))
        assert element.get("tests") == str(len(cases))
        for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            if element.get(name) is not None:
                assert element.get(name) == str(sum(case.find(tag) is not None for case in cases))
        assert float(element.get("time", "")) == pytest.approx(sum(float(c.get("time", "")) for c in cases), abs=0.01)
    if element.tag == "testcase":
        assert len(element) <= 1
    for child in element:
        assert_fits(child)


def parsed(body: bytes) -> Element:
    root = ElementTree.fromstring(body)  # noqa: S314  (our own)
    assert_fits(root)
    return root


def child(element: Element, tag: str) -> Element:
    found = element.find(tag)
    assert found is not None
    return found


def cases_of(run: MadeRun) -> dict[str, Element]:
    """Name to case, of what the store has."""
    return {case.get("name", ""): case for case in parsed(stored(run, "junit.xml").encode()).iter("testcase")}


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def test_a_finished_trial_passes_with_its_seconds(run: MadeRun) -> None:
    finish_all(run)
    report_of(run)
    cases = cases_of(run)
    assert len(cases) == 11
    assert all(len(case) == 0 for case in cases.values())
    first = cases["A: prompt=v1, lora.r=8, training.learning_rate=5e-4, seed 0"]
    assert first.get("classname") == "made.trials"
    assert first.get("time") == "50.200"  # 4.2 + 0.6 + 12 * 2.3 + 17.5 + 0.3
    root = parsed(stored(run, "junit.xml").encode())
    assert child(root, "testsuite").get("timestamp") == "2026-03-01T12:07:20"


def test_a_failed_trial_is_an_error_with_its_reason_its_log_and_the_way_on(run: MadeRun) -> None:
    run.fail(run.trial("A"), reason="timeout", message="no step for 600 s\nTraceback\n  more", log_tail="step 7")
    report_of(run)
    case = cases_of(run)["A: prompt=v1, lora.r=8, training.learning_rate=5e-4, seed 0"]
    error = child(case, "error")
    assert error.get("type") == "timeout"
    assert error.get("message") == "timeout: no step for 600 s"
    told = error.text or ""
    trial_id = run.trial("A").trial_id
    for said in (
        "Traceback",
        f"lorasweep logs runs/made/main {trial_id}",
        f"lorasweep retry runs/made/main {trial_id}",
    ):
        assert said in told
    assert "End of its log:\nstep 7" in told


def test_a_trial_without_a_result_is_skipped(run: MadeRun) -> None:
    report_of(run)
    cases = cases_of(run)
    assert len(cases) == 11
    assert {child(case, "skipped").get("message") for case in cases.values()} == {"pending: no result yet"}


def loss(**changed: object) -> TestedLoss:
    given = {
        "kind": "floor", "metric": "rougeL", "against": (), "mean": 0.231, "other": 0.25, "size": 0.019, "low": 0.008,
        "tolerance": 0.0, "p": 0.0002, "noise": "seeds", "standard_error": 0.004, "shown": "regressed", **changed,
    }  # fmt: skip
    return TestedLoss.model_validate(given)


def judged(*tests: TestedLoss, status: str = "regression") -> Regression:
    return Regression.model_validate(
        {
            "run": "main", "status": status, "complete": True, "evidence": "0" * 64, "data_until": AT,
            "spec_sha256": "0" * 64,
            "metric": "rougeL", "split": "validation", "seeds": 3, "stage": "only", "heading": "The heading",
            "sentences": ("A sentence.",), "tests": tests,
            "causes": (Cause(what="versions", name="peft", before="1", after="2", labels=()),),
        }
    )  # fmt: skip


def thresholds(run: MadeRun, regression: Regression) -> dict[str, Element]:
    report = report_of(run).model_copy(update={"regression": regression})
    root = parsed(junit_xml("made", suites_of(report), at=AT))
    suite = next(one for one in root if one.get("name") == "made: thresholds")
    output = child(suite, "system-out")
    assert output.text == "The heading\nversions peft: 1 -> 2"
    return {case.get("name", ""): case for case in suite.iter("testcase")}


def test_a_threshold_that_does_not_hold_is_a_failure_with_the_numbers_and_the_interval(run: MadeRun) -> None:
    found = thresholds(run, judged(loss(), loss(kind="reference", against=("before",), shown="passed", size=-0.01)))
    failure = child(found["rougeL beside its floor"], "failure")
    assert failure.get("type") == "floor_regressed"
    said = failure.get("message") or ""
    for part in ("0.231", "floor of 0.250", "by more than 0.008 with 99 %", "p = 0.0002"):
        assert part in said
    assert len(found["rougeL beside earlier runs"]) == 0


@pytest.mark.parametrize("shown", ["suspected", "undecided"])
def test_a_threshold_that_nobody_can_decide_yet_is_skipped_and_says_so(run: MadeRun, shown: str) -> None:
    found = thresholds(run, judged(loss(kind="anchor", against=("pinned",), shown=shown), status="suspicion"))
    skipped = child(found["rougeL beside the anchor"], "skipped")
    assert "chance" in (skipped.get("message") or "")


@pytest.mark.parametrize("status", ["no_reference", "not_comparable"])
def test_a_run_without_a_run_to_compare_with_has_a_skipped_case_that_says_why(run: MadeRun, status: str) -> None:
    found = thresholds(run, judged(loss(shown="passed"), status=status))
    skipped = child(found["rougeL beside earlier runs"], "skipped")
    assert skipped.get("message") == "The heading. A sentence."
    assert len(found["rougeL beside its floor"]) == 0


def test_a_floor_of_the_spec_is_a_failing_case_of_its_run(tmp_path: Path) -> None:
    text = GRID.replace("seeds: [0]", "seeds: [0, 1, 2]") + "regression: {floors: {rougeL: 0.6}}\n"
    run = made_run(tmp_path, text)
    for trial in run.plan.trials:
        run.finish(trial, score=0.25)
    report = report_of(run)
    assert report.regression is not None
    case = cases_of(run)["rougeL beside its floor"]
    assert case.get("classname") == "made.thresholds"
    assert "worse than the floor of 0.600" in (child(case, "failure").get("message") or "")


ANY = st.one_of(st.text(), st.sampled_from(HOSTILE), st.text(alphabet="\x00\x0b\x1b\ud800\ufffe\r\n\t]]>&<\"'"))


@given(name=ANY, message=ANY, text=ANY, outcome=st.sampled_from(get_args(Outcome)))
def test_any_text_gives_a_document_that_parses(name: str, message: str, text: str, outcome: Outcome) -> None:
    case = Case(name, name, outcome, kind=name, message=message, text=text, seconds=1.5)
    root = parsed(junit_xml(name, [Suite(name, (case, case), output=text), Suite("none", ())], at=AT))
    assert root.get("tests") == "2"
    assert len(root) == 1


def test_a_run_full_of_hostile_text_gives_a_document_that_parses_and_says_it(tmp_path: Path) -> None:
    run = make_hostile(tmp_path)
    report: Report = report_of(run)
    root = parsed(stored(run, "junit.xml").encode())
    assert root.get("errors") == str(len(report.failures))
    told = "".join(error.text or "" for error in root.iter("error"))
    assert "<script>" in told
    assert "\N{SYMBOL FOR ESCAPE}[2J" in told
