//! `sidecast render --as`: whole files for platforms. Published schemas are held against them by tests/manifests, and a real Envoy by tests/docs.

use std::collections::BTreeSet;
use std::path::Path;

use expect_test::expect_file;
use serde_json::Value;

use super::shipped::files_with_plugins;
use super::tool::{sidecast, sidecast_reading};

const FORMS: [&str; 5] = ["wasmplugin", "envoyfilter", "envoy-gateway", "envoy", "values"];

macro_rules! renders {
    ($($name:ident: $($argument:literal),+;)*) => {
        $(#[test] fn $name() {
            let run = sidecast(&["render", "tests/cli/render.yaml", $($argument),+]);
            assert_eq!(run.status, 0, "{}", run.err);
            let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/snapshots/render_", stringify!($name), ".txt");
            expect_file![snapshot].assert_eq(&format!("{}{}", run.err, run.out));
        })*
    };
}

renders! {
    whole_wasmplugin: "--as", "wasmplugin", "--namespace", "shop", "--selector", "app=orders", "--listener-port", "8080", "--image",
        "oci://registry.test:5000/a/sidecast:1.0.0", "--sha256", "ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789";
    whole_envoyfilter: "--as", "envoyfilter";
    whole_envoy_gateway: "--as", "envoy-gateway", "--gateway", "public", "--namespace", "shop", "--name", "mirrors";
    whole_envoy: "--as", "envoy", "--primary", "shop.internal:8080", "--listener-port", "8000", "--module", "/etc/sidecast.wasm";
    whole_envoy_with_routes: "--as", "envoy", "--skip=routes";
    whole_values: "--as", "values", "--image", "registry.test:5000/a/sidecast:1.0.0", "--selector", "app=orders";
}

/// What `check` finds in a text: codes and paths, without lines.
fn found(text: &str) -> BTreeSet<(String, String)> {
    let run = sidecast_reading(&["check", "--format", "json", "-"], text);
    let findings = run.findings();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    findings
        .iter()
        .filter(|finding| finding["severity"] != "note")
        .map(|finding| (text(finding, "code"), text(finding, "path")))
        .collect()
}

