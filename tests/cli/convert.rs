//! `sidecast convert`: the configuration that follows from mirrors, and what is told of it. That it wants what Envoy mirrors, tests with a real Envoy tell.

use expect_test::expect_file;
use serde_json::{json, Value};

use super::fixtures;
use super::tool::{sidecast, sidecast_reading, Ran};

#[test]
fn each_shape_is_converted_to_a_configuration_that_check_takes() {
    for file in fixtures("convert") {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let run = sidecast(&["convert", file.to_str().unwrap()]);
        let snapshot = format!("{}/tests/cli/snapshots/convert_{name}.txt", env!("CARGO_MANIFEST_DIR"));
        expect_file![snapshot].assert_eq(&format!("exit status {}\n{}\n{}", run.status, run.err, run.out));
        assert!(run.status < 2, "{name}: {}", run.err);
        let checked = sidecast_reading(&["check", "--deny-warnings", "-"], &run.out);
        assert_eq!((checked.status, checked.out.as_str()), (0, ""), "{name}: {}", run.out);
    }
}

/// The configuration, and the messages of the remarks, of files that are given as one.
fn converted(input: &str) -> (i32, Value, Vec<String>) {
    let run = sidecast_reading(&["convert", "--format", "json", "-"], input);
    let told: Value = serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    let remarks = told["remarks"].as_array().unwrap().iter();
    let remarks =
        remarks.filter(|remark| remark["kind"] == "remark").map(|remark| remark["message"].as_str().unwrap().to_owned());
    (run.status, told["configurations"][0]["configuration"]["targets"].clone(), remarks.collect())
}

/// A route configuration with one virtual host.
fn routes(routes: Value) -> String {
    json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}).to_string()
}

fn mirrored(matched: Value, policy: Value) -> Value {
    json!({"match": matched, "route": {"cluster": "p", "request_mirror_policies": [policy]}})
}

#[test]
fn what_has_no_mirror_is_nothing_to_convert() {
    for input in [
        "",
        "{}",
        "a: 1",
        &routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "p"}}])),
        "targets: [{name: a, cluster: c}]",
    ] {
        let run = sidecast_reading(&["convert", "-"], input);
        assert_eq!((run.status, run.out.as_str()), (2, ""), "{input}");
        assert!(run.err.contains("nothing to convert"), "{}", run.err);
    }
    assert_eq!(sidecast(&["convert", "no/such/file"]).status, 2);
    let Ran { status, err, .. } = sidecast_reading(&["convert", "-"], "a: [");
    assert!(status == 2 && err.starts_with("-:1:"), "{err}");
}

#[test]
fn an_exact_conversion_ends_with_0_and_says_what_to_remove() {
    let run = sidecast_reading(&["convert", "-"], &routes(json!([mirrored(json!({"prefix": "/a"}), json!({"cluster": "m"}))])));
    assert_eq!(run.status, 0, "{}", run.err);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(run.err.contains("note: remove this"), "{}", run.err);
}

#[test]
fn nothing_of_a_policy_is_dropped_in_silence() {
    for (policy, said) in [
        (json!({"cluster": "m", "cluster_of_tomorrow": 1}), "`cluster_of_tomorrow`"),
        (json!({"cluster": "m", "trace_sampled": true}), "`trace_sampled`"),
        (json!({"cluster": "m", "host_rewrite_literal": "a b"}), "host"),
        (json!({"cluster": "m", "request_headers_mutations": [{"remove_on_match": {}}]}), "`remove_on_match`"),
        (json!({"cluster": "m", "request_headers_mutations": [{"remove": "x-envoy-a"}]}), "x-envoy-a"),
        (json!({"cluster": "m", "runtime_fraction": {"default_value": {"numerator": 1}, "runtime_key": "k"}}), "\"k\""),
    ] {
        let (status, targets, remarks) = converted(&routes(json!([mirrored(json!({"prefix": "/a"}), policy)])));
        assert_eq!((status, targets[0]["cluster"].as_str()), (1, Some("m")), "{remarks:?}");
        assert!(remarks.iter().any(|remark| remark.contains(said)), "{said}: {remarks:?}");
    }
}

