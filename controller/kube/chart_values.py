"""The chart's values, apart from Helm: the models behind values.schema.json, which refuses a misspelled value.

The defaults here and those in values.yaml are the same; a test holds them together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictStr

from controller.json_schema import draft_7, indented
from controller.kube.pod_template import ContainerResources, EnvVar, Volume, VolumeMount
from controller.kube.settings import ClusterSettings, Image, Toleration
from job.contract.base import Count, Flag, Frozen, Positive

__all__ = ["ChartValues", "values_schema"]

Labels = dict[str, StrictStr]
Port = Annotated[Positive, Field(le=65535)]
_STORE = r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_][A-Za-z0-9._-]*)*/?)?$"
_RUN = r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$"
_DURATION = r"^([0-9]+(ms|s|m|h))+$"


class Controller(Frozen):
    """The pod that plans, submits and reports."""

    image: Image = "lorasweep-controller:0.1.0"
    """With a tag or a digest."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    resources: ContainerResources = ContainerResources(
        requests={"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "1Gi"}, limits={"memory": "1Gi"}
    )
    """Requests and limits in the API's own form."""
    pod_labels: Labels = Field(default_factory=dict)
    """Of its pods, besides the chart's; some clouds bind identities by a label."""
    pod_annotations: Labels = Field(default_factory=dict)
    env: tuple[EnvVar, ...] = ()
    """More variables, such as those of a proxy."""
    volumes: tuple[Volume, ...] = ()
    """More volumes, such as the certificate of a private authority."""
    volume_mounts: tuple[VolumeMount, ...] = ()
    node_selector: Labels = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    affinity: dict[str, JsonValue] = Field(default_factory=dict)
    priority_class_name: StrictStr = ""
    backoff_limit: Count = 20
    """How often it is started again after a failure that may pass; evictions do not count."""


class Schedule(Frozen):
    """A sweep that is run again and again; each run has a name of its own."""

    cron: StrictStr = ""
    """Five fields, such as "30 2 * * *". Empty: the sweep runs once, at once."""
    time_zone: StrictStr = "Etc/UTC"
    """Of `cron`, by its IANA name."""
    starting_deadline_s: Positive = 3600
    """How late a missed run may still start."""
    keep_succeeded: Count = 3
    """Controller Jobs that stay for kubectl; the store keeps all runs."""
    keep_failed: Count = 3
    suspend: Flag = False


class AccountAnnotations(Frozen):
    """Annotations of the service accounts that the chart makes, for workload identity."""

    controller: Labels = Field(default_factory=dict)
    trial: Labels = Field(default_factory=dict)


class NetworkPolicies(Frozen):
    """Nothing comes in, and out goes what is listed; the port of `cluster.s3.endpoint` is always."""

    enabled: Flag = False
    controller_ports: tuple[Port, ...] = (443, 6443)
    """TCP to anywhere: API server, S3, model hub."""
    trial_ports: tuple[Port, ...] = (443,)
    """TCP to anywhere: S3, model hub."""
    metrics_from: tuple[dict[str, JsonValue], ...] = ()
    """NetworkPolicyPeers that may read metrics. Empty: any."""


class PodMonitor(Frozen):
    """For the Prometheus operator."""

    enabled: Flag = False
    labels: Labels = Field(default_factory=dict)
    """By which a Prometheus selects it."""
    interval: Annotated[StrictStr, Field(pattern=_DURATION)] = "15s"


class Metrics(Frozen):
    """What the controller tells Prometheus."""

    enabled: Flag = False
    port: Port = 9090
    linger_s: Count = 60
    """How long it stays after the end, so that the last values are read."""
    pod_monitor: PodMonitor = PodMonitor()


class PrometheusRule(Frozen):
    """Alerts on what kube-state-metrics says."""

    enabled: Flag = False
    labels: Labels = Field(default_factory=dict)
    """By which a Prometheus selects it."""
    alert_labels: Labels = Field(default_factory=lambda: {"severity": "warning"})
    success_within_h: Positive = 26
    """With a schedule: alert when no run succeeded for so long."""


class Dashboard(Frozen):
    """A Grafana dashboard in a ConfigMap, for Grafana's sidecar."""

    enabled: Flag = False
    labels: Labels = Field(default_factory=lambda: {"grafana_dashboard": "1"})
    """By which the sidecar finds it."""


class ChartValues(Frozen):
    """Values of the chart `lorasweep`."""

    spec: StrictStr = ""
    """The sweep as one text: --set-file spec=my-sweep.yaml. It reaches the controller byte for byte."""
    store: Annotated[StrictStr, Field(pattern=_STORE)] = ""
    """Store root, s3://bucket/prefix. Empty: the sweep's own `store.root`."""
    run: Annotated[StrictStr, Field(pattern=_RUN)] = ""
    """Which run of the sweep. Empty: `main`. With a schedule, runs are named by time."""
    cluster: ClusterSettings = ClusterSettings(image="lorasweep-job:0.1.0")
    """Where and how trials run; the same fields as in the file of `--cluster FILE`."""
    controller: Controller = Controller()
    schedule: Schedule = Schedule()
    service_account_annotations: AccountAnnotations = AccountAnnotations()
    network_policy: NetworkPolicies = NetworkPolicies()
    metrics: Metrics = Metrics()
    prometheus_rule: PrometheusRule = PrometheusRule()
    dashboard: Dashboard = Dashboard()


def values_schema() -> str:
    """values.schema.json, with a final newline."""
    schema = draft_7(ChartValues)
    # Helm hands it to every chart that is part of another.
    schema["properties"]["global"] = {"type": "object", "description": "Of a chart around this one; not read here."}
    # Helm takes away what is set to null; a section that templates look into has to be there.
    schema["required"] = sorted(ChartValues.model_fields)
    schema["definitions"]["ClusterSettings"]["required"] = ["hub", "image", "s3", "service_accounts"]
    schema["definitions"]["Metrics"]["required"] = ["pod_monitor"]
    return indented(schema)
