//! What the tool says is what the filter says in a real Envoy, which reads YAML in its own way.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::check;

/// A variable's path, or the one that the setup puts into the clone.
fn path(variable: &str, default: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(std::env::var_os(variable).unwrap_or_else(|| default.into()))
}

/// Scalars that readers of YAML differ in.
const SCALARS: [&str; 37] = [
    "yes",
    "on",
    "Off",
    "n",
    "TRUE",
    "True",
    "~",
    "null",
    "NULL",
    "text",
    "17",
    "-17",
    "+1",
    "010",
    "08",
    "0",
    "-0",
    "0x1F",
    "0o17",
    "1_000",
    ".5",
    "0.5",
    "3.0",
    "1e3",
    "12e3",
    "2147483647",
    "2147483648",
    "2026-01-01",
    "1:30",
    "'17'",
    "\"0.5\"",
    "-2147483648",
    "-2147483649",
    "0x7fffffff",
    "0x80000000",
    "9223372036854775807",
    "9223372036854775808",
];

#[test]
fn yaml_is_read_as_envoy_reads_it() {
    let rules: String =
        SCALARS.iter().map(|scalar| format!("\n                      - headers: [{{name: a, exact: {scalar}}}]")).collect();
    let numbers: String = SCALARS
        .iter()
        .enumerate()
        // One more target makes 32.
        .take(31)
        .map(|(index, scalar)| format!("\n                    - {{name: t{index}, cluster: c, sample: {{percent: {scalar}}}}}"))
        .collect();
    let bootstrap = format!(
        "static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          route_config: {{virtual_hosts: [{{name: all, domains: ['*'], routes: []}}]}}
          http_filters:
          - name: sidecast
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                fail_open: true
                vm_config: {{runtime: envoy.wasm.runtime.v8, code: {{local: {{filename: {wasm}}}}}}}
                configuration:
                  '@type': type.googleapis.com/google.protobuf.Struct
                  value:
                    targets:{numbers}
                    - name: text
                      cluster: c
                      match:{rules}
          - name: envoy.filters.http.router
            typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
",
        wasm = path("SIDECAST_WASM", "dist/sidecast.wasm").display()
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("envoy.yaml");
    std::fs::write(&file, &bootstrap).unwrap();
    let envoy = Command::new(path("ENVOY", "target/envoy/1.40.0/envoy"))
        .args(["--mode", "validate", "--log-level", "error", "-c"])
        .arg(&file)
        .output()
        .unwrap_or_else(|error| panic!("no Envoy, run \"make envoy\": {error}"));
    let log = String::from_utf8_lossy(&envoy.stderr).into_owned();
    let of_filter: BTreeSet<String> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line.get(line.find("{\"event\"")?..)?).ok())
        .map(|event| event["problem"].as_str().unwrap().to_owned())
        .collect();
    let findings = check(&bootstrap);
    let of_tool: BTreeSet<String> = findings
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .map(|finding| format!("{}: {}", finding["path"].as_str().unwrap(), finding["message"].as_str().unwrap()))
        .collect();
    assert!(of_filter.len() > SCALARS.len(), "{log}");
    assert_eq!(of_tool, of_filter);
}

#[test]
fn a_number_that_envoy_takes_for_text_is_a_number_all_the_same() {
    let text = "http_filters: [{name: sidecast, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {
  fail_open: true, configuration: {'@type': type.googleapis.com/google.protobuf.Struct,
    value: {targets: [{name: a, cluster: c, sample: {percent: PERCENT}}]}}}}}]";
    assert_eq!(check(&text.replace("PERCENT", "12.5")), Vec::<serde_json::Value>::new());
    let findings = check(&text.replace("PERCENT", "120.5"));
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["message"], "expected a number above 0 and up to 100, found the number 120.5");
}
