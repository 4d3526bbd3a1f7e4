"""An API server that does not answer, lets nobody in, or has what somebody else has made; on a real cluster."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML
from servers.tcp_proxy import TcpProxy, tcp_proxy

from cluster.broken_controller import Break
from cluster.certificates import SERVER_NAMES
from cluster.cluster import Cluster
from cluster.fixtures import RESTRICTED
from cluster.kubeconfig import altered_kubeconfig
from cluster.promises import assert_promises
from cluster.sweep import SECRET, ClusterSweep
from cluster.waiting import wait_for
from controller.names import Naming

ALL = {"A": "succeeded", "B": "succeeded", "C": "succeeded"}
RIGHTS = Path(__file__).resolve().parents[2] / "k8s" / "rights.yaml"


@pytest.fixture
def sweep(sweep: ClusterSweep) -> ClusterSweep:
    """Its pods ask for no GPU, so that they need not wait for those of other tests."""
    sweep.spec["execution"]["gpus"] = 0
    return sweep


@pytest.fixture
def proxy(sweep: ClusterSweep) -> Iterator[TcpProxy]:
    """The sweep's controller reaches the API server through this; pods and tests do not."""
    content = json.loads(sweep.kubeconfig.read_text(encoding="utf-8"))
    server = urlsplit(content["clusters"][0]["cluster"]["server"])
    with tcp_proxy(str(server.hostname), int(server.port or 443)) as proxy:
        known = {"server": f"https://127.0.0.1:{proxy.port}", "tls-server-name": SERVER_NAMES[0]}
        sweep.kubeconfig = altered_kubeconfig(sweep.kubeconfig, sweep.folder / "kubeconfig", cluster=known)
        yield proxy


@pytest.mark.parametrize(("how", "cut_s"), [("refused", 0.0), ("silent", 60.0)])
def test_trials_go_on_while_the_api_server_cannot_be_reached_and_the_run_waits_and_finishes(
    sweep: ClusterSweep, proxy: TcpProxy, how: str, cut_s: float
) -> None:
    sweep.behaviours = {"B": ["gate"], "C": ["gate"]}
    run = sweep.start()
    sweep.until_running("B")
    sweep.until_running("C")
    jobs = sweep.uids()
    began = time.monotonic()
    if how == "refused":
        proxy.refuse()
    else:
        proxy.silence()
    sweep.until_said(run, "waiting since 20")
    sweep.open_gates()
    wait_for("all trials to be done", lambda: len(sweep.results()) == len(ALL))
    wait_for("the cut to be long enough", lambda: time.monotonic() - began >= cut_s, deadline_s=cut_s + 10)
    assert run.poll() is None
    proxy.restore()
    ended = sweep.finish(run)
    assert ended.code == 0, ended.stderr
    assert sweep.uids() == jobs
    assert_promises(sweep, ALL)


def test_a_second_ctrl_c_ends_a_controller_at_once_though_no_server_answers(
    sweep: ClusterSweep, proxy: TcpProxy
) -> None:
    sweep.behaviours = {letter: ["gate"] for letter in ALL}
    run = sweep.start()
    pods = {sweep.until_running("A"), sweep.until_running("B")}
    jobs = sweep.uids()
    proxy.silence()
    sweep.until_said(run, "waiting since 20")

    def pressed_again() -> bool:
        run.send_signal(signal.SIGINT)
        return run.poll() is not None

    wait_for("it to end", pressed_again, deadline_s=10.0)  # once would wait for an answer, for up to a minute
    left = sweep.finish(run)
    assert left.code in {130, -signal.SIGINT}, left.stderr  # pressed while it ended; a shell calls both 130
    assert "lorasweep run: interrupted" in left.stderr
    assert "Traceback" not in left.stderr
    proxy.restore()
    assert {pod["metadata"]["name"] for pod in sweep.pods("--field-selector=status.phase=Running")} == pods
    assert sweep.uids() == jobs
    sweep.end_lease()
    again = sweep.start("--output", "json")
    sweep.until_said(again, "3 trials")
    sweep.open_gates()
    sweep.until_running("C")
    sweep.open_gates()
    ended = sweep.finish(again)
    assert ended.code == 0, ended.stderr
    assert jobs.items() <= sweep.uids().items()
    assert_promises(sweep, ALL)


def test_a_job_whose_creation_was_answered_into_the_void_is_adopted(sweep: ClusterSweep) -> None:
    sweep.break_at(Break("create jobs", nth=2, what="reply lost"))
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    assert "create jobs: the reply is lost" in ended.stderr
    assert len(sweep.uids()) == len(ALL)
    assert len(sweep.ends()) == len(ALL)
    sweep.break_at(None)
    assert_promises(sweep, ALL)


