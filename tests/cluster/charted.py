"""Values for renderings of the chart."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NIGHTLY", "OPERATOR_VALUES", "ROOT", "SWEEP", "SWITCHES", "spec_option"]

ROOT = Path(__file__).resolve().parents[2]
SWEEP = "version: 1\nname: dialogues\nstore: {root: s3://bucket/sweeps}\n"
NIGHTLY = "--set=schedule.cron=30 2 * * *"
SWITCHES = (
    "--set=network_policy.enabled=true,metrics.enabled=true,metrics.pod_monitor.enabled=true",
    "--set=prometheus_rule.enabled=true,dashboard.enabled=true",
)
OPERATOR_VALUES = """
cluster:
  image: registry.example.org/job@sha256:1234
  image_pull_secrets: [registry]
  s3: {secret: keys, endpoint: "https://s3.example.org:9000", region: eu-1}
  hub: {secret: token, cache_claim: cache, offline: true}
  kueue: {queue: gpus, priority_class: low}
  volumes: [{name: models, claim: models, path: /models}]
  finished_ttl_s: 1000000
  pod_template:
    metadata: {labels: {team: "1"}}
    spec: {nodeSelector: {zone: "on"}, securityContext: {runAsUser: 1000660000}}
controller:
  env: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]
  pod_labels: {azure.workload.identity/use: "true", app.kubernetes.io/name: mine}
  pod_annotations: {note: "1"}
  volumes: [{name: ca, configMap: {name: ca}}]
  volume_mounts: [{name: ca, mountPath: /etc/ca, readOnly: true}]
  tolerations: [{key: infra, operator: Exists}]
  node_selector: {pool: cpu}
service_account_annotations:
  trial: {eks.amazonaws.com/role-arn: "arn:aws:iam::1:role/trial"}
"""


def spec_option(folder: Path, text: str) -> str:
    path = folder / "sweep.yaml"
    path.write_bytes(text.encode())
    return f"--set-file=spec={path}"
