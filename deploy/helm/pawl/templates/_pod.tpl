{{/* The pod of all three modes. */}}

{{- define "pawl.podMetadata" -}}
{{- $own := include "pawl.selectorLabels" . | fromYaml -}}
{{- /* Else a cluster-autoscaler keeps every node where the folder of the socket is. */ -}}
{{- $notes := dict "checksum/restart-settings" (include "pawl.restartHash" .) "kubectl.kubernetes.io/default-container" "pawld" "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" "run" -}}
labels:
  {{- toYaml (mergeOverwrite (dict) .Values.commonLabels .Values.podLabels $own) | nindent 2 }}
annotations:
  {{- toYaml (mergeOverwrite (dict) .Values.podAnnotations $notes) | nindent 2 }}
{{- end -}}

{{/* Restricted, of pods that this chart makes. */}}
{{- define "pawl.podSecurity" -}}
runAsNonRoot: true
{{- range $name := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- with get $.Values.security $name }}
{{ $name }}: {{ int . }}
{{- end }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "pawl.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- end -}}

{{- define "pawl.container" -}}
name: pawld
image: {{ include "pawl.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
- --config
- /etc/pawl/config/pawld.yaml
{{- if .Values.cluster.enabled }}
- --set
- {{ printf "cluster.advertise=%s" (include "pawl.advertise" .) | quote }}
{{- end }}
env:
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: PAWL_ADDR # of pawlctl in this container
  value: unix:/run/pawl/pawld.sock
ports:
- name: pawl
  containerPort: {{ int .Values.service.port }}
- name: http
  containerPort: {{ int .Values.http.port }}
{{- if and .Values.cluster.enabled (not (include "pawl.membersTls" .)) }}
- name: members
  containerPort: {{ int .Values.service.membersPort }}
{{- end }}
{{- with .Values.probes }}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: {{ int .startup.periodSeconds }}
  failureThreshold: {{ int .startup.failureThreshold }}
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: {{ int .readiness.periodSeconds }}
  {{- if and (eq $.Values.mode "statefulset") (gt (int $.Values.rollout.minReadySeconds) 0) }}
  {{- /* A StatefulSet does not know minReadySeconds (see there). The first answer takes no time, nor
         does the next: a kubelet asks out of turn while a pod is not ready. */}}
  {{- $period := int .readiness.periodSeconds }}
  successThreshold: {{ add 2 (div (sub (add (int $.Values.rollout.minReadySeconds) $period) 1) $period) }}
  {{- end }}
  timeoutSeconds: {{ int .readiness.timeoutSeconds }}
  failureThreshold: {{ int .readiness.failureThreshold }}
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: {{ int .liveness.periodSeconds }}
  timeoutSeconds: {{ int .liveness.timeoutSeconds }}
  failureThreshold: {{ int .liveness.failureThreshold }}
{{- end }}
{{- if gt (int .Values.termination.preStopSeconds) 0 }}
lifecycle:
  preStop:
    sleep: {seconds: {{ int .Values.termination.preStopSeconds }}}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- include "pawl.containerSecurity" . | nindent 2 }}
volumeMounts:
{{- include "pawl.mounts" . | nindent 0 }}
{{- end -}}

{{- define "pawl.mounts" -}}
- {name: config, mountPath: /etc/pawl/config, readOnly: true}
- {name: run, mountPath: /run/pawl}
{{- if include "pawl.hasData" . }}
- {name: data, mountPath: /var/lib/pawl}
{{- end }}
{{- if .Values.secret.name }}
- {name: secret, mountPath: /etc/pawl/secret, readOnly: true}
{{- end }}
{{- if .Values.tls.enabled }}
- {name: tls, mountPath: /etc/pawl/tls, readOnly: true}
{{- end }}
{{- if .Values.cluster.enabled }}
{{- if .Values.cluster.passwordSecret }}
- {name: engine, mountPath: /etc/pawl/engine, readOnly: true}
{{- end }}
{{- if .Values.cluster.sentinel.passwordSecret }}
- {name: sentinel, mountPath: /etc/pawl/sentinel, readOnly: true}
{{- end }}
{{- if .Values.cluster.tls.secret }}
- {name: engine-tls, mountPath: /etc/pawl/engine-tls, readOnly: true}
{{- end }}
{{- end }}
{{- range .Values.files }}
- {name: {{ printf "file-%s" .name }}, mountPath: {{ printf "/etc/pawl/files/%s" .name }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "pawl.volumes" -}}
- name: config
  configMap: {name: {{ include "pawl.fullname" . | quote }}}
- name: run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- if and (include "pawl.hasData" .) (not (include "pawl.hasVolumes" .)) }}
- name: data
  emptyDir: {sizeLimit: {{ .Values.persistence.size }}}
{{- end }}
{{- if .Values.secret.name }}
- name: secret
  secret:
    secretName: {{ .Values.secret.name | quote }}
    defaultMode: 0440
    items:
    - {key: {{ .Values.secret.key | quote }}, path: secret}
    {{- with .Values.secret.otherKey }}
    - {key: {{ . | quote }}, path: other}
    {{- end }}
    {{- with .Values.secret.namesKey }}
    - {key: {{ . | quote }}, path: names}
    {{- end }}
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret: {secretName: {{ include "pawl.tlsSecret" . }}, defaultMode: 0440}
{{- end }}
{{- if .Values.cluster.enabled }}
{{- with .Values.cluster.passwordSecret }}
- name: engine
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
    items:
    - {key: {{ $.Values.cluster.passwordKey | quote }}, path: password}
{{- end }}
{{- with .Values.cluster.sentinel.passwordSecret }}
- name: sentinel
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
    items:
    - {key: {{ $.Values.cluster.sentinel.passwordKey | quote }}, path: password}
{{- end }}
{{- with .Values.cluster.tls.secret }}
- name: engine-tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- range .Values.files }}
- name: {{ printf "file-%s" .name }}
  {{- if .secret }}
  secret: {secretName: {{ .secret | quote }}, defaultMode: 0440}
  {{- else }}
  configMap: {name: {{ .configMap | quote }}}
  {{- end }}
{{- end }}
{{- end -}}

