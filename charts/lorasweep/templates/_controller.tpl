{{/* How the controller's container reaches store and hub; as in trials (controller/kube/trial_pod.py). */}}
{{- define "lorasweep.environment" -}}
{{- $s3 := .Values.cluster.s3 -}}
{{- $hub := .Values.cluster.hub -}}
- {name: LORASWEEP_LOG, value: json}
{{- with $s3.endpoint }}
- {name: AWS_ENDPOINT_URL_S3, value: {{ . | quote }}}
{{- end }}
{{- with $s3.region }}
- {name: AWS_DEFAULT_REGION, value: {{ . | quote }}}
{{- end }}
{{- with $s3.secret }}
- {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: AWS_ACCESS_KEY_ID}}}
- {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: AWS_SECRET_ACCESS_KEY}}}
- {name: AWS_SESSION_TOKEN, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: AWS_SESSION_TOKEN, optional: true}}}
{{- end }}
{{- with $hub.secret }}
- {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: HF_TOKEN}}}
{{- end }}
{{- if $hub.cache_claim }}
- {name: HF_HUB_CACHE, value: /var/cache/huggingface}
{{- end }}
{{- if or $hub.cache_claim $hub.offline }}
- {name: HF_HUB_OFFLINE, value: "1"}
{{- end }}
{{- with .Values.controller.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A PodSpec within the restricted Pod Security profile; takes the arguments of `lorasweep` beside the root context. */}}
{{- define "lorasweep.pod" -}}
{{- $root := .root -}}
{{- with $root.Values -}}
serviceAccountName: {{ include "lorasweep.controllerAccount" $root }}
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: Never
terminationGracePeriodSeconds: 60
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
{{- with .cluster.image_pull_secrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .controller.node_selector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .controller.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .controller.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .controller.priority_class_name }}
priorityClassName: {{ . }}
{{- end }}
containers:
  - name: controller
    image: {{ .controller.image | quote }}
    imagePullPolicy: {{ .controller.image_pull_policy }}
    args:
      {{- toYaml $.arguments | nindent 6 }}
    env:
      {{- include "lorasweep.environment" $root | nindent 6 }}
      {{- with $.env }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- if .metrics.enabled }}
    ports:
      - {name: metrics, containerPort: {{ int .metrics.port }}, protocol: TCP}
    {{- end }}
    resources:
      {{- toYaml .controller.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      readOnlyRootFilesystem: true
      runAsNonRoot: true
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: sweep, mountPath: /etc/lorasweep, readOnly: true}
      - {name: home, mountPath: /home/lorasweep}
      - {name: tmp, mountPath: /tmp}
      {{- if .cluster.hub.cache_claim }}
      - {name: hub-cache, mountPath: /var/cache/huggingface, readOnly: true}
      {{- end }}
      {{- with .controller.volume_mounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: sweep
    configMap: {name: {{ include "lorasweep.name" $root }}}
  - {name: home, emptyDir: {}}
  - {name: tmp, emptyDir: {}}
  {{- with .cluster.hub.cache_claim }}
  - name: hub-cache
    persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
  {{- end }}
  {{- with .controller.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* A JobSpec. Exit codes are those of docs/design.md: 85 is a stop from outside or a lost Lease, and is no failure; 1, 2
and 78 stay what they are however often it is tried. The Job's UID tells its second pod that it is no new wish to run. */}}
{{- define "lorasweep.job" -}}
{{- $arguments := list "run" "/etc/lorasweep/sweep.yaml" "--backend" "kubernetes" "--cluster" "/etc/lorasweep/cluster.yaml" -}}
{{- $arguments = concat $arguments (list "--owner" (include "lorasweep.name" .)) -}}
{{- with .Values.store }}{{ $arguments = concat $arguments (list "--store" .) }}{{ end -}}
{{- $uid := dict "fieldPath" "metadata.labels['batch.kubernetes.io/controller-uid']" -}}
{{- $env := list (dict "name" "LORASWEEP_JOB_UID" "valueFrom" (dict "fieldRef" $uid)) -}}
{{- if .Values.schedule.cron -}}
{{- $arguments = concat $arguments (list "--run-from-job" "$(LORASWEEP_JOB)") -}}
{{- $label := dict "fieldPath" "metadata.labels['batch.kubernetes.io/job-name']" -}}
{{- $env = append $env (dict "name" "LORASWEEP_JOB" "valueFrom" (dict "fieldRef" $label)) -}}
{{- else -}}
{{- with .Values.run }}{{ $arguments = concat $arguments (list "--run" .) }}{{ end -}}
{{- end -}}
{{- with .Values.metrics -}}
{{- if .enabled -}}
{{- $arguments = concat $arguments (list "--metrics-port" (toString (int .port)) "--metrics-linger-s" (toString (int .linger_s))) -}}
{{- end -}}
{{- end -}}
parallelism: 1
completions: 1
backoffLimit: {{ int .Values.controller.backoff_limit }}
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions:
        - {type: DisruptionTarget, status: "True"}
    - action: Ignore
      onExitCodes: {containerName: controller, operator: In, values: [85]}
    - action: FailJob
      onExitCodes: {containerName: controller, operator: In, values: [1, 2, 78]}
template:
  metadata:
    labels:
      {{- merge (include "lorasweep.labels" . | fromYaml) .Values.controller.pod_labels | toYaml | nindent 6 }}
    {{- with .Values.controller.pod_annotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "lorasweep.pod" (dict "root" . "arguments" $arguments "env" $env) | nindent 4 }}
{{- end }}

{{/* Of the one-shot Job: another one for another spec, image or pod, as a Job cannot be changed. */}}
{{- define "lorasweep.jobName" -}}
{{- $decides := list .Values.spec (include "lorasweep.cluster" .) (include "lorasweep.job" .) | toJson -}}
{{- printf "%s-%s" (include "lorasweep.name" .) (sha256sum $decides | trunc 8) -}}
{{- end }}
