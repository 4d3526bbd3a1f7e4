"""The verdict on a run beside earlier ones: what it says, what it pages for, and what it names as changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged_runs import Nightly, reported
from made import made_run

from controller.regression.document import Regression
from controller.regression.judge import read_night, stored_verdict
from controller.report.cases import suites_of


def test_the_first_run_has_no_reference_and_is_one_for_the_next(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    first = nightly.judged()
    assert (first.status, first.good, first.tests) == ("no_reference", True, ())
    second = nightly.judged()
    assert (second.status, second.reference) == ("ok", ("night-0",))


def test_a_real_drop_is_a_regression_and_no_reference_for_later_runs(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    nightly.judged()
    worse = nightly.judged(0.12, prompt="Translate:\\n{dialogue}\\nTranslation:")
    assert worse.status == "regression"
    assert worse.heading == "Regression: ROUGE-L is 0.120 worse than before"
    assert not worse.good
    (test,) = worse.tests
    assert test.shown == "regressed"
    assert test.size == pytest.approx(test.other - test.mean)
    assert test.low is not None
    assert 0 < test.low < test.size
    assert nightly.judged().reference == ("night-0",)


def test_what_changed_is_named_with_both_texts(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    nightly.judged()
    changed = reported(
        nightly.run(0.1, prompt="Translate:\\n{dialogue}", versions={"transformers": "6.0.0"})
    ).regression
    assert changed is not None
    prompt, version = changed.causes
    assert (prompt.what, prompt.name, prompt.after) == ("prompt", "prompt.v1.prompt", "Translate:\n{dialogue}")
    assert prompt.before.startswith("Summarize:")
    assert (version.what, version.name, version.before, version.after) == (
        "versions",
        "transformers",
        "5.23.0",
        "6.0.0",
    )


def test_the_rows_that_lost_most_come_with_their_texts_before_and_after(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    nightly.judged()
    affected = nightly.judged(0.1).affected
    assert len(affected) == 5
    lost = [one.before_score - one.after_score for one in affected]
    assert lost == sorted(lost, reverse=True)
    assert all(one.input and one.reference and one.before and one.after for one in affected)


def test_other_rows_are_not_compared_and_the_run_is_the_next_ones_reference(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    nightly.judged()
    other = reported(nightly.run(0.1, rows=41)).regression
    assert other is not None
    assert (other.status, other.good) == ("not_comparable", True)
    assert "it was scored on other validation rows (40 of 41 in common)" in other.sentences[0]


def test_the_mean_of_several_good_runs_leaves_out_the_bad_ones(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{reference: {mean_of: 7}, drops: {rougeL: 0.02}}")
    means = (0.25, 0.25, 0.1, 0.25, 0.25, 0.25)
    found = [nightly.judged(mean) for mean in means]
    assert [one.status for one in found] == ["no_reference", "ok", "regression", "ok", "ok", "ok"]
    last = nightly.judged(0.25)
    assert last.reference == ("night-5", "night-4", "night-3", "night-1", "night-0")
    assert last.past == 5
    assert not any("How much runs vary" in sentence for sentence in last.sentences)
    assert any("taken from seeds within the runs, as 4 good runs came before" in said for said in found[-1].sentences)
    assert [point.run for point in last.trend] == ["night-0", "night-1", "night-3", "night-4", "night-5", "night-6"]


def test_a_named_run_is_the_reference_whatever_came_since(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{reference: night-0}")
    assert nightly.judged(0.1).status == "no_reference"
    assert nightly.judged(0.25).reference == ("night-0",)
    assert nightly.judged(0.25).reference == ("night-0",)


def test_the_anchor_is_compared_too_and_shows_a_slow_drift(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{anchor: night-0, drops: {rougeL: 0.03}}")
    found = [nightly.judged(0.25 - 0.03 * night) for night in range(4)]
    assert [one.status for one in found][:2] == ["no_reference", "ok"]
    assert found[-1].status == "regression"
    assert {test.kind: test.shown for test in found[-1].tests} == {"reference": "suspected", "anchor": "regressed"}


def test_a_floor_pages_without_any_reference_and_a_mean_near_it_does_not(tmp_path: Path) -> None:
    assert Nightly(tmp_path / "a", asked="{floors: {rougeL: 0.4}}").judged(0.25).status == "regression"
    near = Nightly(tmp_path / "b", asked="{floors: {rougeL: 0.245}}").judged(0.25)
    assert (near.status, near.tests[0].shown) == ("no_reference", "passed")


def test_one_seed_below_a_floor_pages_nobody_and_says_what_to_do(tmp_path: Path) -> None:
    found = Nightly(tmp_path, asked="{floors: {rougeL: 0.4}}").judged(0.25, seeds=[1])
    assert (found.status, [test.shown for test in found.tests]) == ("no_reference", ["undecided"])
    assert "vary more seeds" in found.warnings[0]


def test_a_floor_of_a_metric_that_an_earlier_run_lacks_is_tested_all_the_same(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{floors: {rouge1: 0.9}}")
    reported(nightly.run(without=["rouge1"]))
    tonight = nightly.judged()
    assert tonight.reference == ("night-0",)
    assert {test.kind: test.shown for test in tonight.tests} == {"reference": "passed", "floor": "regressed"}


def test_a_floor_without_numbers_is_a_skipped_case_and_a_warning(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{floors: {rouge1: 0.1}}")
    report = reported(nightly.run(without=["rouge1"]))
    assert report.regression is not None
    assert not report.regression.tests
    assert "The floor of rouge1 was not tested: this run has no rouge1 on validation." in report.regression.warnings
    thresholds = {case.name: case.outcome for case in suites_of(report)[1].cases}
    assert thresholds["rouge1 beside its floor"] == "skipped"


def test_an_anchor_that_cannot_be_compared_is_a_skipped_case(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{anchor: night-0}")
    reported(nightly.run())
    report = reported(nightly.run(rows=50))
    outcomes = {case.name: (case.outcome, case.message) for case in suites_of(report)[1].cases}
    assert outcomes["rougeL beside the anchor"][0] == "skipped"
    assert "scored on other validation rows" in outcomes["rougeL beside the anchor"][1]


def test_what_changed_is_told_of_the_run_that_was_lost_to(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{anchor: night-0, drops: {rougeL: 0.05}}")
    for torch in ("2.10", "2.11", "2.11"):
        found = reported(nightly.run(0.25 - 0.05 * nightly.runs, versions={"torch": torch})).regression
    assert found is not None
    assert [test.kind for test in found.tests if test.shown == "regressed"] == ["anchor"]
    assert [(one.name, one.before, one.after) for one in found.causes] == [("torch", "2.10", "2.11")]


def test_a_run_that_was_read_before_its_end_is_said_to_be_unfinished(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{reference: night-0}")
    nightly.run(unfinished=2)
    assert "Run night-0 was not finished when it was read: 2 of 6 trials were to come." in nightly.judged().warnings


def test_a_drop_within_what_is_allowed_passes(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{drops: {rougeL: 0.2}}")
    nightly.judged(0.25)
    allowed = nightly.judged(0.12)
    assert allowed.status == "ok"
    assert "0.200 is allowed" in allowed.sentences[0]


def test_one_seed_and_few_runs_decide_nothing(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    nightly.judged(seeds=[1])
    alone = nightly.judged(0.1, seeds=[2])
    assert alone.status == "not_comparable"
    assert "Give vary.seeds two or more" in alone.sentences[0]


def test_runs_with_the_same_seeds_count_once(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{reference: {mean_of: 7}}")
    found = [nightly.judged(seeds=[1, 2, 3]) for _ in range(7)]
    assert found[-1].reference == ("night-5",)
    assert found[-1].past == 1
    assert found[-1].status == "ok"


def test_a_verdict_stays_when_the_runs_it_came_from_are_gone(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    first = nightly.run()
    reported(first)
    second = nightly.run(0.1)
    verdict = reported(second).regression
    assert verdict is not None
    assert verdict == stored_verdict(second.store)
    for found in list(first.store.list("")):
        first.store.delete(found.key)
    assert reported(second).regression == verdict


def test_a_verdict_that_cannot_be_read_is_made_again(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    reported(nightly.run())
    second = nightly.run(0.1)
    verdict = reported(second).regression
    second.store.put("report/regression.json", b"{")
    assert reported(second).regression == verdict


def test_a_reference_that_is_gone_is_said_first_and_passes(tmp_path: Path) -> None:
    gone: Regression = Nightly(tmp_path, asked="{reference: last-good}").judged()
    assert gone.status == "not_comparable"
    assert gone.sentences[0].startswith("Run last-good cannot be read")


def test_a_damaged_run_costs_no_other_its_verdict(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, asked="{reference: {mean_of: 2}}")
    damaged = nightly.run()
    reported(damaged)
    nightly.judged()
    damaged.store.put("control.json", b"{")
    found = nightly.judged()
    assert (found.status, found.reference) == ("ok", ("night-1",))
    assert any("Run night-0 cannot be read" in warning for warning in found.warnings)


def test_runs_of_another_prompt_say_nothing_of_how_much_nights_vary(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    for _ in range(6):
        nightly.judged(0.20)
    better = "Summarize well:\\n{dialogue}\\nSummary:"
    assert nightly.judged(0.25, prompt=better).past >= 5
    again = nightly.judged(0.25, prompt=better)
    assert (again.reference, again.past) == (("night-6",), 1)
    assert nightly.judged(0.20, prompt=better).status != "ok", "what was won is lost again"


def test_a_later_plan_of_a_run_is_not_what_others_are_compared_with(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    first = nightly.run(seeds=[0, 1, 2])
    judged = reported(first).regression
    assert judged is not None and judged.spec_sha256 == first.plan.spec_sha256
    made_run(tmp_path, first.loaded.text.decode().replace("regression: {}", "regression: null"), run="night-0")
    assert read_night(first.store, "night-0").collected.plan.spec_sha256 == first.plan.spec_sha256


def test_an_unfinished_run_is_not_judged(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    run = nightly.run()
    run.store.delete(next(found.key for found in run.store.list("trials/") if found.key.endswith("result.json")))
    assert reported(run).regression is None
