//! Hints are right: what each says is put in place of what is wrong, and then nothing is wrong any more.

use super::check;

/// A target with these fields, in YAML.
fn yaml(fields: &str) -> String {
    format!("targets:\n- name: first\n  cluster: c\n- name: a\n  cluster: c\n  {fields}\n")
}

/// What a hint says is meant.
fn meant(hint: &str) -> &str {
    let (_, behind) = hint.split_once("did you mean `").unwrap_or_else(|| panic!("{hint}"));
    behind.split_once("`?").map(|(meant, _)| meant).unwrap_or_else(|| panic!("{hint}"))
}

/// Applies the hint about `wrong` in a text, and returns what is meant.
fn applied(text: &str, wrong: &str) -> String {
    assert_eq!(text.matches(wrong).count(), 1, "{wrong} in {text}");
    let errors = |text: &str| check(text).into_iter().filter(|finding| finding["severity"] == "error").collect::<Vec<_>>();
    let findings = errors(text);
    let hint =
        findings.iter().find_map(|finding| finding["hint"].as_str()).unwrap_or_else(|| panic!("no hint: {text}{findings:?}"));
    let meant = meant(hint).to_owned();
    let mended = text.replace(wrong, &meant);
    assert_eq!(errors(&mended), [] as [serde_json::Value; 0], "{hint}: {mended}");
    meant
}

#[test]
fn an_expression_of_others_is_told_as_it_is_written_here() {
    for (wrong, right) in [
        ("${body.id}", "${body:/id}"),
        ("${body/id}", "${body:/id}"),
        ("${body:id}", "${body:/id}"),
        ("${body[0].id}", "${body:/0/id}"),
        ("${header.x-user}", "${header:x-user}"),
        ("${headers.x-user}", "${header:x-user}"),
        ("${header[x-user]}", "${header:x-user}"),
        ("${headers:x-user}", "${header:x-user}"),
        ("${request.headers.x-user}", "${header:x-user}"),
        ("${heder:x-user}", "${header:x-user}"),
        ("${query.page}", "${query:page}"),
        ("${quer}", "${query}"),
        ("${paht}", "${path}"),
        ("${PATH}", "${path}"),
        ("${host}", "${authority}"),
        ("${timestamp}", "${now}"),
        ("${bodytext}", "${body_text}"),
        ("${env.TOKEN}", "${env:TOKEN}"),
        ("${TOKEN}", "${env:TOKEN}"),
        ("${property.xds.route_name}", "${property:xds.route_name}"),
    ] {
        let text = yaml(&format!("request: {{headers: {{set: {{x-a: 'a {wrong}'}}}}}}"));
        assert_eq!(applied(&text, wrong), right, "{wrong}");
    }
    for (wrong, right) in [
        ("${response.status}", "${response:status}"),
        ("${response.body.id}", "${response:body:/id}"),
        ("${response:body.id}", "${response:body:/id}"),
        ("${response.header.x-a}", "${response:header:x-a}"),
        ("${status}", "${response:status}"),
    ] {
        let text = yaml(&format!("after: response\n  request: {{body: {{template: {{a: '{wrong}'}}}}}}"));
        assert_eq!(applied(&text, wrong), right, "{wrong}");
    }
    // Each expression of a text for itself.
    let findings = check(&yaml("request: {path: '/${body.id}/${header.x-user}'}"));
    assert_eq!(findings[0]["hint"], "did you mean `${body:/id}`?", "{findings:?}");
    let text = yaml("after: {target: first}\n  request: {path: '/${target.first.body.id}'}");
    assert_eq!(applied(&text, "${target.first.body.id}"), "${target:first:body:/id}");
}

#[test]
fn no_expression_is_told_that_means_nothing_where_it_would_stand() {
    let findings = check(&yaml("request: {headers: {set: {x-a: '${response.status}'}}}"));
    assert_eq!(findings[0]["hint"], serde_json::Value::Null, "{findings:?}");
}