#[test]
fn check_finds_in_what_is_rendered_what_it_finds_in_the_configuration_and_no_more() {
    let mut files = Vec::new();
    files_with_plugins(&Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy"), &mut files);
    files.push("tests/cli/render.yaml".into());
    assert!(files.len() > 5, "{files:?}");
    for file in files.iter().map(|file| file.to_str().unwrap()) {
        if !sidecast(&["explain", file, "--request", "GET /", "--format", "json"]).out.starts_with('[')
            || file.ends_with("gateway.yaml")
        {
            continue;
        }
        let values: Value = serde_saphyr::from_str(&sidecast(&["render", file, "--as", "values"]).out).unwrap();
        let plain = values["configuration"].clone();
        for form in FORMS {
            let run = sidecast(&["render", file, "--as", form]);
            assert_eq!(run.status, 0, "{file} as {form}: {}", run.err);
            if form != "values" {
                let mut found = found(&run.out);
                // Names of clusters in Istio are another platform's elsewhere: whoever renders gives them.
                found.retain(|(code, _)| code != "cluster-name");
                assert_eq!(found, self::found(&plain.to_string()), "{file} as {form}: {}", run.out);
                let again = sidecast_reading(&["render", "-", "--as", "values"], &run.out);
                let again: Value = serde_saphyr::from_str(&again.out).unwrap_or_else(|error| panic!("{error}: {again:?}"));
                assert_eq!(again["configuration"], plain, "{file} as {form}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (arguments, said) in [
        (&["--as", "wasmplugin", "--module", "m"][..], "--module"),
        (&["--as", "wasmplugin", "--skip"], "--skip"),
        (&["--as", "values", "--skip"], "--skip"),
        (&["--as", "envoyfilter", "--skip=routes"], "--skip=routes"),
        (&["--as", "envoy", "--gateway", "g"], "--gateway"),
        (&["--as", "envoy", "--namespace", "n"], "--namespace"),
        (&["--as", "envoy-gateway", "--primary", "h:1"], "--primary"),
        (&["--as", "wasmplugin", "--sha256", "abc"], "64 hexadecimal digits"),
        (&["--as", "wasmplugin", "--selector", "app"], "KEY=VALUE"),
        (&["--as", "wasmplugin", "--name", "A b"], "Kubernetes"),
        (&["--as", "envoy", "--primary", "h"], "HOST:PORT"),
        (&["--skip", "--module", "m", "--selector", "a=b"], "--as"),
        (&[], "--as"),
    ] {
        let run = sidecast(&[&["render", "tests/cli/render.yaml"], arguments].concat());
        assert!(run.status == 2 && run.out.is_empty() && run.err.contains(said), "{arguments:?}: {run:?}");
    }
}

#[test]
fn a_filter_may_do_no_more_than_its_configuration_needs() {
    let of = |more: &str| {
        let input = format!("{{targets: [{{name: a, cluster: c, {more}}}]}}");
        sidecast_reading(&["render", "--as", "envoyfilter", "-"], &input).out
    };
    let plain = of("circuit_breaker: {mode: disabled}");
    for absent in ["environ_get", "proxy_get_shared_data", "proxy_on_response_body", "environment_variables"] {
        assert!(!plain.contains(absent), "{absent}");
    }
    for (more, present) in [
        ("request: {authority: '${env:HOST_NAME}'}", "environ_get"),
        ("timeout: 1s", "proxy_get_shared_data"),
        ("compare: {}", "proxy_on_response_body"),
        ("after: response", "proxy_on_response_headers"),
    ] {
        assert!(of(more).contains(present), "{more}");
    }
}

#[test]
fn numbers_of_a_template_stay_numbers_where_envoy_reads_the_yaml() {
    let input = "{targets: [{name: a, cluster: c, request: {body: {template: {price: 1.5}}}}]}";
    let run = sidecast_reading(&["render", "--as", "envoy", "-"], input);
    assert!(
        run.out.contains("google.protobuf.StringValue") && run.out.contains(r#""price":1.5"#)
            || run.out.contains(r#"\"price\":1.5"#),
        "{}",
        run.out
    );
    assert!(found(&run.out).is_empty(), "{}", run.out);
}

#[test]
fn numbers_of_a_template_stay_numbers_behind_a_matcher_and_routes() {
    let input = "{targets: [{name: a, cluster: c, match: [{path: {prefix: /a}}], request: {body: {template: {price: 1.5}}}}]}";
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain.yaml");
    std::fs::write(&plain, input).unwrap();
    let plain = plain.to_str().unwrap();
    for arguments in [
        &["--as", "envoy", "--skip"][..],
        &["--as", "envoy", "--skip=routes"],
        &["--as", "envoyfilter", "--skip"],
        &["--skip", "--module", "m"],
        &["--skip=routes", "--module", "m"],
    ] {
        let rendered = sidecast(&[&["render", plain], arguments].concat());
        let difference = sidecast_reading(&["diff", plain, "-"], &rendered.out);
        assert_eq!(difference.status, 0, "{arguments:?}: {}", difference.out);
    }
}

#[test]
fn each_cluster_is_there_once_with_its_address() {
    let input = "{targets: [{name: a, cluster: 'outbound|8080||audit.shop.svc.cluster.local', dead_letter: {cluster: dlq}}, {name: b, cluster: dlq}, {name: c, cluster: 'A b/é'}]}";
    let out = sidecast_reading(&["render", "--as", "envoy", "-"], input).out;
    let bootstrap: Value = serde_saphyr::from_str(&out).unwrap();
    let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
    let address = |cluster: &Value| {
        let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"];
        format!("{} {}:{}", cluster["name"].as_str().unwrap(), address["address"].as_str().unwrap(), address["port_value"])
    };
    let all: Vec<String> = clusters.iter().map(address).collect();
    assert_eq!(
        all,
        [
            "primary 127.0.0.1:8081",
            "outbound|8080||audit.shop.svc.cluster.local audit.shop.svc.cluster.local:8080",
            "dlq dlq:80",
            "A b/é A-b:80"
        ]
    );
}
