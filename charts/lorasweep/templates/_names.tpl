{{/* Of all objects of the release. At most 48 characters: with "-" and 8 hex digits it names a Job, whose pods' names have
6 more and at most 63; a CronJob's may have 52. A name that is cut ends in a hash of the whole. */}}
{{- define "lorasweep.name" -}}
{{- $whole := .Release.Name | replace "." "-" -}}
{{- if not (contains .Chart.Name $whole) }}{{ $whole = printf "%s-%s" $whole .Chart.Name }}{{ end -}}
{{- if gt (len $whole) 48 -}}
{{- printf "%s-%s" ($whole | trunc 39 | trimSuffix "-") (sha256sum .Release.Name | trunc 8) -}}
{{- else -}}
{{- $whole -}}
{{- end -}}
{{- end }}

{{- define "lorasweep.controllerAccount" -}}
{{- .Values.cluster.service_accounts.controller | default (printf "%s-controller" (include "lorasweep.name" .)) -}}
{{- end }}

{{- define "lorasweep.trialAccount" -}}
{{- .Values.cluster.service_accounts.trial | default (printf "%s-trial" (include "lorasweep.name" .)) -}}
{{- end }}

{{- define "lorasweep.selectorLabels" -}}
app.kubernetes.io/name: lorasweep
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{/* Of trial pods; the controller sets them (controller/kube/identity.py). */}}
{{- define "lorasweep.trialLabels" -}}
app.kubernetes.io/name: lorasweep
app.kubernetes.io/component: trial
{{- end }}

{{- define "lorasweep.labels" -}}
{{ include "lorasweep.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What is wrong in a way that no schema can say. */}}
{{- define "lorasweep.check" -}}
{{- if not (trim .Values.spec) -}}
{{- fail "\n\nno sweep: add --set-file spec=my-sweep.yaml (--reuse-values keeps the one of the last release)\n" -}}
{{- end -}}
{{- /* Text that Helm cannot read is left to the controller, which names the line. */ -}}
{{- $sweep := fromYaml .Values.spec -}}
{{- if not (or (hasKey $sweep "name") (and (hasKey $sweep "Error") (contains "\n" (trim .Values.spec)))) -}}
{{- fail "\n\n`spec` holds no sweep, as it has no `name`: it is the text of one, which --set-file spec=my-sweep.yaml reads from its file (--set would give the file's name)\n" -}}
{{- end -}}
{{- $root := "" -}}
{{- if kindIs "map" $sweep.store }}{{ $root = $sweep.store.root | default "" | toString }}{{ end -}}
{{- if not (or .Values.store (hasPrefix "s3://" $root) (hasKey $sweep "Error")) -}}
{{- fail (printf "\n\nno store that pods can reach: add --set store=s3://bucket/prefix, or write it into the sweep (store.root is now %q)\n" $root) -}}
{{- end -}}
{{- if and .Values.schedule.cron .Values.run -}}
{{- fail "\n\n`run` names one run, and with `schedule.cron` each has a name of its own; leave `run` empty\n" -}}
{{- end -}}
{{- if contains "@" (.Values.cluster.s3.endpoint | default "") -}}
{{- /* Not said by the schema: Helm shows the value that a schema refuses. */ -}}
{{- fail "\n\n`cluster.s3.endpoint` holds credentials before its `@`; write it without, and name a Secret in `cluster.s3.secret`\n" -}}
{{- end -}}
{{- if and .Values.metrics.pod_monitor.enabled (not .Values.metrics.enabled) -}}
{{- fail "\n\n`metrics.pod_monitor` reads what `metrics.enabled` offers; set both\n" -}}
{{- end -}}
{{- end }}
