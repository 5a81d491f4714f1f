{{/* The name of every object: that of the release, with "sidecast" in it once. */}}
{{- define "sidecast.name" -}}
{{- if contains "sidecast" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-sidecast" (.Release.Name | trunc 43 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "sidecast.selectorLabels" -}}
app.kubernetes.io/name: sidecast
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "sidecast.standardLabels" -}}
{{- $root := index . 0 -}}
{{ include "sidecast.selectorLabels" $root }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: sidecast
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* The standard labels, and others that do not replace them. Called with the root, the component, and further labels. */}}
{{- define "sidecast.labels" -}}
{{- $root := index . 0 -}}
{{- $standard := include "sidecast.standardLabels" . | fromYaml -}}
{{- toYaml (merge $standard (index . 2) $root.Values.labels) -}}
{{- end }}

{{/* metadata of an object; called with the root, the component, a suffix of the name, and further labels. */}}
{{- define "sidecast.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "sidecast.name" $root }}{{ index . 2 }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- include "sidecast.labels" (list $root (index . 1) (index . 3)) | nindent 2 }}
{{- with $root.Values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The image. Where there is a digest, it decides. */}}
{{- define "sidecast.image" -}}
{{- with .Values.module -}}
{{ .image }}{{ if .sha256 }}@sha256:{{ .sha256 }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* The pods of the Envoys. */}}
{{- define "sidecast.pods" -}}
{{- if .Values.monitoring.podMonitor.selector -}}
{{ toYaml .Values.monitoring.podMonitor.selector }}
{{- else if eq .Values.platform "envoy" -}}
matchLabels:
  {{- include "sidecast.selectorLabels" . | nindent 2 }}
{{- else if eq .Values.platform "envoy-gateway" -}}
matchLabels:
  gateway.envoyproxy.io/owning-gateway-name: {{ include "sidecast.gateway" . | quote }}
  gateway.envoyproxy.io/owning-gateway-namespace: {{ .Release.Namespace | quote }}
{{- else if .Values.selector.matchLabels -}}
{{ toYaml .Values.selector }}
{{- else -}}
{{- range .Values.targetRefs }}{{ if eq .kind "Gateway" }}
matchLabels:
  gateway.networking.k8s.io/gateway-name: {{ .name | quote }}
{{- end }}{{ end }}
{{- end }}
{{- end }}

{{/* Envoy Gateway: the Gateway that gets the clusters. */}}
{{- define "sidecast.gateway" -}}
{{- $first := first .Values.targetRefs -}}
{{- if .Values.envoyGateway.gateway -}}{{ .Values.envoyGateway.gateway }}
{{- else if and $first (eq $first.kind "Gateway") -}}{{ $first.name }}
{{- else -}}{{ fail "envoyGateway.gateway: the targetRef is no Gateway, so name the Gateway whose Envoys get the clusters" }}{{ end }}
{{- end }}

{{/* A cluster of Envoy; one of a target has thresholds. */}}
{{- define "sidecast.cluster" -}}
name: {{ .name | quote }}
type: STRICT_DNS
connect_timeout: {{ .connectTimeout | default "1s" }}
{{- if not .own }}
circuit_breakers:
  thresholds: [{max_connections: 128, max_pending_requests: 256, max_requests: 1024, max_retries: 1}]
{{- end }}
load_assignment:
  cluster_name: {{ .name | quote }}
  endpoints:
  - lb_endpoints:
    - endpoint: {address: {socket_address: {address: {{ .host | quote }}, port_value: {{ .port }}}}}
{{- with .tls }}
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    sni: {{ .sni | quote }}
    common_tls_context:
      validation_context:
        trusted_ca: {filename: {{ .caCertificates | default "/etc/ssl/certs/ca-certificates.crt" | quote }}}
        match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: {{ .sni | quote }}}}]
{{- end }}
{{- end }}

{{- define "sidecast.statsTags" -}}
- tag_name: target
  regex: '^wasmcustom\.sidecast\.(([^.]+)\.)'
- tag_name: reason
  regex: '^wasmcustom\.sidecast\.[^.]+\.dropped(\.([a-z_]+))$'
- tag_name: cause
  regex: '^wasmcustom\.sidecast\.[^.]+\.attempt_failures(\.([a-z0-9_]+))$'
- tag_name: version
  regex: '^wasmcustom\.sidecast_build_info(\.(.+))$'
{{- end }}

