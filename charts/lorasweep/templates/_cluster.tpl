{{/* The file of --cluster: `cluster` of the values, with the service accounts that the chart makes. Helm takes a key away
that is set to null, so a gpu_resource that is not there is one that was set to null. */}}
{{- define "lorasweep.cluster" -}}
{{- $accounts := dict "controller" (include "lorasweep.controllerAccount" .) "trial" (include "lorasweep.trialAccount" .) -}}
{{- $cluster := merge (dict "service_accounts" $accounts) .Values.cluster -}}
{{- if not (hasKey .Values.cluster "gpu_resource") }}{{ $_ := set $cluster "gpu_resource" nil }}{{ end -}}
{{- toYaml $cluster -}}
{{- end }}
