"""What the outputs of a trial are like, added up from the diagnostics of its rows."""

from __future__ import annotations

import pytest

from controller.texts import FAULTS, Fault, TextSums, added, sums_of
from job.contract import diagnostic_names as names

PLAIN = {
    **dict.fromkeys(names.DIAGNOSTICS, 0.0),
    names.OUTPUT_CHARACTERS: 50.0,
    names.REFERENCE_CHARACTERS: 40.0,
    names.OUTPUT_WORDS: 10.0,
    names.LONGEST_COPY: 3.0,
}


def sums(*rows: dict[str, float], without: str = "") -> TextSums:
    """Of rows that are PLAIN but for what is given."""
    ids = [f"row-{number}" for number in range(len(rows))]
    columns = {name: [{**PLAIN, **row}[name] for row in rows] for name in names.DIAGNOSTICS if name != without}
    found = sums_of(ids, columns)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({names.UNSUPPORTED_NUMBERS: 1.0}, "unsupported"),
        ({names.MISSED_NUMBERS: 2.0}, "missed"),
        ({names.LONGEST_COPY: 8.0}, "copied"),
        ({names.TRAIN_OVERLAP: 0.5}, "recited"),
        ({names.REPETITION: 0.5}, "runaway"),
        ({names.OUTPUT_CHARACTERS: 0.0}, "empty"),
        ({names.CUT: 1.0}, "cut"),
    ],
)
def test_an_output_with_enough_of_a_diagnostic_has_the_fault(row: dict[str, float], fault: Fault) -> None:
    found = sums({}, row)
    assert found.faults == {**dict.fromkeys(FAULTS, 0), fault: 1}
    assert found.worst[fault] == ("row-1",)


@pytest.mark.parametrize(
    "row",
    [
        {names.LONGEST_COPY: 7.0},
        {names.LONGEST_COPY: 4.0, names.OUTPUT_WORDS: 4.0},
        {names.TRAIN_OVERLAP: 0.49},
        {names.REPETITION: 0.49},
    ],
)
def test_a_little_of_it_is_no_fault(row: dict[str, float]) -> None:
    assert set(sums(row).faults.values()) == {0}


def test_the_worst_rows_come_first_and_few_are_kept() -> None:
    found = sums(*({names.UNSUPPORTED_NUMBERS: float(count)} for count in (1, 0, 3, 1, 2)))
    assert found.faults["unsupported"] == 4
    assert found.worst["unsupported"] == ("row-2", "row-4", "row-0")


def test_results_of_an_earlier_release_are_not_measured_and_never_zero() -> None:
    assert sums_of(["a"], {}) is None
    assert sums_of(["a"], {"of_a_later_release": [1.0]}) is None
    assert sums_of([], {name: [] for name in names.DIAGNOSTICS}) is None
    partly = sums({}, without=names.TRAIN_OVERLAP)
    assert "recited" not in partly.faults
    assert names.TRAIN_OVERLAP not in partly.totals


def test_seeds_are_added_as_far_as_all_of_them_measured_it() -> None:
    found = added([sums({names.CUT: 1.0}, {}), sums({names.CUT: 1.0}, without=names.TRAIN_OVERLAP)])
    assert found is not None
    assert (found.outputs, found.faults["cut"], found.totals[names.OUTPUT_CHARACTERS]) == (3, 2, 150)
    assert "recited" not in found.faults
    assert added([]) is None
