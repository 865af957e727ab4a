{{/* What the schema cannot say: values that do not go together stop the rendering, with a reason. */}}

{{- define "pawl.check" -}}
{{- $v := .Values -}}
{{- $t := $v.termination -}}
{{- $needed := add $t.preStopSeconds $t.drainSeconds 5 | int -}}
{{- if lt (int $t.gracePeriodSeconds) $needed -}}
{{- fail (printf "termination: preStopSeconds (%d) + drainSeconds (%d) + 5 is above gracePeriodSeconds (%d): the kubelet would kill a member that still hands over; raise it to %d or more" (int $t.preStopSeconds) (int $t.drainSeconds) (int $t.gracePeriodSeconds) $needed) -}}
{{- end -}}
{{- include "pawl.checkCluster" . -}}
{{- include "pawl.checkTls" . -}}
{{- if and $v.autoscaling.enabled (eq $v.mode "daemonset") -}}
{{- fail "autoscaling.enabled: a daemonset has one member on each node; choose statefulset or deployment" -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling: minReplicas is above maxReplicas" -}}
{{- end -}}
{{- if and $v.monitoring.serviceMonitor.enabled $v.monitoring.podMonitor.enabled -}}
{{- fail "monitoring: serviceMonitor and podMonitor would scrape every member twice; enable one of them" -}}
{{- end -}}
{{- $ports := list (int $v.service.port) (int $v.http.port) -}}
{{- if and $v.cluster.enabled (not (include "pawl.membersTls" .)) -}}
{{- $ports = append $ports (int $v.service.membersPort) -}}
{{- end -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- fail "service.port, service.membersPort and http.port: two of them are the same" -}}
{{- end -}}
{{- $name := include "pawl.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "fullnameOverride: a Service cannot be called %q: small letters, digits and dashes, a letter first" $name) -}}
{{- end -}}
{{- if and (ne $v.service.type "ClusterIP") (not $v.tls.enabled) -}}
{{- fail (printf "service.type: %s leads out of the cluster, and traffic is in clear; set tls.enabled" $v.service.type) -}}
{{- end -}}
{{- if and $v.service.sourceRanges (ne $v.service.type "LoadBalancer") -}}
{{- fail "service.sourceRanges: only a LoadBalancer heeds them" -}}
{{- end -}}
{{- $role := include "pawl.clientRole" . | fromJsonArray -}}
{{- if not $role -}}
{{- fail "access.role: pawld lets nobody do more than check and read whom it cannot know; set tls.enabled or config.credentials" -}}
{{- end -}}
{{- range $v.access.anonymous -}}
{{- if not (has . $role) -}}
{{- fail (printf "access.anonymous: %s is more than access.role, or than pawld allows to whom it cannot know: set tls.enabled or config.credentials, or take it away" .) -}}
{{- end -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $v.files -}}
{{- if hasKey . "subPath" -}}
{{- fail (printf "files: %s: subPath is refused: the kubelet never updates a file mounted by it, so a changed key or setting would stay unseen until the pod is replaced; name the file below /etc/pawl/files/%s/ instead" .name .name) -}}
{{- end -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "files: %s is there twice" .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- end -}}

{{- define "pawl.checkCluster" -}}
{{- $c := .Values.cluster -}}
{{- $sentinel := or $c.sentinel.name $c.sentinel.nodes -}}
{{- if $c.enabled -}}
{{- if and (not $c.redis) (not $sentinel) -}}
{{- fail "cluster.redis: say where the engine is, like [\"redis://redis.redis.svc:6379\"], or give cluster.sentinel; cluster.enabled=false is one pawld without others" -}}
{{- end -}}
{{- if and $c.redis $sentinel -}}
{{- fail "cluster.redis: cluster.sentinel says where the engine is; keep one of the two" -}}
{{- end -}}
{{- if and $sentinel (not (and $c.sentinel.name $c.sentinel.nodes)) -}}
{{- fail "cluster.sentinel: name and nodes go together" -}}
{{- end -}}
{{- if not .Values.secret.name -}}
{{- fail "secret.name: a fleet needs one root secret for all: kubectl create secret generic pawl-root --from-literal=secret=$(openssl rand -hex 32)" -}}
{{- end -}}
{{- else if or (ne .Values.mode "statefulset") .Values.autoscaling.enabled (ne (int .Values.replicas) 1) -}}
{{- fail "cluster.enabled=false: several that know nothing of each other would each admit the whole limit; set mode=statefulset, replicas=1 and no autoscaling" -}}
{{- end -}}
{{- if and (or .Values.secret.otherKey .Values.secret.namesKey) (not .Values.secret.name) -}}
{{- fail "secret.otherKey, secret.namesKey: need secret.name" -}}
{{- end -}}
{{- if and .Values.secret.otherKey (eq .Values.secret.otherKey .Values.secret.key) -}}
{{- fail "secret.otherKey: is secret.key, too; name the one that is changed for the other" -}}
{{- end -}}
{{- if and .Values.secret.otherKey (not .Values.secret.namesKey) -}}
{{- fail "secret.namesKey: name the first secret that this fleet had: members that name keys by different ones count each key twice" -}}
{{- end -}}
{{- end -}}

{{- define "pawl.checkTls" -}}
{{- $tls := .Values.tls -}}
{{- if $tls.enabled -}}
{{- if and (not $tls.secret) (not $tls.certManager.enabled) -}}
{{- fail "tls.secret: name the Secret with tls.crt, tls.key and ca.crt, or set tls.certManager.enabled" -}}
{{- end -}}
{{- if eq $tls.clientCertificates "none" -}}
{{- if include "pawl.membersTls" . -}}
{{- fail "tls.clientCertificates: with none members could not know each other; set optional, or tls.members=false" -}}
{{- end -}}
{{- if $tls.clients -}}
{{- fail "tls.clients: does nothing with tls.clientCertificates=none" -}}
{{- end -}}
{{- end -}}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerName) -}}
{{- fail "tls.certManager.issuerName: cert-manager has to know who issues" -}}
{{- end -}}
{{- end -}}
{{- end -}}
