{{- define "l2announce.labels" -}}
app.kubernetes.io/name: l2announce
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "l2announce.selector" -}}
app.kubernetes.io/name: l2announce
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "l2announce.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* Where the kubelet asks for health: the address that is listened at, or the loopback of the same family when it is every one. */ -}}
{{- define "l2announce.probeHost" -}}
{{- $host := .Values.metrics.host -}}
{{ if eq $host "0.0.0.0" }}127.0.0.1{{ else if eq $host "::" }}::1{{ else }}{{ $host }}{{ end }}
{{- end }}

{{- define "l2announce.metricsAddress" -}}
{{- with .Values.metrics -}}
{{ if contains ":" .host }}[{{ .host }}]{{ else }}{{ .host }}{{ end }}:{{ .port }}
{{- end }}
{{- end }}

{{- /* Roles and bindings of a file of policies/, of which files/ has a copy: one source for every way of installing. Takes root, file and
the service account that they are bound to. */ -}}
{{- define "l2announce.rights" -}}
{{- $root := .root -}}
{{- $account := .account -}}
{{- range $document := splitList "\n---\n" (.root.Files.Get .file) }}
{{- $object := fromYaml $document }}
{{- $namespace := ternary $root.Values.leaseNamespace "" (hasPrefix "Role" $object.kind) }}
{{- if hasSuffix "Role" $object.kind }}
---
apiVersion: {{ $object.apiVersion }}
kind: {{ $object.kind }}
metadata:
  name: {{ $object.metadata.name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "l2announce.labels" $root | nindent 4 }}
rules:
{{ toYaml $object.rules }}
{{- else if hasSuffix "RoleBinding" $object.kind }}
---
apiVersion: {{ $object.apiVersion }}
kind: {{ $object.kind }}
metadata:
  name: {{ $object.metadata.name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "l2announce.labels" $root | nindent 4 }}
roleRef:
  {{- toYaml $object.roleRef | nindent 2 }}
subjects:
- kind: ServiceAccount
  name: {{ $account }}
  namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}
{{- end }}
