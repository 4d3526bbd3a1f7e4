"""What a report, and `lorasweep compare`, say of a run beside earlier ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from judged_runs import Nightly, reported

from controller.__main__ import main
from job.contract.documents import DATA_LIMIT_BYTES

BROKEN = "Translate:\\n{dialogue}\\nTranslation: <script>"


@pytest.fixture
def nightly(tmp_path: Path) -> Nightly:
    made = Nightly(tmp_path)
    made.judged()
    made.judged()
    return made


def _stored(nightly: Nightly, mean: float, prompt: str) -> dict[str, str]:
    run = nightly.run(mean, prompt=prompt)
    reported(run)
    names = ("report.html", "report.md")
    return {name: run.store.read(f"report/{name}", limit_bytes=DATA_LIMIT_BYTES).decode() for name in names}


def test_a_page_shows_the_regression_first_with_cause_rows_and_trend(nightly: Nightly) -> None:
    page = _stored(nightly, 0.1, BROKEN)["report.html"]
    assert page.index("Regression: ROUGE-L is") < page.index('id="verdict"')
    assert "<code>prompt.v1.prompt</code>" in page
    assert "Translation: &lt;script&gt;" in page
    assert "<script>" not in page
    assert page.count('<g class="mark baseline">') == 1
    assert page.count('<g class="mark tied">') >= 2
    assert 'aria-labelledby="trend-title trend-desc"' in page
    assert "The rows that lost most" in page


def test_a_comment_has_the_regression_below_its_title(nightly: Nightly) -> None:
    text = _stored(nightly, 0.1, BROKEN)["report.md"]
    assert text.splitlines()[2].startswith("## Regression: ROUGE-L is")
    assert "### What changed since night-1" in text
    assert "Translation: <script>" in text.split("and is now")[1].split("```")[1]
    assert "### The rows that lost most" in text


def test_a_night_without_a_drop_says_so_and_shows_no_rows(nightly: Nightly) -> None:
    found = _stored(nightly, 0.25, BROKEN)
    assert "No regression: this run is not shown worse" in found["report.html"]
    assert "The rows that lost most" not in found["report.html"] + found["report.md"]
    assert "prompt.v1.prompt" in found["report.md"]


def test_compare_ends_with_1_for_a_regression_and_0_for_its_opposite(
    nightly: Nightly, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = nightly.run(0.25).store.uri, nightly.run(0.1, prompt=BROKEN).store.uri
    assert main(["compare", good, bad]) == 1
    said = capsys.readouterr().out
    assert said.startswith("Regression: ROUGE-L is ")
    assert "changed: prompt.v1.prompt: Summarize: -> Translate:" in said
    assert main(["compare", "--output", "json", bad, good]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "ok"


def test_compare_refuses_one_run_twice(nightly: Nightly, capsys: pytest.CaptureFixture[str]) -> None:
    place = nightly.run().store.uri
    assert main(["compare", place, place]) == 2
    assert "name two runs" in capsys.readouterr().err
