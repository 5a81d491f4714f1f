//! The schema takes what the filter takes.

use std::collections::BTreeMap;

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{json, Value};

use crate::choices::Choices;
use crate::documents::{document, WHOLE};
use crate::found::{configurations, is_accepted};
use crate::tool::sidecast;

pub(crate) fn schema() -> Value {
    serde_json::from_str(&sidecast(&["schema"]).printed()).unwrap()
}

pub(crate) fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

#[test]
fn it_is_a_schema_of_draft_2020_12() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(jsonschema::draft202012::meta::validate(&schema).is_ok());
    // Not by default: a schema with a mistake is found.
    assert!(jsonschema::draft202012::meta::validate(&json!({"type": "objct"})).is_err());
}

#[test]
fn every_configuration_of_the_documents_examples_and_tests_is_taken() {
    let validator = validator();
    let found = configurations();
    for (file, configuration) in &found {
        if let Err(error) = validator.validate(configuration) {
            panic!("{file}: {error} at {}: {configuration}", error.instance_path());
        }
    }
    let mut of_files: BTreeMap<&str, usize> = BTreeMap::new();
    found.iter().for_each(|(file, _)| *of_files.entry(file).or_default() += 1);
    // They were found at all.
    for file in [
        "README.md",
        "docs/configuration.md",
        "docs/shaping.md",
        "docs/dead-letters.md",
        "envoy/envoy.yaml",
        "tests/fuzz/whole.json",
    ] {
        assert!(of_files.contains_key(file), "{file}: {of_files:?}");
    }
    assert!(found.len() > 20, "{of_files:?}");
}

/// The part of a field's schema that speaks of what is given: a field that can be left out may be null, too.
pub(crate) fn of_given(field: &Value) -> &Value {
    match field["anyOf"].as_array().map(Vec::as_slice) {
        Some([given, null]) if null["type"] == "null" => given,
        _ => field,
    }
}

/// Documents that are made of the whole grammar.
fn documents() -> impl Strategy<Value = Value> {
    prop::collection::vec(any::<u8>(), 0..192).prop_map(|bytes| document(&mut Choices::new(&bytes)))
}

#[test]
fn what_the_parser_accepts_of_made_up_documents_is_taken() {
    let validator = validator();
    let mut runner = TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..3_000 {
        let document = documents().new_tree(&mut runner).unwrap().current();
        if is_accepted(&document) {
            accepted += 1;
            if let Err(error) = validator.validate(&document) {
                panic!("{error} at {}: {document}", error.instance_path());
            }
        }
    }
    assert!(accepted > 500, "only {accepted} were accepted");
}

/// The way to a text in the whole grammar, and texts that may be fit for it.
fn texts() -> impl Strategy<Value = (&'static str, String)> {
    let place = |way: &'static str, pattern: &'static str| pattern.prop_map(move |text: String| (way, text));
    prop_oneof![
        place("/targets/0/timeout", r"[+0-9. ]{1,5}(ms|s|m|h|x)?"),
        place("/drain_timeout", r"\+?[0.]{0,3}[0-9]{0,4}[.]?[0-9]{0,2}(ms|s|m|h)"),
        place("/limits/max_body_bytes", r"[ _.]?[0-9]{0,3}[ _.]?[0-9]{0,2}([eE][+-]?[0-9_ ]{1,2})?[ ]?[kKmMgG]?[iI]?[bB]?"),
        place("/targets/0/name", "[a-zA-Z0-9_.-]{0,4}"),
        place("/targets/0/cluster", "[a-z|.\u{7f}\u{85}\u{e9}\n]{0,4}"),
        place("/targets/0/match/0/methods/0", "[A-Za-z!-]{0,3}"),
        place("/targets/0/match/0/path/prefix", "/?[a-z?#%\n ]{0,4}"),
        place("/targets/0/request/path", r"/?([!-~ é]|\$\{path\}|\$\{query:[a#é ]\}|\$\$\{){0,5}"),
        place("/targets/2/request/prefix_rewrite/replacement", "/[!-~é]{0,4}"),
        place("/targets/3/request/regex_rewrite/substitution", r"([!-~é]|\\[01\\]){0,3}"),
        place("/targets/0/match/0/headers/0/name", "([hH][oO][sS][tT]|[a-z]{1,3}|[hH]ost[s:]?)"),
        place("/correlation/header", "(x-[a-z]{1,3}|proxy-auth|TE|te|x-envoy-a|x-sidecast-b|Cookie|content-[a-z])"),
        place("/targets/0/request/authority", r"([!-~é]|\$\{method\}|\$\{query:[a#é ]\}){0,5}"),
        place("/targets/0/request/headers/set/x-source", r"([ -~é\t\n]|\$\{method\}|\$\{query:[\n\t]\}|\$\$\{){0,5}"),
        place("/targets/0/request/headers/remove/0", "[A-Za-z!_: -]{0,4}"),
        place("/targets/0/request/body/redact/0", "[/~0-2a*\n]{0,5}"),
        place("/targets/0/success/0", "[0-7x]{2,4}"),
        place("/targets/0/retry/on/0", "[0-7x]{3}|reset|timeout|connect_failure|no_healthy_upstream|Reset"),
        place(
            "/targets/2/request/sign/hmac_sha256/header",
            "([xX]-[a-z]{1,3}|te|digest|x_envoy_a|Set-Cookie|host|authorization|a b)"
        ),
        place("/targets/2/request/sign/hmac_sha256/prefix", "[ -~é\t]{0,3}"),
        place("/targets/2/request/sign/hmac_sha256/secrets/0", r"([a-zé]|\$\{env:A\}|\$\$\{){0,2}"),
        place("/loop_guard/secret", r"([a-zé]|\$\{env:A\}|\$\$\{){0,2}"),
    ]
}

