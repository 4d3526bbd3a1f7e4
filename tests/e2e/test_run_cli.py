"""`lorasweep run` as a process, with real child processes that keep the job's contract but train nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import run_fake

from controller.cli.target import open_target
from job.contract.documents import Progress, SubmissionEnd, parse
from job.store import Keys

DEADLINE_S = 60.0
SPEC = """\
version: 1
name: demo
model: {{id: model}}
data:
  source: rows
  splits: {{train: train.jsonl, validation: validation.jsonl, test: test.jsonl}}
  columns: {{input: dialogue, target: summary}}
prompts: {{v1: {{prompt: "{{dialogue}}", completion: "{{summary}}"}}}}
trial:
  lora: {{lora_alpha: 8}}
  training: {{max_steps: 4}}
vary:
  grid: {{lora.r: {ranks}}}
  baselines: []
execution: {{max_attempts: 2}}
"""


@dataclass
class Sandbox:
    """A spec with its model and rows, a store, and what the processes are told to do."""

    root: Path
    behaviours: dict[str, list[str]] = field(default_factory=dict)

    @property
    def spec(self) -> Path:
        return self.root / "demo.yaml"

    @property
    def store(self) -> Path:
        return self.root / "runs"

    @property
    def run(self) -> Path:
        return self.store / "demo" / "main"

    @property
    def gate(self) -> Path:
        """Opens the gate for processes that wait at it."""
        return self.root / "gate"

    def write_spec(self, ranks: list[int]) -> None:
        self.spec.write_text(SPEC.format(ranks=ranks))

    def environment(self) -> dict[str, str]:
        paths = os.pathsep.join(path for path in sys.path if path)
        return {
            **os.environ,
            "PYTHONPATH": paths,
            "XDG_STATE_HOME": str(self.root / "state"),
            "CUDA_VISIBLE_DEVICES": "",
            "FAKE_JOB": json.dumps(self.behaviours),
            "FAKE_JOB_GATE": str(self.gate),
            "COLUMNS": "160",
        }

    def start(self, *extra: str) -> subprocess.Popen[str]:
        command = [sys.executable, run_fake.__file__, str(self.spec), str(self.store), *extra]
        return subprocess.Popen(
            command, env=self.environment(), cwd=self.root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def sweep(self, *extra: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*extra)
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess([], process.returncode, stdout, stderr)

    def verb(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One lorasweep command on this run."""
        command = [sys.executable, "-m", "controller", *words]
        return subprocess.run(
            command, env=self.environment(), cwd=self.root, text=True, capture_output=True, input=stdin, check=False
        )

    def trial_ids(self) -> dict[str, str]:
        plan = open_target(str(self.spec), store=str(self.store), run=None).plan
        return {trial.letter: trial.trial_id for trial in plan.trials}

    def until_running(self, letter: str) -> None:
        """Wait until the trial's process has written progress."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if self.run.joinpath("plans").exists() and list(self.run.joinpath("plans").glob("*.json")):
                path = self.run / Keys.progress(self.trial_ids()[letter])
                if path.exists() and parse(Progress, path.read_bytes(), name="progress").stage == "train":
                    return
            time.sleep(0.05)
        raise AssertionError(f"trial {letter} did not run within {DEADLINE_S} s")

    def ends(self) -> list[SubmissionEnd]:
        paths = sorted((self.run / "submissions").glob("*.json"))
        return [parse(SubmissionEnd, path.read_bytes(), name=path.name) for path in paths]

    def bytes_of_run(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.run.rglob("*.json*")) if path.is_file()}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "model" / name).write_text("{}")
    header = b"{}      "
    (tmp_path / "model" / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (tmp_path / "rows").mkdir()
    for split in ("train", "validation", "test"):
        (tmp_path / "rows" / f"{split}.jsonl").write_text('{"dialogue": "A: hi", "summary": "They greet."}\n')
    made = Sandbox(tmp_path)
    made.write_spec([1, 2, 3])
    yield made
    made.gate.touch()


def test_a_sweep_ends_with_a_ranked_table_and_a_report(sandbox: Sandbox) -> None:
    done = sandbox.sweep()
    assert done.returncode == 0, done.stderr
    assert "rougeL" in done.stdout.replace("ROUGE-L", "rougeL")
    assert f"report: {sandbox.run}/report/report.html" in done.stdout
    assert (sandbox.run / "report" / "report.html").exists()
    assert "3/3 done" in done.stderr
    assert [end.outcome for end in sandbox.ends()] == ["done"] * 3


def test_a_second_run_does_nothing_and_says_so(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    before = sandbox.bytes_of_run()
    again = sandbox.sweep()
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    assert sandbox.bytes_of_run() == before


def test_a_widened_grid_runs_only_what_is_new(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    sandbox.write_spec([1, 2, 3, 4])
    wider = json.loads(sandbox.sweep("--output", "json").stdout)
    assert wider["submissions"] == 1
    assert len(wider["trials"]) == 4


def test_failures_are_retried_or_not_by_their_exit_code_and_the_rest_goes_on(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["80"], "B": ["kill", "ok"], "C": ["nothing"]}
    done = sandbox.sweep("--output", "json")
    assert done.returncode == 1
    ids = sandbox.trial_ids()
    trials = json.loads(done.stdout)["trials"]
    assert {letter: trials[ids[letter]]["reason"] for letter in "ABC"} == {
        "A": "diverged",
        "B": None,
        "C": "result_missing",
    }
    assert trials[ids["B"]]["state"] == "succeeded"
    assert "lorasweep retry" in done.stderr
    numbers = [end.number for end in sandbox.ends()]
    assert sorted(numbers) == [1, 1, 1, 2, 2]
    attempts = list((sandbox.run / "trials" / ids["A"] / "attempts").glob("*/log.txt"))
    assert [path.read_text().split(": ")[-1] for path in attempts] == ["80\n"]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 85)])
def test_a_signal_stops_the_children_keeps_what_is_done_and_says_how_to_go_on(
    sandbox: Sandbox, signum: signal.Signals, code: int
) -> None:
    sandbox.behaviours = {"B": ["slow", "ok"]}
    process = sandbox.start()
    sandbox.until_running("B")
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code
    assert "1 of 3 trials are done and kept" in stderr
    assert "go on:" in stderr
    assert f"lorasweep status {sandbox.run}" in stderr
    assert [end.outcome for end in sandbox.ends()].count("stopped") == 1
    again = sandbox.sweep("--output", "json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["submissions"] == 2


def test_a_second_ctrl_c_ends_at_once_and_leaves_no_process(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["deaf", "ok"]}
    process = sandbox.start()
    sandbox.until_running("A")
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert sandbox.sweep().returncode == 0


def test_a_killed_controller_is_succeeded_by_one_that_starts_no_second_process(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["slow", "ok"]}
    process = sandbox.start()
    sandbox.until_running("A")
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    done = sandbox.sweep("--output", "json")
    assert done.returncode == 0, done.stderr
    first = [end for end in sandbox.ends() if end.trial_ids == (sandbox.trial_ids()["A"],)]
    assert [(end.number, end.exit_code) for end in first] == [(1, 85), (2, 0)]


def test_a_second_controller_is_told_who_has_the_run(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["gate"]}
    process = sandbox.start()
    sandbox.until_running("A")
    second = sandbox.sweep()
    assert second.returncode == 75
    assert f"process {process.pid} on" in second.stderr
    assert "lorasweep status" in second.stderr
    sandbox.gate.touch()
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
