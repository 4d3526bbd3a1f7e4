"""From `helm install` to the report with the real images and a tiny model; then a wider grid, and the end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from servers.s3_server import new_bucket

from cluster.binaries import helm as built_helm
from cluster.cluster import Cluster
from cluster.controllers import controllers, gpus_of, log_of, put_keys, trial_jobs, trial_pods, wait_for_end
from cluster.fixtures import new_namespace
from cluster.helm import Helm
from cluster.namespace import Namespace
from cluster.plain import PlainManifests
from cluster.release import Release
from cluster.stage import CONFIGURATIONS, SECRET, TRIALS, Stage, comparable, make_stage, outcomes_in, results_in
from job.store import open_store
from job.store.protocol import ObjectInfo

HELD = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,leases"


@pytest.fixture(scope="module")
def stage(cluster: Cluster, tiny_gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Model, rows and sweep; this process reaches the bucket while it lasts."""
    bucket = new_bucket(cluster.s3)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.server.environment().items():
            patch.setenv(name, value)
        yield make_stage(bucket, tmp_path_factory.mktemp("stage"), model=tiny_gpt2_folder)


@pytest.fixture(scope="module")
def on_a_laptop(stage: Stage) -> dict[str, Any]:
    """What the report says when this machine runs the sweep without a cluster."""
    store = stage.folder / "laptop"
    ended = stage.lorasweep("run", str(stage.write_spec()), "--store", str(store))
    assert ended.returncode == 0, ended.stderr
    return comparable(str(store / "tiny" / "main"))


@dataclass(frozen=True)
class Installed:
    """A release whose first run is over, and what that left."""

    release: Release
    notes: str
    run_uri: str
    controller: str
    jobs: Sequence[dict[str, Any]]
    pods: Sequence[dict[str, Any]]
    results: dict[str, ObjectInfo]


@pytest.fixture(scope="module")
def installed(cluster: Cluster, stage: Stage, job_image: str, controller_image: str) -> Iterator[Installed]:
    """`helm install` of the sweep, waited for to its end."""
    with new_namespace(cluster) as namespace:
        put_keys(namespace, stage.bucket)
        store = f"{stage.bucket.uri}/helm"
        release = Release(
            helm=Helm(built_helm(os.environ, major=4), stage.folder / "helm", cluster.kubeconfig),
            namespace=namespace,
            s3=stage.bucket.server,
            store=store,
            job_image=job_image,
            controller_image=controller_image,
            folder=stage.folder,
        )
        notes = release("install", stage.write_spec())
        (controller,) = controllers(namespace)
        assert wait_for_end(namespace, controller) == "Complete", log_of(namespace, controller)
        run_uri = f"{store}/tiny/main"
        yield Installed(
            release, notes, run_uri, controller, trial_jobs(namespace), trial_pods(namespace), results_in(run_uri)
        )


def _assert_eleven_jobs(jobs: Sequence[dict[str, Any]]) -> None:
    assert sorted(gpus_of(job["spec"]["template"]) for job in jobs) == ["0"] + ["1"] * (TRIALS - 1)
    assert [job["status"].get("succeeded") for job in jobs] == [1] * TRIALS


def test_every_configuration_is_a_job_with_a_gpu_and_lead_3_has_none(installed: Installed) -> None:
    _assert_eleven_jobs(installed.jobs)
    assert len(installed.pods) == TRIALS


def test_two_at_a_time_hold_a_gpu_because_the_node_has_two(installed: Installed) -> None:
    moments = []
    for pod in installed.pods:
        if gpus_of(pod) == "1":
            ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
            moments += [(ended["startedAt"], 1), (ended["finishedAt"], -1)]
    held = [sum(change for _, change in sorted(moments)[: count + 1]) for count in range(len(moments))]
    assert max(held) == 2


def test_every_result_and_adapter_is_in_the_bucket_and_verifies(stage: Stage, installed: Installed) -> None:
    assert len(installed.results) == TRIALS
    verified = stage.lorasweep("report", installed.run_uri, "--verify", "--output", "json")
    assert verified.returncode == 0, verified.stderr
    stored = [found.key for found in open_store(installed.run_uri).list("trials/")]
    assert len([key for key in stored if key.endswith("adapter_model.safetensors")]) == CONFIGURATIONS