#[test]
fn what_the_parser_accepts_of_texts_is_taken() {
    let whole: Value = serde_json::from_str(WHOLE).unwrap();
    let validator = validator();
    let mut runner = TestRunner::deterministic();
    let mut accepted: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..9_000 {
        let (way, text) = texts().new_tree(&mut runner).unwrap().current();
        let mut document = whole.clone();
        *document.pointer_mut(way).unwrap_or_else(|| panic!("{way} is not there")) = json!(text);
        let count = accepted.entry(way).or_default();
        if is_accepted(&document) {
            *count += 1;
            if let Err(error) = validator.validate(&document) {
                panic!("{error} at {}: {text:?}", error.instance_path());
            }
        }
    }
    assert!(accepted.len() == 22 && accepted.values().all(|count| *count > 15), "{accepted:?}");
}

/// One target with these fields besides, and these sections beside it.
fn with(target: Value, document: Value) -> Value {
    let mut whole = json!({"targets": [{"name": "t", "cluster": "c"}]});
    whole["targets"][0].as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
    whole.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
    whole
}

fn target(fields: Value) -> Value {
    with(fields, json!({}))
}

/// A target, and another one with these fields, which may follow it.
fn follower(fields: Value) -> Value {
    let mut whole = target(fields);
    whole["targets"].as_array_mut().unwrap().push(json!({"name": "a", "cluster": "c"}));
    whole
}

fn many(count: usize) -> Value {
    json!({"targets": (0..count).map(|n| json!({"name": format!("t{n}"), "cluster": "c"})).collect::<Vec<_>>()})
}

macro_rules! broken {
    ($($name:ident: $sound:expr => $broken:expr;)*) => {
        $(#[test] fn $name() {
            let validator = validator();
            let (sound, broken) = ($sound, $broken);
            assert_eq!((is_accepted(&sound), validator.is_valid(&sound)), (true, true), "{sound}");
            assert_eq!((is_accepted(&broken), validator.is_valid(&broken)), (false, false), "{broken}");
        })*
    };
}

