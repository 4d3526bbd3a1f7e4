"""Templates take columns and nothing else, and never read a value a second time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.contract.errors import SpecError
from job.contract.template import render, template_fields

values = st.text()
columns = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ -]{0,10}[A-Za-z0-9]", fullmatch=True)


def test_fields_are_the_columns_once_each() -> None:
    assert template_fields("{dialogue} and {summary}, {dialogue} {{not}}") == {"dialogue", "summary"}


def test_doubled_braces_are_braces() -> None:
    assert render('{{"text": "{x}"}}', {"x": "hi"}) == '{"text": "hi"}'
    assert render("{{{x}}}", {"x": "hi"}) == "{hi}"


@pytest.mark.parametrize(
    "value", ["{{7*7}}", "{summary}", "{% for x in y %}", "{", "}}", "%s", r"\1\g<0>", "$(SECRET)"]
)
def test_a_value_is_never_read_again(value: str) -> None:
    assert render("<{x}>", {"x": value, "summary": "secret"}) == f"<{value}>"


@given(values, values, columns)
def test_text_around_a_field_and_the_value_survive(before: str, value: str, column: str) -> None:
    escaped = before.replace("{", "{{").replace("}", "}}")
    assert render(f"{escaped}{{{column}}}", {column: value}) == before + value


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="open brace"),
        pytest.param("a } b", id="closing brace"),
        pytest.param("{x", id="field without its end"),
        pytest.param("{}", id="empty field"),
        pytest.param("{ x }", id="blanks"),
        pytest.param("{x.__class__}", id="attribute"),
        pytest.param("{x[0]}", id="item"),
        pytest.param("{x!r}", id="conversion"),
        pytest.param("{x:>9999999999}", id="format specification"),
    ],
)
def test_anything_but_a_column_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="template"):
        template_fields(text)
    with pytest.raises(SpecError, match="template"):
        render(text, {"x": "value"})


def test_a_long_template_is_shortened_in_the_message() -> None:
    with pytest.raises(SpecError) as caught:
        template_fields("x" * 10_000 + "{")
    assert len(str(caught.value)) < 300
    assert "10000" in str(caught.value)
