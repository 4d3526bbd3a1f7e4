"""Foreign text in Markdown, on a terminal and in a page is text and nothing more."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import HOSTILE
from hostile_run import make_hostile
from hypothesis import given
from hypothesis import strategies as st
from made import GRID, MadeRun, made_run
from made_report import report_of, stored

from controller.report.document import Report
from controller.report.escaped import code, fenced, prose
from controller.report.html import html_report
from controller.report.markdown import markdown_report
from controller.report.terminal import ranked_table
from controller.report.text import one_line, shortened, visible
from controller.report.write import write_report

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
TEXT = st.one_of(
    st.text(max_size=200), st.sampled_from(HOSTILE), st.text(alphabet="`|\\*_[]<>!@#~\n -.1$", max_size=60)
)


@given(TEXT)
def test_visible_text_has_no_control_character_and_is_stable(text: str) -> None:
    assert not CONTROL.search(visible(text))
    assert visible(visible(text)) == visible(text)
    visible(text).encode()


def test_visible_text_keeps_letters_of_all_scripts_and_shows_escapes() -> None:
    assert visible("a\u0301 \u4e2d \U0001f600\ttab\nline\r\nend") == "a\u0301 \u4e2d \U0001f600\ttab\nline\nend"
    assert visible("\x1b[2J") == "\N{SYMBOL FOR ESCAPE}[2J"
    assert visible("\x9b31m\u202e\ud800") == "\N{REPLACEMENT CHARACTER}31m" + "\N{REPLACEMENT CHARACTER}" * 2


@given(TEXT)
def test_one_line_is_one_line(text: str) -> None:
    assert "\n" not in one_line(text)
    assert len(one_line(text).splitlines()) <= 1


@given(TEXT, st.integers(1, 50))
def test_a_shortened_text_begins_as_the_text_does(text: str, limit: int) -> None:
    cut = shortened(text, limit)
    assert cut == text or (len(text) > limit and text.startswith(cut.split(" \N{HORIZONTAL ELLIPSIS} [")[0]))


def test_an_accent_is_not_cut_from_its_letter() -> None:
    assert shortened("abe\u0301cd", 3).startswith("ab \N{HORIZONTAL ELLIPSIS}")


@given(TEXT)
def test_inline_code_is_closed_by_nothing_in_it_and_splits_no_table_cell(text: str) -> None:
    span = code(text)
    if not span:
        assert one_line(text) == ""
        return
    fence = re.match("`+", span)
    assert fence is not None
    inner = span[len(fence[0]) : -len(fence[0])]
    assert span.endswith(fence[0])
    assert fence[0] not in re.findall("`+", inner)
    assert not re.search(r"(?<!\\)\|", inner)


@given(TEXT)
def test_a_fence_is_closed_by_nothing_in_it(text: str) -> None:
    lines = fenced(text).split("\n")
    fence = lines[0].removesuffix("text")
    assert lines[-1] == fence
    assert not any(line.strip().startswith(fence) for line in lines[1:-1])


@given(TEXT)
def test_prose_calls_nobody_and_starts_no_markup(text: str) -> None:
    escaped = prose(text)
    assert not re.search(r"[@#]\w", escaped)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]<>|~$]", escaped)
    assert not re.match(r"[-+=#>]|\d+[.)]", escaped)
    assert not re.search(r"(?<!\\)://", escaped)


def test_prose_leaves_plain_words_as_they_are() -> None:
    text = "G ranks first by mean completion_loss on validation: 0.289 (32 rows, 1 seed), 95 %."
    assert prose(text) == text


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """Every payload in every field that a person, a row, a model or a process fills."""
    return make_hostile(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def hostile_report(hostile_run: MadeRun) -> Report:
    return write_report(hostile_run.store, plan=hostile_run.plan, spec_text=hostile_run.loaded.text)


@pytest.mark.parametrize("width", [10, 60, 100, 200])
def test_a_terminal_gets_no_escape_and_no_line_wider_than_it_is(hostile_report: Report, width: int) -> None:
    text = ranked_table(hostile_report, width)
    assert not CONTROL.search(text)
    table = [line for line in text.split("\n") if line.startswith((" ", "rank"))]
    assert all(len(line) <= max(width, 40) for line in table)


def test_markdown_outside_of_code_holds_no_link_image_mention_or_tag(hostile_report: Report) -> None:
    text = markdown_report(hostile_report)
    assert not CONTROL.search(text)
    outside = re.sub(r"(?ms)^(`{3,})text\n.*?^\1$", "", text)
    outside = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", outside)
    for own in ("<details>", "<summary>", "</summary>", "</details>"):
        outside = outside.replace(own, "")
    assert not re.search(r"(?<!\\)<", outside)
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert not re.search(r"(?<!\w)@\w", outside)
    assert not re.search(r"(?<!\\)://", outside)


def test_every_row_of_a_markdown_table_has_the_cells_of_its_header(hostile_report: Report) -> None:
    rows = [line for line in markdown_report(hostile_report).split("\n") if line.startswith("| ")]
    rules = [index for index, line in enumerate(rows) if set(line) <= set("|-: ")]
    for start, end in zip(
        [index - 1 for index in rules], [*(index - 1 for index in rules[1:]), len(rows)], strict=True
    ):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in rows[start:end]}
        assert len(counts) == 1


class Tags(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]


def test_a_page_full_of_hostile_text_has_the_elements_of_a_harmless_one(hostile_report: Report, tmp_path: Path) -> None:
    calm = made_run(tmp_path, GRID)
    for trial in calm.plan.trials[:-1]:
        calm.finish(trial)
    calm.fail(calm.plan.trials[-1])
    harmless = Tags(html_report(write_report(calm.store, plan=calm.plan, spec_text=calm.loaded.text)))
    hostile = Tags(html_report(hostile_report))
    assert hostile.names - harmless.names == set()
    assert {(tag, name) for tag, name, _ in hostile.attributes} - {
        (tag, name) for tag, name, _ in harmless.attributes
    } == set()
    assert not hostile.names & {"script", "img", "iframe", "object", "embed", "link", "form", "base", "foreignobject"}
    assert not any(name.startswith("on") or name == "style" for _, name, _ in hostile.attributes)
    assert all(str(value).startswith("#") for _, name, value in hostile.attributes if name in ("href", "src"))


def test_a_template_in_a_value_is_shown_as_it_is_written(hostile_report: Report) -> None:
    page = html_report(hostile_report)
    # Description, success, why, label, prompt, message, log, input, reference and output.
    assert page.count("{{7*7}} {% for x in y %} {{ config.items() }}") >= 10


def test_the_policy_allows_one_style_sheet_by_its_hash_and_nothing_else(hostile_report: Report) -> None:
    policy = next(
        value for tag, name, value in Tags(html_report(hostile_report)).attributes if value and "default-src" in value
    )
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; base-uri 'none'; form-action 'none'", policy
    )


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_a_long_failure_is_opened_by_its_first_line_and_all_of_it_is_folded_away(tmp_path: Path, name: str) -> None:
    run = made_run(tmp_path)
    run.fail(run.trial("A"), message="the loss was nan at step 7\nTraceback\n  more")
    run.fail(run.trial("B"), message="word " * 100)
    report_of(run)
    page = stored(run, name)
    assert page.count("The whole message") == 2
    first = page.index("the loss was nan at step 7")
    assert page[:first].count("Traceback") == 0 < page[first:].count("Traceback\n  more")
    assert "more characters]" in page.replace("\\", "")
