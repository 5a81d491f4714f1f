//! Istio's WasmPlugin and EnvoyFilter.

use super::{indented, scalar, Whole};

/// Where envoy/istio/pod-patch.py mounts the module.
pub(in super::super) const MODULE: &str = "/var/lib/sidecast/plugin.wasm";

pub(super) fn wasm_plugin(whole: &Whole<'_>) -> Result<String, String> {
    let options = whole.options;
    let ports = match options.listener_port {
        Some(port) => format!("  - mode: SERVER\n    ports: [{{number: {port}}}]\n"),
        None => "  - mode: SERVER\n    # --listener-port limits it to one port.\n".to_owned(),
    };
    let digest = options.sha256.as_ref().map_or(String::new(), |digest| format!("  sha256: {digest:?}\n"));
    let variables: String =
        whole.variables.iter().map(|name| format!("    - {{name: {}, valueFrom: HOST}}\n", scalar(name))).collect();
    let environment = if variables.is_empty() {
        String::new()
    } else {
        format!("  vmConfig:\n    env:\n    # Must be set in the container istio-proxy.\n{variables}")
    };
    Ok(format!(
        "# envoy/istio/README.md describes what else the pods and the clusters need.\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata:\n{}spec:\n{}  \
         selector:\n    matchLabels: {}\n  # Incoming requests. Without a match, the plugin also copies what the application itself sends.\n  match:\n{ports}  \
         # After authentication and authorization, so that rejected requests are not copied.\n  phase: STATS\n{}  url: {}\n{digest}  imagePullPolicy: IfNotPresent\n  \
         # Requests pass if the module cannot be fetched, is rejected or fails. Those in flight in the failing worker get a 503.\n  failStrategy: FAIL_OPEN\n{environment}  \
         pluginConfig:\n{}",
        options.metadata(),
        options.labels_are_open("  "),
        options.labels(),
        options.image_is_open("  "),
        scalar(&format!("oci://{}", options.image())),
        whole.configuration(4)?,
    ))
}

pub(super) fn envoy_filter(whole: &Whole<'_>) -> Result<String, String> {
    let options = whole.options;
    let module = match whole.module {
        Some(_) => String::new(),
        None => format!("# The module is a file in the container istio-proxy, {MODULE}: envoy/istio/pod-patch.py --volume mounts it; --module sets another path.\n"),
    };
    let environment = if whole.variables.is_empty() {
        String::new()
    } else {
        "# Environment variables must be set in the container istio-proxy.\n".to_owned()
    };
    let port = options
        .listener_port
        .map_or("        # --listener-port limits it to one port.\n".to_owned(), |port| format!("        portNumber: {port}\n"));
    Ok(format!(
        "{module}{environment}apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata:\n{}spec:\n{}  workloadSelector:\n    labels: {}\n  \
         # After Istio's own patches.\n  priority: 10\n  configPatches:\n  - applyTo: HTTP_FILTER\n    match:\n      \
         # Incoming requests. SIDECAR_OUTBOUND: what the application sends. GATEWAY: a gateway.\n      context: SIDECAR_INBOUND\n      listener:\n{port}        \
         filterChain:\n          filter:\n            name: envoy.filters.network.http_connection_manager\n            subFilter: {{name: envoy.filters.http.router}}\n    \
         patch:\n      operation: INSERT_BEFORE\n      value:\n{}",
        options.metadata(),
        options.labels_are_open("  "),
        options.labels(),
        indented(&entry(&whole.filter(whole.module.unwrap_or(MODULE), false)?), 8)?,
    ))
}

/// The only entry of a list, as a value by itself.
fn entry(list: &str) -> String {
    list.lines()
        .map(|line| format!("{}\n", line.strip_prefix("- ").or_else(|| line.strip_prefix("  ")).unwrap_or(line)))
        .collect()
}
