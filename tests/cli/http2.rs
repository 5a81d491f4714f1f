//! The warning about targets over HTTP/2, with each of the ways in which a file says that a cluster speaks it.

use super::check;

/// An Envoy with a target on the cluster `audit`, which has these fields besides.
fn envoy(cluster: &str) -> String {
    format!(
        "stats_config:
  stats_tags:
  - {{tag_name: target, regex: '^wasmcustom\\.sidecast\\.(([^.]+)\\.)'}}
  - {{tag_name: reason, regex: '^wasmcustom\\.sidecast\\.[^.]+\\.dropped(\\.([a-z_]+))$'}}
  - {{tag_name: cause, regex: '^wasmcustom\\.sidecast\\.[^.]+\\.attempt_failures(\\.([a-z0-9_]+))$'}}
  - {{tag_name: version, regex: '^wasmcustom\\.sidecast_build_info(\\.(.+))$'}}
static_resources:
  listeners:
  - http_filters:
    - name: sidecast
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
        config:
          vm_config: {{runtime: envoy.wasm.runtime.v8}}
          fail_open: true
          configuration:
            '@type': type.googleapis.com/google.protobuf.Struct
            value: {{targets: [{{name: audit, cluster: audit}}]}}
  clusters:
  - {{name: audit, connect_timeout: 1s, {cluster}}}
"
    )
}

fn options(options: &str) -> String {
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    format!("typed_extension_protocol_options: {{{name}: {{'@type': type.googleapis.com/{name}, {options}}}}}")
}

/// A plugin of Istio with a target in the mesh, and another resource in the same file.
fn mesh(beside: &str) -> String {
    format!(
        "apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {{name: sidecast}}
spec:
  failStrategy: FAIL_OPEN
  pluginConfig: {{targets: [{{name: ledger, cluster: outbound|9090||ledger.shop.svc.cluster.local}}]}}
---
{beside}
"
    )
}

#[track_caller]
fn warns(text: &str, path: &str) {
    let findings = check(text);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding["code"].as_str(), finding["path"].as_str()), (Some("http2-target"), Some(path)), "{finding}");
    let text = finding.to_string();
    assert!(text.contains("HTTP/2") && text.contains("1.36 to 1.40") && text.contains("HTTP/1.1"), "{text}");
}

#[track_caller]
fn passes(text: &str) {
    let findings = check(text);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn a_target_over_http2_is_warned_of() {
    for options in [
        options("explicit_http_config: {http2_protocol_options: {}}"),
        options("explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 100}}"),
        options("explicit_http_config: {http2_protocol_options: {use_oghttp2_codec: false}}"),
        options("auto_config: {}"),
        options("auto_config: {http2_protocol_options: {}}"),
        "http2_protocol_options: {}".to_owned(),
    ] {
        warns(&envoy(&options), "targets[0].cluster");
    }
}

#[test]
fn a_target_over_http1_is_not_warned_of() {
    for options in [
        "lb_policy: ROUND_ROBIN".to_owned(),
        options("explicit_http_config: {http_protocol_options: {}}"),
        options("use_downstream_protocol_config: {http2_protocol_options: {}}"),
    ] {
        passes(&envoy(&options));
    }
}

#[test]
fn a_queue_of_dead_letters_is_a_target_too() {
    let text =
        envoy(&options("auto_config: {}")).replace("cluster: audit}]", "cluster: primary, dead_letter: {cluster: audit}}]");
    warns(&text.replace("clusters:", "clusters:\n  - {name: primary}"), "targets[0].dead_letter.cluster");
}

#[test]
fn in_a_mesh_the_protocol_of_the_targets_port_is_looked_up() {
    let service = |port: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: ledger, namespace: shop}}\nspec: {{ports: [{{port: 9090, {port}}}]}}")
    };
    let entry = |port: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: ledger}}\nspec: {{hosts: [ledger.shop.svc.cluster.local], \
             ports: [{{number: 9090, {port}}}]}}"
        )
    };
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: ledger}\n\
                spec: {host: ledger.shop.svc.cluster.local, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}}";
    for beside in [
        service("name: grpc"),
        service("name: http2-orders"),
        service("name: web, appProtocol: kubernetes.io/h2c"),
        entry("name: a, protocol: GRPC"),
        entry("name: a, protocol: HTTP2"),
        rule.to_owned(),
    ] {
        warns(&mesh(&beside), "targets[0].cluster");
    }
    for beside in [
        service("name: http"),
        service("name: grpc-web"),
        service("name: http2").replace("9090", "9091"),
        entry("name: a, protocol: HTTP"),
    ] {
        passes(&mesh(&beside));
    }
}

#[test]
fn a_cluster_that_envoy_gateway_is_given_is_looked_at_too() {
    let policy = "apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: sidecast}
spec: {wasm: [{name: sidecast, failOpen: true, config: {targets: [{name: audit, cluster: audit}]}}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyPatchPolicy
metadata: {name: clusters}
spec:
  jsonPatches:
  - operation: {op: add, path: '', value: {name: audit, connect_timeout: 1s, OPTIONS}}
";
    warns(&policy.replace("OPTIONS", &options("explicit_http_config: {http2_protocol_options: {}}")), "targets[0].cluster");
    passes(&policy.replace("OPTIONS", &options("explicit_http_config: {http_protocol_options: {}}")));
}