{{/* On which nodes. */}}
{{- define "pawl.places" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeAffinity }}
affinity:
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "pawl.spread" -}}
{{- $keys := dict "zone" "topology.kubernetes.io/zone" "node" "kubernetes.io/hostname" -}}
{{- range $where := list "zone" "node" }}
{{- $unsatisfiable := get $.Values.topologySpread $where }}
{{- if ne $unsatisfiable "none" }}
- maxSkew: 1
  topologyKey: {{ get $keys $where }}
  whenUnsatisfiable: {{ $unsatisfiable }}
  nodeTaintsPolicy: Honor # nodes where no member may be are none to spread over
  {{- if eq $.Values.mode "deployment" }}
  matchLabelKeys: [pod-template-hash] # each version by itself, or what is left of a rollout is uneven
  {{- end }}
  labelSelector:
    matchLabels:
      {{- include "pawl.selectorLabels" $ | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "pawl.podSpec" -}}
serviceAccountName: {{ include "pawl.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ int .Values.termination.gracePeriodSeconds }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . | quote }}
{{- end }}
{{- end }}
securityContext:
  {{- include "pawl.podSecurity" . | nindent 2 }}
{{- with include "pawl.places" . }}
{{- trim . | nindent 0 }}
{{- end }}
{{- if ne .Values.mode "daemonset" }}
{{- with include "pawl.spread" . }}
topologySpreadConstraints:
{{- trim . | nindent 0 }}
{{- end }}
{{- end }}
containers:
- {{ include "pawl.container" . | indent 2 | trim }}
volumes:
{{- include "pawl.volumes" . | nindent 0 }}
{{- end -}}

{{- define "pawl.metadata" -}}
name: {{ include "pawl.fullname" . | quote }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "pawl.labels" . | nindent 2 }}
{{- end -}}
