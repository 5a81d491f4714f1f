//! The kinds of files in which configurations are found. Each has one of Sidecast's with the same misspelt field.

use super::{
    check, fixtures, position, position_of,
    tool::{sidecast, sidecast_reading},
};

#[test]
fn in_files_of_every_kind_the_configuration_is_found_and_the_place_is_right() {
    for file in fixtures("kinds") {
        let text = std::fs::read_to_string(&file).unwrap();
        let run = sidecast(&["check", "--format", "json", file.to_str().unwrap()]);
        let findings = run.findings();
        // A key in quotes starts with the quote, which may be escaped.
        let at = text.find("max_atempts").unwrap();
        let at = text[..at].trim_end_matches(['"', '\\']).len();
        assert_eq!(run.status, 1, "{}: {run:?}", file.display());
        assert_eq!(findings.len(), 1, "{}: {run:?}", file.display());
        assert_eq!(findings[0]["path"], "targets[0].retry.max_atempts");
        assert_eq!(findings[0]["hint"], "did you mean `max_attempts`?");
        assert_eq!(position_of(&findings[0]), position(&text, at), "{}: {run:?}", file.display());
    }
}

#[test]
fn spelt_right_they_are_clean() {
    for file in fixtures("kinds") {
        let text = std::fs::read_to_string(&file).unwrap().replace("max_atempts", "max_attempts");
        let run = sidecast_reading(&["check", "--deny-warnings", "--allow", "retry-post", "-"], &text);
        assert_eq!((run.status, run.out.as_str()), (0, ""), "{}", file.display());
        assert!(
            run.err.ends_with("configuration: 0 errors, 0 warnings\n") || run.err.starts_with("2 configurations:"),
            "{}",
            run.err
        );
    }
}

#[test]
fn a_file_without_a_configuration_says_so() {
    for text in ["", "# nothing\n", "{}", "a: 1\n", "- targets\n", "kind: Service\napiVersion: v1\n", "just text"] {
        let findings = check(text);
        assert_eq!(findings.len(), 1, "{text:?}");
        assert!(findings[0]["message"].as_str().unwrap().starts_with("no Sidecast configuration found"), "{text:?}");
        assert_eq!(position_of(&findings[0]), (1, 1));
    }
}

const FILTER: &str = "
name: NAME
typed_config:
  '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
  config:
    fail_open: true
    vm_config: {runtime: envoy.wasm.runtime.v8}
    configuration: CONFIGURATION
";

fn filter(name: &str, configuration: &str) -> String {
    FILTER.replace("NAME", name).replace("CONFIGURATION", configuration)
}

#[test]
fn a_filter_is_known_by_its_name_or_by_its_targets() {
    let of =
        |name, value| check(&filter(name, &format!("{{'@type': type.googleapis.com/google.protobuf.Struct, value: {value}}}")));
    assert_eq!(of("my-SideCast", "{}")[0]["path"], "targets");
    assert_eq!(of("mirror", "{targets: [{cluster: c}]}")[0]["path"], "targets[0].name");
    for other in ["{}", "{targets: [a]}", "{cluster: c}", "{targets: {cluster: c}}"] {
        assert!(of("mirror", other)[0]["message"].as_str().unwrap().starts_with("no Sidecast configuration"), "{other}");
    }
}

#[test]
fn a_configuration_in_a_form_that_cannot_be_read_is_a_problem() {
    let message = |configuration| check(&filter("sidecast", configuration))[0]["message"].as_str().unwrap().to_owned();
    assert!(message("{targets: []}").starts_with("expected `\"@type\": type.googleapis.com/google.protobuf.Struct`"));
    assert!(message("{'@type': type.googleapis.com/google.protobuf.StringValue, value: {}}")
        .starts_with("expected a `value` next to"));
    assert!(message("{'@type': type.googleapis.com/google.protobuf.StringValue, value: ''}").contains("not valid JSON: EOF"));
    let missing = check(&filter("sidecast", "~").replace("configuration", "other"));
    assert!(missing[0]["message"].as_str().unwrap().starts_with("missing, but required"), "{missing:?}");
}

#[test]
fn json_that_is_none_is_told_by_line_and_column_inside_the_string() {
    let text = filter("sidecast", "{'@type': type.googleapis.com/google.protobuf.StringValue, value: '{\"targets\": [}'}");
    let findings = check(&text);
    assert_eq!(findings[0]["message"], "not valid JSON: expected value");
    assert_eq!(position_of(&findings[0]), position(&text, text.find("[}").unwrap() + 1));
}

#[test]
fn yaml_in_a_string_value_is_told_apart() {
    let text = filter(
        "sidecast",
        "\n      '@type': type.googleapis.com/google.protobuf.StringValue\n      value: |\n        targets:\n        - name: a\n",
    );
    let findings = check(&text);
    assert!(findings[0]["hint"].as_str().unwrap().contains("google.protobuf.Struct"), "{findings:?}");
    assert_eq!(position_of(&findings[0]), position(&text, text.find("targets").unwrap() + 1));
}

#[test]
fn of_the_files_in_a_config_map_only_ours_must_be_readable() {
    let of = |name: &str, text: &str| {
        let map = format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: '{{targets: [{{name: a, cluster: c}}]}}'\n  {name}: |\n    {text}\n");
        (check(&map), map)
    };
    assert_eq!(of("start.sh", "exec envoy [: {{ x }}").0.len(), 0);
    let (findings, map) = of("envoy.yaml", "a: [ # of sidecast");
    assert!(findings[0]["message"].as_str().unwrap().starts_with("not valid YAML"), "{findings:?}");
    assert_eq!(findings[0]["line"], map.lines().count() as u64, "{findings:?}");
}
