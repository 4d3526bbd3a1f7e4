"""Which adapter is promoted, what its card says, and what a place takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from made import GRID, MadeRun, made_run
from made_report import flat, report_of, row
from servers.s3_server import S3Bucket

from controller.collect import TrialData, collect
from controller.promotion.adapter import fetch_adapter
from controller.promotion.card import Evidence, promoted_card
from controller.promotion.chosen import choose
from controller.promotion.place import place_of
from controller.report.content import objective_of
from controller.report.ranking import Ranking, ranking_of
from job.contract.documents import Result
from job.contract.errors import ConfigurationError, ConflictError, NotFoundError, ResultError, SpecError
from job.store import Keys, open_store

SEEDS = GRID.replace("seeds: [0]", "seeds: [0, 1]")
CARD = """\
---
library_name: peft
tags: ["lora", "base_model:adapter:base"]
model-index: [{"name": "made-A", "results": [{"task": {"type": "text-generation"}, "dataset": {"name": "rows", \
"type": "rows", "split": "validation"}, "metrics": [{"type": "rougeL", "value": 0.9}, {"type": "own", "value": 7}]}]}]
---

# made A

| split | metric | mean | rows |
|---|---|---|---|
| validation | rougeL | 0.9000 | 32 |

## Use
"""
FILES = {
    "adapter/README.md": CARD.encode(),
    "adapter/adapter_config.json": b"{}",
    "adapter/adapter_model.safetensors": b"w",
}
NAMES = ("README.md", "adapter_config.json", "adapter_model.safetensors")


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """Two seeds each; B is the best by far, its seed 1 better than seed 0; C has failed."""
    made = made_run(tmp_path, SEEDS)
    for letter, score in (("A", 0.2), ("B", 0.5)):
        for seed in (0, 1):
            made.finish(made.trial(letter, seed=seed), score=score + 0.15 * seed, files=FILES)
    made.fail(made.trial("C"))
    made.finish(made.trial("K"))
    return made


def ranking(run: MadeRun) -> Ranking:
    trials = collect(run.store, run.plan, run.loaded.spec).trials
    return ranking_of(trials, objective_of(run.loaded.spec), characters={})


@pytest.mark.parametrize("word", ["best", "B", "id"])
def test_best_a_letter_and_an_id_name_an_adapter(run: MadeRun, word: str) -> None:
    meant = run.trial("B", seed=1)
    found = choose(meant.trial_id[:6] if word == "id" else word, ranking(run))
    assert found.planned == meant
    assert found.measured.result.trial_id == meant.trial_id
    assert (found.standing.rank, found.ranked) == (1, 2)


def test_an_id_takes_the_seed_that_it_names(run: MadeRun) -> None:
    meant = run.trial("B", seed=0)
    assert choose(meant.trial_id, ranking(run)).planned == meant


@pytest.mark.parametrize(
    ("word", "error", "words"),
    [
        ("C", NotFoundError, r"C .* has no adapter: it failed \(diverged\)"),
        ("D", NotFoundError, "D .* has no adapter: it is not finished"),
        ("K", SpecError, "is a baseline"),
        ("Z", SpecError, "trial 'Z' is none of this run; adapters are A = .*; or write `best`"),
        ("", SpecError, "trial '' is none of this run"),
    ],
)
def test_what_has_no_adapter_is_refused_with_the_reason(
    run: MadeRun, word: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        choose(word, ranking(run))


def test_there_is_no_best_before_a_configuration_has_finished(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no trained configuration has the objective yet"):
        choose("best", ranking(made_run(tmp_path)))


def evidence_of(run: MadeRun, word: str) -> Evidence:
    ranked = ranking(run)
    chosen = choose(word, ranked)
    alone = [TrialData(chosen.planned, "succeeded", measured=chosen.measured)]
    metrics = ranking_of(alone, ranked.objective, characters={}).standings[0].metrics
    return Evidence(chosen, ranked.objective, metrics)


def evaluations(card: str) -> dict[str, EvalResult]:
    data = ModelCard(card).data
    assert isinstance(data, ModelCardData)
    return {found.metric_type: found for found in data.eval_results or ()}


def test_every_metric_of_the_model_index_has_the_interval_of_the_report(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    run.finish(run.trial("A"), score=0.3, files=FILES)
    expected = row(report_of(run), "A").metrics["validation"]["rougeL"]
    found = evaluations(promoted_card(CARD, evidence_of(run, "A")))
    rouge = found["rougeL"]
    assert expected.low is not None
    assert expected.high is not None
    assert rouge.metric_value == pytest.approx(expected.mean, abs=1e-6)
    assert rouge.metric_name == "ROUGE-L"
    assert rouge.metric_args == {
        "rows": 32,
        "confidence_level": 0.95,
        "confidence_low": pytest.approx(expected.low, abs=1e-6),
        "confidence_high": pytest.approx(expected.high, abs=1e-6),
    }
    assert found["own"].metric_value == 7  # not in the table of scores, and so as it was


def test_the_card_keeps_what_it_says_of_its_own_and_writing_it_again_changes_nothing(run: MadeRun) -> None:
    evidence = evidence_of(run, "B")
    card = promoted_card(CARD, evidence)
    data = ModelCard(card).data
    assert isinstance(data, ModelCardData)
    assert data.tags == ["lora", "base_model:adapter:base"]
    assert card.index("# made A") < card.index("95 % interval") < card.index("## Use")
    assert "| 0.9000 |" not in card
    assert promoted_card(CARD, evidence) == card
    without = CARD.replace("| split | metric | mean | rows |", "| another |")
    assert promoted_card(without, evidence).index("## Use") < promoted_card(without, evidence).index("95 % interval")


@pytest.mark.parametrize(
    ("scores", "word", "words"),
    [
        ({"A": 0.2, "B": 0.5}, "B", "ranks 1 of 2 trained configurations. It is shown better than every other."),
        ({"A": 0.2, "B": 0.5}, "A", "ranks 2 of 2 trained configurations. It is shown worse than another; not shown"),
        ({"A": 0.3, "B": 0.3}, "A", "It is not shown better than B."),
        ({"A": 0.3}, "A", "ranks 1 of 1 trained configuration.\n"),
    ],
)
def test_the_card_says_what_the_sweep_shows(tmp_path: Path, scores: Mapping[str, float], word: str, words: str) -> None:
    run = made_run(tmp_path)
    for letter, score in scores.items():
        run.finish(run.trial(letter), score=score, files=FILES)
    card = promoted_card(CARD, evidence_of(run, word))
    assert words in card
    assert "seeds of its configuration" not in card


def test_one_of_several_seeds_says_the_mean_of_all(run: MadeRun) -> None:
    overall = row(report_of(run), "B").metrics["validation"]["rougeL"]
    words = (
        f"It is one of 2 seeds of its configuration, whose ROUGE-L on validation over all of them is {overall.mean:.3f}"
    )
    assert words in promoted_card(CARD, evidence_of(run, "B"))


def test_rows_without_spread_have_no_interval(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    run.rows = {"validation": 32, "test": 32}
    run.finish(run.trial("A"), scores=flat(0.25), files=FILES)
    card = promoted_card(CARD, evidence_of(run, "A"))
    assert evaluations(card)["rougeL"].metric_args == {"rows": 32}
    assert "| validation | rougeL | 0.2500 |  | 32 |" in card


def test_metadata_that_nobody_can_read_is_said(run: MadeRun) -> None:
    with pytest.raises(ResultError, match=r"README\.md of the adapter has metadata that cannot be read"):
        promoted_card("---\na: [\n---\n", evidence_of(run, "B"))


def result_of(run: MadeRun) -> Result:
    return choose("best", ranking(run)).measured.result


def test_the_files_of_an_adapter_are_those_of_its_manifest(run: MadeRun, tmp_path: Path) -> None:
    assert fetch_adapter(run.store, result_of(run), tmp_path / "got") == NAMES
    assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == {
        name.removeprefix("adapter/"): body for name, body in FILES.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_or_missing_file_is_not_promoted(run: MadeRun, tmp_path: Path, name: str) -> None:
    result = result_of(run)
    key = Keys.attempt_file(result.trial_id, result.attempt, f"adapter/{name}")
    run.store.put(key, b"x")
    with pytest.raises(ResultError, match=f"{name} has SHA-256 .*, the manifest says"):
        fetch_adapter(run.store, result, tmp_path / "a")
    run.store.delete(key)
    with pytest.raises(ResultError, match=f"{name} is missing"):
        fetch_adapter(run.store, result, tmp_path / "b")


def test_an_adapter_without_a_card_is_none(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    result = run.finish(run.trial("A"))
    with pytest.raises(ResultError, match=r"lists no adapter/README\.md, which an adapter needs"):
        fetch_adapter(run.store, result, tmp_path / "a")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "fetched"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"{name} {np.pi}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_a_folder_holds_the_adapter_alone_and_takes_it_once(adapter: Path, tmp_path: Path, *, there: bool) -> None:
    target = tmp_path / "some" / "where"
    if there:
        target.mkdir(parents=True)
    place = place_of(str(target), run_uri="/runs/demo/main")
    assert place.take(adapter, NAMES) == (str(target), NAMES)
    assert contents(target) == contents(adapter)
    assert list(target.parent.iterdir()) == [target]
    before = target.stat().st_ino
    assert place.take(adapter, NAMES) == (str(target), ())
    assert target.stat().st_ino == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mine.txt": "x"}, "holds 'mine.txt', which is not of this adapter"),
        ({"README.md": "mine"}, "README.md has other bytes than this adapter's"),
        ({"README.md": None}, "lacks 'README.md' of this adapter and is not empty"),
    ],
)
def test_a_folder_with_anything_else_is_left_as_it_is(
    adapter: Path, tmp_path: Path, change: Mapping[str, str | None], words: str
) -> None:
    target = tmp_path / "there"
    place = place_of(str(target), run_uri="/runs/demo/main")
    place.take(adapter, NAMES)
    for name, text in change.items():
        if text is None:
            (target / name).unlink()
        else:
            (target / name).write_text(text)
    before = contents(target)
    with pytest.raises(ConflictError, match=words):
        place.take(adapter, NAMES)
    assert contents(target) == before


def test_a_file_in_the_place_of_the_folder_is_left_as_it_is(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ConflictError, match="is a file"):
        place_of(str(tmp_path / "there"), run_uri="/runs/demo/main").take(adapter, NAMES)
    with pytest.raises(ConfigurationError):
        place_of(str(tmp_path / "there" / "below"), run_uri="/runs/demo/main").take(adapter, NAMES)


def test_a_prefix_of_a_bucket_takes_the_adapter_once_and_goes_on_where_it_was_cut_off(
    adapter: Path, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_bucket.server.environment().items():
        monkeypatch.setenv(name, value)
    uri = f"s3://{s3_bucket.name}/models/best"
    place = place_of(uri + "/", run_uri="s3://runs/demo/main")
    store = open_store(uri)
    store.upload("README.md", adapter / "README.md")
    written = ("adapter_model.safetensors", "adapter_config.json")
    assert place.take(adapter, NAMES) == (uri, written)
    assert place.take(adapter, NAMES) == (uri, ())
    assert {key.key: store.sha256(key.key) for key in store.list("")}.keys() == set(NAMES)
    store.put("README.md", b"mine")
    with pytest.raises(ConflictError, match=r"README\.md has other bytes"):
        place.take(adapter, NAMES)
    store.put("mine.txt", b"mine")
    with pytest.raises(ConflictError, match=r"holds 'mine\.txt'"):
        place.take(adapter, NAMES)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("", "is empty; write an empty folder's path, s3://bucket/prefix, or hub:ORG/NAME"),
        ("gs://bucket/x", "`gs:` is not supported"),
        ("s3:/bucket", "an S3 address starts with s3://"),
        ("hub:name", "'name' is no repository; write hub:ORG/NAME"),
        ("hub:org/a/b", "is no repository"),
        ("hub:../up", "is no repository"),
        ("/runs/demo/main", "is in the run itself"),
        ("/runs/demo/main/trials", "is in the run itself"),
    ],
)
def test_what_is_no_place_is_refused(word: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        place_of(word, run_uri="/runs/demo/main")
