"""A real API server takes what the chart and k8s/ make, in a namespace that enforces the restricted profile."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cluster.binaries import helm as built_helm
from cluster.cluster import Cluster
from cluster.helm import CHART, Helm, HelmError
from cluster.namespace import Namespace
from cluster.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
SWEEP = f"--set-file=spec={ROOT / 'examples' / 'kubernetes.yaml'}"
NIGHTLY = "--set=schedule.cron=30 2 * * *,schedule.time_zone=Europe/Berlin"
POLICIES = "--set=network_policy.enabled=true,metrics.enabled=true,dashboard.enabled=true"
# Nothing pulls an image of this name, so that only the API server has a say.
NOWHERE = "--set=controller.image=example.invalid/none:1,controller.image_pull_policy=Never"


@pytest.fixture(scope="session", params=[4, 3], ids=["helm4", "helm3"])
def helm(request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm that speaks to the cluster."""
    return Helm(built_helm(os.environ, major=request.param), tmp_path_factory.mktemp("helm"), cluster.kubeconfig)


@pytest.mark.parametrize("options", [(), (POLICIES,), (NIGHTLY, POLICIES)], ids=["one-shot", "policies", "nightly"])
def test_what_is_installed_is_whole_and_goes_without_a_trace(
    helm: Helm, namespace: Namespace, options: tuple[str, ...]
) -> None:
    before = _held(namespace)
    place = f"--namespace={namespace.name}"
    helm("install", "nightly", str(CHART), place, SWEEP, NOWHERE, *options)
    sweep = namespace.kubectl.get("configmap", "nightly-lorasweep")["data"]["sweep.yaml"]
    assert sweep.encode() == (ROOT / "examples" / "kubernetes.yaml").read_bytes()
    helm("upgrade", "nightly", str(CHART), place, SWEEP, NOWHERE, *options)
    helm("uninstall", "nightly", place, "--wait", "--cascade=foreground")
    wait_for("the last pod to be gone", lambda: _held(namespace) == before)  # its Job's was seen to outlive --wait


def test_another_image_replaces_the_job_and_the_same_values_do_not(helm: Helm, namespace: Namespace) -> None:
    place = f"--namespace={namespace.name}"
    assert "is starting" in helm("install", "nightly", str(CHART), place, SWEEP, NOWHERE)
    (first,) = _jobs(namespace)
    said = helm("upgrade", "nightly", str(CHART), place, SWEEP, NOWHERE)
    assert _jobs(namespace) == [first]
    assert f"Nothing changed, so job/{first} " in said
    assert "is starting" not in said
    namespace.kubectl("delete", "job", first)  # as the notes say
    assert "is starting" in helm("upgrade", "nightly", str(CHART), place, SWEEP, NOWHERE)
    assert _jobs(namespace) == [first]
    helm("upgrade", "nightly", str(CHART), place, SWEEP, NOWHERE, "--set=cluster.image=other:1")
    namespace.kubectl("wait", "--for=delete", f"job/{first}", "--timeout=60s")
    (second,) = _jobs(namespace)
    assert second != first


def test_a_failed_helm_test_leaves_no_pod(helm: Helm, namespace: Namespace) -> None:
    place = f"--namespace={namespace.name}"
    helm("install", "nightly", str(CHART), place, SWEEP, NOWHERE)
    with pytest.raises(HelmError):
        helm("test", "nightly", place, "--timeout=5s")
    assert not namespace.kubectl.list_of("pods", "--selector=app.kubernetes.io/component=preflight")


def test_a_trial_may_do_nothing_and_the_controller_what_its_role_says(helm: Helm, namespace: Namespace) -> None:
    helm("install", "nightly", str(CHART), f"--namespace={namespace.name}", SWEEP, NOWHERE)
    may = {
        who: namespace.kubectl("auth", "can-i", "--list", "--no-headers", f"--as={_account(namespace, who)}")
        for who in ("controller", "trial")
    }
    assert "jobs.batch" in may["controller"]
    assert "secrets" not in may["controller"]
    assert "jobs.batch" not in may["trial"]


def test_plain_manifests_are_accepted(namespace: Namespace) -> None:
    for name in ("rights.yaml", "job.yaml", "cronjob.yaml", "kind/s3.yaml"):
        documents = YAML(typ="safe", pure=True).load_all((ROOT / "k8s" / name).read_text(encoding="utf-8"))
        for one in documents:
            one["metadata"]["namespace"] = namespace.name
            namespace.kubectl("create", "--dry-run=server", "--validate=strict", "--filename=-", stdin=json.dumps(one))


def _held(namespace: Namespace) -> set[str]:
    kinds = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,leases"
    return set(namespace.kubectl("get", kinds, "--output=name").split())


def _jobs(namespace: Namespace) -> list[str]:
    return sorted(one["metadata"]["name"] for one in namespace.kubectl.list_of("jobs"))


def _account(namespace: Namespace, who: str) -> str:
    return f"system:serviceaccount:{namespace.name}:nightly-lorasweep-{who}"