def test_the_report_is_in_the_bucket_and_equals_that_of_a_laptop(
    installed: Installed, on_a_laptop: dict[str, Any]
) -> None:
    assert comparable(installed.run_uri) == on_a_laptop


def test_helm_test_passes(installed: Installed) -> None:
    assert "Succeeded" in installed.release.helm("test", "nightly", installed.release.place, "--timeout=5m")


def test_an_upgrade_with_a_wider_grid_runs_only_what_is_new_and_uninstall_leaves_nothing_but_the_store(
    stage: Stage, installed: Installed
) -> None:
    release, namespace = installed.release, installed.release.namespace
    release("upgrade", stage.write_spec("wider.yaml", lora__r=[8, 16, 4]))
    (after,) = set(controllers(namespace)) - {installed.controller}
    assert wait_for_end(namespace, after) == "Complete", log_of(namespace, after)
    known = {job["metadata"]["uid"] for job in installed.jobs}
    assert len([job for job in trial_jobs(namespace) if job["metadata"]["uid"] not in known]) == CONFIGURATIONS // 2
    results = results_in(installed.run_uri)
    assert len(results) == TRIALS + CONFIGURATIONS // 2
    assert installed.results.items() <= results.items()
    release.helm("uninstall", "nightly", release.place, "--wait", "--cascade=foreground")
    _assert_only_the_store_is_left(namespace)
    assert results_in(installed.run_uri) == results


def test_kubectl_with_the_plain_manifests_does_the_same(
    stage: Stage, namespace: Namespace, on_a_laptop: dict[str, Any], job_image: str, controller_image: str
) -> None:
    put_keys(namespace, stage.bucket)
    store = f"{stage.bucket.uri}/kubectl"
    plain = PlainManifests(namespace, stage.bucket.server, job_image, controller_image, stage.folder)
    plain.prepare(stage.write_spec())
    controller = plain.start(store=store)
    assert wait_for_end(namespace, controller) == "Complete", log_of(namespace, controller)
    _assert_eleven_jobs(trial_jobs(namespace))
    assert comparable(f"{store}/tiny/main") == on_a_laptop
    namespace.kubectl("delete", "configmap", "lorasweep")
    namespace.kubectl("wait", "--for=delete", *OF_A_RUN)
    assert len(results_in(f"{store}/tiny/main")) == TRIALS


OF_A_RUN = ("job,pod,configmap,lease", "--selector=lorasweep.io/sweep", "--timeout=120s")


def _assert_only_the_store_is_left(namespace: Namespace) -> None:
    namespace.kubectl("wait", "--for=delete", *OF_A_RUN)
    left = namespace.kubectl("get", HELD, "--output=name")
    assert set(left.split()) == {"configmap/kube-root-ca.crt", f"secret/{SECRET}", "serviceaccount/default"}


def test_trials_that_share_jobs_have_the_numbers_of_one_job_each_and_those_of_the_reference_engine_but_for_rounding(
    stage: Stage, namespace: Namespace, installed: Installed
) -> None:
    put_keys(namespace, stage.bucket)
    store = f"{stage.bucket.uri}/shared"
    release = replace(installed.release, namespace=namespace, store=store)
    release("install", stage.write_spec("shared.yaml", execution={"trials_per_job": "auto"}))
    (controller,) = controllers(namespace)
    assert wait_for_end(namespace, controller) == "Complete", log_of(namespace, controller)
    assert len(trial_jobs(namespace)) < TRIALS - 1
    shared = outcomes_in(f"{store}/tiny/main")
    assert sorted(one.engine for one in shared.values()) == ["lanes"] * CONFIGURATIONS + ["none"] * 3
    one_each = outcomes_in(installed.run_uri)  # with the trials that an upgrade of the release has added
    assert shared == {trial_id: one_each[trial_id] for trial_id in shared}

    alone = stage.write_spec("alone.yaml", execution={"trials_per_job": 1})
    ended = stage.lorasweep("run", str(alone), "--store", str(stage.folder / "alone"))
    assert ended.returncode == 0, ended.stderr
    reference = outcomes_in(str(stage.folder / "alone" / "tiny" / "main"))
    assert sorted(one.engine for one in reference.values()) == ["none"] * 3 + ["reference"] * CONFIGURATIONS
    assert shared.keys() == reference.keys()
    for trial_id, theirs in reference.items():
        assert shared[trial_id].texts == theirs.texts
        assert shared[trial_id].losses == pytest.approx(theirs.losses, abs=1e-4)
