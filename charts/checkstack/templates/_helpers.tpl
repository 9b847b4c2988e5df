{{- define "checkstack.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "checkstack.operator.fullname" -}}
{{ include "checkstack.fullname" . }}-operator
{{- end }}

{{- define "checkstack.labels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: checkstack
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* The NetworkPolicies of instances let the operator in by this name. */ -}}
{{- define "checkstack.operator.selector" -}}
app.kubernetes.io/name: checkstack-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "checkstack.operator.labels" -}}
{{ include "checkstack.operator.selector" . }}
{{ include "checkstack.labels" . }}
{{- end }}

{{- define "checkstack.operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "checkstack.operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* A digest wins over a tag; no tag is this release. Called with (dict "image" … "default" …). */ -}}
{{- define "checkstack.image" -}}
{{- if .image.digest }}
{{- printf "%s@%s" .image.repository .image.digest }}
{{- else }}
{{- printf "%s:%s" .image.repository (.image.tag | default .default) }}
{{- end }}
{{- end }}

{{- /* What pod security `restricted` asks of a pod and of a container, and a read-only root. */ -}}
{{- /* User and group of all pods; nothing where the cluster assigns them, as OpenShift does to each namespace. */ -}}
{{- define "checkstack.user" -}}
{{- if ne (toString .Values.runAsUser) "auto" }}{{ if ne (toString .Values.runAsUser) "assigned" }}{{ int64 .Values.runAsUser }}{{ end }}
{{- else if not (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}65532
{{- end }}
{{- end }}

{{- define "checkstack.podSecurityContext" -}}
runAsNonRoot: true
{{- with include "checkstack.user" . }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "checkstack.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "checkstack.database.name" -}}
{{ .Values.instance.name }}-db
{{- end }}

{{- define "checkstack.database.secretName" -}}
{{ default (include "checkstack.database.name" .) .Values.evaluationDatabase.existingSecret }}
{{- end }}

{{- define "checkstack.database.selector" -}}
app.kubernetes.io/name: postgresql
app.kubernetes.io/instance: {{ .Values.instance.name }}
app.kubernetes.io/component: evaluation-database
{{- end }}

{{- define "checkstack.database.labels" -}}
{{ include "checkstack.database.selector" . }}
{{ include "checkstack.labels" . }}
{{- end }}

{{- /* What both containers of the evaluation database have. */ -}}
{{- define "checkstack.database.container" -}}
image: {{ include "checkstack.image" (dict "image" .Values.evaluationDatabase.image "default" "15") }}
imagePullPolicy: {{ .Values.evaluationDatabase.image.pullPolicy }}
resources:
  {{- toYaml .Values.evaluationDatabase.resources | nindent 2 }}
securityContext:
  {{- include "checkstack.containerSecurityContext" . | nindent 2 }}
volumeMounts:
  - name: data
    mountPath: /var/lib/postgresql/data
  - name: tmp
    mountPath: /tmp
  - name: config
    mountPath: /etc/checkstack
  - name: config
    mountPath: /etc/passwd
    subPath: passwd
{{- end }}
