"""What the chart renders for operators that watch: metrics, policies, alerts, a dashboard; no cluster is needed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from submissions import submission

from cluster.charted import NIGHTLY, SWITCHES
from cluster.helm import CHART, Helm
from controller.kube.identity import labels_of
from controller.names import Naming


def test_what_needs_an_operator_is_off_unless_it_is_switched_on(helm: Helm, spec: str) -> None:
    always = {"ConfigMap", "Job", "Pod", "Role", "RoleBinding", "ServiceAccount"}
    assert helm.template("nightly", spec).kinds() == always
    assert helm.template("nightly", spec, *SWITCHES).kinds() == always | {
        "NetworkPolicy",
        "PodMonitor",
        "PrometheusRule",
    }


def test_metrics_have_a_port_a_monitor_and_time_to_be_read(helm: Helm, spec: str) -> None:
    found = helm.template("nightly", spec, *SWITCHES)
    job = found.one("Job")["spec"]
    assert _arguments(job).endswith("--metrics-port 9090 --metrics-linger-s 60")
    (container,) = job["template"]["spec"]["containers"]
    (port,) = container["ports"]
    (endpoint,) = found.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": port["name"], "interval": "15s"}
    selected = found.one("PodMonitor")["spec"]["selector"]["matchLabels"]
    assert selected.items() <= job["template"]["metadata"]["labels"].items()
    assert not selected.items() <= found.one("Pod")["metadata"]["labels"].items()  # preflight offers none


def test_network_policies_let_out_what_is_needed_and_nothing_in(helm: Helm, spec: str, operator_values: str) -> None:
    found = helm.template("nightly", spec, *SWITCHES, operator_values)
    controller = found.named("NetworkPolicy", "nightly-lorasweep-controller")["spec"]
    trial = found.named("NetworkPolicy", "nightly-lorasweep-trial")["spec"]
    assert [list(_ports(one["egress"])) for one in (controller, trial)] == [
        [53, 53, 443, 6443, 9000],
        [53, 53, 443, 9000],
    ]
    assert controller["ingress"] == [{"ports": [{"port": "metrics", "protocol": "TCP"}]}]
    assert "ingress" not in trial
    assert all(one["policyTypes"] == ["Ingress", "Egress"] for one in (controller, trial))


def test_the_policy_of_trials_selects_the_pods_that_the_controller_makes(helm: Helm, spec: str) -> None:
    policy = helm.template("nightly", spec, *SWITCHES).named("NetworkPolicy", "nightly-lorasweep-trial")["spec"]
    labels = labels_of(submission(), Naming("s3://bucket/sweeps", "dialogues", "main"))
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("http://s3", 80), ("https://s3.example.org", 443), ("http://[fd00::1]:9000", 9000), ("http://10.0.0.1:81/", 81)],
)
def test_the_stores_port_is_let_out(helm: Helm, spec: str, endpoint: str, port: int) -> None:
    found = helm.template(
        "nightly", spec, "--set=network_policy.enabled=true", f"--set-string=cluster.s3.endpoint={endpoint}"
    )
    trial = found.named("NetworkPolicy", "nightly-lorasweep-trial")["spec"]
    assert set(_ports(trial["egress"])) == {53, 443, port}


def test_alerts_name_the_jobs_of_this_release(helm: Helm, spec: str) -> None:
    one_shot = helm.template("nightly", spec, *SWITCHES)
    (rule,) = _alerts(one_shot.one("PrometheusRule"))
    name = one_shot.one("Job")["metadata"]["name"]
    assert rule["expr"] == f'kube_job_failed{{namespace="sweeps", job_name="{name}", condition="true"}} == 1'
    assert "{{ $labels.job_name }}" in rule["annotations"]["description"]

    failed, missing = _alerts(helm.template("nightly", spec, NIGHTLY, *SWITCHES).one("PrometheusRule"))
    assert 'job_name=~"nightly-lorasweep-[0-9]+"' in failed["expr"]
    assert (
        'kube_cronjob_status_last_successful_time{namespace="sweeps", cronjob="nightly-lorasweep"}' in missing["expr"]
    )
    assert ") > 93600\n" in missing["expr"]  # 26 hours


def test_the_dashboard_is_json_and_asks_for_metrics_of_ours(helm: Helm, spec: str) -> None:
    found = helm.template("nightly", spec, *SWITCHES).named("ConfigMap", "nightly-lorasweep-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    board = json.loads(found["data"]["lorasweep.json"])
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert all("lorasweep_" in expression for expression in asked)


def test_what_no_cluster_here_enforces_has_fields_that_there_are_and_expressions_that_parse(
    helm: Helm, spec: str, operator_values: str, schemas: Path
) -> None:
    kinds = {"NetworkPolicy", "PodMonitor", "PrometheusRule"}
    labels = "--set=metrics.pod_monitor.labels.a=b,prometheus_rule.labels.a=b,prometheus_rule.alert_labels.a=b"
    peers = '--set-json=network_policy.metrics_from=[{"namespaceSelector": {}}]'
    for options in (SWITCHES, (NIGHTLY, labels, peers, *SWITCHES, operator_values)):
        found = [one for one in helm.template("nightly", spec, *options).objects if one["kind"] in kinds]
        assert len(found) == 4
        assert _wrong(schemas, *found) == ""


def test_expressions_of_the_dashboard_parse(schemas: Path) -> None:
    board = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert asked
    assert _wrong(schemas, *({"apiVersion": "expression", "kind": "Dashboard", "expr": expr} for expr in asked)) == ""


def test_the_check_of_fields_and_expressions_finds_what_is_wrong(helm: Helm, spec: str, schemas: Path) -> None:
    found = helm.template("nightly", spec, *SWITCHES)
    policy, rule = found.all("NetworkPolicy")[0], found.one("PrometheusRule")
    policy["spec"]["podSelectr"] = {}
    _alerts(rule)[0]["expr"] += " ="
    said = _wrong(schemas, policy, rule)
    assert 'unknown field "podSelectr"' in said
    assert "parse error" in said


def _ports(egress: list[dict[str, Any]]) -> Iterator[int]:
    for rule in egress:
        yield from (port["port"] for port in rule["ports"])


def _alerts(rule: dict[str, Any]) -> list[dict[str, Any]]:
    (group,) = rule["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def _wrong(schemas: Path, *objects: dict[str, Any]) -> str:
    """What the schemas do not like, a line for each."""
    text = "\n".join(json.dumps(one) for one in objects)
    ended = subprocess.run([str(schemas)], input=text, stdout=subprocess.PIPE, text=True, check=False)
    return ended.stdout


def _arguments(job: dict[str, Any]) -> str:
    return " ".join(job["template"]["spec"]["containers"][0]["args"])