{{/* What the schema cannot say. */}}
{{- define "sidecast.validate" -}}
{{- with .Values.module -}}
{{- if and .image .url }}{{ fail "module: image and url are both set, expected one" }}{{ end -}}
{{- if not (or .image .url) }}{{ fail "module.image: no image, and no url" }}{{ end -}}
{{- if and .image (not (or .tag .sha256)) }}{{ fail "module.tag: the image has neither a tag nor a digest in sha256" }}{{ end -}}
{{- if and .url .pullSecret }}{{ fail "module.pullSecret: a url has none" }}{{ end -}}
{{- if and .url (eq $.Values.platform "envoy") }}{{ fail "module.url: platform envoy mounts the module out of an image" }}{{ end -}}
{{- end -}}
{{- if eq .Values.platform "istio" -}}
{{- if and .Values.selector.matchLabels .Values.targetRefs }}{{ fail "selector, targetRefs: both are set, expected one" }}{{ end -}}
{{- if not (or .Values.selector.matchLabels .Values.targetRefs) }}{{ fail "selector.matchLabels: no labels, and no targetRefs; the filter would be in every pod of the namespace" }}{{ end -}}
{{- if .Values.clusters }}{{ fail "clusters: Istio has clusters of its own, outbound|PORT|SUBSET|HOST" }}{{ end -}}
{{- else if eq .Values.platform "envoy-gateway" -}}
{{- if .Values.selector.matchLabels }}{{ fail "selector: Envoy Gateway has targetRefs" }}{{ end -}}
{{- if not .Values.targetRefs }}{{ fail "targetRefs: none; expected a Gateway or an HTTPRoute" }}{{ end -}}
{{- range .Values.targetRefs }}{{ if not .group }}{{ fail "targetRefs: without group; that of a Gateway or an HTTPRoute is gateway.networking.k8s.io" }}{{ end }}{{ end -}}
{{- else -}}
{{- if or .Values.selector.matchLabels .Values.targetRefs }}{{ fail "selector, targetRefs: platform envoy has its own pods" }}{{ end -}}
{{- if not .Values.envoy.primary.host }}{{ fail "envoy.primary.host: none; expected where requests go" }}{{ end -}}
{{- end -}}
{{- if and .Values.monitoring.serviceMonitor.enabled (ne .Values.platform "envoy") }}{{ fail "monitoring.serviceMonitor: for platform envoy only; take podMonitor" }}{{ end -}}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled }}{{ fail "monitoring: podMonitor and serviceMonitor would count everything twice, expected one" }}{{ end -}}
{{- $known := list -}}
{{- range .Values.environment }}{{ $known = append $known .name }}{{ end -}}
{{- /* Rules are taken as they are written, and $${ is a literal ${. */ -}}
{{- $read := list (omit .Values.configuration "targets") -}}
{{- range .Values.configuration.targets }}{{ $read = append $read (omit . "match" "except") }}{{ end -}}
{{- range regexFindAll "\\$\\{env:[A-Za-z_][A-Za-z0-9_]*\\}" (toJson $read | replace "$${" "") -1 -}}
{{- $name := . | trimPrefix "${env:" | trimSuffix "}" -}}
{{- if not (has $name $known) }}{{ fail (printf "configuration reads ${env:%s}, which environment does not have" $name) }}{{ end -}}
{{- end -}}
{{- if ne .Values.platform "istio" -}}
{{- $clusters := list -}}
{{- range .Values.clusters }}{{ $clusters = append $clusters .name }}{{ end -}}
{{- range $index, $target := .Values.configuration.targets -}}
{{- if not (has $target.cluster $clusters) }}{{ fail (printf "configuration.targets[%d].cluster: clusters has no %q, so every copy would be dropped" $index $target.cluster) }}{{ end -}}
{{- with $target.dead_letter }}{{ if not (has .cluster $clusters) }}{{ fail (printf "configuration.targets[%d].dead_letter.cluster: clusters has no %q" $index .cluster) }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (ne .Values.platform "envoy") (not .Values.networkPolicy.podsAreIsolatedAlready) -}}
{{- fail "networkPolicy.podsAreIsolatedAlready: the first NetworkPolicy with egress cuts these pods off from all that it does not name, their control plane included; say true if they have one already" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (eq .Values.platform "envoy-gateway") -}}
{{- fail "networkPolicy: the Envoys of Envoy Gateway run in another namespace; write a policy there" -}}
{{- end -}}
{{- if and .Values.monitoring.podMonitor.enabled (not (include "sidecast.pods" .)) -}}
{{- fail "monitoring.podMonitor.selector: targetRefs name no Gateway, so say which pods are scraped" -}}
{{- end -}}
{{- end }}
