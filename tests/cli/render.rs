//! What `sidecast render` writes; that Envoy does what it says, tests with a real Envoy tell.

use expect_test::expect_file;

use super::tool::{sidecast, sidecast_reading};

/// Scalars that are no text unless they are quoted.
const SCALARS: [&str; 16] =
    ["yes", "on", "TRUE", "~", "null", "17", "+1", "010", "0x1F", "1e3", ".5", "2026-01-01", "1:30", "- a", "a: b # c", "\\\"'"];

macro_rules! renders {
    ($($name:ident: $file:literal, $($argument:literal),+;)*) => {
        $(#[test] fn $name() {
            let run = sidecast(&["render", $file, $($argument),+]);
            assert_eq!(run.status, 0, "{}", run.err);
            let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/snapshots/render_", stringify!($name), ".txt");
            expect_file![snapshot].assert_eq(&format!("{}{}", run.err, run.out));
        })*
    };
}

renders! {
    a_filter_behind_a_matcher: "envoy/envoy.yaml", "--skip";
    a_filter_that_routes_enable: "envoy/envoy.yaml", "--skip=routes";
    an_envoyfilter: "envoy/istio/envoyfilter.yaml", "--skip";
    a_plain_configuration: "tests/cli/render.yaml", "--skip", "--module", "/etc/sidecast.wasm";
    routes_for_a_plain_configuration: "tests/cli/render.yaml", "--skip=routes", "--module", "/etc/sidecast.wasm";
}

fn skip(arguments: &[&str], input: &str) -> (i32, String, String) {
    let run = sidecast_reading(&[&["render", "--skip", "-"], arguments].concat(), input);
    (run.status, run.out, run.err)
}

#[test]
fn a_target_that_wants_every_request_leaves_nothing_to_skip() {
    let input = "targets: [{name: a, cluster: c, match: [{methods: [GET]}]}, {name: b, cluster: c}]";
    let said = "b: may want every request, as far as Envoy can tell\n-: there is nothing to skip\n";
    assert_eq!(skip(&["--module", "m"], input), (1, String::new(), said.to_owned()));
}

#[test]
fn a_target_that_follows_another_wants_no_more_than_that_one() {
    let input = "targets: [{name: a, cluster: c, match: [{path: {exact: /orders}}]}, {name: b, cluster: c, after: {target: a}}]";
    let (status, _, said) = skip(&["--module", "m"], input);
    assert_eq!((status, said.as_str()), (0, ""));
}

#[test]
fn what_envoy_cannot_check_is_told() {
    let input = r#"{"targets": [{"name": "a", "cluster": "c", "match": [
        {"methods": ["GET"], "body": [{"pointer": "/a", "exact": 1}], "path": {"regex": "(?x) /a"}, "query": [{"name": "q", "regex": "a"}]},
        {"headers": [{"name": "x", "regex": "[[:alpha:]]"}]}],
        "except": [{"path": {"exact": "/b"}, "body": [{"pointer": "/a", "exact": 1}]}]}]}"#;
    let (status, _, said) = skip(&["--module", "m"], input);
    let places: Vec<&str> = said.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        (status, places),
        (0, vec!["match[0].path", "match[0].query[0]", "match[0].body", "match[1].headers[0]", "except[0].body"]),
        "{said}"
    );
}

#[test]
fn more_conditions_than_are_worth_while_are_told() {
    let of = |count: usize| {
        let rules: Vec<_> = (0..count).map(|number| format!("{{path: {{prefix: /{number}}}}}")).collect();
        format!("targets: [{{name: a, cluster: c, match: [{}]}}]", rules.join(", "))
    };
    let (status, _, said) = skip(&["--module", "m"], &of(36));
    assert_eq!((status, said.as_str()), (0, ""));
    let (status, _, said) = skip(&["--module", "m"], &of(37));
    assert!(status == 0 && said.starts_with("37 conditions: "), "{said}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let plain = "targets: [{name: a, cluster: c, match: [{methods: [GET]}]}]";
    for (arguments, input, said) in [
        (&[][..], plain, "-: the configuration is not in an Envoy filter: name the module's file with --module\n"),
        (&[], "targets: [{name: a}]", "-: targets[0].cluster: missing, but required\n"),
    ] {
        let (status, out, err) = skip(arguments, input);
        assert!(status > 0 && out.is_empty(), "{out}");
        assert_eq!(err, said);
    }
    let run = sidecast(&["render", "envoy/envoy.yaml", "--skip", "--module", "m"]);
    assert_eq!((run.status, run.out.as_str()), (2, ""));
    let run = sidecast(&["render", "envoy/istio/envoyfilter.yaml", "--skip=routes"]);
    assert_eq!((run.status, run.out.as_str()), (2, ""));
    assert_eq!(sidecast(&["render", "envoy/envoy.yaml"]).status, 2);
}

#[test]
fn what_was_written_is_read_as_it_was_meant() {
    let headers: Vec<_> = SCALARS.iter().map(|text| serde_json::json!({"name": "x", "exact": text})).collect();
    let configuration = serde_json::json!({"targets": [{"name": "a", "cluster": "c", "match": [{"headers": headers}]}]});
    let (status, first, said) = skip(&["--module", "m"], &configuration.to_string());
    assert!(status == 0 && said.starts_with("64 conditions: "), "{said}");
    assert_eq!(skip(&[], &first), (0, first.clone(), said), "it is rendered from what was rendered");
    assert!(SCALARS.iter().filter(|text| first.contains(**text)).count() > 10, "{first}");
}