#[test]
fn a_condition_without_a_rule_makes_too_few_copies_and_is_told() {
    for (matched, said) in [
        (json!({"prefix": "/a", "tls_context": {"presented": true}}), "`tls_context`"),
        (json!({"prefix": "/a", "of_tomorrow": 1}), "`of_tomorrow`"),
        (json!({"prefix": "/a", "headers": [{"name": "x", "of_tomorrow": 1}]}), "`of_tomorrow`"),
        (json!({"prefix": "/a", "headers": [{"name": ":path", "string_match": {"exact": "/a?b"}}]}), ":path"),
        (json!({"prefix": "/a", "headers": [{"name": ":scheme", "string_match": {"exact": "https"}}]}), ":scheme"),
        (json!({"prefix": "/a", "query_parameters": [{"name": "q", "string_match": {"exact": "%31"}}]}), "decodes"),
        (json!({"safe_regex": {"regex": "/a/b{,3}"}}), "pattern"),
        (json!({"safe_regex": {"regex": "/a/\\Qa\\E"}}), "pattern"),
    ] {
        let later = mirrored(json!({"prefix": "/"}), json!({"cluster": "later"}));
        let (status, targets, remarks) = converted(&routes(json!([mirrored(matched.clone(), json!({"cluster": "m"})), later])));
        assert_eq!((status, targets.as_array().unwrap().len()), (1, 1), "{matched}: {targets}");
        assert!(remarks.iter().any(|remark| remark.contains(said) && remark.contains("too few")), "{matched}: {remarks:?}");
        // What the earlier route may take is left out of the later one.
        assert!(targets[0]["except"].is_array(), "{matched}: {targets}");
    }
}

#[test]
fn names_are_of_the_cluster_and_unique() {
    let policies = json!([{"cluster": "outbound|80|v2|audit.shop.svc.cluster.local"}, {"cluster": "Audit v2"}, {"cluster": "audit-v2"}, {"cluster": "é"}, {"cluster": "x".repeat(100)}]);
    let (_, targets, _) =
        converted(&routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "p", "request_mirror_policies": policies}}])));
    let names: Vec<&str> = targets.as_array().unwrap().iter().map(|target| target["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["audit-v2", "audit-v2-2", "audit-v2-3", "target", &"x".repeat(63)]);
}

#[test]
fn two_mirrors_of_one_route_to_one_cluster_are_two_targets() {
    let policies = json!([{"cluster": "m"}, {"cluster": "m"}]);
    let (status, targets, _) =
        converted(&routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "p", "request_mirror_policies": policies}}])));
    assert_eq!((status, targets.as_array().unwrap().len()), (0, 2), "{targets}");
}

#[test]
fn places_are_lines_of_the_file_also_inside_a_config_map() {
    let run = sidecast(&["convert", "tests/cli/convert/config_map.yaml"]);
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/convert/config_map.yaml")).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("cluster: web-next")).unwrap();
    assert!(run.err.contains(&format!("config_map.yaml:{line}:")), "{}", run.err);
}

#[test]
fn more_than_the_filter_takes_is_an_error() {
    let policies: Vec<Value> = (0..33).map(|number| json!({"cluster": format!("m{number}")})).collect();
    let run = sidecast_reading(
        &["convert", "-"],
        &routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "p", "request_mirror_policies": policies}}])),
    );
    assert_eq!((run.status, run.out.as_str()), (2, ""));
    assert!(run.err.contains("targets"), "{}", run.err);
}