#[test]
fn a_value_in_place_of_a_section_is_told_as_the_section() {
    for (field, wrong, right) in [
        ("match: [{path: WRONG}]", "/orders", "{prefix: /orders}"),
        ("match: [{authority: WRONG}]", "shop.example", "{exact: shop.example}"),
        ("match: [{methods: WRONG}]", "POST", "[POST]"),
        ("match: [{methods: [WRONG]}]", "post", "POST"),
        ("match: [{headers: WRONG}]", "{x-a: b}", "[{exact: b, name: x-a}]"),
        ("match: [{headers: [WRONG]}]", "x-a", "{name: x-a, present: true}"),
        ("match: [{body: WRONG}]", "{/type: order}", "[{exact: order, pointer: /type}]"),
        ("match: WRONG", "{methods: [POST]}", "[{methods: [POST]}]"),
        ("match: [{path: {exact: WRONG}}]", "orders", "/orders"),
        ("match: [{path: {exact: WRONG}}]", "/orders?page=1", "/orders"),
        ("match: [{path: {prefix: WRONG}}]", "orders/*", "/orders"),
        ("match: [{body: [{pointer: WRONG, exact: 1}]}]", "card.number", "/card/number"),
        ("retry: WRONG", "3", "{max_attempts: 3}"),
        ("retry: WRONG", "true", "{}"),
        ("retry: {backoff: WRONG}", "1s", "{base: 1s}"),
        ("retry: {budget: WRONG}", "20%", "{percent: 20}"),
        ("retry: {on: WRONG}", "5xx", "[5xx]"),
        ("retry: {on: [WRONG]}", "5XX", "5xx"),
        ("retry: {on: [WRONG]}", "connect-failure", "connect_failure"),
        ("sample: WRONG", "10%", "{percent: 10}"),
        ("sample: WRONG", "12.5", "{percent: 12.5}"),
        ("sample: {percent: WRONG}", "10%", "10"),
        ("sample: {percent: 1, key: WRONG}", "x-user", "{header: x-user}"),
        ("timeout: WRONG", "5", "5s"),
        ("timeout: WRONG", "500", "500ms"),
        ("timeout: WRONG", "5 sec", "5s"),
        ("timeout: WRONG", "{seconds: 5}", "5s"),
        ("timeout: WRONG", "[7s]", "7s"),
        ("retry: {expire_after: WRONG}", "1d", "24h"),
        ("circuit_breaker: WRONG", "7", "{consecutive_failures: 7}"),
        ("circuit_breaker: WRONG", "observe", "{mode: observe}"),
        ("circuit_breaker: {slow_call: WRONG}", "1s", "{longer_than: 1s}"),
        ("circuit_breaker: {mode: WRONG}", "enforced", "enforce"),
        ("limits: WRONG", "64", "{max_in_flight: 64}"),
        ("limits: {rate: WRONG}", "100", "{per_second: 100}"),
        ("batch: WRONG", "50", "{max_items: 50}"),
        ("batch: {max_bytes: WRONG}", "{KiB: 64}", "64KiB"),
        ("dead_letter: WRONG", "dlq", "{cluster: dlq}"),
        ("order: WRONG", "/account", "{key: {body: /account}}"),
        ("order: WRONG", "x-user", "{key: {header: x-user}}"),
        ("order: {key: WRONG}", "x-user", "{header: x-user}"),
        ("compare: WRONG", "true", "{}"),
        ("after: WRONG", "first", "{target: first}"),
        ("success: WRONG", "200", "[200]"),
        ("success: [WRONG]", "200-299", "2xx"),
        ("request: WRONG", "/events", "{path: /events}"),
        ("request: {path: WRONG}", "events", "/events"),
        ("request: {authority: WRONG}", "https://audit.internal/x", "audit.internal"),
        ("request: {headers: {forward: WRONG}}", "x-a", "[x-a]"),
        ("request: {headers: {remove: WRONG}}", "x-a", "[x-a]"),
        ("request: {body: {redact: WRONG}}", "/card", "[/card]"),
        ("request: {body: {redact: [WRONG]}}", "$.card.number", "/card/number"),
    ] {
        assert_eq!(
            applied(&yaml(&field.replace("WRONG", &format!(" {wrong} "))), &format!(" {wrong} ")).as_str(),
            right,
            "{field} {wrong}"
        );
    }
    assert_eq!(applied("targets: [{name: Audit Log, cluster: c}]", "Audit Log"), "audit-log");
    assert_eq!(applied("targets: [{name: a, cluster: c}]\ndrain_timeout: 45\n", "45"), "45s");
    assert_eq!(applied("targets: [{name: a, cluster: c}]\nlimits: {max_body_bytes: {MiB: 2}}\n", "{MiB: 2}"), "2MiB");
}

#[test]
fn a_number_in_place_of_a_name_is_told_as_the_text_and_not_as_a_duration() {
    assert_eq!(applied("targets:\n- name: a\n  cluster: 8080\n", "8080"), r#""8080""#);
}

#[test]
fn a_pseudo_header_is_not_told_as_a_header_that_no_request_has() {
    let findings = check(&yaml("match: [{headers: [{name: ':path', exact: /a}]}]"));
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["hint"], serde_json::Value::Null, "{findings:?}");
}

