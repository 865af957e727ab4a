{{/*
pawld.yaml: the values' `config`, and over it what the chart knows. Files are named below folders
that are mounted whole, never by subPath: the kubelet swaps `..data` there, and pawld looks.
*/}}

{{/* "true" where pawld can tell who connects by TCP; without it, it lets nobody do more than read. */}}
{{- define "pawl.knowsClients" -}}
{{- if or .Values.tls.enabled .Values.config.credentials .Values.cluster.enabled }}true{{ end -}}
{{- end -}}

{{/* The roles of the port of clients, as a list. */}}
{{- define "pawl.clientRole" -}}
{{- $role := list -}}
{{- range .Values.access.role -}}
{{- if or (include "pawl.knowsClients" $) (has . (list "check" "read")) -}}
{{- $role = append $role . -}}
{{- end -}}
{{- end -}}
{{- if include "pawl.membersTls" . -}}
{{- $role = append $role "peer" -}}
{{- end -}}
{{- toJson $role -}}
{{- end -}}

{{- define "pawl.listen" -}}
{{- $any := ternary "[::]" "0.0.0.0" (eq .Values.service.ipFamily "IPv6") -}}
- unix:/run/pawl/pawld.sock
- uri: {{ printf "%s:%s:%d" (ternary "tls" "tcp" .Values.tls.enabled) $any (int .Values.service.port) }}
  role: {{ include "pawl.clientRole" . }}
  anonymous: {{ toJson .Values.access.anonymous }}
  {{- if not .Values.tls.enabled }}
  insecure: true
  {{- end }}
{{- if and .Values.cluster.enabled (not (include "pawl.membersTls" .)) }}
- uri: {{ printf "tcp:%s:%d" $any (int .Values.service.membersPort) }}
  role: [check, peer]
  anonymous: [check, peer]
  insecure: true
{{- end }}
{{- end -}}

{{- define "pawl.clusterConfig" -}}
{{- $c := .Values.cluster -}}
{{- if $c.redis }}
redis: {{ toJson $c.redis }}
{{- else }}
sentinel:
  name: {{ $c.sentinel.name | quote }}
  nodes: {{ toJson $c.sentinel.nodes }}
  {{- with $c.sentinel.user }}
  user: {{ . | quote }}
  {{- end }}
  {{- if $c.sentinel.passwordSecret }}
  password_file: /etc/pawl/sentinel/password
  {{- end }}
{{- end }}
{{- with $c.user }}
user: {{ . | quote }}
{{- end }}
{{- if $c.passwordSecret }}
password_file: /etc/pawl/engine/password
{{- end }}
{{- if or $c.tls.secret $c.tls.name }}
tls:
  {{- if and $c.tls.secret $c.tls.caKey }}
  ca: /etc/pawl/engine-tls/{{ $c.tls.caKey }}
  {{- end }}
  {{- if and $c.tls.secret $c.tls.certificate }}
  certificate: /etc/pawl/engine-tls/tls.crt
  key: /etc/pawl/engine-tls/tls.key
  {{- end }}
  {{- with $c.tls.name }}
  name: {{ . | quote }}
  {{- end }}
{{- end }}
prefix: {{ $c.prefix | quote }}
ack: {{ $c.ack }}
{{- with $c.acks }}
acks: {{ toJson . }}
{{- end }}
command_timeout: {{ $c.commandTimeout }}
strict: {{ $c.strict }}
{{- if include "pawl.membersTls" . }}
peer_name: {{ include "pawl.membersHost" . }}
{{- end }}
seeds: {{ printf "%s:%d" (include "pawl.membersHost" .) (int (ternary .Values.service.port .Values.service.membersPort (eq (include "pawl.membersTls" .) "true"))) }}
{{- end -}}

