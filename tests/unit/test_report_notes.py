"""What a reader has to know before trusting the ranking."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import GRID, MadeRun, made_run
from made_report import finish_all, report_of


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def test_mixed_devices_engines_and_versions_are_said_beside_the_ranking(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    run.finish(run.trial("B"), device="NVIDIA H100", engine="lanes", versions={"torch": "2.16.0"})
    warnings = report_of(run).warnings
    assert any("mixes engines (lanes, reference)" in sentence for sentence in warnings)
    assert any("mixes devices (NVIDIA H100, cpu)" in sentence for sentence in warnings)
    assert any("mixes library versions (torch 2.15.0 and 2.16.0)" in sentence for sentence in warnings)


def test_a_lead_that_ran_elsewhere_mixes_nothing(run: MadeRun) -> None:
    run.finish(run.trial("A"), device="NVIDIA H100")
    run.finish(run.trial("K"), device="cpu")
    assert report_of(run).warnings == ()


def test_trials_that_left_the_grid_are_named_with_both_specs(tmp_path: Path) -> None:
    earlier = made_run(tmp_path)
    finish_all(earlier)
    later = made_run(tmp_path, GRID.replace("lora.r: [8, 16]", "lora.r: [8]"), earlier=[earlier.plan])
    report = report_of(later)
    assert [found.letter for found in report.configurations] != []
    warning = next(sentence for sentence in report.warnings if "left the grid" in sentence)
    assert warning.startswith("4 finished trials of the earlier spec")
    assert earlier.plan.spec_sha256[:12] in warning
    assert later.plan.spec_sha256[:12] in warning
    assert report.state == "complete"


def test_rows_that_differ_between_trials_are_said(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    run.finish(run.trial("C"))
    run.rows = {"validation": 20, "test": 48}
    run.finish(run.trial("B"))
    warnings = report_of(run).warnings
    assert any(sentence.startswith("B: scored on other validation rows") for sentence in warnings)


def test_prompts_that_complete_differently_are_not_compared_by_loss(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID.replace('" {summary}"}\ntrial', '"{summary}"}\ntrial'))
    finish_all(run)
    assert any("complete differently" in sentence for sentence in report_of(run).warnings)


def test_baselines_are_counted_against_by_mean_with_a_caveat(run: MadeRun) -> None:
    assert report_of(run).findings == ()
    finish_all(run)
    findings = report_of(run).findings
    assert "8 of 8 trained configurations are above the zero-shot baseline of their prompt." in findings[0]
    assert "completion loss" in findings[1]
    assert "are below" in findings[1]
    assert findings[2].endswith("are above lead-3.")
    assert findings[3].startswith("These counts compare means alone: no test says")
