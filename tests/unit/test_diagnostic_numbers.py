"""Which numbers of a text another does not hold: under any way of writing them, in any digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.diagnostics.numbers import held_by, lacking, numbers_of


def unsupported(output: str, source: str) -> int:
    return len(lacking(numbers_of(output), held_by(source)))


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("at 5", "at 5"),
        ("at 5 pm", "at 17:00"),
        ("at 17:00", "at 5 p.m."),
        ("at 5:30", "at 17.30"),
        ("at 5.30pm", "at 17h30"),
        ("at 17:30", "at 17:30:00"),
        ("at 12", "at noon"),
        ("at 12 am", "at 0:00"),
        ("1,000 euros", "1000 euros"),
        ("1.000.000 euros", "1,000,000 euros"),
        ("1,234.50", "1.234,5"),
        ("3,5 km", "3.50 km"),
        ("2 tickets", "two tickets"),
        ("25 people", "twenty-five people"),
        ("100 of them", "a hundred of them"),
        ("the 5th", "05"),
        ("12 May 2023", "12.05.2023"),
        ("2023-10-05", "on 5 October (10/2023)"),
        ("at \N{FULLWIDTH DIGIT FIVE}", "at 5"),
        ("\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}", "12"),
        ("nothing", "no number either"),
        ("", ""),
    ],
)
def test_the_same_number_is_found_however_it_is_written(output: str, source: str) -> None:
    assert unsupported(output, source) == 0


@pytest.mark.parametrize(
    ("output", "source", "lacks"),
    [
        ("at 6", "at 5", 1),
        ("at 5:15", "at 5:30", 1),
        ("at 5:15", "at 5", 1),
        ("7 of 8 on 9", "8", 2),
        ("10 and 10 and 10", "", 1),
        ("13.05.2023", "12.05.2023", 1),
        ("2.5", "25", 1),
        ("1,5", "15", 1),
        ("99:99", "99", 1),
        ("three", "4", 0),
    ],
)
def test_what_the_input_does_not_hold_is_counted_once_each(output: str, source: str, lacks: int) -> None:
    assert unsupported(output, source) == lacks


@given(st.text(alphabet="0123456789.,:h apm-/twentyfive\n", max_size=60))
def test_a_text_holds_its_own_numbers(text: str) -> None:
    assert unsupported(text, text) == 0


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_read_and_more_input_never_supports_less(output: str, source: str) -> None:
    numbers = numbers_of(output)
    assert 0 <= unsupported(output, f"{source} {output}") <= unsupported(output, source) <= len(numbers)


@given(st.integers(0, 10**9))
def test_grouping_by_three_is_the_same_number(value: int) -> None:
    assert unsupported(f"{value:,}", str(value)) == unsupported(str(value), f"{value:,}".replace(",", ".")) == 0


@given(st.integers(0, 23), st.integers(0, 59))
def test_a_time_is_the_same_on_both_clocks(hour: int, minute: int) -> None:
    half = "am" if hour < 12 else "pm"
    assert unsupported(f"{hour:02}:{minute:02}", f"{hour % 12 or 12}:{minute:02} {half}") == 0
    assert unsupported(f"{hour}:{minute:02}", f"{hour}:{(minute + 7) % 60:02}") == 1


def test_a_number_of_ten_thousand_digits_is_one_number() -> None:
    assert unsupported("1" * 10_000, "2" * 10_000) == 1