def test_a_foreign_job_of_the_same_name_fails_its_trial_and_is_not_touched(sweep: ClusterSweep) -> None:
    sweep.behaviours = {"A": ["gate"]}
    sweep.spec["execution"]["parallelism"] = 1
    run = sweep.start()
    sweep.until_running("A")
    naming = Naming(f"{sweep.bucket.uri}/sweeps", "demo", "main")
    name = naming.submission([sweep.trial_ids()["B"]], 1)
    container = {"name": "theirs", "image": "none.invalid/none:1"}
    spec = {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    kubectl = sweep.namespace.kubectl
    kubectl.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
    kubectl("wait", "--for=condition=Suspended", f"job/{name}", "--timeout=60s")
    before = kubectl.get("job", name)
    sweep.open_gates()
    ended = sweep.finish(run)
    assert ended.code == 1, ended.stderr
    assert f"Job {name!r} in namespace {sweep.namespace.name!r} is not of this run and was left alone" in ended.stderr
    assert {trial["letter"]: trial["reason"] for trial in sweep.status()["trials"]}["B"] == "conflict"
    assert_promises(sweep, {**ALL, "B": "failed"})
    assert kubectl.get("job", name) == before


@pytest.mark.parametrize(("resource", "verb"), [("jobs", "patch"), ("leases", "update")])
def test_a_verb_that_is_missing_is_named_before_anything_is_made(sweep: ClusterSweep, resource: str, verb: str) -> None:
    kubectl = sweep.namespace.kubectl
    role = next(one for one in YAML(typ="safe", pure=True).load_all(RIGHTS) if one["kind"] == "Role")
    rules = [dict(rule) for rule in role["rules"]]
    for rule in rules:
        if resource in rule["resources"]:
            rule["verbs"] = [each for each in rule["verbs"] if each != verb]
    kubectl("create", "serviceaccount", "poor")
    kubectl.create({**role, "metadata": {"name": "poor"}, "rules": rules})
    kubectl("create", "rolebinding", "poor", "--role=poor", f"--serviceaccount={sweep.namespace.name}:poor")
    token = kubectl("create", "token", "poor").strip()
    sweep.kubeconfig = altered_kubeconfig(
        sweep.kubeconfig, sweep.folder / "kubeconfig", cluster={}, user={"token": token}
    )
    ended = sweep.run()
    assert ended.code == 78, ended.stderr
    assert f"rights on {resource}: may not {verb} in namespace {sweep.namespace.name!r}" in ended.stderr
    assert_nothing_was_made(sweep)


@pytest.mark.parametrize(
    ("known", "user", "said"),
    [
        ({}, {"token": "expired"}, "the credentials are not accepted"),
        (
            {"certificate-authority-data": "the machine's"},
            None,
            "the certificate-authority in the kubeconfig is not that of this server",
        ),
        ({"server": "https://lorasweep.invalid:6443"}, None, "mend the server's name in the kubeconfig"),
    ],
    ids=["expired-token", "wrong-authority", "wrong-name"],
)
def test_a_server_that_cannot_be_spoken_to_is_one_clear_message(
    sweep: ClusterSweep, known: dict[str, str], user: dict[str, str] | None, said: str
) -> None:
    if "certificate-authority-data" in known:
        known = {"certificate-authority-data": base64.b64encode(_another_authority(sweep.folder)).decode()}
    sweep.kubeconfig = altered_kubeconfig(sweep.kubeconfig, sweep.folder / "kubeconfig", cluster=known, user=user)
    ended = sweep.run()
    assert ended.code == 78, ended.stderr
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.json["exit_code"] == 78
    assert_nothing_was_made(sweep)


def test_a_namespace_that_is_removed_ends_the_run_with_a_report_of_what_is_finished(
    sweep: ClusterSweep, cluster: Cluster
) -> None:
    sweep.behaviours = {"B": ["resume"], "C": ["resume"]}
    sweep.spec["execution"]["max_attempts"] = 1  # nobody's fault may count against a trial
    run = sweep.start()
    sweep.until_running("B")
    sweep.until_running("C")
    name = sweep.namespace.name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
    left = sweep.finish(run)
    assert left.code == 75, left.stderr
    assert "the namespace is being removed" in left.stderr or f"namespace {name!r} was removed" in left.stderr
    report = json.loads(sweep.store.read("report/report.json", limit_bytes=10**7))
    assert report["failures"] == []
    assert len(sweep.results()) == 1
    _made_anew(sweep, cluster)
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    assert_promises(sweep, ALL)


def assert_nothing_was_made(sweep: ClusterSweep) -> None:
    kubectl = sweep.namespace.kubectl
    assert sweep.jobs() == []
    assert kubectl.list_of("configmaps", "--selector=lorasweep.io/run-hash") == []
    assert kubectl.list_of("leases") == []


def _another_authority(folder: Path) -> bytes:
    command = ["openssl", "req", "-x509", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-keyout", str(folder / "other.key"), "-out", str(folder / "other.crt"), "-subj", "/CN=other"]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "other.crt").read_bytes()


def _made_anew(sweep: ClusterSweep, cluster: Cluster) -> None:
    """The namespace, after it is gone, with the bucket's keys in it."""
    name, kubectl = sweep.namespace.name, sweep.namespace.kubectl
    cluster.kubectl("wait", "--for=delete", f"namespace/{name}", "--timeout=120s")
    cluster.kubectl.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    server = sweep.bucket.server
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    kubectl.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": keys})
