//! Envoy Gateway's policies: the filter, and the clusters of its targets.

use super::{block, cluster, endpoint, names, scalar, Whole};
use serde_json::json;

pub(super) fn policies(whole: &Whole<'_>) -> Result<String, String> {
    let options = whole.options;
    let open = if options.gateway.is_none() { "# Fill in (--gateway): the Gateway whose Envoys get the filter.\n" } else { "" };
    let gateway = scalar(options.gateway.as_deref().unwrap_or("fill-in"));
    let target =
        |indent: &str| format!("{indent}group: gateway.networking.k8s.io\n{indent}kind: Gateway\n{indent}name: {gateway}\n");
    let digest = options.sha256.as_ref().map_or(String::new(), |digest| format!("        sha256: {digest:?}\n"));
    let environment = if whole.variables.is_empty() {
        String::new()
    } else {
        let variables: Vec<&String> = whole.variables.iter().collect();
        format!(
            "    env:\n      # Must be set in Envoy's container: envoy/envoy-gateway/envoyproxy.yaml.\n      hostKeys: [{}]\n",
            names(&variables)
        )
    };
    let patches: Vec<_> = whole
        .clusters()
        .iter()
        .map(|name| {
            let (host, port) = endpoint(name);
            json!({
                "type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": name,
                "operation": {"op": "add", "path": "", "value": cluster(name, &host, port)},
            })
        })
        .collect();
    Ok(format!(
        "# A policy for a Gateway applies to all its routes. For a single route, use `kind: HTTPRoute` and its name instead.\n{open}apiVersion: gateway.envoyproxy.io/v1alpha1\n\
         kind: EnvoyExtensionPolicy\nmetadata:\n{}spec:\n  targetRefs:\n{}  wasm:\n  - name: sidecast\n    \
         # Sets Envoy's fail_open: if the filter is rejected or fails, requests pass without it, including those in flight.\n    failOpen: true\n    code:\n      type: Image\n{}      \
         image:\n        url: {}\n{digest}      pullPolicy: IfNotPresent\n{environment}    config:\n{}---\n\
         # The clusters of the targets. Envoy Gateway creates clusters only for routes; allow this patch with extensionApis: {{enableEnvoyPatchPolicy: true}}.\n\
         # Fill in: the addresses and ports of the targets.\n{open}apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyPatchPolicy\nmetadata:\n{}spec:\n  targetRef:\n{}  \
         type: JSONPatch\n  jsonPatches:\n{}",
        options.metadata(),
        target("    ").replacen("    ", "  - ", 1),
        options.image_is_open("      "),
        scalar(options.image()),
        whole.configuration(6)?,
        options.metadata(),
        target("    "),
        block(&patches, 2)?,
    ))
}
