"""The page: its sections in the order in which a reader asks, whole in one file, and small however large the sweep."""

from __future__ import annotations

import re
from pathlib import Path

from made import GRID, Took, made_run
from made_report import report_of, stored

from controller.report.document import Report

ORDER = [
    "asked",
    "verdict",
    "ranking",
    "why",
    "tradeoffs",
    "failures",
    "next",
    "curves",
    "examples",
    "setup",
    "provenance",
]
MARKDOWN = ["Verdict", "Ranked by", "Why", "Trade-offs", "Failed trials", "Takeaways", "ROUGE-L on validation by step",
            "Examples", "Setup", "Provenance"]  # fmt: skip


def report_with_a_failure(folder: Path, text: str = GRID) -> tuple[Report, str, str]:
    run = made_run(folder, text)
    for trial in run.plan.trials:
        lora = trial.config.lora
        if trial.letter == "B":
            run.fail(trial)
        else:
            run.finish(trial, took=Took(10.0 * (lora.r if lora else 1), 10**9, 10**6 * (lora.r if lora else 0)))
    return report_of(run), stored(run, "report.html"), stored(run, "report.md")


def test_sections_come_in_the_order_in_which_a_reader_asks(tmp_path: Path) -> None:
    _, page, markdown = report_with_a_failure(tmp_path)
    found = re.findall(r'<h2 id="([a-z]+)"', page)
    assert [name for name in found if name in ORDER] == ORDER
    linked = re.findall(r'<a href="#([a-z]+)"', page)
    assert [name for name in linked if name in ORDER] == ORDER
    assert set(linked) <= set(re.findall(r'id="([a-z-]+)"', page))
    places = [markdown.index(f"## {title}") for title in MARKDOWN]
    assert places == sorted(places)


def test_the_page_says_how_to_run_it_again(tmp_path: Path) -> None:
    report, page, markdown = report_with_a_failure(tmp_path)
    for text in (page, markdown):
        assert "git checkout 0123456789abcdef0123456789abcdef01234567" in text
        assert "lorasweep run SPEC --store ANOTHER" in text
        assert "lorasweep report runs/made/main" in text
        assert f"specs/{report.spec_sha256}.yaml" in text


def test_every_plot_has_words_and_every_shape_a_meaning(tmp_path: Path) -> None:
    report, page, _ = report_with_a_failure(tmp_path)
    assert report.tradeoffs is not None
    assert len(report.tradeoffs.fronts) == 2
    for name in ("tradeoff-train-s", "tradeoff-adapter-bytes"):
        assert f'aria-labelledby="{name}-title {name}-desc"' in page
        words = re.search(rf'<desc id="{name}-desc">([^<]*)</desc>', page)
        assert words is not None
        assert "on the front, from the least:" in words[1]
    for meaning in ("shown worse than some other", "baseline, not trained", "the front"):
        assert f"</svg> {meaning}</li>" in page


def test_a_page_of_hundreds_of_configurations_is_below_two_megabytes(tmp_path: Path) -> None:
    ranks, rates = ", ".join(map(str, range(1, 11))), ", ".join(f"{place}e-5" for place in range(1, 13))
    text = GRID.replace("lora.r: [8, 16]", f"lora.r: [{ranks}]").replace("[5e-4, 2e-4]", f"[{rates}]")
    run = made_run(tmp_path, text)
    run.rows = {"validation": 4, "test": 4}
    for trial in run.plan.trials[::3]:
        run.fail(trial, message="m" * 2000, log_tail="l" * 4000)
    for trial in run.plan.trials:
        if trial not in run.plan.trials[::3]:
            lora = trial.config.lora
            run.finish(trial, took=Took(10.0 * (lora.r if lora else 1), 10**9, 10**6 * (lora.r if lora else 0)))
    report = report_of(run)
    assert len(report.configurations) > 200
    assert report.takeaways is not None
    assert len(stored(run, "report.html").encode()) < 2_000_000
    assert "<script" not in stored(run, "report.html")
