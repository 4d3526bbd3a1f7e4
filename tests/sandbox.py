"""A sweep in a folder of its own, run by real processes that keep the job's contract but train nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import run_fake

from controller.cli.target import open_target
from controller.lock import has_controller, lock_path
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
    uri: str | None = None
    """Another store root than the folder `runs`."""
    extra: dict[str, str] = field(default_factory=dict)
    """More environment."""

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
            **self.extra,
        }

    def start(self, *extra: str) -> subprocess.Popen[str]:
        command = [sys.executable, run_fake.__file__, str(self.spec), self.uri or str(self.store), *extra]
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

    def until_ended(self, letter: str) -> None:
        """Wait until the end of a submission of the trial is stored."""
        deadline = time.monotonic() + DEADLINE_S
        while self.trial_ids()[letter] not in {trial_id for end in self.ends() for trial_id in end.trial_ids}:
            assert time.monotonic() < deadline, f"trial {letter} did not end within {DEADLINE_S} s"
            time.sleep(0.05)

    def until_locked(self) -> None:
        """Wait until a controller holds the run."""
        deadline = time.monotonic() + DEADLINE_S
        while not has_controller(lock_path(str(self.run), environ={})):
            assert time.monotonic() < deadline, f"no controller within {DEADLINE_S} s"
            time.sleep(0.05)

    def ends(self) -> list[SubmissionEnd]:
        paths = sorted((self.run / "submissions").glob("*.json"))
        return [parse(SubmissionEnd, path.read_bytes(), name=path.name) for path in paths]

    def bytes_of_run(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.run.rglob("*.json*")) if path.is_file()}


def make_sandbox(root: Path) -> Sandbox:
    """A sweep of three trials: lora.r 1, 2 and 3."""
    (root / "model").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (root / "model" / name).write_text("{}")
    header = b"{}      "
    (root / "model" / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (root / "rows").mkdir()
    for split in ("train", "validation", "test"):
        (root / "rows" / f"{split}.jsonl").write_text('{"dialogue": "A: hi", "summary": "They greet."}\n')
    made = Sandbox(root)
    made.write_spec([1, 2, 3])
    return made
