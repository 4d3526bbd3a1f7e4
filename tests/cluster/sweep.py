"""A sweep in a namespace and a bucket of its own, whose controller runs beside the tests as it would on a laptop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from servers.s3_server import S3Bucket
from tiny_sources import put_folder, write_model, write_rows

from cluster.broken_controller import Break
from cluster.namespace import Namespace
from cluster.waiting import wait_for
from job.contract.documents import Progress, Result, SubmissionEnd, parse
from job.store import Keys, Store, open_store

__all__ = ["DEADLINE_S", "SECRET", "ClusterSweep", "Ended", "make_sweep"]

DEADLINE_S = 240.0
SECRET = "lorasweep-s3"
SPEC: Mapping[str, Any] = {
    "version": 1,
    "name": "demo",
    "data": {
        "splits": {"train": "train.jsonl", "test": "test.jsonl"},
        "columns": {"input": "dialogue", "target": "summary"},
    },
    "prompts": {"v1": {"prompt": "{dialogue}", "completion": "{summary}"}},
    "trial": {"lora": {"lora_alpha": 8}, "training": {"max_steps": 4}, "evaluation": {"final_splits": ["test"]}},
    "vary": {"grid": {"lora.r": [1, 2, 3]}, "baselines": []},
    "objective": {"metric": "rougeL", "split": "test"},
    "execution": {"max_attempts": 2, "gpus": 1, "parallelism": 2},
}
_NUMBER = {"fieldRef": {"fieldPath": "metadata.annotations['lorasweep.io/number']"}}
_GATE = "/tmp/gate"  # noqa: S108  (a path in the pod)


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass
class ClusterSweep:
    """A spec of three trials, settings of the cluster, and what the pods are told to do."""

    folder: Path
    namespace: Namespace
    bucket: S3Bucket
    kubeconfig: Path
    settings: dict[str, Any]
    spec: dict[str, Any]
    behaviours: dict[str, list[str]] = field(default_factory=dict)
    """What each trial does, by letter: see tests/fake_job.py."""
    pod_spec: dict[str, Any] = field(default_factory=dict)
    """More of the operator's pod template."""
    extra: dict[str, str] = field(default_factory=dict)
    """More environment of the controller."""
    program: Sequence[str] = ("-m", "controller")
    """What Python runs in the place of `lorasweep`."""
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def run_uri(self) -> str:
        return f"{self.bucket.uri}/sweeps/{self.spec['name']}/main"

    @property
    def store(self) -> Store:
        """The run, as a controller reads it; the bucket's variables are in the environment."""
        return open_store(self.run_uri)

    def write(self) -> tuple[Path, Path]:
        """The files of the spec and of the settings, as they are now."""
        spec, settings = self.folder / "demo.yaml", self.folder / "cluster.yaml"
        trial = {
            "name": "trial",
            "env": [
                {"name": "FAKE_JOB", "value": json.dumps(self.behaviours)},
                {"name": "FAKE_JOB_GATE", "value": _GATE},
                {"name": "FAKE_JOB_PATIENCE_S", "value": "300"},
                {"name": "FAKE_JOB_NUMBER", "valueFrom": _NUMBER},
            ],
        }
        pod_template = {"spec": {"containers": [trial], **self.pod_spec}}
        for path, body in ((spec, self.spec), (settings, {"pod_template": pod_template, **self.settings})):
            with path.open("w", encoding="utf-8") as file:
                YAML(typ="safe", pure=True).dump(body, file)
        return spec, settings

    def start(self, *more: str) -> subprocess.Popen[str]:
        """`lorasweep run`, just started; its stderr goes to a file that `said` reads."""
        spec, settings = self.write()
        place = ["--cluster", str(settings), "--namespace", self.namespace.name]
        return self._begin("run", str(spec), "--store", f"{self.bucket.uri}/sweeps", *self._cluster(place), *more)

    def start_preflight(self, *more: str) -> subprocess.Popen[str]:
        """`lorasweep preflight`, just started."""
        spec, settings = self.write()
        place = ["--cluster", str(settings), "--namespace", self.namespace.name]
        return self._begin("preflight", str(spec), "--store", f"{self.bucket.uri}/sweeps", *self._cluster(place), *more)

    def run(self, *more: str) -> Ended:
        """`lorasweep run` to its end."""
        return self.finish(self.start("--output", "json", *more))

    def verb(self, verb: str, *words: str) -> Ended:
        """One command about this run, as from a laptop."""
        return self.finish(self._begin(verb, self.run_uri, *words))

    def finish(self, process: subprocess.Popen[str], *, deadline_s: float = DEADLINE_S) -> Ended:
        """What became of a started command; it is killed when it takes longer."""
        try:
            stdout, _ = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired as late:
            process.kill()
            process.communicate()
            raise AssertionError(f"{process.args!r} is not over after {deadline_s} s:\n{self.said(process)}") from late
        return Ended(process.returncode, stdout, self.said(process))

    def said(self, process: subprocess.Popen[str]) -> str:
        """What the command has told so far."""
        return (self.folder / f"{process.pid}.err").read_text(encoding="utf-8")

    def until_said(self, process: subprocess.Popen[str], words: str, *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the command has told these words."""

        def look() -> bool:
            told = self.said(process)
            assert words in told or process.poll() is None, f"it ended with {process.returncode}:\n{told}"
            return words in told

        wait_for(f"{words!r} on stderr", look, deadline_s=deadline_s)

    def open_gates(self) -> None:
        """Let every pod that waits at its gate go on."""
        for pod in self.pods("--field-selector=status.phase=Running"):
            self.namespace.kubectl("exec", pod["metadata"]["name"], "--container=trial", "--", "touch", _GATE)

    def break_at(self, broken: Break | None) -> None:
        """From now on each controller breaks there; None: none does."""
        self.program = ("-m", "controller") if broken is None else broken.program
        self.extra = {} if broken is None else broken.environment

    def end_lease(self) -> None:
        """As if the time of a dead controller's Lease were over; it takes half a minute otherwise."""
        for lease in self.namespace.kubectl.list_of("leases"):
            patch = json.dumps({"spec": {"holderIdentity": ""}})
            self.namespace.kubectl("patch", "lease", lease["metadata"]["name"], "--type=merge", f"--patch={patch}")

    def uids(self) -> dict[str, str]:
        """Of the trials' Jobs, by name."""
        return {job["metadata"]["name"]: job["metadata"]["uid"] for job in self.jobs()}

    def end_all(self) -> None:
        """Kill every command that still runs."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def jobs(self, *options: str) -> Sequence[dict[str, Any]]:
        """Jobs of trials."""
        return self.namespace.kubectl.list_of("jobs", "--selector=lorasweep.io/group", *options)

    def pods(self, *options: str) -> Sequence[dict[str, Any]]:
        """Pods of trials."""
        return self.namespace.kubectl.list_of("pods", "--selector=lorasweep.io/group", *options)

    def trial_ids(self) -> dict[str, str]:
        """Of the planned trials, by letter."""
        trials = self.status()["trials"]
        return {trial["letter"]: trial["trial_id"] for trial in trials}

    def status(self) -> Any:
        """`lorasweep status --output json`."""
        return self.verb("status", "--output", "json").json

    def ends(self) -> dict[str, SubmissionEnd]:
        """How the submissions ended, by name."""
        found = [one.key for one in self.store.list("submissions/")]
        return {key: parse(SubmissionEnd, self.store.read(key, limit_bytes=10**6), name=key) for key in found}

    def results(self) -> dict[str, Result]:
        """Results by trial id."""
        keys = [one.key for one in self.store.list("trials/") if one.key.endswith("/result.json")]
        found = [parse(Result, self.store.read(key, limit_bytes=10**7), name=key) for key in keys]
        return {result.trial_id: result for result in found}

    def until_running(self, letter: str, *, deadline_s: float = DEADLINE_S) -> str:
        """The name of the pod whose process of this trial has written progress of its own."""

        def look() -> str | None:
            for pod in self.pods("--field-selector=status.phase=Running"):
                for trial_id in pod["metadata"]["annotations"]["lorasweep.io/trials"].split(","):
                    key = Keys.progress(trial_id)
                    if self.store.stat(key) is None or self._letter(pod, trial_id) != letter:
                        continue
                    progress = parse(Progress, self.store.read(key, limit_bytes=10**6), name=key)
                    if progress.attempt == pod["metadata"]["uid"]:
                        return str(pod["metadata"]["name"])
            return None

        return wait_for(f"trial {letter} to run", look, deadline_s=deadline_s)

    @staticmethod
    def _letter(pod: Mapping[str, Any], trial_id: str) -> str:
        request = json.loads(pod["metadata"]["annotations"]["lorasweep.io/request"])
        return str(next(trial["letter"] for trial in request["trials"] if trial["trial_id"] == trial_id))

    def _cluster(self, place: Sequence[str]) -> Sequence[str]:
        return ["--backend", "kubernetes", *place]

    def _begin(self, *words: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            **self.bucket.server.environment(),
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "COLUMNS": "160",
            **self.extra,
        }
        told = self.folder / f"{len(self._started)}.part"
        with told.open("w", encoding="utf-8") as stderr:
            process = subprocess.Popen(
                [sys.executable, *self.program, *words],
                cwd=self.folder,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        told.rename(self.folder / f"{process.pid}.err")
        self._started.append(process)
        return process


def make_sweep(folder: Path, *, namespace: Namespace, bucket: S3Bucket, kubeconfig: Path) -> ClusterSweep:
    """A sweep whose model and rows are in the bucket, and a Secret with the bucket's keys in the namespace."""
    model = put_folder(bucket, write_model(folder / "model"), "model")
    rows = put_folder(bucket, write_rows(folder / "rows"), "rows")
    keys = {"AWS_ACCESS_KEY_ID": bucket.server.access_key, "AWS_SECRET_ACCESS_KEY": bucket.server.secret_key}
    namespace.kubectl.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": keys},
    )
    return ClusterSweep(
        folder,
        namespace,
        bucket,
        kubeconfig,
        settings={
            "image_pull_policy": "Never",
            "resources": {"cpu": "50m", "memory": "256Mi", "ephemeral_storage": "64Mi", "shared_memory": "16Mi"},
            "s3": {"secret": SECRET, "endpoint": bucket.server.endpoint, "region": bucket.server.region},
            "grace_period_s": 5,
        },
        spec={**json.loads(json.dumps(SPEC)), "model": {"id": model}, "data": {**SPEC["data"], "source": rows}},
    )
