{{- define "distio.labels" -}}
app.kubernetes.io/name: distio
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "distio.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "distio.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "distio.worker" -}}
automountServiceAccountToken: false
enableServiceLinks: false
# SIGTERM drains: fibers go on at other workers
terminationGracePeriodSeconds: {{ add .Values.worker.grace 15 }}
securityContext: {{- include "distio.podSecurity" . | nindent 2 }}
containers:
  - name: worker
    image: {{ .Values.image | quote }}
    command: ["distio-worker"]
    args:
      - --threads={{ .Values.worker.threads }}
      {{- range .Values.worker.tags }}
      - --tag={{ . }}
      {{- end }}
      {{- range .Values.worker.resourceAmounts }}
      - --resource={{ . }}
      {{- end }}
    env:
      - {name: DISTIO_URL, value: "tcp://{{ .Release.Name }}-coordinator:7077"}
      - {name: DISTIO_KEYS, value: /etc/distio/keys}
      - {name: DISTIO_WORKER_RETRY, value: "3600"}
      - {name: DISTIO_WORKER_GRACE, value: {{ .Values.worker.grace | quote }}}
      - name: DISTIO_WORKER_NAME
        valueFrom: {fieldRef: {fieldPath: metadata.name}}
    securityContext: {{- include "distio.containerSecurity" . | nindent 6 }}
    resources: {{- toYaml .Values.worker.resources | nindent 6 }}
    volumeMounts:
      - {name: keys, mountPath: /etc/distio/keys, readOnly: true}
      - {name: tmp, mountPath: /tmp}
volumes:
  - name: keys
    secret: {secretName: {{ .Values.keys.worker }}, defaultMode: 0440}
  - {name: tmp, emptyDir: {}}
{{- with .Values.worker.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.worker.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
