"""What quality takes: fronts that no other beats, seeds folded, and nothing free that another trial paid for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import GRID, MadeRun, Took, made_run
from made_report import report_of, stored

from controller.report.choices import Option, Tradeoffs
from controller.report.document import Report
from controller.report.scatter import scatters_of
from controller.report.tradeoffs import CLEARLY, front_of, needed
from job.contract.documents import Group
from job.store import Keys

RANKS = (
    GRID.replace("lora.r: [8, 16]", "lora.r: [4, 8, 16]")
    .replace("    training.learning_rate: [5e-4, 2e-4]\n", "")
    .replace("    prompt: {values: [v1, v2], why: Does asking for brevity help?}\n", "")
    .replace("trial:\n", "trial:\n  prompt: v1\n")
    .replace("seeds: [0]", "seeds: [0, 1]")
    + "execution: {trials_per_job: 1, price_per_gpu_hour: 36}\n"
)
"""A, B and C have ranks 4, 8 and 16; D is zero-shot, E lead-3."""


def option(letter: str, mean: float, train_s: float | None, *, standing: str = "tied") -> Option:
    return Option.model_validate(
        {
            "letter": letter, "standing": standing, "mean": mean, "low": mean - 0.01, "high": mean + 0.01,
            "train_s": train_s, "cost": None, "peak_bytes": None, "adapter_bytes": 0,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([("A", 0.2, 10), ("B", 0.3, 20), ("C", 0.25, 30)], "AB"),
        ([("A", 0.2, 10), ("B", 0.3, 10)], "B"),
        ([("A", 0.3, 10), ("B", 0.3, 10)], "BA"),
        ([("A", 0.3, 10), ("B", 0.3, 20)], "A"),
        ([("A", 0.2, 97), ("B", 0.3, 100)], "B"),  # 3 % less time is none
        ([("A", 0.2, 94), ("B", 0.3, 100)], "AB"),
        ([("A", 0.2, 0), ("B", 0.3, 0)], "B"),
        ([("A", 0.2, None), ("B", 0.3, 10)], "B"),
        ([("A", 0.2, 100), ("B", 0.22, 104), ("C", 0.25, 109)], "AC"),  # C needs clearly more than A, not than B
    ],
)
def test_the_front_is_of_those_that_no_other_beats(
    options: list[tuple[str, float, float | None]], expected: str
) -> None:
    found = front_of([option(letter, mean, need) for letter, mean, need in options], "train_s", upward=True)
    assert "".join(found) == expected


def test_a_lower_loss_is_the_better_one() -> None:
    options = [option("A", 2.0, 10), option("B", 1.5, 20), option("C", 1.8, 30)]
    assert front_of(options, "train_s", upward=False) == ("A", "B")


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.floats(0, 1e4)), min_size=1, max_size=12))
def test_every_option_off_the_front_is_beaten_by_one_that_is_on_it(values: list[tuple[float, float]]) -> None:
    options = [option(f"L{place}", mean, need) for place, (mean, need) in enumerate(values)]
    by_letter = {one.letter: one for one in options}
    front = [by_letter[letter] for letter in front_of(options, "train_s", upward=True)]
    assert max(one.mean for one in front) == max(one.mean for one in options)
    for one in options:
        if one not in front:
            assert any(
                other.mean >= one.mean and (other.train_s or 0) * (1 - CLEARLY["train_s"]) <= (one.train_s or 0)
                for other in front
            )
    assert [one.mean for one in front] == sorted(one.mean for one in front)


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    made = made_run(tmp_path, RANKS)
    made.rows = {"validation": 120, "test": 60}
    return made


def finish_all(run: MadeRun, scores: dict[str, float]) -> Report:
    for trial in run.plan.trials:
        lora = trial.config.lora
        rank = lora.r if lora is not None else 0
        took = Took(10.0 * rank + (trial.seed or 0), 10**9 + rank * 10**8, 10**6 * rank)
        run.finish(trial, score=scores.get(trial.letter, 0.1), took=took)
    return report_of(run)


def tradeoffs(report: Report) -> Tradeoffs:
    assert report.tradeoffs is not None
    return report.tradeoffs


def test_seeds_are_folded_and_needs_are_of_one_adapter(run: MadeRun) -> None:
    found = {one.letter: one for one in tradeoffs(finish_all(run, {})).options}
    assert found["B"].train_s == pytest.approx(80.5)
    assert found["B"].cost == pytest.approx(0.805)
    assert (found["B"].adapter_bytes, found["B"].peak_bytes) == (8 * 10**6, 10**9 + 8 * 10**8)
    assert (found["D"].train_s, found["D"].adapter_bytes) == (0.0, 0)
    assert (found["E"].train_s, found["E"].peak_bytes) == (0.0, None)


def test_the_cheapest_of_the_tied_is_named_with_what_it_saves(run: MadeRun) -> None:
    found = tradeoffs(finish_all(run, {"A": 0.25, "B": 0.255, "C": 0.255}))
    assert {one.letter for one in found.options if one.standing == "tied"} == {"A", "B", "C"}
    assert [front.need for front in found.fronts] == ["train_s", "peak_bytes", "adapter_bytes"]
    assert {front.cheapest_tied for front in found.fronts} == {"A"}
    assert found.sentences[0].startswith("Of the 3 tied at the top A needs the least: training time 40 s beside ")
    assert any("that more buys a better mean among them is not shown" in said for said in found.sentences)


def test_a_winner_stands_beside_the_next_on_the_front_with_what_is_given_up(run: MadeRun) -> None:
    report = finish_all(run, {"A": 0.15, "B": 0.2, "C": 0.3})
    found = tradeoffs(report)
    assert report.verdict.tied == ("C",)
    assert found.fronts[0].letters[-3:] == ("A", "B", "C")
    assert found.sentences[0].startswith(
        "Next to C on the front, B needs less: training time 80 s beside 160 s, peak memory 1.7 GiB beside 2.4 GiB and "
        "adapter size 7.6 MiB beside 15.3 MiB of C, for a mean that is worse by "
    )


def test_a_winner_that_needs_least_is_the_one(run: MadeRun) -> None:
    found = tradeoffs(finish_all(run, {"A": 0.3, "B": 0.2, "C": 0.2}))
    assert found.sentences[0] == (
        "No trained configuration that needs less training time, peak memory and adapter size than A is on the front: "
        "A is the one."
    )


def test_a_reused_adapter_counts_with_the_seconds_of_the_trial_that_trained_it(run: MadeRun) -> None:
    owner = run.finish(run.trial("A", seed=0), took=Took(40.0, 10**9, 10**6))
    run.finish(run.trial("B", seed=0), reused_from=Keys.attempt(owner.trial_id, owner.attempt))
    run.finish(run.trial("C", seed=0), reused_from=Keys.attempt("0123456789ab", "old-1"))
    found = tradeoffs(report_of(run))
    by_letter = {one.letter: one for one in found.options}
    assert by_letter["B"].train_s == 40.0
    assert by_letter["C"].train_s is None
    assert "C: the adapter was trained outside of this run, so what it took is not known." in found.sentences
    assert "train_s" not in [front.need for front in found.fronts]


def test_the_peak_of_a_shared_process_is_not_compared(run: MadeRun) -> None:
    trained = tuple(trial.trial_id for trial in run.plan.trials if trial.kind == "lora")
    alone = tuple(group for group in run.plan.groups if not set(group.trial_ids) & set(trained))
    together = Group(group_id="g-together", trial_ids=trained, engine="lanes")
    run.plan = run.plan.model_copy(update={"groups": (together, *alone)})
    found = tradeoffs(finish_all(run, {}))
    assert {one.peak_bytes for one in found.options if one.letter in "ABC"} == {None}
    assert "peak_bytes" not in [front.need for front in found.fronts]
    assert any(
        said.endswith("the peak memory of the process is of all of them and is not compared.")
        for said in found.sentences
    )


def test_needs_that_are_all_alike_have_no_plot_and_are_said_to_be(tmp_path: Path) -> None:
    made = made_run(tmp_path, RANKS)
    for trial in made.plan.trials:
        made.finish(trial)
    found = tradeoffs(report_of(made))
    assert found.fronts == ()
    assert found.sentences == (
        "About the same for all trained configurations: training time, peak memory, adapter size.",
    )
    assert '<h2 id="tradeoffs">' in stored(made, "report.html")


def test_with_one_trained_configuration_there_is_nothing_to_trade(run: MadeRun) -> None:
    run.finish(run.trial("A", seed=0))
    run.finish(run.trial("D"))
    assert report_of(run).tradeoffs is None


def test_marks_lie_within_the_axes_and_letters_cover_none(run: MadeRun) -> None:
    found = tradeoffs(finish_all(run, {"A": 0.15, "B": 0.2, "C": 0.3}))
    for chart in scatters_of(found, price=36.0):
        known = [one for one in found.options if needed(one, "train_s") is not None]
        assert len(chart.marks) <= len(known)
        for mark in chart.marks:
            assert chart.left - 0.1 <= mark.x <= chart.right + 0.1
            assert chart.top - 0.1 <= mark.high <= mark.y <= mark.low <= chart.bottom + 0.1
        placed = [mark.label for mark in chart.marks if mark.label is not None]
        assert len(placed) == len(set(placed)) >= 3
    assert [tick.text for tick in scatters_of(found, price=36.0)[0].x_costs][:2] == ["0.00", "0.600"]
    assert scatters_of(found, price=None)[0].x_costs == ()
