"""The pure half of the benchmark: what it asks for, what it refuses to compare, and what it says."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from packed.ablations import ABLATIONS, PER_LANE
from packed.agreement import Agreement, agreement, check_losses, check_work
from packed.measured import MeasuredTrial, MeasuredWay
from packed.plot import plot
from packed.process import BenchmarkError
from packed.random_model import random_model
from packed.settings import SHAPES, WAYS, Settings, command_of, parsed
from packed.sweep import SPLITS, new_sweep, reference_tokens, write_rows
from packed.table import Page, page
from packed.without import PATCHES


def trial(label: str = "v1, r=8", *, losses: tuple[float, ...] = (2.0, 1.5), tokens: int = 600) -> MeasuredTrial:
    return MeasuredTrial(
        label=label, losses=losses, train_tokens=tokens, sequences=30, test_loss=1.25, test_rouge_l=0.3,
        data_s=1.0, train_s=6.0, evaluate_s=3.0, publish_s=0.5, device_peak_bytes=0,
    )  # fmt: skip


def way(name: str = "packed", *trials: MeasuredTrial, seconds: float = 25.0) -> MeasuredWay:
    return MeasuredWay(
        way=name, seconds=seconds, peak_bytes=512 * 2**20, measured_at="today", trials=trials or (trial(),)
    )


def test_what_is_not_asked_for_otherwise_is_the_shape_of_the_issue() -> None:
    arguments = parsed([])
    assert arguments.settings == Settings()
    assert (arguments.settings.trials, arguments.settings.train_rows) == (8, 128)
    assert arguments.ways == tuple(WAYS)
    assert arguments.shape is None


def test_ways_run_in_one_order_and_no_other_way_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed(["--ways", "packed,trl"]).ways == ("trl", "packed")
    with pytest.raises(SystemExit):
        parsed(["--ways", "packed,unsloth"])
    assert "there is no way 'unsloth'" in capsys.readouterr().err


def test_the_page_repeats_the_command_without_the_folders_of_a_machine() -> None:
    asked = ["--steps", "16", "--baselines", "--random", "gpt2", "--dtype", "float32", "--ways", "trl,packed"]
    said = command_of(parsed([*asked, "--page", "/somewhere/page.md", "--measured", "/somewhere/kept"]))
    assert said.startswith('make bench-packed BENCH_ARGS="')
    assert parsed(said.split('"')[1].split())[:5] == parsed(asked)[:5]
    assert "/somewhere" not in said
    assert command_of(parsed([])) == "make bench-packed"


@pytest.mark.parametrize("wrong", [["--trials", "0"], ["--steps", "30"], ["--model", "x", "--random", "gpt2"]])
def test_a_sweep_that_makes_no_sense_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(wrong)


def test_every_ablation_has_a_patch_of_something_that_is_there() -> None:
    assert PATCHES.keys() | {PER_LANE} == ABLATIONS.keys()
    for module, name, _ in PATCHES.values():
        assert hasattr(module, name)


def test_rows_are_repeated_under_other_ids_when_there_are_too_few(tmp_path: Path) -> None:
    settings = Settings(test_rows=450, steps=4)
    assert write_rows(tmp_path / "rows", settings=settings) == {"train": 0, "validation": 0, "test": 250}
    rows = [json.loads(line) for line in (tmp_path / "rows" / SPLITS["test"]).read_text().splitlines()]
    assert len(rows) == len({row["id"] for row in rows}) == 450
    assert rows[0]["dialogue"] == rows[200]["dialogue"]


def test_a_model_that_ends_no_text_writes_as_much_as_the_references_have(tmp_path: Path) -> None:
    (tmp_path / SPLITS["test"]).write_text('{"summary": "1234"}\n{"summary": "1234567"}\n', encoding="utf-8")
    assert reference_tokens(tmp_path, cap=64) == 8  # (1 + 4 + 1 + 1 + 7 + 1) / 2, rounded up
    assert reference_tokens(tmp_path, cap=6) == 6


def test_random_models_are_as_large_as_those_whose_shape_they_have() -> None:
    with torch.device("meta"):
        sizes = {shape: sum(one.numel() for one in random_model(shape, end=0).parameters()) for shape in SHAPES}
    assert sizes == {"gpt2": 124_439_808, "llama-1b": 1_235_814_400}


def test_eight_trials_are_two_prompts_ranks_and_rates_and_every_row_is_used(
    tiny_gpt2_folder: Path, tmp_path: Path
) -> None:
    settings = Settings(trials=9, baselines=True)
    write_rows(tmp_path / "rows", settings=settings)
    sweep = new_sweep(tiny_gpt2_folder, tmp_path / "rows", settings=settings, dtype="float32", tokens_written=None)
    trained = [one for one in sweep.trials if one.kind == "lora"]
    assert len({one.config_id for one in trained}) == 8
    assert [one.seed for one in trained] == [0] * 8 + [1]
    assert len(sweep.trials) == 11
    assert {role: len(rows) for role, rows in sweep.rows().splits.items()} == {
        "train": 128, "validation": 10, "test": 64,
    }  # fmt: skip


def test_start_up_is_what_no_other_stage_has() -> None:
    one = way("packed", trial("a"), trial("b"), seconds=25.0)
    assert one.stage("startup") == pytest.approx(25.0 - 2 * 10.5)
    assert one.tokens_per_s == pytest.approx(100.0)
    assert one.sequences_per_s == pytest.approx(10.0)


def test_losses_that_are_further_apart_than_allowed_leave_no_table() -> None:
    found = agreement(way("packed", trial(losses=(2.0, 1.5015))), way("reference"))
    assert found.largest == pytest.approx(1e-3)
    assert (found.losses, found.where) == (2, "v1, r=8, step 2")
    check_losses([found], tolerance=2e-3)
    with pytest.raises(BenchmarkError, match=r"packed and reference: 0\.001 at v1, r=8, step 2"):
        check_losses([found], tolerance=1e-4)


def test_a_way_with_other_dropout_masks_is_compared_at_the_first_step_alone() -> None:
    other = way("trl", trial(losses=(2.0, 1.9)))
    assert agreement(other, way("reference"), steps=1).largest == 0.0


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (way("trl", trial(losses=(2.0,))), "has 1 steps as trl and 2 as reference"),
        (way("trl", trial("another")), "ran other trials"),
    ],
)
def test_ways_that_did_not_run_the_same_trials_are_not_compared(other: MeasuredWay, said: str) -> None:
    with pytest.raises(BenchmarkError, match=said):
        agreement(other, way("reference"))


def test_a_loss_that_is_no_number_agrees_with_nothing() -> None:
    with pytest.raises(BenchmarkError):
        check_losses([Agreement("packed", "reference", 1, float("nan"), "step 1")], tolerance=1.0)


def test_a_way_that_trained_on_other_tokens_is_not_compared() -> None:
    with pytest.raises(BenchmarkError, match="601 tokens of training and 30 rows scored as packed and 600"):
        check_work([way("trl"), way("packed", trial(tokens=601))])


def test_the_page_says_the_ratio_to_trl_and_what_was_done_otherwise() -> None:
    ways = [way("trl", seconds=50.0), way("packed", seconds=20.0)]
    of = Page(
        ways, [Agreement("packed", "reference", 2, 1e-6, "A, step 1")], "a machine", "gpt2", "float32",
        Settings(baselines=True), command="make bench-packed", repeated={"train": 0, "test": 619}, tokens_written=64,
        plot="packed.svg",
    )  # fmt: skip
    text = page(of)
    rows = [line for line in text.partition("![")[0].splitlines() if re.match(r"\| (TRL|packed \|)", line)]
    trl, packed = ([cell.strip() for cell in row.split("|")] for row in rows)
    assert trl[2:4] == ["50.0", "1.00"]
    assert packed[2:4] == ["20.0", "2.50"]
    assert "under other ids: 619 test" in text
    assert "Every text has 64 tokens" in text
    assert "2 baselines" in text


def test_a_page_without_trl_has_no_ratio() -> None:
    of = Page(
        [way("packed")], [], "a machine", "m", "float32", Settings(), command="c", repeated={}, tokens_written=None,
        plot="p.svg",
    )  # fmt: skip
    assert "| packed | 25.0 |  |" in page(of)


def test_the_bars_of_the_plot_are_as_long_as_their_seconds() -> None:
    root = ET.fromstring(plot([way("trl", seconds=50.0), way("packed", seconds=25.0)]))  # noqa: S314  # our own text
    bars = [part for part in root if part.tag.endswith("rect") and part.get("height") == "18"]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert sum(widths[:5]) == pytest.approx(2 * sum(widths[5:]), abs=1.0)
