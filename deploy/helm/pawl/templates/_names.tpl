{{/* Names, labels and addresses. */}}

{{- define "pawl.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Quoted, as all names of others are: a release may be called 123. */}}
{{- define "pawl.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "pawl.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* (list ROOT MORE): of an object; the chart's own win, for selectors look for them. */}}
{{- define "pawl.labelsWith" -}}
{{- $root := index . 0 -}}
{{- $own := include "pawl.selectorLabels" $root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (mergeOverwrite (dict) $root.Values.commonLabels (index . 1) $own) -}}
{{- end -}}

{{- define "pawl.labels" -}}
{{- include "pawl.labelsWith" (list . (dict)) -}}
{{- end -}}

{{/* The headless Service: all members, ready or not. */}}
{{- define "pawl.members" -}}
{{ include "pawl.fullname" . }}-members
{{- end -}}

{{- define "pawl.membersHost" -}}
{{ include "pawl.members" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "pawl.serviceHost" -}}
{{ include "pawl.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "pawl.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "pawl.fullname" .) .Values.serviceAccount.name | quote }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name | quote }}
{{- end -}}
{{- end -}}

{{- define "pawl.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "pawl.tlsSecret" -}}
{{ default (printf "%s-tls" (include "pawl.fullname" .)) .Values.tls.secret | quote }}
{{- end -}}

{{/* "true" where members speak TLS with each other; then they share the port of clients. */}}
{{- define "pawl.membersTls" -}}
{{- if and .Values.cluster.enabled .Values.tls.enabled .Values.tls.members }}true{{ end -}}
{{- end -}}

{{/* The name of the port that members reach each other at. */}}
{{- define "pawl.membersPortName" -}}
{{- if include "pawl.membersTls" . }}pawl{{ else }}members{{ end -}}
{{- end -}}

{{/*
Where a member says it is reached. The address is right at once; a name may lead to the pod before
for as long as somebody caches it. Certificates are for pawl.membersHost (cluster.peer_name).
*/}}
{{- define "pawl.advertise" -}}
{{- $tls := eq (include "pawl.membersTls" .) "true" -}}
{{- $ip := ternary "[$(POD_IP)]" "$(POD_IP)" (eq .Values.service.ipFamily "IPv6") -}}
{{ ternary "tls" "tcp" $tls }}:{{ $ip }}:{{ int (ternary .Values.service.port .Values.service.membersPort $tls) }}
{{- end -}}

{{/* PAWL_ADDR of clients inside the cluster. */}}
{{- define "pawl.addr" -}}
{{ ternary "tls" "tcp" .Values.tls.enabled }}:{{ include "pawl.serviceHost" . }}:{{ int .Values.service.port }}
{{- end -}}