#[test]
fn an_alternative_that_no_rule_can_say_does_not_hide_the_others_of_its_route() {
    let (status, targets, remarks) = converted(
        "kind: VirtualService
metadata: {name: a, namespace: n}
spec:
  hosts: ['*']
  http:
  - match: [{sourceLabels: {app: a}}, {uri: {prefix: /b}}]
    mirror: {host: m, port: {number: 80}}
",
    );
    assert_eq!((status, targets[0]["match"].to_string()), (1, json!([{"path": {"prefix": "/b"}}]).to_string()), "{targets}");
    assert!(
        targets[0].get("except").is_none() && remarks.iter().any(|remark| remark.contains("source_labels")),
        "{targets} {remarks:?}"
    );
}

#[test]
fn mirrors_where_envoy_and_istio_have_none_are_told() {
    let mirror = json!([{"cluster": "m"}]);
    for (input, said) in [
        (json!({"patch": {"value": {"route": {"request_mirror_policies": mirror}}}}).to_string(), "not in a route"),
        (
            routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "p", "request_mirror_policy": {"cluster": "m"}}}])),
            "`request_mirror_policy`",
        ),
        (
            routes(
                json!([{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "p", "request_mirror_policies": mirror}]}}}]),
            ),
            "`weighted_clusters`",
        ),
        ("kind: VirtualService\nspec: {http: [{mirror: {host: m}}]}".to_owned(), "no hosts"),
    ] {
        let run = sidecast_reading(&["convert", "-"], &input);
        assert!(run.status == 2 && run.err.contains(said), "{said}: {run:?}");
    }
}

#[test]
fn a_cluster_that_the_filter_refuses_costs_only_itself() {
    let (status, targets, remarks) = converted(&routes(json!([
        mirrored(json!({"prefix": "/a"}), json!({"cluster": "m\u{1b}"})),
        mirrored(json!({"prefix": "/b"}), json!({"cluster": "m"})),
    ])));
    assert_eq!((status, targets.as_array().unwrap().len()), (1, 1), "{targets}");
    assert!(remarks.iter().any(|remark| remark.contains("the name of a cluster")), "{remarks:?}");
}

#[test]
fn the_most_specific_host_takes_a_request() {
    let host = |domain: &str, routes: Value| json!({"name": domain, "domains": [domain], "routes": routes});
    let plain = || json!([{"match": {"prefix": "/"}, "route": {"cluster": "p"}}]);
    let wild = |domain| host(domain, json!([mirrored(json!({"prefix": "/"}), json!({"cluster": "m"}))]));
    let hosts = json!([wild("*.example"), host("*.shop.example", plain()), host("a.example", plain()), host("shop.*", plain())]);
    let (status, targets, _) = converted(&json!({ "virtual_hosts": hosts }).to_string());
    let except = json!([{"authority": {"exact": "a.example"}}, {"authority": {"regex": r".+\.shop\.example"}}]);
    assert_eq!((status, targets[0]["match"].clone()), (0, json!([{"authority": {"regex": r".+\.example"}}])), "{targets}");
    assert_eq!(targets[0]["except"], except, "`shop.*` comes behind `*.example`");
}

#[test]
fn a_route_of_a_service_says_where_it_belongs_and_that_its_hostnames_do_not_count() {
    let route = |hostnames: &str| {
        format!("{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r, namespace: shop}}, spec: {{{hostnames}parentRefs: [{{group: '', kind: Service, name: orders}}], rules: [{{filters: [{{type: RequestMirror, requestMirror: {{backendRef: {{name: audit, port: 80}}}}}}]}}]}}}}")
    };
    let (_, _, remarks) = converted(&route("hostnames: [a.example], "));
    assert!(remarks.iter().any(|remark| remark.starts_with("`hostnames`")), "{remarks:?}");
    let (_, _, remarks) = converted(&route(""));
    assert!(!remarks.iter().any(|remark| remark.starts_with("`hostnames`")), "{remarks:?}");
    let out = sidecast_reading(&["convert", "-"], &route("")).out;
    assert!(out.contains("of the service orders") && !out.contains("gateway orders"), "{out}");
}
