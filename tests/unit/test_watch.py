"""A run is watched until it ends, without asking its store for more than may have changed."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from fake_sweep import NOW
from made import made_run
from rich.console import Console
from situations import PLAN, A, seen, situation
from situations import ledger as ledger_of

from controller.cli import watch as watched
from controller.cli.presence import Presence
from controller.cli.target import Target, open_target
from controller.cli.watch import Lookout, pause_after, watch
from controller.ledger import TrialRecord
from controller.states import Situation, states
from controller.terminal import LiveTable, PlainLines
from job.contract.documents import Progress
from job.contract.errors import TransientError
from job.store import Keys


class Shown(PlainLines):
    """What a person would have read."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.closed = False
        super().__init__(lambda text: self.lines.append(text.rstrip("\n")), run="/runs", monotonic=lambda: 0.0)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A run of ten trials, of which A is at work."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(watched, "_PAUSE_S", 0.0)
    run = made_run(tmp_path)
    return open_target(run.store.uri, store=None, run=None)


def at_work(target: Target, letters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the locks say that these trials live."""
    ids = tuple(trial.trial_id for trial in target.plan.trials if trial.letter in letters)
    live = (replace(seen(ids), group_id="g"),) if ids else ()
    monkeypatch.setattr(watched, "presence_on", lambda _: Presence(True, live))


def listed(target: Target, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prefixes that are listed from now on."""
    found: list[str] = []
    asked = target.store.list
    monkeypatch.setattr(target.store, "list", lambda prefix: found.append(prefix) or asked(prefix))  # type: ignore[func-returns-value]  # append gives None, so the listing is what comes out
    return found


def test_a_look_reads_what_is_at_work_and_what_was_at_the_look_before(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {trial.letter: trial.trial_id for trial in target.plan.trials}
    lookout = Lookout(target, None, watching=True)
    at_work(target, "A", monkeypatch)
    lookout.look()
    found = listed(target, monkeypatch)
    at_work(target, "B", monkeypatch)
    lookout.look()
    assert found == [Keys.SUBMISSIONS, *sorted(Keys.trial(ids[letter]) for letter in "AB")]
    found.clear()
    lookout.look()
    assert found == [Keys.SUBMISSIONS, Keys.trial(ids["B"])]


def test_where_nobody_can_tell_who_is_at_work_all_trials_are_listed(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "presence_on", lambda _: Presence(None, None))
    lookout = Lookout(target, None, watching=True)
    lookout.look()
    found = listed(target, monkeypatch)
    lookout.look()
    assert found == [Keys.SUBMISSIONS, Keys.TRIALS]


def test_a_watch_says_who_is_ahead_and_ends_with_the_run(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_run(tmp_path)
    open_trials = list(run.plan.trials)
    at_work(target, "ABCDEFGHIJK", monkeypatch)
    lookout = Lookout(target, None, watching=True)
    look = lookout.look

    def look_then_finish_one() -> watched.Look:
        found = look()
        if open_trials:
            run.finish(open_trials.pop(0))
        return found

    monkeypatch.setattr(lookout, "look", look_then_finish_one)
    display = Shown()
    assert watch(lookout, display=display).left is False
    assert display.closed
    assert [line for line in display.lines if line.startswith("best so far: A (")]
    assert sum("succeeded" in line for line in display.lines) == len(run.plan.trials)


def test_a_store_that_does_not_answer_for_a_while_ends_no_watch(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work(target, "A", monkeypatch)
    lookout = Lookout(target, None, watching=True)
    first = lookout.look()
    run = made_run(tmp_path)
    for trial in run.plan.trials:
        run.finish(trial)
    last = Lookout(target, None, watching=True).look()
    told: list[watched.Look | TransientError] = [first, TransientError("no route to the store"), last]

    def tell() -> watched.Look:
        found = told.pop(0)
        if isinstance(found, TransientError):
            raise found
        return found

    monkeypatch.setattr(lookout, "look", tell)
    display = Shown()
    assert watch(lookout, display=display).look == last
    assert sum("no route to the store" in line for line in display.lines) == 1


@pytest.mark.parametrize(("looked_s", "pause_s"), [(0.0, 2.0), (0.2, 2.0), (1.0, 9.0), (60.0, 60.0)])
def test_a_slow_store_is_asked_less_often(looked_s: float, pause_s: float) -> None:
    assert pause_after(looked_s) == pytest.approx(pause_s)


def at_step(step: int) -> Situation:
    progress = Progress(
        attempt="p1", stage="train", step=step, max_steps=8, loss=1.5, tokens_per_s=900.0, eta_s=200.0, updated_at=NOW
    )
    return replace(situation(ledger_of(TrialRecord(progress=progress)), (seen(),)), now=NOW)


def test_the_table_has_step_loss_speed_and_time_left_of_what_runs_and_the_best_below() -> None:
    shown = table_on(at_step(3), height=20)
    assert "train, step 3/8, loss 1.500, 900 tokens/s, about 3 min 20 s left" in shown
    assert shown.index(f"A  {A.trial_id}") < shown.index("0/3 done, 1 running, 2 pending") < shown.index("best so far")


def test_in_a_low_window_trials_give_way_to_what_is_said_of_the_whole_run() -> None:
    trials = tuple(PLAN.trials)
    shown = table_on(at_step(3), height=6)
    assert "0/3 done" in shown
    assert "best so far: B" in shown
    assert sum(trial.trial_id in shown for trial in trials) == 2
    assert A.trial_id in shown  # it runs


def table_on(given: Situation, *, height: int) -> str:
    screen = io.StringIO()
    table = LiveTable(Console(file=screen, force_terminal=True, width=140, height=height, color_system=None), run="/r")
    table.best("best so far: B (r=8), ROUGE-L 0.231 on validation, 32 rows, 1 seed")
    table.update(given, states(given))
    found = screen.getvalue()
    table.close()
    return found


def test_a_log_says_who_is_ahead_when_that_changes() -> None:
    display = Shown()
    given = at_step(3)
    for text in ("", "best so far: A", "best so far: A", "best so far: B"):
        display.best(text)
        display.update(given, states(given))
    assert display.lines[1:] == ["best so far: A", "best so far: B"]
