"""What strikes a sweep from outside, by hand or by the cluster, and what its store then says about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.cluster import Cluster
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for
from job.contract.documents import Failure, parse

__all__ = [
    "delete",
    "evict",
    "failures",
    "kill_process",
    "plan_trials",
    "suspend",
    "until_another_runs",
    "until_waiting",
]


def plan_trials(sweep: ClusterSweep, words: Mapping[str, Sequence[str]], *, gpus: int = 0) -> None:
    """The sweep has these trials, by letter, and they do these words; they wait for no GPU that others have."""
    sweep.spec["vary"]["grid"]["lora.r"] = list(range(1, len(words) + 1))
    sweep.spec["execution"]["gpus"] = gpus
    sweep.behaviours = {letter: list(told) for letter, told in words.items()}


def evict(sweep: ClusterSweep, pod: str) -> None:
    """What `kubectl drain` does to one pod."""
    name = {"name": pod, "namespace": sweep.namespace.name}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": name}
    path = f"/api/v1/namespaces/{sweep.namespace.name}/pods/{pod}/eviction"
    sweep.namespace.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))


def delete(sweep: ClusterSweep, kind: str, name: str) -> None:
    """By hand; returns when the API server has taken it, not when the object is gone."""
    sweep.namespace.kubectl("delete", kind, name, "--wait=false")


def suspend(sweep: ClusterSweep, job: str, *, suspended: bool) -> None:
    """What Kueue or a person does to a Job."""
    patch = json.dumps({"spec": {"suspend": suspended}})
    sweep.namespace.kubectl("patch", "job", job, "--type=merge", f"--patch={patch}")


def kill_process(cluster: Cluster, sweep: ClusterSweep, pod: str) -> None:
    """SIGKILL to the trial's process, as it comes from the node; in its own namespace it is immune to it."""
    statuses: Sequence[dict[str, Any]] = sweep.namespace.kubectl.get("pod", pod)["status"]["containerStatuses"]
    container = str(statuses[0]["containerID"]).removeprefix("containerd://")
    cluster.ctr("task", "kill", "--signal", "SIGKILL", container)


def failures(sweep: ClusterSweep, letter: str) -> list[Failure]:
    """The stored failures of a trial, the oldest first."""
    keys = [one.key for one in sweep.store.list(f"trials/{sweep.trial_ids()[letter]}/failures/")]
    found = [parse(Failure, sweep.store.read(key, limit_bytes=10**6), name=key) for key in keys]
    return sorted(found, key=lambda failure: failure.at)


def until_another_runs(sweep: ClusterSweep, letter: str, *, than: str) -> str:
    """The pod of the trial that has come in the place of `than`."""
    return wait_for(f"another pod than {than}", lambda: _other(sweep.until_running(letter), than), deadline_s=120)


def until_waiting(sweep: ClusterSweep, letter: str, reason: str) -> str:
    """What `lorasweep status`, asking the cluster, says about a trial once it waits for this reason."""

    def look() -> str | None:
        asked = sweep.verb("status", "--namespace", sweep.namespace.name, "--output", "json")
        for trial in asked.json.get("trials", ()):  # none before the controller has planned
            if (trial["letter"], trial["state"], trial["reason"]) == (letter, "waiting", reason):
                return str(trial["note"])
        return None

    return wait_for(f"trial {letter} to wait: {reason}", look, deadline_s=120)


def _other(pod: str, than: str) -> str | None:
    return None if pod == than else pod
