"""report.md in a number of bytes: never more, never broken, and it says what is missing."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hostile_run import make_hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from made import GRID, made_run
from made_report import finish_all, report_of, stored
from markdown_it import MarkdownIt
from markdown_it.token import Token

from controller.report.document import Report
from controller.report.escaped import code, fenced
from controller.report.fitting import Part, fitted
from controller.report.markdown import MAX_BYTES, markdown_report
from controller.report.write import write_report
from job.contract.errors import SpecError
from job.store import Keys

PARSER = MarkdownIt("commonmark").enable("table")
TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C"]), max_size=60)
TEXTS = st.lists(TEXT, min_size=1, max_size=9)
BLOCKS = st.one_of(
    TEXT.map(lambda text: f"words {code(text)}"),
    TEXT.map(fenced),
    TEXTS.map(lambda rows: "\n".join(["| a |", "| --- |", *(f"| {code(row)} |" for row in rows)])),
    TEXTS.map(lambda items: "\n".join(f"- x {code(item)}" for item in items)),
    TEXT.map(lambda text: f"<details><summary>more</summary>\n\n{fenced(text)}\n\n</details>"),
)


@st.composite
def sections(draw: st.DrawFn) -> list[Part]:
    ranks = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    return [
        Part(f"Part {place}", rank, (f"## Part {place}", *draw(st.lists(BLOCKS, max_size=5))))
        for place, rank in enumerate(ranks)
    ]


def least(parts: list[Part]) -> int:
    """What the refusal says is needed."""
    with pytest.raises(SpecError) as refused:
        fitted(parts, max_bytes=1, whole_at="`there`")
    found = re.search(r"give --max-bytes (\d+) or more", str(refused.value))
    assert found is not None
    return int(found[1])


def assert_valid(text: str, *, last: str) -> None:
    """Nothing is left open: what follows the last section is still a paragraph of its own."""
    tokens = PARSER.parse(text)
    assert tokens[-1].type == "paragraph_close"
    assert tokens[-1].level == 0
    assert tokens[-2].content.startswith(last)
    folds = "\n".join(token.content for token in tokens if token.type == "html_block")
    assert folds.count("<details>") == folds.count("</details>")


def headings(text: str) -> list[str]:
    tokens = PARSER.parse(text)
    return [following.content for token, following in pairwise(tokens) if _opens_section(token)]


def _opens_section(token: Token) -> bool:
    return token.type == "heading_open" and token.tag == "h2"


@settings(deadline=None)  # a slow machine is no finding
@given(parts=sections(), over=st.integers(0, 4000))
def test_no_text_is_longer_than_asked_and_each_is_whole_markdown(parts: list[Part], over: int) -> None:
    most = least(parts) + over
    text = fitted(parts, max_bytes=most, whole_at="`there`")
    whole = fitted(parts, max_bytes=10**9, whole_at="`there`")
    assert len(text.encode()) <= most
    assert (text == whole) == (len(whole.encode()) <= most)
    if text != whole:
        assert_valid(text, last=f"*Cut to {most:,} bytes.")
        names = [part.name for part in parts]
        assert [name for name in names if name in headings(text)] == headings(text)  # in their order
        for part in parts:
            assert (part.name in headings(text)) or part.rank > 0
            assert (part.name in headings(text)) or part.name in text.rsplit("Left out: ", 1)[1]


def test_a_section_of_a_lower_rank_is_kept_before_one_of_a_higher() -> None:
    parts = [
        Part("Title", 0, ("# T",)),
        Part("Late", 2, ("## Late", "word " * 40)),
        Part("Soon", 1, ("## Soon", "word " * 40)),
    ]
    text = fitted(parts, max_bytes=400, whole_at="`there`")
    assert "## Soon" in text
    assert "## Late" not in text
    assert text.endswith("*Cut to 400 bytes. Left out: Late.* All of it is in `there`.\n")


def test_a_long_section_does_not_cost_what_comes_after_it_and_takes_what_is_over() -> None:
    items = "\n".join(f"- failure {place:04d}" for place in range(1000))
    parts = [
        Part("Title", 0, ("# T",)),
        Part("Failures", 1, ("## Failures", items)),
        Part("Small", 2, ("## Small", "a word")),
    ]
    text = fitted(parts, max_bytes=5000, whole_at="`there`")
    assert "## Small" in text
    assert "*This section is cut here.*" in text
    assert len(text) > 4900
    assert text.endswith("*Cut to 5,000 bytes. Shortened: Failures.* All of it is in `there`.\n")


def test_nothing_is_left_of_a_section_whose_heading_alone_would_fit() -> None:
    parts = [Part("Title", 0, ("# T",)), Part("Code", 1, ("## Code", fenced("x" * 500)))]
    assert "## Code" not in fitted(parts, max_bytes=300, whole_at="`there`")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A run with failures, notes, effects, curves and examples."""
    run = made_run(tmp_path_factory.mktemp("run"))
    finish_all(run)
    trial = run.trial("C")
    run.store.delete(Keys.result(trial.trial_id))
    run.fail(trial, log_tail="line\n" * 200)
    return report_of(run)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report_of(make_hostile(tmp_path_factory.mktemp("hostile")))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("name", ["report", "hostile"])
def test_a_report_of_any_size_is_whole_markdown(name: str, share: float, request: pytest.FixtureRequest) -> None:
    found: Report = request.getfixturevalue(name)
    most = int(len(markdown_report(found, max_bytes=10**9).encode()) * share)
    text = markdown_report(found, max_bytes=most)
    assert len(text.encode()) <= most
    assert_valid(text, last=f"*Cut to {most:,} bytes.")


def test_verdict_and_ranking_are_kept_longest_and_the_line_says_where_the_rest_is(report: Report) -> None:
    text = markdown_report(report, max_bytes=9000)
    assert headings(text)[0].startswith("Verdict: ")
    assert "Ranked by ROUGE-L on validation" in headings(text)
    assert "Examples" not in headings(text)
    assert text.endswith("All of it is in `runs/made/main/report/report.html`.\n")
    assert "Left out: " in text


def test_by_default_it_fits_a_comment_whatever_a_run_holds(tmp_path: Path, hostile: Report) -> None:
    ranks = ", ".join(map(str, range(1, 126)))
    run = made_run(tmp_path, GRID.replace("lora.r: [8, 16]", f"lora.r: [{ranks}]"))
    run.rows = {"validation": 30, "test": 30}
    run.texts = [("long \U0001f600 " * 900, "word " * 300)] * 60
    for place, trial in enumerate(run.plan.trials):
        if place % 5 == 1:
            run.fail(trial, message="m" * 3000, log_tail="l" * 9000)
        elif place % 5 == 0 or trial.kind != "lora":
            run.finish(trial, score=0.2)
    write_report(run.store, plan=run.plan, spec_text=run.loaded.text)
    text = stored(run, "report.md")
    assert 50_000 < len(text.encode()) <= MAX_BYTES
    assert_valid(text, last="*Cut to 60,000 bytes.")
    assert len(markdown_report(hostile).encode()) <= MAX_BYTES


@pytest.mark.parametrize("size", [-1, 0, 1, 500])
def test_a_size_that_does_not_hold_the_verdict_is_refused_with_one_that_does(report: Report, size: int) -> None:
    with pytest.raises(SpecError, match=r"its title, its verdict .* take [\d,]+; give --max-bytes \d+ or more"):
        markdown_report(report, max_bytes=size)
