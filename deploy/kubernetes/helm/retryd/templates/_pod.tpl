{{/* The pod: the same in a StatefulSet over SQLite and in a Deployment over PostgreSQL. */}}
{{- define "retryd.pod" -}}
metadata:
  labels:
    {{- include "retryd.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: retryd
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ .Values.serviceAccount.name | default (include "retryd.fullname" .) }}
  automountServiceAccountToken: false
  enableServiceLinks: false # no variables of other services: one of them could be called RETRYD_URL
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if gt (int .Values.replicas) 1 }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "retryd.selector" . | nindent 10 }}
  {{- end }}
  containers:
    - name: retryd
      image: {{ include "retryd.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, --auto-reload{{ if .Values.observe }}, --observe{{ end }}]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      ports:
        - {name: http, containerPort: {{ .Values.service.port }}}
      env:
        - {name: CREDENTIALS_DIRECTORY, value: /etc/retryd-secrets}
        {{- if .Values.web.probe.existingSecret }}
        # Of the probes: a configuration that somebody breaks later must not have a healthy daemon killed.
        - {name: RETRYD_URL, value: "{{ ternary "https" "http" .Values.web.tls }}://127.0.0.1:{{ .Values.service.port }}"}
        - {name: RETRYD_USER, valueFrom: {secretKeyRef: {name: {{ .Values.web.probe.existingSecret }}, key: username}}}
        - {name: RETRYD_PASSWORD, valueFrom: {secretKeyRef: {name: {{ .Values.web.probe.existingSecret }}, key: password}}}
        {{- end }}
        {{- if dig "limits" "memory" "" .Values.resources }}
        - {name: GOMEMLIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
        {{- end }}
        {{- range $name, $value := .Values.env }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      {{- include "retryd.probes" . | nindent 6 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: state, mountPath: /var/lib/retryd}
        # Folders, and no subPath: the kubelet renews only those when a ConfigMap or a Secret changes.
        - {name: config, mountPath: /etc/retryd, readOnly: true}
        {{- if .Values.secrets.existingSecret }}
        - {name: secrets, mountPath: /etc/retryd-secrets, readOnly: true}
        {{- end }}
        {{- if .Values.web.existingSecret }}
        - {name: web, mountPath: /etc/retryd-web, readOnly: true}
        {{- end }}
        {{- if eq .Values.store.kind "postgresql" }}
        - {name: ledger, mountPath: /etc/retryd-ledger, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "retryd.fullname" . }}}
    {{- with .Values.secrets.existingSecret }}
    - name: secrets
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.web.existingSecret }}
    - name: web
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- if eq .Values.store.kind "postgresql" }}
    - name: ledger
      secret:
        secretName: {{ .Values.store.postgresql.existingSecret }}
        defaultMode: 0440
        items: [{key: {{ .Values.store.postgresql.key }}, path: url}]
    - name: state # what is put aside while it works: the ledger is in the database
      emptyDir: {}
    {{- else if .Values.store.sqlite.existingClaim }}
    - name: state
      persistentVolumeClaim: {claimName: {{ .Values.store.sqlite.existingClaim }}}
    {{- end }}
{{- end }}

{{- define "retryd.probes" -}}
{{- if .Values.web.probe.existingSecret }}
{{- $ca := ternary (printf ", --ca-file, /etc/retryd-web/%s" .Values.web.probe.caKey) "" .Values.web.tls -}}
livenessProbe: # the kubelet cannot read a password from a Secret: the program asks itself
  exec: {command: [/usr/bin/retryd, healthcheck{{ $ca }}]}
  periodSeconds: 20
  timeoutSeconds: 6
readinessProbe:
  exec: {command: [/usr/bin/retryd, healthcheck, --ready{{ $ca }}]}
  periodSeconds: 10
  timeoutSeconds: 6
startupProbe: # a ledger that is brought to a new schema is copied first
  exec: {command: [/usr/bin/retryd, healthcheck{{ $ca }}]}
  periodSeconds: 5
  timeoutSeconds: 6
  failureThreshold: 60
{{- else }}
{{- $scheme := ternary "HTTPS" "HTTP" (and .Values.web.tls (ne .Values.web.existingSecret "")) -}}
livenessProbe:
  httpGet: {path: /-/healthy, port: http, scheme: {{ $scheme }}}
  periodSeconds: 20
  timeoutSeconds: 6
readinessProbe:
  httpGet: {path: /-/ready, port: http, scheme: {{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 6
startupProbe: # a ledger that is brought to a new schema is copied first
  httpGet: {path: /-/healthy, port: http, scheme: {{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 6
  failureThreshold: 60
{{- end }}
{{- end }}
