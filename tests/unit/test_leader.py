"""Which configuration is ahead while a run goes on: the number of the report, read once for each result."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import GRID, MadeRun, made_run
from made_report import SKILL, report_of

from controller.leader import Leader, Leaders, leader_text
from controller.ledger import Ledger
from controller.ledger_reader import LedgerReader
from job.store import Keys

BY_LOSS = GRID.replace("version: 1\n", "version: 1\nobjective: {metric: completion_loss}\n")
SEEDS = GRID.replace("seeds: [0]", "seeds: [0, 1, 2]")


def ledger_of(run: MadeRun) -> Ledger:
    return LedgerReader(run.store, run.plan).read(live=None)


def leaders(run: MadeRun) -> Leaders:
    return Leaders(run.store, run.plan, run.loaded.spec)


def test_nobody_is_ahead_before_a_trained_trial_is_finished(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    assert leaders(run).now(ledger_of(run)) is None
    run.finish(run.trial("I"), score=0.9)  # zero-shot is no configuration that one could choose
    assert leaders(run).now(ledger_of(run)) is None
    assert leader_text(None) == ""


@pytest.mark.parametrize("text", [GRID, SEEDS, BY_LOSS], ids=["one seed", "seeds", "by loss"])
def test_who_is_ahead_has_the_mean_and_the_error_of_the_report(tmp_path: Path, text: str) -> None:
    run = made_run(tmp_path, text)
    found = leaders(run)
    for trial in run.plan.trials[:9]:
        run.finish(trial, score=SKILL.get(trial.letter, 0.2))
        found.now(ledger_of(run))
    leader = found.now(ledger_of(run))
    report = report_of(run)
    best = next(configuration for configuration in report.configurations if configuration.rank == 1)
    assert leader is not None
    assert (leader.letter, leader.label, leader.objective) == (best.letter, best.label, report.objective)
    assert leader.metric == best.metrics[report.objective.split][report.objective.metric]


def test_the_scores_of_a_result_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_run(tmp_path)
    run.finish(run.trial("A"), score=0.2)
    found = leaders(run)
    first = found.now(ledger_of(run))
    run.finish(run.trial("B"), score=0.4)
    ledger = ledger_of(run)
    read: list[str] = []
    asked = run.store.read

    def noted(key: str, *, limit_bytes: int) -> bytes:
        read.append(key)
        return asked(key, limit_bytes=limit_bytes)

    monkeypatch.setattr(run.store, "read", noted)
    second = found.now(ledger)
    assert [one.letter for one in (first, second) if one is not None] == ["A", "B"]
    assert read
    assert all(key.startswith(Keys.trial(run.trial("B").trial_id)) for key in read)
    read.clear()
    assert found.now(ledger) == second
    assert read == []


def test_a_result_that_is_damaged_leads_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    for letter, score in (("A", 0.2), ("B", 0.4)):
        run.finish(run.trial(letter), score=score)
    ledger = ledger_of(run)
    trial_id = run.trial("B").trial_id
    result = ledger.record(trial_id).result
    assert result is not None
    run.store.put(Keys.attempt_file(trial_id, result.attempt, "scores.json"), b"{}")
    leader = leaders(run).now(ledger)
    assert leader is not None
    assert leader.letter == "A"


def test_the_words_have_the_error_and_what_it_comes_from(tmp_path: Path) -> None:
    run = made_run(tmp_path, SEEDS)
    for trial in run.plan.trials[:3]:
        run.finish(trial, score=0.25)
    leader = leaders(run).now(ledger_of(run))
    assert isinstance(leader, Leader)
    mean, half = f"{leader.metric.mean:.3f}", f"{leader.metric.half:.3f}"
    assert leader_text(leader) == (
        f"best so far: A ({leader.label}), ROUGE-L {mean} \N{PLUS-MINUS SIGN} {half} on validation, 32 rows, 3 seeds"
    )
