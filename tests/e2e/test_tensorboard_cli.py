"""`lorasweep tensorboard` with a real TensorBoard: what its own plugins answer over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from made import GRID, MadeRun, made_run
from servers.s3_server import S3Bucket

from controller.__main__ import main
from controller.attempt_files import read_records
from controller.exports.values import trial_name
from job.contract.documents import StepRecord
from job.contract.errors import ExitCode
from job.store import open_store
from job.store.results import load_manifest

DEADLINE_S = 120.0
SEEDS = GRID.replace("seeds: [0]", "seeds: [0, 1]")
TRIALS = (("A", 0, 0.25), ("A", 1, 0.29), ("C", 0, 0.35))


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """A with two seeds, C with one, a baseline, and B that has failed."""
    made = made_run(tmp_path, SEEDS)
    for letter, seed, score in TRIALS:
        made.finish(made.trial(letter, seed=seed), score=score)
    made.finish(made.trial("K"))
    made.fail(made.trial("B", seed=0))
    return made


class Board:
    """A running TensorBoard and what it is asked."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}/data/plugin/{path}", data=data, headers=headers)  # noqa: S310  (our own address)
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310  (a loopback address of this test)
            return json.load(answer)

    def tags_of(self, *runs: str) -> dict[str, list[str]]:
        """Run to tags, once TensorBoard has read these runs."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            found = {name: sorted(tags) for name, tags in self.ask("scalars/tags").items()}
            if set(runs) <= found.keys():
                return found
            assert time.monotonic() < deadline, f"{runs} are not among {sorted(found)}"
            time.sleep(0.2)

    def points(self, run: str, tag: str) -> list[tuple[int, float]]:
        found = self.ask(f"scalars/scalars?{urlencode({'run': run, 'tag': tag})}")
        return [(int(step), float(value)) for _, step, value in found]


@contextmanager
def board(uri: str, tmp_path: Path, **environment: str) -> Iterator[Board]:
    paths = os.pathsep.join(path for path in sys.path if path)
    variables = {**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(tmp_path / "cache"), **environment}
    variables["XDG_STATE_HOME"] = str(tmp_path / "state")
    command = [sys.executable, "-m", "controller", "tensorboard", uri, "--port", "0"]
    process = subprocess.Popen(command, env=variables, cwd=tmp_path, text=True, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:[0-9]+", line):
                yield Board(process, found[0])
                break
        else:
            raise AssertionError(f"no address; it wrote: {said}")
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert (process.wait(DEADLINE_S), "TensorBoard has ended" in rest) == (ExitCode.DONE, True)


def test_scalars_and_hparams_of_a_run_are_shown(run: MadeRun, tmp_path: Path) -> None:
    names = {(letter, seed): trial_name(run.trial(letter, seed=seed)) for letter, seed, _ in TRIALS}
    baseline = trial_name(run.trial("K"))
    with board(run.store.uri, tmp_path) as shown:
        tags = shown.tags_of(*names.values(), baseline)
        assert {"train/loss", "train/learning_rate", "validation/rougeL", "test/rougeL"} <= set(tags[names["A", 0]])
        assert "train/loss" not in tags[baseline]
        result = open_result(run, "A", 1)
        records = read_records(run.store, load_manifest(run.store, result.manifest))
        expected = [(record.step, record.loss) for record in records if isinstance(record, StepRecord)]
        found = shown.points(names["A", 1], "train/loss")
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)

        experiment = shown.ask("hparams/experiment", {})
        assert experiment["name"] == "made/main"
        parameters = {found["name"]: found for found in experiment["hparamInfos"]}
        assert {name: found["type"] for name, found in parameters.items()} == {
            "prompt": "DATA_TYPE_STRING",
            "lora.r": "DATA_TYPE_FLOAT64",
            "training.learning_rate": "DATA_TYPE_FLOAT64",
        }
        assert parameters["lora.r"]["domainDiscrete"] == [8, 16]
        assert parameters["training.learning_rate"]["domainDiscrete"] == [2e-4, 5e-4]
        metrics = [found["name"]["tag"] for found in experiment["metricInfos"]]
        assert metrics[0] == "validation/rougeL"
        assert {"test/completion_loss", "train/loss"} <= set(metrics)
        check_groups(run, shown, names)


def open_result(run: MadeRun, letter: str, seed: int) -> Any:
    from controller.verified import VerifiedResults

    return VerifiedResults(run.store).read(run.trial(letter, seed=seed))


def check_groups(run: MadeRun, shown: Board, names: dict[tuple[str, int], str]) -> None:
    """A session group for each configuration, with the mean over its seeds."""
    tag = "validation/rougeL"
    asked = {
        "startIndex": 0,
        "sliceSize": 100,
        "aggregationType": "AGGREGATION_AVG",
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"],
        "colParams": [{"hparam": "lora.r"}, {"metric": {"group": "", "tag": tag}, "order": "ORDER_DESC"}],
    }
    groups = {group["name"]: group for group in shown.ask("hparams/session_groups", asked)["sessionGroups"]}
    titles = {letter: f"{letter}: {run.trial(letter).label}" for letter in "ABC"}
    assert set(groups) == set(titles.values())
    assert {session["name"] for session in groups[titles["A"]]["sessions"]} == {names["A", 0], names["A", 1]}
    assert [session["status"] for session in groups[titles["B"]]["sessions"]] == ["STATUS_FAILURE"]
    assert groups[titles["C"]]["hparams"]["training.learning_rate"] == 5e-4
    means = {found["name"]["tag"]: found["value"] for found in groups[titles["A"]]["metricValues"]}
    results = [open_result(run, "A", seed).metrics["validation"]["rougeL"].mean for seed in (0, 1)]
    assert means[tag] == pytest.approx(sum(results) / 2, rel=1e-6)


def test_a_run_in_a_bucket_is_shown_and_what_ends_meanwhile_comes(
    run: MadeRun, tmp_path: Path, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = s3_bucket.server.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    there = open_store(f"s3://{s3_bucket.name}/runs/made/main")
    for found in list(run.store.list("")):
        if "/failures/" not in found.key:  # a finished run would not be looked at again
            there.put(found.key, run.store.read(found.key, limit_bytes=2**24))
    late = run.trial("D", seed=0)
    with board(there.uri, tmp_path, **environment) as shown:
        assert trial_name(late) not in shown.tags_of(trial_name(run.trial("A", seed=0)))
        run.finish(late, score=0.4)
        for found in list(run.store.list(f"trials/{late.trial_id}/")):
            there.put(found.key, run.store.read(found.key, limit_bytes=2**24))
        assert "validation/rougeL" in shown.tags_of(trial_name(late))[trial_name(late)]


def test_without_the_extra_the_command_says_how_to_get_it(run: MadeRun, tmp_path: Path) -> None:
    # A package of this name without a spec is what Python finds where the real one is not installed.
    hide = "import sys; sys.modules['tensorboard'] = None; from controller.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", hide, "tensorboard", run.store.uri]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert done.returncode == ExitCode.CONFIGURATION
    assert "pip install 'lorasweep[tensorboard]'" in done.stderr


def test_a_port_that_is_taken_ends_the_command_with_the_remedy(run: MadeRun, tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [
            sys.executable,
            "-m",
            "controller",
            "tensorboard",
            run.store.uri,
            "--port",
            str(taken.getsockname()[1]),
        ]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, text=True, capture_output=True, timeout=DEADLINE_S, check=False
        )
    assert done.returncode == ExitCode.CONFIGURATION
    assert "`--port` names another port" in done.stderr


def test_event_files_are_written_where_they_are_wanted_and_nothing_is_started(
    run: MadeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tensorboard", run.store.uri, "--into", str(tmp_path / "events"), "--output", "json"]
    for written in (5, 0):
        assert main(words) == ExitCode.DONE
        assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "events"), "written": written}
    assert len(list((tmp_path / "events").glob("*/events.out.tfevents.*"))) == 5
