"""How far a sweep is, and what a person sees of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fake_sweep import NOW, lora_trial, plan_of, result_of
from rich.cells import cell_len

from controller.backend import Observed
from controller.ledger import Ledger, TrialRecord
from controller.progress import duration, progress_of, trial_note
from controller.remedies import pause_text
from controller.states import Limits, Situation, states
from controller.terminal import PlainLines, harmless, leaving_text, summary
from controller.trial_table import TrialRow, table_lines, trial_rows
from job.contract.documents import Control, Failure, Group, Progress
from job.contract.errors import TransientError

TRIALS = tuple(lora_trial(number) for number in range(4))
A, B, C, D = TRIALS
PLAN = plan_of(TRIALS)
RUN = "/my runs/demo/main"
TRIAL_S = 1.8  # the sum of result_of's stages


def running(eta_s: float | None) -> tuple[TrialRecord, Observed]:
    progress = Progress(
        attempt="p1",
        stage="train",
        step=2,
        max_steps=4,
        loss=1.23456,
        tokens_per_s=1234.5,
        eta_s=eta_s,
        updated_at=NOW,
    )
    seen = Observed(
        name="demo-1",
        group_id="g",
        number=1,
        trial_ids=(B.trial_id,),
        state="running",
        attempt="p1",
        started_at=NOW - timedelta(seconds=1),
    )
    return TrialRecord(progress=progress), seen


def situation(*, done: int = 1, eta_s: float | None = None, parallelism: int = 1) -> Situation:
    record, seen = running(eta_s)
    trials = {trial.trial_id: TrialRecord(result=result_of(trial, "p0")) for trial in TRIALS[:done]}
    trials[B.trial_id] = record
    return Situation(PLAN, Ledger(trials=trials), (seen,), Limits(parallelism=parallelism), NOW)


@pytest.mark.parametrize(
    ("given", "eta_s"),
    [
        (situation(), 0.8 + 2 * TRIAL_S),
        (situation(eta_s=60), 60 + 2 * TRIAL_S),
        (situation(done=0, eta_s=60), 60 + 3 * 61),
        (situation(done=0), None),
        (situation(parallelism=2), (0.8 + 2 * TRIAL_S) / 2),
        (situation(parallelism=4, eta_s=60), 60),
    ],
)
def test_the_time_left_is_that_of_trials_like_those_that_are_done(given: Situation, eta_s: float | None) -> None:
    found = progress_of(given, states(given)).eta_s
    assert found == (None if eta_s is None else pytest.approx(eta_s))


def test_a_finished_sweep_has_no_time_left() -> None:
    record = {trial.trial_id: TrialRecord(result=result_of(trial, "p0")) for trial in TRIALS}
    given = Situation(PLAN, Ledger(trials=record), (), Limits(), NOW)
    assert summary(progress_of(given, states(given))) == "4/4 done"


def test_the_summary_counts_what_is_not_zero() -> None:
    given = situation()
    assert summary(progress_of(given, states(given))) == "1/4 done, 1 running, 2 pending, about 4 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3600, "1 h 00 min"), (-5, "0 s")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_line_is_written_when_something_changed_and_now_and_then_while_it_runs() -> None:
    lines: list[str] = []
    now = 0.0
    display = PlainLines(lines.append, run=RUN, monotonic=lambda: now)
    given = situation()
    for _ in range(5):
        display.update(given, states(given))
    assert lines == [f"B {B.trial_id} running  train, step 2/4, loss 1.235, 1,234 tokens/s  {B.label}\n"]
    now = 31.0
    display.update(given, states(given))
    assert len(lines) == 1  # nothing moved
    moved = situation()
    record = moved.ledger.record(B.trial_id)
    assert record.progress is not None
    further = replace(record, progress=record.progress.model_copy(update={"step": 3}))
    moved = replace(moved, ledger=Ledger(trials={**moved.ledger.trials, B.trial_id: further}))
    now = 62.0
    display.update(moved, states(moved))
    assert "step 3/4" in lines[1]


def test_trouble_is_told_once_until_it_is_over() -> None:
    lines: list[str] = []
    display = PlainLines(lines.append, run=RUN, monotonic=lambda: 0.0)
    for _ in range(3):
        display.trouble(TransientError("no route"), since=NOW)
    assert lines == ["waiting since 2026-01-02T03:04:05+00:00: no route\n"]
    display.update(situation(), states(situation()))
    display.trouble(TransientError("no route"), since=NOW)
    assert len(lines) == 3


def test_texts_from_a_job_cannot_drive_the_terminal() -> None:
    assert (
        harmless("a\x1b[2J\x9bb\r\n\tc")
        == "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}\n\tc"
    )
    failure = Failure(
        trial_id=A.trial_id,
        attempt="p1",
        reason="bug",
        permanent=True,
        exit_code=70,
        message="\x1b]0;title\x07[red]not markup[/red]\nsecond line",
        written_by="job",
        at=NOW,
    )
    given = Situation(PLAN, Ledger(trials={A.trial_id: TrialRecord(failures=(failure,))}), (), Limits(), NOW)
    shown = "\n".join(line.plain for line in table_lines(trial_rows(given, states(given)), width=200))
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown
    assert "[red]not markup[/red]" in shown
    assert "second line" not in shown


def test_a_long_table_shows_what_moves_first() -> None:
    given = situation()
    assert [row.trial_id for row in trial_rows(given, states(given), limit=1)] == [B.trial_id]


ROWS = (
    TrialRow("A", "0123456789ab", "succeeded", "prompt=v1, lora.r=8, learning_rate=5e-4", ""),
    TrialRow("AB", "ba9876543210", "failed", "\u65e5\u672c" * 40, "bug: " + "a long sentence " * 100),
    TrialRow("C", "cccccccccccc", "running", "lead-3", "train, step 3/12, loss 2.100"),
)


@pytest.mark.parametrize("width", [30, 31, 40, 50, 60, 80, 120, 200, 3000])
def test_letter_id_and_state_are_whole_at_any_width_and_no_line_is_wider(width: int) -> None:
    lines = [line.plain for line in table_lines(ROWS, width=width)]
    assert all(cell_len(line) <= width for line in lines)
    assert [line.split()[:3] for line in lines[1:]] == [list(row[:3]) for row in ROWS]
    assert [line[4:16] for line in lines[1:]] == [row.trial_id for row in ROWS]


def test_a_terminal_of_80_columns_has_a_piece_of_every_label_and_note() -> None:
    for row, line in zip(ROWS, table_lines(ROWS, width=80)[1:], strict=True):
        assert row.label[:5] in line.plain
        assert row.note[:10] in line.plain


def test_a_pipe_gets_every_word() -> None:
    for row, line in zip(ROWS, table_lines(ROWS, width=None)[1:], strict=True):
        assert row.label in line.plain
        assert row.note.strip() in line.plain
        assert line.plain == line.plain.rstrip()


def test_what_an_earlier_process_said_is_not_told_of_the_one_that_runs_now() -> None:
    record, seen = running(60)
    trial = next(trial for trial in TRIALS if trial.trial_id in seen.trial_ids)
    ledger = Ledger(trials={trial.trial_id: record})
    for attempt, told in (("p1", True), ("p2", False)):
        situation = Situation(PLAN, ledger, (replace(seen, attempt=attempt),), Limits(), NOW)
        note = trial_note(situation, trial, states(situation)[trial.trial_id])
        assert ("step 2/4" in note) is told


@pytest.mark.parametrize(
    ("silent_s", "state", "text"),
    [
        (5, "running", ""),
        (90, "running", "no sign of life for 90 s"),
        (301, "pending", "no sign of life for 301 s; `lorasweep run` goes on"),
    ],
)
def test_without_a_lock_to_ask_silence_tells_whether_a_trial_runs(silent_s: float, state: str, text: str) -> None:
    given = replace(situation(), observed=None, now=NOW + timedelta(seconds=silent_s))
    status = states(given)[B.trial_id]
    assert (status.state, status.text) == (state, text)
    assert text in trial_note(given, B, status)


@pytest.mark.parametrize(("silent_s", "text"), [(300, ""), (301, "no progress for 5 min, see `lorasweep logs`")])
def test_a_process_that_lives_and_tells_nothing_for_long_is_not_taken_for_one_that_works(
    silent_s: float, text: str
) -> None:
    given = replace(situation(), now=NOW + timedelta(seconds=silent_s))
    assert states(given)[B.trial_id].text == text
    nothing_yet = replace(given, ledger=Ledger(), now=given.now - timedelta(seconds=1))  # it began a second before
    assert states(nothing_yet)[B.trial_id].text == text


def test_of_a_group_only_the_trial_at_work_can_be_silent() -> None:
    given = replace(situation(), now=NOW + timedelta(hours=1))
    seen = tuple(replace(one, trial_ids=(B.trial_id, C.trial_id)) for one in given.observed or ())
    found = states(replace(given, observed=seen))
    assert (found[B.trial_id].text != "", found[C.trial_id].text) == (True, "")


def together(*, silent_s: float = 0) -> Situation:
    """B, C and D are lanes of one process that began a second ago; C spoke `silent_s` ago."""
    given = situation(eta_s=60)
    record = given.ledger.record(B.trial_id)
    (seen,) = given.observed or ()
    assert record.progress is not None
    spoke = record.progress.model_copy(update={"updated_at": NOW - timedelta(seconds=silent_s)})
    trials = {
        **given.ledger.trials,
        B.trial_id: TrialRecord(progress=spoke.model_copy(update={"updated_at": NOW - timedelta(hours=1)})),
        C.trial_id: TrialRecord(progress=spoke),
    }
    ids = (B.trial_id, C.trial_id, D.trial_id)
    groups = (PLAN.groups[0], Group(group_id="g", trial_ids=ids, engine="lanes"))
    return replace(
        given,
        plan=PLAN.model_copy(update={"groups": groups}),
        ledger=Ledger(trials=trials),
        observed=(replace(seen, trial_ids=ids, started_at=NOW - timedelta(hours=2)),),
    )


def test_a_lane_is_silent_when_its_whole_process_is() -> None:
    for silent_s, text in ((200, ""), (600, "no progress for 10 min, see `lorasweep logs`")):
        given = together(silent_s=silent_s)
        found = states(given)
        assert [found[trial.trial_id].text for trial in (B, C, D)] == [text] * 3


def test_lanes_end_together_and_so_their_time_left_counts_once() -> None:
    given = together()
    assert progress_of(given, states(given)).eta_s == pytest.approx(60)
    just_begun = replace(
        given, observed=tuple(replace(one, started_at=NOW - timedelta(seconds=1)) for one in given.observed or ())
    )
    unsaid = {trial_id: replace(record, progress=None) for trial_id, record in given.ledger.trials.items()}
    quiet = replace(just_begun, ledger=Ledger(trials=unsaid))
    # Three lanes' shares make the process's time, of which a second is gone.
    assert progress_of(quiet, states(quiet)).eta_s == pytest.approx(3 * TRIAL_S - 1)


def test_a_lane_that_runs_is_no_measure_of_a_trial_by_itself() -> None:
    given = together()
    trials = {trial_id: record for trial_id, record in given.ledger.trials.items() if trial_id != A.trial_id}
    none_done = replace(given, ledger=Ledger(trials=trials))
    # Two hours for three, and a minute more as the newer of the two that spoke sees it; A takes a third of their mean.
    assert progress_of(none_done, states(none_done)).eta_s == pytest.approx(60 + (7200 + 30) / 3)


def test_what_is_said_of_a_running_trial_is_news_once() -> None:
    lines: list[str] = []
    display = PlainLines(lines.append, run=RUN, monotonic=lambda: 0.0)
    for text in ("", "waiting for the store: full, 10 bytes free", "waiting for the store: full, 9 bytes free", ""):
        given = situation()
        seen = tuple(replace(one, text=text) for one in given.observed or ())
        given = replace(given, observed=seen)
        display.update(given, states(given))
    assert ["waiting for the store" in line for line in lines] == [False, True, False]


def test_a_pause_is_said_once_with_the_command_that_ends_it_and_so_is_its_end() -> None:
    lines: list[str] = []
    display = PlainLines(lines.append, run=RUN, monotonic=lambda: 0.0)
    for state in ("running", "paused", "paused", "running", "running", "paused"):
        given = situation()
        stored = replace(given.ledger, control=Control(state=state))
        given = replace(given, ledger=stored)
        display.update(given, states(given))
    paused = (
        "paused: 1 trial goes on to the end, nothing new is started; `lorasweep resume '/my runs/demo/main'` goes on\n"
    )
    assert lines[1:] == [paused, "the pause is over\n", paused]


def test_a_pause_of_what_is_finished_is_not_worth_a_word() -> None:
    record = {trial.trial_id: TrialRecord(result=result_of(trial, "p0")) for trial in TRIALS}
    given = Situation(PLAN, Ledger(trials=record, control=Control(state="paused")), (), Limits(), NOW)
    assert pause_text(given, states(given), run=RUN) == ""


def test_after_a_signal_a_person_hears_what_is_stopped_how_long_that_takes_and_how_to_end_it() -> None:
    one = leaving_text("interrupt", live=1)
    assert one == "Ctrl-C: stopping 1 process, with 30 s for a checkpoint; Ctrl-C again kills it at once"
    two = leaving_text("stop", live=2)
    assert two == "SIGTERM: stopping 2 processes, with 30 s for a checkpoint; Ctrl-C twice kills them at once"
    assert leaving_text("interrupt", live=0) == "Ctrl-C: ending"
