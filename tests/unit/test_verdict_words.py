"""What the verdict says, for each that there can be."""

from __future__ import annotations

from typing import Any

import pytest
from verdicts import LEAD, ZERO_SHOT, baseline, beside, decided_as, said, tied_as

from controller.report.verdict_words import about, difference


def test_a_clear_winner_is_named_with_the_nearest_and_the_baselines_on_the_other_split() -> None:
    verdict = said(decided_as())
    assert verdict.heading == "C is shown better than all 2 others"
    assert verdict.sentences == (
        "C has the best mean ROUGE-L on validation, 0.312 ± 0.020; the nearest is B, behind by 0.060 (95 % interval "
        "0.035 to 0.085).",
        "On test, which did not pick it, C is better than zero-shot by 0.100 (0.080 to 0.120) and better than "
        "lead-3 by 0.050 (0.030 to 0.070).",
    )
    assert verdict.notes == (
        "200 rows, 3 seeds, 3 trained configurations compared row by row.",
        "C was picked as the best of 3 means on validation, which on average makes such a mean too good by 0.004; its "
        "mean on test is free of that choice.",
    )


def test_of_two_the_winner_is_better_than_the_other_one() -> None:
    two = decided_as(compared=(beside("C"), beside("B", behind=0.06)))
    assert said(two).heading == "C is shown better than the other one"


def test_tied_ones_are_named_with_what_would_tell_them_apart() -> None:
    verdict = said(tied_as())
    assert verdict.heading == "No single winner: 2 of 3 configurations are tied at the top"
    assert verdict.sentences[0] == (
        "C has the best mean ROUGE-L on validation, 0.312 ± 0.020, but B is not shown worse: B is behind by 0.012 "
        "(95 % interval \N{MINUS SIGN}0.013 to 0.037); about 1,300 more rows or 4 more seeds each would show one of "
        "this size."
    )
    assert "A difference of 0.030 between C and B would have been shown in four of five repetitions." in verdict.notes


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"rows": None}, "; about 4 more seeds each would show one of this size."),
        ({"seeds": None}, "; about 1,300 more rows would show one of this size."),
        ({"rows": 1, "seeds": 1}, "; about 1 more row or 1 more seed each would show one of this size."),
        ({"rows": None, "seeds": None}, "; neither more rows nor more seeds alone would show one of this size."),
        ({"rows": 0, "seeds": 0}, "; more seeds would narrow that, by how much cannot be told from so few."),
        ({"rows": None, "seeds": None, "seeds_known": False}, "0.037)."),
    ],
)
def test_what_would_show_a_difference_is_said_as_far_as_it_is_known(changed: dict[str, Any], expected: str) -> None:
    assert said(tied_as(**changed)).sentences[0].endswith(expected)


def test_where_all_are_tied_no_difference_is_shown() -> None:
    found = tied_as()
    both = found.model_copy(update={"compared": found.compared[:2]})
    assert said(both).heading == "No difference is shown between the two configurations"


def test_equal_means_share_the_best_and_ask_for_nothing() -> None:
    equal = tied_as(size=0.0, rows=None, seeds=None).model_copy(update={"best": ("C", "B")})
    assert said(equal).sentences[0] == "C, B share the best mean ROUGE-L on validation, 0.312 ± 0.020."
    all_equal = equal.model_copy(update={"compared": equal.compared[:2]})
    assert said(all_equal).sentences[0] == (
        "All 2 trained configurations have the same mean ROUGE-L on validation, 0.312 ± 0.020."
    )


def test_with_one_seed_the_verdict_is_headed_by_what_it_is_about() -> None:
    found = tied_as().model_copy(update={"adapters_only": True, "seeds": 1})
    verdict = said(found)
    assert verdict.heading == (
        "These adapters, not these configurations: no single winner: 2 of 3 adapters are tied at the top"
    )
    assert "With one seed the numbers are about these adapters, not these configurations" in verdict.notes[1]


def test_a_single_configuration_is_not_called_a_winner() -> None:
    verdict = said(decided_as(kind="single", compared=(beside("C"),), optimism=None))
    assert verdict.heading == "C has no other to be compared with"
    assert verdict.sentences[0].startswith("C has a mean ROUGE-L on validation of 0.312 ± 0.020; no other")
    assert verdict.sentences[1].startswith("On test C is better than zero-shot")


