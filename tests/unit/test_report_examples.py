"""Which rows are shown, and whose texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import GRID, MadeRun, made_run
from made_report import finish_all, flat, report_of, stored
from numpy.typing import NDArray

from controller.collect import Measured, ScoreTable
from controller.report.document import Objective, Report
from controller.report.examples import SampledExample, Which
from controller.report.examples_words import set_views
from controller.report.html import html_report
from controller.report.samples import Casting, Writer, chosen
from controller.report.write import write_report
from job.contract.documents import Result
from job.contract.errors import SpecError
from job.store import Keys

HIGHER = Objective(metric="rougeL", split="validation", direction="maximize")


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def scored(values: Sequence[float]) -> dict[str, NDArray[np.float64]]:
    return {"rougeL": np.array(values), "generated_tokens": np.full(len(values), 9.0)}


def rows_of(report: Report, which: Which, *letters: str) -> list[SampledExample]:
    """What the set of these letters shows."""
    assert report.examples is not None
    (found,) = (one for one in report.examples.sets if one.of == letters)
    return [report.examples.rows[place] for group in found.groups if group.which == which for place in group.rows]


def scores_of(rows: Sequence[SampledExample], letter: str) -> list[float | None]:
    return [output.score for row in rows for output in row.outputs if output.letter == letter]


def test_the_best_shows_its_ten_worst_its_ten_best_and_ten_random_rows_beside_zero_shot(run: MadeRun) -> None:
    run.rows = {"validation": 40, "test": 40}
    steps = [((place * 7) % 40) / 40 for place in range(40)]
    run.finish(run.trial("A"), scores=scored(steps))
    run.finish(run.trial("I"), scores=flat(0.1, rows=40))
    report = report_of(run)
    assert scores_of(rows_of(report, "worst", "A"), "A") == [place / 40 for place in range(10)]
    assert scores_of(rows_of(report, "best", "A"), "A") == [place / 40 for place in range(39, 29, -1)]
    assert len(rows_of(report, "random", "A")) == 10
    assert all([one.letter for one in row.outputs] == ["A", "I"] for row in rows_of(report, "worst", "A"))


def test_the_best_stands_beside_the_runner_up_where_the_two_differ_most(run: MadeRun) -> None:
    run.rows = {"validation": 40, "test": 40}
    run.finish(run.trial("A"), scores=scored([0.5] * 40))
    run.finish(run.trial("B"), scores=scored([0.8] * 5 + [0.5] * 20 + [0.1] * 15))
    report = report_of(run)
    assert scores_of(rows_of(report, "worst", "A", "B"), "B") == [0.8] * 5  # no row where they are equal
    assert scores_of(rows_of(report, "best", "A", "B"), "B") == [0.1] * 10
    headings = [group.heading for view in set_views(report)[1:] for group in view.groups]
    assert headings == [
        "5 rows where A is worse than B by most: 0.300",
        "10 rows where A is better than B by most: 0.400",
        "10 at random",
    ]


def test_any_two_can_be_compared_and_a_baseline_is_one_of_them(run: MadeRun) -> None:
    finish_all(run)
    report = write_report(run.store, plan=run.plan, spec_text=run.loaded.text, compared=("C", "K"))
    assert report.examples is not None
    assert [one.of for one in report.examples.sets] == [("B",), ("C", "K")]
    for name in ("report.html", "report.md"):
        assert "C beside K" in stored(run, name)


@pytest.mark.parametrize(
    ("letters", "said"),
    [
        (("A", "Z"), "'Z' is no configuration of this run; those with a result are A, I"),
        (("A", "B"), "'B' has no result yet; those with a result are A, I"),
        (("A", "A"), "name two different configurations"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_nothing_is_written(
    run: MadeRun, letters: tuple[str, str], said: str
) -> None:
    run.finish(run.trial("A"))
    run.finish(run.trial("I"))
    with pytest.raises(SpecError, match=said):
        write_report(run.store, plan=run.plan, spec_text=run.loaded.text, compared=letters)
    assert run.store.stat(Keys.report("report.html")) is None


def test_random_rows_are_those_of_the_run_whatever_the_scores(tmp_path: Path) -> None:
    shown = []
    for place, best, name in (("one", "A", "main"), ("two", "H", "main"), ("three", "A", "other")):
        run = made_run(tmp_path / place, run=name)
        for trial in run.plan.trials:
            run.finish(trial, score=0.5 if trial.letter == best else 0.2)
        shown.append([row.example_id for row in rows_of(report_of(run), "random", best)])
    assert shown[0] == shown[1]
    assert shown[0] != shown[2]


def test_a_loss_is_best_where_it_is_lowest_and_is_each_rows_own(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "objective: {metric: completion_loss}\n")
    run.rows = {"validation": 30, "test": 30}
    tokens = np.arange(1.0, 31.0)
    losses = np.linspace(1, 2, 30)
    run.finish(
        run.trial("A"),
        scores={**scored([0.2] * 30), "completion_nll": tokens * losses, "target_tokens": tokens},
    )
    report = report_of(run)
    found = scores_of(rows_of(report, "best", "A"), "A")
    assert found == pytest.approx(list(losses[:10]))
    assert scores_of(rows_of(report, "worst", "A"), "A")[0] == pytest.approx(2.0)


def test_where_all_rows_score_the_same_none_is_worst_and_none_is_best(run: MadeRun) -> None:
    run.rows = {"validation": 32, "test": 32}
    run.finish(run.trial("A"), scores=flat(0.3))
    report = report_of(run)
    assert rows_of(report, "worst", "A") == rows_of(report, "best", "A") == []
    assert len(rows_of(report, "random", "A")) == 10


def test_one_that_is_not_scored_by_the_row_shows_random_rows(run: MadeRun) -> None:
    run.finish(run.trial("I"), without=["rougeL"])
    report = report_of(run)
    assert len(rows_of(report, "random", "I")) == 10
    assert scores_of(rows_of(report, "random", "I"), "I") == [None] * 10


VALUES = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5]), st.floats(0, 1)), min_size=1, max_size=60)


def writer(run: MadeRun, result: Result, values: Mapping[str, float | None]) -> Writer:
    scores = {row: value for row, value in values.items() if value is not None}
    table = ScoreTable(tuple(scores), {"rougeL": np.array(list(scores.values()))})
    return Writer(run.trial("A"), Measured(result=result, scores={"validation": table}, losses=(), evaluations=()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[MadeRun, Result]:
    run = made_run(tmp_path_factory.mktemp("run"))
    return run, run.finish(run.trial("A"))


@given(first=VALUES, second=VALUES, pair=st.booleans())
def test_the_worst_and_the_best_never_meet_and_are_no_more_than_ten(
    finished: tuple[MadeRun, Result], first: list[float | None], second: list[float | None], pair: bool
) -> None:
    rows = [f"row-{place}" for place in range(max(len(first), len(second)))]
    writers = [writer(*finished, dict(zip(rows, values, strict=False))) for values in (first, second)]
    casting = Casting(tuple(writers[: 1 + pair]), ())
    found = chosen(casting, rows=rows, objective=HIGHER, lengths={}, draw="made/main")
    worst, best, drawn = (found.groups.get(which, ()) for which in ("worst", "best", "random"))
    assert not set(worst) & set(best)
    assert max(len(worst), len(best)) <= min(10, len(rows) // 3)
    assert 1 <= len(drawn) <= min(10, found.candidates)
    assert set(found.rows) <= set(rows)
    again = chosen(casting, rows=rows[::-1], objective=HIGHER, lengths={}, draw="made/main")
    assert again.groups == found.groups


def test_long_texts_are_cut_and_say_so(run: MadeRun) -> None:
    run.texts = [("long " * 2000, "short")] * 80
    run.finish(run.trial("A"), prediction="word " * 1000)
    report = report_of(run)
    assert report.examples is not None
    example = report.examples.rows[0]
    assert len(example.input) < 1700
    assert example.input.endswith("more characters]")
    assert example.outputs[0].text.endswith("[4,200 more characters]")


def test_rows_that_would_make_the_page_too_large_are_cut_further(run: MadeRun) -> None:
    run.texts = [("\N{GRINNING FACE}\"<&>'" * 2000, "'" * 5000)] * 80
    for letter in "ABI":
        run.finish(run.trial(letter), prediction='"\U0001f600' * 3000)
    report = report_of(run)
    assert report.examples is not None
    assert len(report.examples.rows[0].input) < 900  # not 1,600
    assert len(html_report(report).encode()) < 2_000_000


def test_a_row_of_several_groups_is_stored_once(run: MadeRun) -> None:
    run.rows = {"validation": 6, "test": 6}
    finish_all(run)
    report = report_of(run)
    assert report.examples is not None
    assert len({row.example_id for row in report.examples.rows}) == len(report.examples.rows) == 6


def test_damaged_texts_cost_the_examples_and_a_sentence_and_nothing_else(run: MadeRun) -> None:
    finish_all(run)
    run.store.put(Keys.examples(next(iter(run.store.list("examples/"))).key.split("/")[1][:-6]), b"{nonsense\n")
    report = report_of(run)
    assert report.examples is None
    assert any(sentence.startswith("No examples are shown") for sentence in report.warnings)
    assert report.configurations[0].rank == 1
