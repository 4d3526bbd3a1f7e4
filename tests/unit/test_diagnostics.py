"""What is told of a text beside its ROUGE: copies, circles, recitation, and a column for every row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.contract.diagnostic_names import DIAGNOSTICS, TRAIN_OVERLAP
from job.contract.documents import Prediction
from job.data import Row
from job.diagnostics.columns import diagnostics_of
from job.diagnostics.copies import copied, fragments, repetition
from job.diagnostics.training_targets import CHARACTERS_LIMIT, training_targets
from job.diagnostics.words import words_of

WORDS = st.lists(st.sampled_from(["ann", "ben", "meets", "at", "five", "cake"]), max_size=12).map(tuple)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ann's 2 cakes!", ("ann", "s", "2", "cakes")),
        ("STRASSE \N{LATIN SMALL LETTER SHARP S}", ("strasse", "ss")),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}1", ("a1",)),
        ("\u732b\u304c\u5bdd\u308b cat", ("\u732b", "\u304c", "\u5bdd", "\u308b", "cat")),
        ("\u041f\u0440\u0438\u0432\u0435\u0442", ("\u043f\u0440\u0438\u0432\u0435\u0442",)),
        ("snake_case", ("snake", "case")),
        ("\n ... \n", ()),
    ],
)
def test_words_are_those_of_any_script_without_case(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("output", "source", "lengths"),
    [
        ("a b c", "x a b c y", [3]),
        ("a b x c d e", "c d e . a b", [2, 3]),
        ("b a", "a b", [1, 1]),
        ("a a a", "a", [1, 1, 1]),
        ("x y", "a b", []),
        ("", "a b", []),
        ("a b", "", []),
    ],
)
def test_fragments_are_the_longest_from_the_beginning_on(output: str, source: str, lengths: list[int]) -> None:
    assert fragments(output.split(), source.split()) == lengths


def test_coverage_and_density_are_those_of_newsroom() -> None:
    found = copied(words_of("Ann meets Ben at noon"), words_of("So Ann meets Ben... noon, then"))
    assert (found.coverage, found.density, found.longest) == (4 / 5, (9 + 1) / 5, 3)
    assert copied((), ("a",)) == (0, 0, 0)


@given(WORDS, WORDS)
def test_what_is_copied_is_between_nothing_and_everything(output: tuple[str, ...], source: tuple[str, ...]) -> None:
    found = copied(output, source)
    shared = sum(word in source for word in output)
    assert found.coverage == (shared / len(output) if output else 0)
    assert found.coverage <= found.density <= found.longest <= len(output) or not output


@given(WORDS, WORDS, WORDS)
def test_a_text_taken_out_of_the_input_is_one_fragment(
    before: tuple[str, ...], output: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert copied(output, before + output + after).longest == len(output)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("Ann meets Ben at noon and brings a cake.", 0, 0),
        ("ha " * 40, 0.95, 1),
        ("!" * 40, 0.95, 1),
        ("Ann meets Ben. " * 10, 0.85, 0.95),
        ("a b c", 0, 0),
    ],
)
def test_a_text_that_turns_in_circles_repeats_most_of_its_runs(text: str, least: float, most: float) -> None:
    assert least <= repetition(text) <= most


PEOPLE = [("Ann", "Ben"), ("Cleo", "Dan"), ("Eve", "Fay")] * 40
TARGETS = tuple(
    f"{name} will meet {other} in the park at {hour} and bring cake number {hour * 7}."
    for hour, (name, other) in enumerate(PEOPLE)
)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (TARGETS[17], 1, 1),
        (TARGETS[17].upper().rstrip("."), 1, 1),
        (TARGETS[17] + " It rains.", 0.75, 0.95),
        ("Nothing of this kind was ever said to anybody.", 0, 0),
        ("", 0, 0),
    ],
)
def test_a_recited_target_is_found_among_many(text: str, least: float, most: float) -> None:
    assert least <= training_targets(TARGETS).overlap(text) <= most


def test_short_targets_are_compared_whole() -> None:
    known = training_targets(("yes", "no way", "!?"))
    assert [known.overlap(text) for text in ("Yes!", "no", "No way.", "?")] == [1, 0, 1, 0]


def test_no_target_and_targets_beyond_the_limit_are_no_likeness() -> None:
    assert training_targets(()).overlap("yes") == 0
    known = training_targets(("a b c", "x" * CHARACTERS_LIMIT, "d e f"))
    assert [known.overlap(text) for text in ("a b c", "d e f")] == [1, 0]


@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=30))
def test_likeness_is_one_for_each_target_with_words_and_never_more(targets: list[str], text: str) -> None:
    known = training_targets(tuple(targets))
    assert all(known.overlap(target) == (1 if words_of(target) else 0) for target in targets)
    assert 0 <= known.overlap(text) <= 1


def prediction(row: str, text: str, *, ended: str = "eos") -> Prediction:
    return Prediction.model_validate(
        {"example_id": row, "split": "test", "step": 0, "text": text, "token_ids": (1,), "ended": ended}
    )


def test_every_row_has_a_number_in_every_column() -> None:
    rows = [
        Row("a", {}, input="Ann: at 5?\nBen: yes, at 5", target="Ben meets Ann at 5."),
        Row("b", {}, input="Cleo: hi", target="Cleo greets, 2 times."),
    ]
    texts = [prediction("b", ""), prediction("a", "Ann: at 5? Ben: at 6", ended="length")]

    columns = diagnostics_of(texts, rows=rows, train=[Row("c", {}, input="x", target="Ann at 5 Ben at 6")])

    assert tuple(columns) == DIAGNOSTICS
    assert {name: values[0] for name, values in columns.items() if values[0]} == {
        "reference_characters": 21, "reference_numbers": 1, "missed_numbers": 1,
    }  # fmt: skip
    assert {name: values[1] for name, values in columns.items()} == {
        "output_characters": 20, "reference_characters": 19, "output_words": 6, "output_numbers": 2,
        "unsupported_numbers": 1, "reference_numbers": 1, "missed_numbers": 0, "copied_coverage": 5 / 6,
        "copied_density": (4 * 4 + 1) / 6, "longest_copy": 4, "repetition": 0.0, "cut": 1.0, "train_overlap": 1.0,
    }  # fmt: skip


def test_without_training_rows_likeness_is_not_measured() -> None:
    columns = diagnostics_of([prediction("a", "x")], rows=[Row("a", {}, input="x", target="x")], train=())
    assert TRAIN_OVERLAP not in columns


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_text_has_finite_diagnostics(text: str, source: str, target: str) -> None:
    row = Row("a", {}, input=source, target=target)
    for values in diagnostics_of([prediction("a", text)], rows=[row], train=[row]).values():
        assert 0 <= values[0] < 1e6
