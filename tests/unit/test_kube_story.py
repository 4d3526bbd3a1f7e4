"""What kubectl alone tells of a run: its events, and the data of its ConfigMap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from fake_sweep import NOW, result_of
from situations import DONE, A, B, C, failure, ledger, seen, situation

from controller.backend import Observed
from controller.kube.identity import Owner
from controller.kube.run_status import run_status
from controller.kube.story import Happening, Story, event_manifest
from controller.leading import leading_so_far
from controller.ledger import Ledger, TrialRecord
from controller.reconcile import Conclusion
from controller.spec.model import Objective
from controller.states import Situation, TrialStatus, states
from job.contract.documents import Control, RunState
from job.contract.errors import WaitReason

RUN = "s3://bucket/runs/demo/main"
ALL_DONE = Ledger(trials={trial.trial_id: TrialRecord(result=result_of(trial, "p1")) for trial in (A, B, C)})


def told(story: Story, *looks: Situation) -> list[tuple[str, str]]:
    return [(found.reason, found.message) for look in looks for found in story.news(look, states(look))]


def waiting(reason: WaitReason, *, at_s: float, trials: Iterable[str] = (A.trial_id,)) -> Situation:
    observed = [replace(seen((one,), state="waiting"), wait_reason=reason, text="0/1 nodes") for one in trials]
    return situation(observed=observed, now=NOW + timedelta(seconds=at_s))


def test_a_run_begins_once_and_a_look_without_news_tells_nothing() -> None:
    given = situation(ledger(DONE), [seen((B.trial_id,))])
    began = ("Began", f"3 trials, 2 at a time, kept in {RUN}: 1 succeeded, 1 running, 1 pending")
    assert told(Story(RUN), given, given, given) == [began]


def test_a_trial_that_fails_is_told_once_and_again_when_a_retry_fails() -> None:
    failed = situation(ledger(TrialRecord(failures=(failure("p1", "diverged"),))))
    (event,) = told(story := Story(RUN), situation(), failed, failed)[1:]
    assert event == ("TrialFailed", f"A {A.trial_id} ({A.label}): diverged: it broke")
    assert told(story, situation(), failed) == [event]


def test_what_had_failed_before_this_controller_came_is_no_news() -> None:
    failed = situation(ledger(TrialRecord(failures=(failure("p1", "diverged"),))))
    assert [reason for reason, _ in told(Story(RUN), failed, failed)] == ["Began"]


def test_of_trials_that_wait_the_first_of_each_reason_is_told_when_it_does_not_pass() -> None:
    story = Story(RUN)
    assert [reason for reason, _ in told(story, waiting("starting", at_s=0), situation())] == ["Began"]
    both = (A.trial_id, B.trial_id)
    looks = [waiting("no_gpu", at_s=second, trials=both) for second in (20, 25, 29.9, 30, 31)]
    assert told(story, *looks) == [("TrialWaits", f"A {A.trial_id}: no_gpu: 0/1 nodes")]
    assert told(story, waiting("quota", at_s=40), waiting("no_gpu", at_s=45), waiting("no_gpu", at_s=60)) == []


def test_pauses_and_stops_are_told_as_they_are_wished() -> None:
    wished: list[RunState] = ["running", "paused", "paused", "running", "stopped", "stopped"]
    looks = [situation(ledger(control=Control(state=state)), [seen()]) for state in wished]
    found = told(Story(RUN), *looks)
    assert [reason for reason, _ in found] == ["Began", "Paused", "Resumed", "Stopped"]
    assert f"`lorasweep resume {RUN}` goes on" in found[1][1]


def test_trials_that_one_limit_stops_are_told_together() -> None:
    limits = replace(situation().limits, max_failed_trials=0)
    failed = situation(ledger(TrialRecord(failures=(failure("p1", "diverged"),))), limits=limits)
    found = told(Story(RUN), situation(limits=limits), failed, failed)
    assert [reason for reason, _ in found] == ["Began", "TrialFailed", "TrialStopped"]
    assert "more than max_failed_trials=0 trials failed" in found[2][1]


def test_a_run_has_some_dozens_of_events_at_most_and_always_its_end() -> None:
    story = Story(RUN)
    paused, running = (situation(ledger(control=Control(state=state))) for state in ("paused", "running"))
    assert len(told(story, *[paused, running] * 80)) == 50
    end = story.end(Conclusion({A.trial_id: TrialStatus("failed")}, report="r", leading=""))
    assert end == Happening("Finished", "1 failed; report: r", warning=True)


def test_the_end_names_the_report_and_who_is_ranked_first() -> None:
    given = situation(ALL_DONE)
    end = Story(RUN).end(Conclusion(states(given), report=f"{RUN}/report/report.html", leading="B (r=2): rougeL 0.4"))
    said = f"3 succeeded; ranked first: B (r=2): rougeL 0.4; report: {RUN}/report/report.html"
    assert end == Happening("Finished", said)


def test_an_event_fits_an_api_server_however_long_its_words_are() -> None:
    happening = Happening("TrialFailed", "\N{SNOWMAN}" * 1000, warning=True)
    made = event_manifest(happening, about=Owner("demo-run", "u1"), namespace="sweeps", at=NOW, reporter="pod-1")
    message = made["message"]
    assert isinstance(message, str)
    assert (len(message.encode()), set(message)) == (1023, {"\N{SNOWMAN}"})
    assert made["type"] == "Warning"


@pytest.mark.parametrize(
    ("wanted", "observed", "done", "state"),
    [
        ("running", [seen()], False, "running"),
        ("running", [seen(state="waiting")], False, "waiting"),
        ("running", [], False, "waiting"),
        ("paused", [seen()], False, "paused"),
        ("stopped", [seen()], False, "stopped"),
        ("stopped", [], False, "stopped"),
        ("running", [], True, "finished"),
        ("paused", [], True, "finished"),
    ],
)
def test_the_status_has_the_run_in_one_word(wanted: RunState, observed: list[Observed], done: bool, state: str) -> None:
    stored = replace(ALL_DONE if done else Ledger(), control=Control(state=wanted))
    given = situation(stored, observed)
    assert run_status(given, states(given), run=RUN)["state"] == state


def test_the_status_says_counts_reasons_who_leads_and_where_to_look() -> None:
    given = waiting("no_gpu", at_s=0)
    statuses: dict[str, TrialStatus] = {**states(given), C.trial_id: TrialStatus("failed", "diverged", "loss\nis nan")}
    assert run_status(given, statuses, run=RUN, leading="B: 0.4") == {
        "state": "waiting",
        "trials": "1 failed, 1 waiting, 1 pending",
        "leading": "B: 0.4",
        "waiting.no_gpu": "A: 0/1 nodes",
        "failed.diverged": "C: loss",
        "look": f"lorasweep status {RUN}",
    }


@pytest.mark.parametrize(("direction", "first"), [(None, "B"), ("minimize", "A")])
def test_who_leads_so_far_is_told_by_the_mean_of_finished_seeds(direction: str | None, first: str) -> None:
    records = {
        trial.trial_id: TrialRecord(result=result_of(trial, "p1", rouge=rouge))
        for trial, rouge in ((A, 0.25), (B, 0.5))
    }
    objective = Objective.model_validate({"metric": "rougeL", "split": "validation", "direction": direction})
    mean = "0.500" if first == "B" else "0.250"
    found = leading_so_far(situation(Ledger(trials=records)), objective)
    label = {"A": A, "B": B}[first].label
    assert found == f"{first} ({label}): rougeL {mean} on validation; 2 of 3 configurations measured"


def test_nobody_leads_before_the_first_result() -> None:
    assert leading_so_far(situation(), Objective()) == ""