#[test]
fn a_hint_about_json_is_json() {
    let text = r#"{"targets": [{"name": "a", "cluster": "c", "match": [{"path": "/orders"}], "timeout": "2s"}]}"#;
    assert_eq!(applied(text, r#""/orders""#), r#"{"prefix":"/orders"}"#);
    let text = r#"{"targets": [{"name": "a", "cluster": "c", "timeout": 5}]}"#;
    assert_eq!(applied(text, "5"), r#""5s""#);
}

#[test]
fn a_misspelt_field_is_told_as_it_is_written_right() {
    for (field, wrong, right) in [
        ("retry: {max_atempts: 3}", "max_atempts", "max_attempts"),
        ("retry: {max_retries: 3}", "max_retries", "max_attempts"),
        ("retries: {max_attempts: 3}", "retries", "retry"),
        ("rules: [{methods: [GET]}]", "rules", "match"),
        ("match: [{path: {prefx: /a}}]", "prefx", "prefix"),
        ("match: [{headers: [{name: x-a, exakt: b}]}]", "exakt", "exact"),
        ("sample: {percentage: 10}", "percentage", "percent"),
        ("circuitBreaker: {mode: observe}", "circuitBreaker", "circuit_breaker"),
        ("request: {body: {tempalte: {a: 1}}}", "tempalte", "template"),
    ] {
        assert_eq!(applied(&yaml(field), wrong), right, "{field}");
    }
    let findings = check(&yaml("fail_open: true"));
    assert_eq!(findings[0]["hint"], "`fail_open` belongs next to the configuration, not in it", "{findings:?}");
    // The other key is there already.
    let findings = check(&yaml("retry: {max_attempts: 2, max_atempts: 3}"));
    assert_eq!(
        findings.iter().find(|finding| finding["severity"] == "error").unwrap()["hint"],
        serde_json::Value::Null,
        "{findings:?}"
    );
}

#[test]
fn a_configuration_that_stands_one_level_too_deep_is_told() {
    let plugin = |field: &str, inside: &str| {
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: sidecast}}\nspec:\n  url: oci://registry.example/sidecast:1\n  \
             match: [{{mode: SERVER}}]\n  failStrategy: FAIL_OPEN\n  {field}: {inside}\n"
        )
    };
    let config = "{targets: [{name: a, cluster: 'outbound|80||a.b'}]}";
    for key in ["configuration", "config", "value", "pluginConfig", "sidecast"] {
        let findings = check(&plugin("pluginConfig", &format!("{{{key}: {config}}}")));
        let hints: Vec<_> = findings.iter().filter_map(|finding| finding["hint"].as_str()).collect();
        assert_eq!(hints, [format!("move the content of `{key}` one level up, in its place")], "{findings:?}");
    }
    let text = "|\n    targets: [{name: a, cluster: 'outbound|80||a.b'}]";
    let findings = check(&plugin("pluginConfig", text));
    assert_eq!(findings[0]["hint"], "this is text: remove `|` or the quotes to make it an object", "{findings:?}");
    // What the hint says.
    assert_eq!(check(&plugin("pluginConfig", config)), [] as [serde_json::Value; 0]);
    let findings = check(&plugin("pluginConfg", config));
    let errors: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
    assert_eq!(errors[0]["hint"], "did you mean `pluginConfig`?", "{findings:?}");
}

#[test]
fn words_of_the_carrier_are_told_as_they_are_written_right() {
    let text = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: sidecast}\nspec:\n  url: oci://registry.example/sidecast:1\n  \
                match: [{mode: SERVER}]\n  failStrategy: FAIL_OPEN\n  vmConfig: {env: []}\n  pluginConfig: {targets: [{name: a, cluster: 'outbound|80||a.b'}]}\n";
    assert_eq!(check(text), [] as [serde_json::Value; 0]);
    for (right, wrong) in [
        ("FAIL_OPEN", "FAIL_OPN"),
        ("FAIL_OPEN", "fail_open"),
        ("failStrategy", "failStrategie"),
        ("failStrategy", "fail_open"),
        ("vmConfig", "vmConfg"),
        ("vmConfig", "vm_config"),
        ("match", "matches"),
    ] {
        let findings = check(&text.replacen(right, wrong, 1));
        let hints: Vec<_> = findings
            .iter()
            .filter_map(|finding| finding["hint"].as_str())
            .filter(|hint| hint.starts_with("did you mean"))
            .collect();
        assert_eq!(hints.iter().map(|hint| meant(hint)).collect::<Vec<_>>(), [right], "{wrong}: {findings:?}");
    }
}
