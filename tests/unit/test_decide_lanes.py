"""A group whose trials train together: what is left of it goes on, and too many for the memory are halved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import pytest
from fake_sweep import NOW, lora_trial, plan_of, result_of
from situations import LIMITS, NAMING

from controller.backend import EndCause, Observed
from controller.cli.logs import running_trial
from controller.decide import RecordEnd, StopSubmission, Submit, WriteFailure, decide
from controller.ledger import Ledger, TrialRecord
from controller.planning.group import part_of
from controller.states import Situation, states
from job.contract.documents import Control, Failure, Plan, Progress, SubmissionEnd
from job.contract.errors import FailureReason, SpecError

TRIALS = tuple(lora_trial(number) for number in range(5))
IDS = tuple(trial.trial_id for trial in TRIALS)


def plan(engine: str = "lanes") -> Plan:
    made = plan_of(TRIALS, per_group=5)
    return made.model_copy(update={"groups": tuple(one.model_copy(update={"engine": engine}) for one in made.groups)})


def process(
    trial_ids: tuple[str, ...] = IDS, *, number: int = 1, cause: EndCause | None = None, exit_code: int | None = None
) -> Observed:
    return Observed(
        name=NAMING.submission(IDS, number),
        group_id=plan().groups[0].group_id,
        number=number,
        trial_ids=trial_ids,
        state="running" if cause is None else "ended",
        attempt=f"p{number}",
        started_at=NOW,
        ended_at=None if cause is None else NOW,
        cause=cause or "exited",
        exit_code=exit_code,
    )


def situation(
    trials: dict[str, TrialRecord] | None = None,
    *,
    ends: Iterable[SubmissionEnd] = (),
    observed: Iterable[Observed] = (),
    engine: str = "lanes",
    control: Control | None = None,
) -> Situation:
    ledger = Ledger(control=control or Control(), trials=trials or {}, ends={one.name: one for one in ends})
    return Situation(plan(engine), ledger, tuple(observed), LIMITS, NOW)


def ended(trial_ids: tuple[str, ...], *, number: int = 1, reason: FailureReason | None = "oom") -> SubmissionEnd:
    return SubmissionEnd(
        name=NAMING.submission(IDS, number),
        group_id=plan().groups[0].group_id,
        number=number,
        trial_ids=trial_ids,
        attempt=f"p{number}",
        outcome="failed" if reason else "disrupted",
        exit_code=None,
        reason=reason,
        started_at=NOW,
        ended_at=NOW,
    )


def done(*numbers: int) -> dict[str, TrialRecord]:
    return {IDS[number]: TrialRecord(result=result_of(TRIALS[number], "p1")) for number in numbers}


def submitted(given: Situation) -> Submit:
    (action,) = decide(given, naming=NAMING)
    assert isinstance(action, Submit)
    return action


def test_what_is_left_of_a_group_is_submitted_under_its_name_with_the_next_number() -> None:
    given = situation(done(0, 3), ends=[ended(IDS, reason=None)])
    next_one = submitted(given)
    assert next_one == Submit(NAMING.submission(IDS, 2), 2, plan().groups[0].group_id, (IDS[1], IDS[2], IDS[4]))
    left = part_of(given.plan, next_one.trial_ids)
    assert (left.engine, left.trial_ids) == ("lanes", next_one.trial_ids)


def test_a_lane_that_diverged_is_left_out_of_the_next_submission() -> None:
    failure = Failure(
        trial_id=IDS[1], attempt="p1", reason="diverged", permanent=True, exit_code=80, message="nan",
        written_by="job", at=NOW,
    )  # fmt: skip
    given = situation({IDS[1]: TrialRecord(failures=(failure,)), **done(0)}, ends=[ended(IDS, reason=None)])
    assert submitted(given).trial_ids == IDS[2:]


def test_a_lane_that_is_stopped_ends_its_process_and_the_others_go_on_without_it() -> None:
    stop = Control(trials={IDS[2]: "stop"})
    assert decide(situation(observed=[process()], control=stop), naming=NAMING) == (
        StopSubmission(NAMING.submission(IDS, 1)),
    )
    stopped = ended(IDS, reason=None).model_copy(update={"outcome": "stopped"})
    assert submitted(situation(ends=[stopped], control=stop)).trial_ids == (*IDS[:2], *IDS[3:])


@pytest.mark.parametrize(
    ("cause", "exit_code", "reason"), [("oom", None, "oom"), ("exited", 79, "gpu_oom")], ids=["killed", "79"]
)
def test_lanes_that_ran_out_of_memory_together_have_not_failed(
    cause: EndCause, exit_code: int | None, reason: FailureReason
) -> None:
    given = situation(done(0), observed=[process(cause=cause, exit_code=exit_code)])
    (end,) = decide(given, naming=NAMING)
    assert isinstance(end, RecordEnd)
    assert (end.end.outcome, end.end.reason) == ("failed", reason)
    assert submitted(replace(given, ledger=replace(given.ledger, ends={end.end.name: end.end}), observed=())) == Submit(
        NAMING.submission(IDS, 2), 2, end.end.group_id, IDS[1:3]
    )


def test_they_are_halved_until_one_is_alone_and_that_one_fails() -> None:
    ends = [ended(IDS), ended(IDS[:2], number=2)]
    assert submitted(situation(ends=ends)).trial_ids == IDS[:1]
    alone = situation(ends=ends, observed=[process(IDS[:1], number=3, cause="oom")])
    failures = [action.failure for action in decide(alone, naming=NAMING) if isinstance(action, WriteFailure)]
    assert [(one.trial_id, one.reason, one.permanent) for one in failures] == [(IDS[0], "oom", True)]


def test_what_fitted_stays_the_size_for_the_rest() -> None:
    given = situation(done(0, 1), ends=[ended(IDS), ended(IDS[:2], number=2, reason=None)])
    assert submitted(given).trial_ids == IDS[2:4]


def at(stage: Literal["startup", "data", "train", "waiting"], *, attempt: str = "p1") -> TrialRecord:
    return TrialRecord(progress=Progress(attempt=attempt, stage=stage, step=0, max_steps=4, updated_at=NOW))


def failing(given: Situation) -> list[str]:
    return [action.failure.trial_id for action in decide(given, naming=NAMING) if isinstance(action, WriteFailure)]


@pytest.mark.parametrize("engine", ["lanes", "reference"])
def test_a_process_that_dies_costs_an_attempt_only_those_trials_that_it_had_begun(engine: str) -> None:
    trials = {**done(0), IDS[1]: at("train"), IDS[2]: at("waiting"), IDS[3]: at("train", attempt="p0")}
    died = process(cause="exited", exit_code=1)
    assert failing(situation(trials, observed=[died], engine=engine)) == [IDS[1]]


def test_one_that_dies_before_it_has_begun_any_costs_each_of_them_an_attempt() -> None:
    trials = {IDS[0]: at("startup"), IDS[1]: at("waiting"), IDS[2]: at("train", attempt="p0")}
    assert failing(situation(trials, observed=[process(cause="exited", exit_code=1)])) == list(IDS)


def test_one_that_dies_after_what_it_had_begun_has_failed_by_itself_costs_the_others_nothing() -> None:
    """Its own failure is the attempt that this process has cost."""
    failure = Failure(
        trial_id=IDS[1], attempt="p1", reason="timeout", permanent=False, exit_code=81, message="hung",
        written_by="job", at=NOW,
    )  # fmt: skip
    trials = {IDS[1]: replace(at("train"), failures=(failure,)), IDS[2]: at("waiting")}
    assert failing(situation(trials, observed=[process(cause="exited", exit_code=81)])) == []


def test_trials_one_after_the_other_had_the_memory_to_themselves() -> None:
    given = situation(observed=[process(cause="oom")], engine="reference")
    assert sum(isinstance(action, WriteFailure) for action in decide(given, naming=NAMING)) == len(IDS)


def test_lanes_have_one_log_which_needs_no_name() -> None:
    given = situation(done(0), observed=[process()])
    assert running_trial(given.plan, states(given)) == TRIALS[1]
    alone = plan_of(TRIALS)
    for some, number in (([], 0), ([process(IDS[:1]), process(IDS[1:2], number=2)], 2)):
        with pytest.raises(SpecError, match=f"{number} trials run at the moment"):
            running_trial(alone, states(replace(given, plan=alone, ledger=Ledger(), observed=tuple(some))))