broken! {
    a_misspelt_section_is_refused: with(json!({}), json!({"limits": {}})) => with(json!({}), json!({"limit": {}}));
    a_misspelt_field_is_refused: target(json!({"retry": {"max_attempts": 3}})) => target(json!({"retry": {"max_atempts": 3}}));
    two_schemes_of_signatures_are_refused: target(json!({"request": {"sign": {"hmac_sha256": {"header": "x-a", "secrets": ["a"]}}}})) => target(json!({"request": {"sign": {"hmac_sha256": {"header": "x-a", "secrets": ["a"]}, "standard_webhooks": {"secrets": ["${env:A}"]}}}}));
    five_secrets_are_refused: target(json!({"request": {"sign": {"hmac_sha256": {"header": "x-a", "secrets": ["a", "b", "c", "d"]}}}})) => target(json!({"request": {"sign": {"hmac_sha256": {"header": "x-a", "secrets": ["a", "b", "c", "d", "e"]}}}}));
    two_keys_of_an_order_are_refused: target(json!({"order": {"key": {"header": null, "body": "/a"}}})) => target(json!({"order": {"key": {"header": "x-a", "body": "/a"}}}));
    a_misspelt_field_deep_inside_is_refused: target(json!({"circuit_breaker": {"half_open": {"probes": 1}}})) => target(json!({"circuit_breaker": {"half_open": {"probe": 1}}}));
    no_targets_are_refused: many(1) => json!({});
    an_empty_list_of_targets_is_refused: many(1) => many(0);
    thirty_three_targets_are_refused: many(32) => many(33);
    a_target_without_a_cluster_is_refused: json!({"targets": [{"name": "t", "cluster": "c"}]}) => json!({"targets": [{"name": "t"}]});
    a_name_in_capitals_is_refused: json!({"targets": [{"name": "t", "cluster": "c"}]}) => json!({"targets": [{"name": "T", "cluster": "c"}]});
    a_name_that_is_too_long_is_refused: json!({"targets": [{"name": "t".repeat(63), "cluster": "c"}]}) => json!({"targets": [{"name": "t".repeat(64), "cluster": "c"}]});
    a_timeout_that_is_a_number_is_refused: target(json!({"timeout": "2s"})) => target(json!({"timeout": 2}));
    a_timeout_of_nothing_is_refused: target(json!({"timeout": "1ms"})) => target(json!({"timeout": "0ms"}));
    a_timeout_without_a_unit_is_refused: target(json!({"timeout": "1.5s"})) => target(json!({"timeout": "1.5"}));
    a_number_in_words_is_refused: target(json!({"limits": {"max_in_flight": 3.0}})) => target(json!({"limits": {"max_in_flight": "three"}}));
    a_number_with_a_fraction_is_refused: target(json!({"limits": {"max_in_flight": 1e6}})) => target(json!({"limits": {"max_in_flight": 1.5}}));
    a_number_below_its_range_is_refused: target(json!({"limits": {"max_in_flight": 1}})) => target(json!({"limits": {"max_in_flight": 0}}));
    a_number_above_its_range_is_refused: target(json!({"retry": {"max_attempts": 100}})) => target(json!({"retry": {"max_attempts": 101}}));
    a_size_above_its_range_is_refused: with(json!({}), json!({"limits": {"max_body_bytes": 67_108_864, "max_buffered_bytes": "384MiB"}})) => with(json!({}), json!({"limits": {"max_body_bytes": 67_108_865, "max_buffered_bytes": "384MiB"}}));
    a_size_of_another_unit_is_refused: with(json!({}), json!({"limits": {"max_body_bytes": "1 kb"}})) => with(json!({}), json!({"limits": {"max_body_bytes": "1 parsec"}}));
    a_percentage_above_100_is_refused: target(json!({"sample": {"percent": 100}})) => target(json!({"sample": {"percent": 100.1}}));
    a_percentage_of_nothing_is_refused: target(json!({"sample": {"percent": 0.001}})) => target(json!({"sample": {"percent": 0}}));
    a_rate_of_nothing_is_refused: target(json!({"limits": {"rate": {"per_second": 1e9}}})) => target(json!({"limits": {"rate": {"per_second": 0}}}));
    a_rate_above_its_range_is_refused: target(json!({"limits": {"rate": {"per_second": 0.1}}})) => target(json!({"limits": {"rate": {"per_second": 1_000_000_001}}}));
    a_word_that_is_none_is_refused: target(json!({"after": "response"})) => target(json!({"after": "reply"}));
    a_class_of_statuses_that_is_none_is_refused: target(json!({"success": ["2xx", 304, 204.0]})) => target(json!({"success": ["6xx"]}));
    a_status_that_is_none_is_refused: target(json!({"success": [599]})) => target(json!({"success": [600]}));
    an_empty_list_of_statuses_is_refused: target(json!({"success": ["204"]})) => target(json!({"success": []}));
    a_retry_condition_that_is_none_is_refused: target(json!({"retry": {"on": ["reset", "5xx", 429]}})) => target(json!({"retry": {"on": ["often"]}}));
    a_reason_that_is_none_is_refused: target(json!({"dead_letter": {"cluster": "d", "on": ["queue_full"]}})) => target(json!({"dead_letter": {"cluster": "d", "on": ["body_not_json"]}}));
    a_method_in_small_letters_is_refused: target(json!({"match": [{"methods": ["POST"]}]})) => target(json!({"match": [{"methods": ["post"]}]}));
    a_rule_of_nothing_is_refused: target(json!({"match": [{"methods": ["POST"]}]})) => target(json!({"match": [{}]}));
    two_conditions_on_a_path_are_refused: target(json!({"match": [{"path": {"exact": "/a", "prefix": null}}]})) => target(json!({"match": [{"path": {"exact": "/a", "prefix": "/b"}}]}));
    no_condition_on_a_path_is_refused: target(json!({"match": [{"path": {"regex": "/.*"}}]})) => target(json!({"match": [{"path": {}}]}));
    no_condition_on_a_header_is_refused: target(json!({"match": [{"headers": [{"name": "a", "present": false}]}]})) => target(json!({"match": [{"headers": [{"name": "a"}]}]}));
    a_path_with_a_query_is_refused: target(json!({"match": [{"path": {"exact": "/a"}}]})) => target(json!({"match": [{"path": {"exact": "/a?b"}}]}));
    a_path_that_is_not_absolute_is_refused: target(json!({"request": {"path": "/${path}"}})) => target(json!({"request": {"path": "${path}"}}));
    a_host_with_a_slash_is_refused: target(json!({"request": {"authority": "${target}.internal:80"}})) => target(json!({"request": {"authority": "a/b"}}));
    a_header_with_a_line_break_is_refused: target(json!({"request": {"headers": {"set": {"x-a": "b\tc"}}}})) => target(json!({"request": {"headers": {"set": {"x-a": "b\r\nc"}}}}));
    a_header_whose_name_is_none_is_refused: target(json!({"request": {"headers": {"set": {"X-A": "b"}}}})) => target(json!({"request": {"headers": {"set": {"x a": "b"}}}}));
    a_list_of_headers_that_is_a_word_is_refused: target(json!({"request": {"headers": {"forward": ["a"]}}})) => target(json!({"request": {"headers": {"forward": "a"}}}));
    a_pointer_without_a_slash_is_refused: target(json!({"request": {"body": {"redact": ["/a~1b/*"]}}})) => target(json!({"request": {"body": {"redact": ["a"]}}}));
    a_template_of_a_body_that_is_left_out_is_refused: target(json!({"request": {"body": {"omit": true, "template": null}}})) => target(json!({"request": {"body": {"omit": true, "template": 1}}}));
    a_batch_of_answers_to_compare_is_refused: target(json!({"batch": {}, "compare": null})) => target(json!({"batch": {}, "compare": {}}));
    an_outcome_that_is_none_is_refused: follower(json!({"after": {"target": "a", "outcome": "given_up"}})) => follower(json!({"after": {"target": "a", "outcome": "lost"}}));
    an_end_that_is_none_is_refused: follower(json!({"after": {"target": "a", "statuses": ["4xx", "reset", 204, "timeout"]}})) => follower(json!({"after": {"target": "a", "statuses": ["4xx", "resets"]}}));
    a_follower_of_no_ends_is_refused: follower(json!({"after": {"target": "a", "statuses": ["4xx"]}})) => follower(json!({"after": {"target": "a", "statuses": []}}));
    a_follower_of_nobody_is_refused: follower(json!({"after": {"target": "a"}})) => follower(json!({"after": {"outcome": "delivered"}}));
    a_follower_of_a_list_is_refused: follower(json!({"after": {"target": "a", "outcome": null}})) => follower(json!({"after": ["a"]}));
    a_misspelt_field_of_a_follower_is_refused: follower(json!({"after": {"target": "a", "statuses": null}})) => follower(json!({"after": {"target": "a", "status": ["4xx"]}}));
    a_follower_whose_leader_cannot_be_a_name_is_refused: follower(json!({"after": {"target": "a"}})) => follower(json!({"after": {"target": "A"}}));
    a_follower_that_is_a_batch_is_refused: follower(json!({"after": {"target": "a"}, "batch": null})) => follower(json!({"after": {"target": "a"}, "batch": {}}));
    a_follower_that_is_compared_is_refused: follower(json!({"after": {"target": "a"}, "compare": null})) => follower(json!({"after": {"target": "a"}, "compare": {}}));
    statuses_beside_what_a_follower_waits_for_are_refused: follower(json!({"after": {"target": "a", "statuses": [409]}})) => follower(json!({"after": {"target": "a"}, "statuses": [409]}));
    a_reset_that_is_no_end_of_a_copy_is_refused: follower(json!({"after": "response", "statuses": ["2xx", "reset", "timeout"]})) => follower(json!({"after": "response", "statuses": ["connect_failure"]}));
    a_section_that_is_null_where_it_has_defaults_is_refused: target(json!({"retry": null})) => target(json!({"limits": null}));
    a_list_in_the_place_of_the_document_is_refused: many(1) => json!([]);
}
