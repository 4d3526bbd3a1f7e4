"""`lorasweep evaluate` trains nothing: what it cannot score from adapters that exist it refuses before it writes."""

from __future__ import annotations

import pytest
from sandbox import Sandbox


def evaluate(sandbox: Sandbox, *words: str) -> tuple[int, str]:
    done = sandbox.verb("evaluate", *words)
    return done.returncode, done.stderr


def test_a_trial_without_an_adapter_is_refused_by_name_and_nothing_is_written(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    before = sandbox.bytes_of_run()
    sandbox.write_spec([1, 2, 3, 4, 5])

    code, said = evaluate(sandbox, str(sandbox.spec), "--store", str(sandbox.store))

    assert code == 2
    assert "D (lora.r=4, seed 0) and 1 more trials have no adapter" in said
    assert "evaluate trains nothing" in said
    assert sandbox.bytes_of_run() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--metric", "bleu"), "'bleu' is not an installed metric (installed: rouge)"),
        (("--metric", "rougeL"), "'rougeL' is part of 'rouge'"),
        (("--backend", "kubernetes", "--run-from-job", "x"), "name it with --run"),
    ],
)
def test_a_mistake_in_the_words_is_said(sandbox: Sandbox, words: tuple[str, ...], said: str) -> None:
    code, stderr = evaluate(sandbox, str(sandbox.spec), *words)
    assert (code, said in stderr) == (2, True), stderr


def test_without_a_run_there_is_nothing_to_score(sandbox: Sandbox) -> None:
    code, said = evaluate(sandbox, str(sandbox.spec), "--store", str(sandbox.store))
    assert code == 2
    assert "no run there, and so nothing to score" in said
    assert not sandbox.run.exists()


def test_what_is_scored_already_is_left_as_it_is(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    before = sandbox.bytes_of_run()
    code, said = evaluate(sandbox, str(sandbox.run), "--metric", "rouge")
    assert code == 0, said
    assert "nothing to do" in said
    assert sandbox.bytes_of_run() == before
