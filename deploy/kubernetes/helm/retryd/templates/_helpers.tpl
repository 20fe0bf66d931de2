{{- define "retryd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters: a StatefulSet's pods get a label with its name and a hash of 10. */}}
{{- define "retryd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "retryd.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "retryd.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "retryd.selector" -}}
app.kubernetes.io/name: {{ include "retryd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "retryd.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "retryd.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "retryd.image" -}}
{{- $repository := required "image.repository is needed: build the image (docs/installing-container.md) and push it to a registry of yours" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* What no schema can say, in words. */}}
{{- define "retryd.check" -}}
{{- if not (and (get .Values.config "connections") (get .Values.config "policies")) }}
{{- fail "config needs connections and policies: see docs/configuration.md" }}
{{- end }}
{{- if and (eq .Values.store.kind "sqlite") (gt (int .Values.replicas) 1) }}
{{- fail (printf "replicas is %d, and the ledger is in SQLite, which one retryd alone can use: set store.kind to postgresql, or replicas to 1" (int .Values.replicas)) }}
{{- end }}
{{- if and (eq .Values.store.kind "postgresql") (not .Values.store.postgresql.existingSecret) }}
{{- fail "store.postgresql.existingSecret is needed with store.kind postgresql: the name of a Secret that holds the database's address" }}
{{- end }}
{{- if and .Values.podDisruptionBudget.enabled (lt (int .Values.replicas) 2) }}
{{- fail "podDisruptionBudget over one replica would block every drain of its node: leave it off, or have several replicas with store.kind postgresql" }}
{{- end }}
{{- if and .Values.web.admins (not .Values.web.existingSecret) }}
{{- fail "web.admins needs web.existingSecret: without passwords or certificates nobody can be told from anybody" }}
{{- end }}
{{- if and .Values.web.probe.existingSecret (not .Values.web.existingSecret) }}
{{- fail "web.probe is for the passwords of web.existingSecret, which is not set" }}
{{- end }}
{{- end }}

{{- define "retryd.config" -}}
{{- $server := dict "listen" (printf "0.0.0.0:%d" (int .Values.service.port)) }}
{{- if .Values.web.existingSecret }}
{{- $_ := set $server "web_config" "/etc/retryd-web/web.yaml" }}
{{- end }}
{{- with .Values.web.admins }}
{{- $_ := set $server "admins" . }}
{{- end }}
{{- $store := dict "url" "sqlite:retryd.db" }}
{{- if eq .Values.store.kind "postgresql" }}
{{- $store = dict "url_file" "/etc/retryd-ledger/url" }}
{{- end }}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) (dict "server" $server "store" $store)) }}
{{- end }}
