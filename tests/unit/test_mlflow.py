"""`lorasweep export --to mlflow` into a real tracking store of MLflow, read again with MLflow's own client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made import GRID, MadeRun, made_run

from controller.__main__ import main
from controller.attempt_files import read_records
from controller.exports.values import trial_name
from job.contract.documents import StepRecord
from job.contract.errors import ExitCode
from job.store.results import load_manifest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LONG = GRID.replace("max_steps: 12", "max_steps: 600").replace("eval_steps: 6", "eval_steps: 300")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Of a tracking store in a folder, to which MLFLOW_TRACKING_URI leads."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())


def export(run: MadeRun, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    capsys.readouterr()
    assert main(["export", run.store.uri, "--to", "mlflow", "--output", "json", *words]) == ExitCode.DONE
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def runs_of(client: MlflowClient, name: str = "made") -> dict[str, Run]:
    """By name; two of one name are a duplicate."""
    found: Sequence[Run] = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def test_a_trial_is_a_run_with_its_settings_its_curves_and_its_tags(
    tmp_path: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path, LONG)
    result = run.finish(run.trial("A"))
    run.finish(run.trial("K"))
    assert export(run, capsys) == {"experiment": "made", "written": 2, "there": 2, "trials": 11}
    runs = runs_of(client)
    a = runs[trial_name(run.trial("A"))]
    assert (a.info.status, a.info.start_time) == ("FINISHED", round(result.started_at.timestamp() * 1000))
    assert {name: a.data.params[name] for name in ("prompt", "lora.r", "training.learning_rate", "model.dtype")} == {
        "prompt": "v1",
        "lora.r": "8",
        "training.learning_rate": "5e-4",
        "model.dtype": "float32",
    }
    records = read_records(run.store, load_manifest(run.store, result.manifest))
    expected = {record.step: record.loss for record in records if isinstance(record, StepRecord)}
    history = client.get_metric_history(a.info.run_id, "train/loss")
    assert {point.step: point.value for point in history} == pytest.approx(expected)
    assert len(history) == 600  # with rates and norms, more than a request takes
    steps = [point.step for point in client.get_metric_history(a.info.run_id, "validation/rougeL")]
    assert sorted(steps) == [300, 600]
    assert a.data.metrics["test/rougeL"] == pytest.approx(result.metrics["test"]["rougeL"].mean)
    tags = {name: value for name, value in a.data.tags.items() if name.startswith("lorasweep.")}
    assert tags.pop("lorasweep.store").isalnum()
    assert tags == {
        "lorasweep.sweep": "made",
        "lorasweep.run": "main",
        "lorasweep.trial": result.trial_id,
        "lorasweep.adapter": str(result.adapter_id),
        "lorasweep.configuration": result.config_id,
        "lorasweep.letter": "A",
        "lorasweep.label": run.trial("A").label,
        "lorasweep.kind": "lora",
        "lorasweep.seed": "0",
        "lorasweep.attempt": result.attempt,
    }
    assert "train/loss" not in runs[trial_name(run.trial("K"))].data.metrics
    assert str(tmp_path) not in str({**a.data.params, **tags})


def ids(client: MlflowClient) -> dict[str, str]:
    return {name: run.info.run_id for name, run in runs_of(client).items()}


def test_a_second_export_writes_what_is_new_and_makes_no_duplicates(
    tmp_path: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path)
    run.finish(run.trial("A"))
    export(run, capsys)
    before = ids(client)
    assert export(run, capsys)["written"] == 0
    assert ids(client) == before
    run.finish(run.trial("B"))
    assert export(run, capsys)["written"] == 1
    assert before.items() < ids(client).items()


def test_a_failure_is_a_failed_run_until_the_trial_has_a_result(
    tmp_path: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path)
    run.fail(run.trial("A"))
    assert export(run, capsys)["written"] == 1
    failed = runs_of(client)[trial_name(run.trial("A"))]
    assert (failed.info.status, failed.data.tags["lorasweep.failed"]) == ("FAILED", "diverged")
    run.finish(run.trial("A"))
    assert export(run, capsys)["written"] == 1
    (found,) = runs_of(client).values()
    assert (found.info.status, "lorasweep.failed" in found.data.tags) == ("FINISHED", False)


def test_an_export_that_was_cut_off_is_made_whole(
    tmp_path: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path)
    run.finish(run.trial("A"))
    export(run, capsys)
    ((name, run_id),) = ids(client).items()
    client.delete_tag(run_id, "lorasweep.attempt")  # as if it had ended before the last request
    assert export(run, capsys)["written"] == 1
    again = runs_of(client)
    assert again.keys() == {name}
    assert again[name].info.run_id != run_id
    points = client.get_metric_history(again[name].info.run_id, "train/loss")
    assert len(points) == 12


def test_runs_of_the_same_names_in_two_stores_are_two(
    tmp_path: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("one", "two"):
        run = made_run(tmp_path / folder)
        run.finish(run.trial("A"))
        assert export(run, capsys, "--experiment", "mine")["written"] == 1
    assert len(client.search_runs([client.get_experiment_by_name("mine").experiment_id])) == 2


@pytest.mark.parametrize(
    ("to", "code", "words"),
    [
        ("wandb", ExitCode.MISTAKE, "--to 'wandb' is no tool to export to; write mlflow, or mlflow:URI"),
        ("mlflow:", ExitCode.MISTAKE, "write mlflow, or mlflow:URI"),
        ("mlflow:ftp://x", ExitCode.CONFIGURATION, "mlflow cannot open this tracking store"),
        ("mlflow:sqlite:///x.db", ExitCode.CONFIGURATION, "install all of mlflow for a database"),
        ("mlflow:http://127.0.0.1:9", ExitCode.TRY_AGAIN, "run this again: it goes on"),
    ],
)
def test_a_tool_that_cannot_be_reached_is_said_with_the_remedy(
    tmp_path: Path,
    client: MlflowClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    code: ExitCode,
    words: str,
) -> None:
    del client
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = made_run(tmp_path)
    assert main(["export", run.store.uri, "--to", to]) == code
    assert words in capsys.readouterr().err


def test_a_deleted_experiment_is_not_written_to(
    tmp_path: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.delete_experiment(client.create_experiment("made"))
    assert main(["export", made_run(tmp_path).store.uri, "--to", "mlflow"]) == ExitCode.CONFIGURATION
    assert "is deleted; restore it" in capsys.readouterr().err


def test_nothing_else_imports_mlflow() -> None:
    asked = "import sys, controller.__main__, controller.cli.export; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