{{- define "pawl.tlsConfig" -}}
certificate: /etc/pawl/tls/tls.crt
key: /etc/pawl/tls/tls.key
ca: /etc/pawl/tls/ca.crt
client_certificates: {{ .Values.tls.clientCertificates }}
clients:
{{- if include "pawl.membersTls" . }}
- san: dns:{{ include "pawl.membersHost" . }}
  role: [check, read, peer]
{{- else if include "pawl.testShows" . }}
- san: dns:{{ include "pawl.serviceHost" . }} # helm test shows the Service's own certificate
  role: [read]
{{- end }}
{{- with .Values.tls.clients }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* "true" where the pod of `helm test` is known by its certificate alone. */}}
{{- define "pawl.testShows" -}}
{{- $tls := .Values.tls -}}
{{- if and .Values.tests.enabled $tls.enabled (ne $tls.clientCertificates "none") (not (has "read" .Values.access.anonymous)) }}true{{ end -}}
{{- end -}}

{{/* "true" where there is such a pod: it has to be let ask for the status. */}}
{{- define "pawl.hasTest" -}}
{{- $may := has "read" (include "pawl.clientRole" . | fromJsonArray) -}}
{{- if and .Values.tests.enabled $may (or (has "read" .Values.access.anonymous) (include "pawl.testShows" .)) }}true{{ end -}}
{{- end -}}

{{- define "pawl.httpHosts" -}}
{{- $name := include "pawl.fullname" . -}}
{{- $host := include "pawl.serviceHost" . -}}
{{- concat (list $name (printf "%s.%s" $name .Release.Namespace) $host (printf "%s.cluster.local" $host)) .Values.http.hosts | uniq | toJson -}}
{{- end -}}

{{- define "pawl.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $server := default dict $config.server -}}
{{- $_ := set $server "drain_timeout" (printf "%ds" (int .Values.termination.drainSeconds)) -}}
{{- $_ := set $config "server" $server -}}
{{- $_ := set $config "listen" (include "pawl.listen" . | fromYamlArray) -}}
{{- $_ := set $config "http" (printf "%s:%d" (ternary "[::]" "0.0.0.0" (eq .Values.service.ipFamily "IPv6")) (int .Values.http.port)) -}}
{{- $_ := set $config "http_insecure" true -}}
{{- $_ := set $config "http_console" .Values.http.console -}}
{{- $_ := set $config "http_hosts" (include "pawl.httpHosts" . | fromJsonArray) -}}
{{- with .Values.secret.namesKey -}}
{{- $_ := set $config "names_secret_file" "/etc/pawl/secret/names" -}}
{{- end -}}
{{- if .Values.secret.otherKey -}}
{{- $_ := set $config "secret_files" (list "/etc/pawl/secret/secret" "/etc/pawl/secret/other") -}}
{{- else if .Values.secret.name -}}
{{- $_ := set $config "secret_file" "/etc/pawl/secret/secret" -}}
{{- end -}}
{{- if include "pawl.hasData" . -}}
{{- /* A folder of its own: pawld makes it 0700, which it may not do with the volume's root. */ -}}
{{- $_ := set $config "data_dir" "/var/lib/pawl/data" -}}
{{- end -}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $config "tls" (include "pawl.tlsConfig" . | fromYaml) -}}
{{- end -}}
{{- if .Values.cluster.enabled -}}
{{- $_ := set $config "cluster" (include "pawl.clusterConfig" . | fromYaml) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* "true" where there is a data_dir: a volume for each, or one pawld alone. */}}
{{- define "pawl.hasData" -}}
{{- if or (not .Values.cluster.enabled) (include "pawl.hasVolumes" .) }}true{{ end -}}
{{- end -}}

{{- define "pawl.hasVolumes" -}}
{{- if and .Values.persistence.enabled (eq .Values.mode "statefulset") }}true{{ end -}}
{{- end -}}

{{/*
A hash of what only a restart changes, so that `helm upgrade` rolls the members for that and not for
limits, tokens, keys and log levels, which they take in place.
*/}}
{{- define "pawl.restartHash" -}}
{{- $config := include "pawl.config" . | fromYaml -}}
{{- $tokens := default dict $config.tokens -}}
{{- $fixed := omit $config "limits" "tokens" "rotation" "jwt" "tls" "credentials" "log" "audit" -}}
{{- $_ := set $fixed "max_lifetime" (default "" $tokens.max_lifetime) -}}
{{- toJson $fixed | sha256sum -}}
{{- end -}}
