"""Which texts are shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import MadeRun, made_run
from made_report import finish_all, report_of

from job.store import Keys


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def test_examples_are_the_same_rows_whatever_the_scores(tmp_path: Path) -> None:
    chosen = []
    for place, best in (("one", "A"), ("two", "H")):
        run = made_run(tmp_path / place)
        for trial in run.plan.trials:
            run.finish(trial, score=0.5 if trial.letter == best else 0.2)
        report = report_of(run)
        assert [output.letter for output in report.examples[0].outputs] == [best, "I" if best == "A" else "J"]
        chosen.append([example.example_id for example in report.examples])
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 5


def test_long_texts_are_cut_and_say_so(run: MadeRun) -> None:
    run.texts = [("long " * 2000, "short")] * 80
    run.finish(run.trial("A"), prediction="word " * 1000)
    example = report_of(run).examples[0]
    assert len(example.input) < 1700
    assert example.input.endswith("more characters]")
    assert example.outputs[0].text.endswith("[4,200 more characters]")


def test_damaged_texts_cost_the_examples_and_a_sentence_and_nothing_else(run: MadeRun) -> None:
    finish_all(run)
    run.store.put(Keys.examples(next(iter(run.store.list("examples/"))).key.split("/")[1][:-6]), b"{nonsense\n")
    report = report_of(run)
    assert report.examples == ()
    assert any(sentence.startswith("No examples are shown") for sentence in report.warnings)
    assert report.configurations[0].rank == 1