@pytest.mark.parametrize(
    ("nothing", "heading", "sentence"),
    [
        ("pending", "No verdict yet", "No trained configuration has a result yet, so nothing is ranked."),
        ("failed", "No verdict", "Every trained configuration failed, so nothing is ranked."),
        ("no_trial", "No verdict", "The plan has no trial, so there is nothing to report."),
        ("no_trained", "No verdict", "The plan has no trained configuration; there are baselines only."),
        ("one_row", "No verdict", "One row of validation says nothing about the spread between rows"),
        ("unscored", "No verdict", "No trained configuration has ROUGE-L on validation, so nothing is ranked"),
    ],
)
def test_nothing_to_compare_is_said_with_its_reason(nothing: str, heading: str, sentence: str) -> None:
    verdict = said(decided_as(kind="none", nothing=nothing, best=(), tied=(), compared=(), baselines=(), optimism=None))
    assert verdict.heading == heading
    assert len(verdict.sentences) == 1
    assert verdict.sentences[0].startswith(sentence)


def test_a_best_that_is_not_above_its_baselines_is_so_in_the_heading() -> None:
    neither, worse = (
        baseline("zero-shot, prompt=v1", by=0.01, shown="neither"),
        baseline("lead-3", by=-0.05, shown="worse"),
    )
    assert said(decided_as(baselines=(neither, LEAD))).heading.endswith(", and C is not shown better than zero-shot")
    verdict = said(decided_as(baselines=(neither, worse)))
    assert verdict.heading.endswith(", and C is worse than lead-3 and not shown better than zero-shot")
    assert verdict.sentences[1] == (
        "On test, which did not pick it, C is not shown better than zero-shot (difference 0.010, "
        "\N{MINUS SIGN}0.010 to 0.030) and worse than lead-3 by 0.050 (0.030 to 0.070)."
    )


def test_the_split_that_picked_is_said_to_have_picked() -> None:
    verdict = said(decided_as(baselines_split="validation"))
    assert verdict.sentences[1].startswith("On validation, which also picked it, C is better")
    assert not any("free of that choice" in note for note in verdict.notes)


def test_without_a_baseline_nothing_says_whether_training_helped() -> None:
    verdict = said(decided_as(baselines=(), baselines_split=None, missing_baselines=("lead-3",)))
    assert verdict.sentences[1].startswith("No baseline of C has scores on the same rows")
    assert "Not compared, as it has no scores on the same rows: lead-3." in verdict.notes


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"few_seeds": True}, "So few seeds say little about how much seeds differ"),
        ({"small": True, "rows": 8}, "Fewer rows than the 32"),
        ({"without_spread": ("A", "B")}, "A, B: all rows have the same score"),
        ({"uneven": ({"letter": "B", "seed_sd": 0.02, "others_sd": 0.004},)}, "B: its seeds differ by 0.020 (SD)"),
        (
            {"left_out": ({"letter": "D", "why": "failed"}, {"letter": "E", "why": "other_rows"})},
            "Not in the verdict: D (failed); E (scored on other rows).",
        ),
    ],
)
def test_what_makes_it_less_sure_is_noted(changed: dict[str, Any], note: str) -> None:
    assert any(one.startswith(note) for one in said(decided_as(**changed)).notes)
    assert not any(one.startswith(note) for one in said(decided_as()).notes)


@pytest.mark.parametrize(
    ("number", "written"), [(4, "4"), (56, "56"), (121, "130"), (1234, "1,300"), (30_000, "30,000")]
)
def test_numbers_for_planning_have_two_digits_rounded_up(number: int, written: str) -> None:
    assert about(number) == written


def test_a_difference_that_three_decimals_do_not_show_is_not_called_zero() -> None:
    assert [difference(size) for size in (0.0002, 0.0, 0.012)] == ["less than 0.001", "0.000", "0.012"]
    assert difference(0.01, "generated_tokens") == "less than 0.1"


def test_the_zero_shot_baseline_is_named_without_its_prompt() -> None:
    assert "prompt=v1" in ZERO_SHOT.label
    assert "prompt=v1" not in " ".join(said(decided_as()).sentences)
