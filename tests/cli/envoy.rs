//! What the tool says is what the filter says in a real Envoy, which reads YAML in its own way.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

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

/// Tells in its answers which headers are left of a request when filters see it.
const SHOWS_HEADERS: &str = "static_resources:
  listeners:
  - address: {pipe: {path: SOCKET}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          upgrade_configs: [{upgrade_type: websocket}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes: [{match: {prefix: /}, direct_response: {status: 200}}]
              response_headers_to_add:
              - {header: {key: x-seen, value: '[%REQ(TRANSFER-ENCODING)%] [%REQ(KEEP-ALIVE)%] [%REQ(PROXY-CONNECTION)%] [%REQ(CONNECTION)%] [%REQ(UPGRADE)%]'}}
          http_filters:
          - name: router
            typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
";

/// An Envoy that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `never-matches` and `unlikely-match` rest on this.
#[test]
fn envoy_refuses_requests_and_takes_headers_away_as_the_warnings_say() {
    let directory = tempfile::tempdir().unwrap();
    let (file, socket) = (directory.path().join("envoy.yaml"), directory.path().join("socket"));
    std::fs::write(&file, SHOWS_HEADERS.replace("SOCKET", socket.to_str().unwrap())).unwrap();
    let envoy = Command::new(path("ENVOY", "target/envoy/1.40.0/envoy"))
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "critical", "-c"])
        .arg(&file)
        .spawn()
        .unwrap_or_else(|error| panic!("no Envoy, run \"make envoy\": {error}"));
    let _running = Running(envoy);
    let deadline = Instant::now() + Duration::from_secs(60);
    let connected = || loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let answer = |line: &str, headers: &str| {
        let mut stream = connected();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "{line}");
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    };
    let seen = |headers: &str| {
        let answer = answer("GET /a", &format!("host: a\r\n{headers}"));
        answer.lines().find_map(|line| line.strip_prefix("x-seen: ")).unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let hop_by_hop = "keep-alive: 5\r\nproxy-connection: keep-alive\r\n";
    assert_eq!(seen(&format!("connection: keep-alive\r\nupgrade: websocket\r\n{hop_by_hop}")), "[] [] [] [] []");
    assert_eq!(seen(&format!("connection: Upgrade\r\nupgrade: websocket\r\n{hop_by_hop}")), "[] [] [] [Upgrade] [websocket]");
    assert!(answer("POST /a", "host: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n").contains("x-seen: [] [] [] [] []"));
    // Neither gets to a filter, nor to the route.
    for (line, host) in [("GET orders", "a"), ("GET /a b", "a"), ("OPTIONS *", "a"), ("GET /a", "a/b"), ("GET /a", "https://a")] {
        let answer = answer(line, &format!("host: {host}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 40") && !answer.contains("x-seen"), "{line} {host}: {answer}");
    }
}
