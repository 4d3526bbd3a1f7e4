"""Cluster settings for tests: the plain ones, and ones in which everything is set."""

from __future__ import annotations

from controller.kube.settings_file import parse_settings

__all__ = ["FULL", "PLAIN", "VOLUME"]

VOLUME = "volumes: [{name: models, claim: models, path: /somewhere}]\n"
PLAIN = parse_settings(b"image: registry.example.org/lorasweep-job:0.1.0\n" + VOLUME.encode(), name="cluster.yaml")
FULL = parse_settings(
    b"""\
image: registry.example.org/lorasweep-job@sha256:0123
image_pull_policy: Always
image_pull_secrets: [registry]
service_accounts: {trial: trials, controller: sweeps}
resources: {cpu: 500m, memory: 24Gi, ephemeral_storage: 100Gi, shared_memory: 4Gi}
gpu_resource: nvidia.com/mig-1g.10gb
kueue: {queue: gpus, priority_class: nightly}
s3: {secret: s3, endpoint: "https://s3.example.org", region: eu-central-1}
hub: {secret: hub, cache_claim: hub-cache}
volumes:
  - {name: models, claim: models, path: /somewhere}
  - {name: corpora, claim: corpora, path: /data/corpora, sub_path: dialogues}
grace_period_s: 300
pod_template:
  metadata:
    labels: {team: language}
    annotations: {example.org/note: "$(AWS_SECRET_ACCESS_KEY) stays as it is"}
  spec:
    nodeSelector: {example.org/pool: gpu}
    priorityClassName: low
    tolerations: [{key: example.org/pool, operator: Equal, value: gpu, effect: NoSchedule}]
    securityContext: {runAsUser: 2000, fsGroup: 2000}
    initContainers:
      - name: proxy
        image: registry.example.org/proxy:2
        restartPolicy: Always
        securityContext: {runAsUser: 3000, readOnlyRootFilesystem: true}
    containers:
      - name: trial
        env:
          - {name: HOME, value: /nvme}
          - {name: HTTPS_PROXY, value: "http://127.0.0.1:3128"}
        resources: {limits: {cpu: "4"}}
        volumeMounts: [{name: nvme, mountPath: /nvme}]
    volumes:
      - {name: nvme, ephemeral: {volumeClaimTemplate: {spec: {storageClassName: nvme}}}}
      - {name: tmp, emptyDir: {sizeLimit: 5Gi}}
""",
    name="cluster.yaml",
)
