{{- define "mlxd.name" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- if contains .Chart.Name .Release.Name }}{{ $name = .Release.Name }}{{ end -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "mlxd.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mlxd.labels" -}}
{{ include "mlxd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The secret with the keys; "" where there is none. */}}
{{- define "mlxd.keySecret" -}}
{{- with .Values.apiKey -}}
{{- if .existingSecret.name }}{{ .existingSecret.name }}{{ else if .value }}{{ include "mlxd.name" $ }}-key{{ end }}
{{- end -}}
{{- end }}

{{- define "mlxd.keyName" -}}
{{- if .Values.apiKey.existingSecret.name }}{{ .Values.apiKey.existingSecret.key }}{{ else }}api-key{{ end }}
{{- end }}

{{/* The Host names by which the service is asked for, and those of the operator. */}}
{{- define "mlxd.hosts" -}}
{{- $name := include "mlxd.name" . -}}
{{- $own := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- concat $own .Values.allowedHosts | join "," -}}
{{- end }}
