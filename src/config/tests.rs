use std::collections::BTreeMap;

use super::*;
use crate::delivery::batch;
use crate::delivery::cause::Cause;
use crate::delivery::trigger::EndPattern;
use crate::rewrite::items::Format;
use proptest::prelude::*;
use prost::Message;
use prost_types::value::Kind;

fn env(name: &str) -> Option<String> {
    match name {
        "SECRET" | "AUDIT_TOKEN" => Some("s3cret".to_owned()),
        "WEBHOOK_SECRET" => Some("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn problems_of(text: &[u8]) -> Vec<String> {
    match Config::parse(text, &env) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|problem| problem.to_string()).collect(),
    }
}

fn problems(text: &str) -> Vec<String> {
    problems_of(text.as_bytes())
}

/// The problems of a configuration whose only target has these fields in addition to its name and cluster.
fn of_target(fields: &str) -> Vec<String> {
    problems(&format!(r#"{{"targets":[{{"name":"t","cluster":"c",{fields}}}]}}"#))
}

/// The problems of a configuration with one target and these additional fields.
fn of_document(fields: &str) -> Vec<String> {
    problems(&format!(r#"{{"targets":[{{"name":"t","cluster":"c"}}],{fields}}}"#))
}

/// The value in the form in which Envoy hands over a Struct.
fn as_struct(value: &Value) -> Vec<u8> {
    fn convert(value: &Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(flag) => Kind::BoolValue(*flag),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(list) => Kind::ListValue(prost_types::ListValue { values: list.iter().map(convert).collect() }),
            Value::Object(_) => Kind::StructValue(fields(value)),
        };
        prost_types::Value { kind: Some(kind) }
    }
    fn fields(value: &Value) -> prost_types::Struct {
        let fields: BTreeMap<_, _> =
            value.as_object().unwrap().iter().map(|(key, value)| (key.clone(), convert(value))).collect();
        prost_types::Struct { fields }
    }
    fields(value).encode_to_vec()
}

/// The example of the documentation: every section of the grammar, in the notation of users.
const WHOLE_GRAMMAR: &str = r##"{
  "targets": [{
    "name": "audit", "cluster": "outbound|8080||audit.ns.svc.cluster.local",
    "match": [{"methods": ["POST", "PUT"], "path": {"prefix": "/orders"},
               "headers": [{"name": "content-type", "prefix": "application/json"}]}],
    "sample": {"percent": 100, "key": {"header": "x-user-id"}},
    "after": "request", "statuses": ["2xx"], "order": {"key": {"header": "x-user-id"}},
    "request": {
      "method": "POST", "path": "/events?src=${path}", "authority": "audit.internal",
      "headers": {"forward": "all", "sensitive": "strip", "remove": ["x-debug"],
                  "set": {"x-source": "sidecast", "authorization": "Bearer ${env:AUDIT_TOKEN}"}},
      "body": {"template": {"key_a": "${body:/value_x}", "user": "${header:x-user-id}"},
               "redact": ["/card/number", "/items/*/ssn"], "omit": false}
    },
    "success": ["2xx", "3xx"], "timeout": "2s",
    "retry": {"max_attempts": 3, "backoff": {"base": "100ms", "max": "10s"},
              "on": ["5xx", "429", "reset", "timeout", "connect_failure", "no_healthy_upstream"],
              "budget": {"percent": 20, "min_per_second": 10}, "retry_after": true, "expire_after": "60s"},
    "circuit_breaker": {"consecutive_failures": 5, "failure_rate": {"percent": 50, "window": "30s", "min_requests": 20},
                        "slow_call": {"longer_than": "1s", "percent": 100}, "open_for": "5s", "max_open_for": "60s",
                        "half_open": {"probes": 1, "successes": 2}, "mode": "enforce"},
    "limits": {"max_in_flight": 256, "max_queued": 1024, "rate": {"per_second": 500, "burst": 1000}},
    "dead_letter": {"cluster": "dlq", "path": "/dead-letters", "authority": "dlq.internal", "timeout": "2s",
                    "headers": {"set": {"authorization": "Basic ${env:SECRET}"}}, "body": {"template": ["${dead_letter}"]},
                    "on": ["retries_exhausted", "circuit_open", "queue_full", "expired"]},
    "compare": {"percent": 100, "status": true, "body": "json", "ignore": ["/timestamp", "/items/*/id"]}
  }, {
    "name": "analytics", "cluster": "analytics", "after": "response", "statuses": ["201", "3xx"],
    "request": {"path": "/${property:xds.route_name}/${response:status}", "headers": {"set": {"x-at": "${response:header:location}"}}},
    "batch": {"max_items": 100, "max_bytes": "256KiB", "max_delay": "20ms", "format": "json_array"}
  }],
  "limits": {"max_body_bytes": "1MiB", "max_buffered_bytes": "64MiB"},
  "correlation": {"header": "x-request-id", "traceparent": true},
  "loop_guard": {"secret": "${env:SECRET}"}
}"##;

#[test]
fn the_whole_grammar_is_read() {
    assert_eq!(problems(WHOLE_GRAMMAR), [] as [&str; 0]);
    let config = Config::parse(WHOLE_GRAMMAR.as_bytes(), &env).unwrap();
    let [audit, analytics] = &config.targets[..] else { panic!("{config:?}") };
    assert!(audit.sample.is_some() && audit.compare.is_some() && audit.batch.is_none() && audit.after == After::Request);
    assert_eq!(audit.order, Some(OrderKey::Header("x-user-id".to_owned())));
    assert_eq!(audit.reads, Reads { headers: true, body: true, compared_body: true, ..Reads::default() });
    let batch =
        batch::Settings { max_items: 100, max_bytes: 256 << 10, max_delay: Duration::from_millis(20), format: Format::JsonArray };
    assert_eq!(analytics.batch, Some(batch));
    let after = &analytics.after;
    let covered = [200, 201, 204, 302].map(|status| waits_for(after, status));
    assert_eq!(covered, [false, true, false, true]);
    assert_eq!(
        analytics.reads,
        Reads { headers: true, body: true, properties: true, response_headers: true, ..Reads::default() }
    );
    assert_eq!(config.properties, [["xds", "route_name"]]);
    assert!(!format!("{config:?}").contains("s3cret"));
}

fn waits_for(after: &After, status: u16) -> bool {
    let covers = |pattern: &EndPattern| pattern.covers(Cause::Status(status));
    matches!(after, After::Response(patterns) if patterns.iter().any(covers))
}

#[test]
fn a_target_that_waits_for_the_response_wants_a_success_and_a_batch_has_the_documented_bounds() {
    let text = r#"{"targets":[{"name":"t","cluster":"c","after":"response","batch":{}}]}"#;
    let target = Config::parse(text.as_bytes(), &env).unwrap().targets.remove(0);
    let batch =
        batch::Settings { max_items: 100, max_bytes: 256 << 10, max_delay: Duration::from_millis(20), format: Format::JsonArray };
    assert_eq!(target.batch, Some(batch));
    let covered = [199, 200, 299, 300].map(|status| waits_for(&target.after, status));
    assert_eq!(covered, [false, true, true, false]);
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = Config::parse(br#"{"targets":[{"name":"t","cluster":"c"}]}"#, &env).unwrap();
    assert_eq!(config.max_body_bytes, 1 << 20);
    assert_eq!(config.max_buffered_bytes, 64 << 20);
    assert_eq!(&*config.correlation.header, "x-request-id");
    assert!(config.correlation.traceparent);
    let target = &config.targets[0];
    assert_eq!((target.name.as_str(), target.cluster.as_str()), ("t", "c"));
    assert_eq!(target.timeout, Duration::from_secs(2));
    assert_eq!((target.max_in_flight, target.max_queued), (256, 1_024));
}

#[test]
fn what_is_written_is_what_is_in_force() {
    let text = r#"{
        "targets": [
            {"name": "a", "cluster": "c1", "timeout": "1.5s", "limits": {"max_in_flight": 3.0, "max_queued": 1e3}},
            {"name": "b", "cluster": "c2", "timeout": "2m", "circuit_breaker": {"mode": "disabled"}, "after": "request"}
        ],
        "limits": {"max_body_bytes": "64KiB", "max_buffered_bytes": 1e6},
        "correlation": {"header": "X-Correlation-Id", "traceparent": false},
        "loop_guard": {"secret": "a-${env:SECRET}"}
    }"#;
    let config = Config::parse(text.as_bytes(), &env).unwrap();
    assert_eq!(config.targets[0].timeout, Duration::from_millis(1_500));
    assert_eq!((config.targets[0].max_in_flight, config.targets[0].max_queued), (3, 1_000));
    assert_eq!(config.targets[1].timeout, Duration::from_secs(120));
    assert_eq!((config.max_body_bytes, config.max_buffered_bytes), (65_536, 1_000_000));
    assert_eq!(&*config.correlation.header, "x-correlation-id");
    assert!(!config.correlation.traceparent);
    assert!(config.loop_guard.recognises(LoopGuard::new(Some("a-s3cret")).mark("id").as_bytes()));
}

#[test]
fn every_problem_is_reported_at_once_with_its_path() {
    let text = r#"{
        "targets": [
            {"name": "a", "cluster": "c", "timeout": "0s", "retry": {"max_atempts": 3}},
            {"name": "a", "match": [{"path": {"prefix": "orders", "exact": "/a"}, "headers": [{"name": "x y", "regex": "("}]}]},
            {"name": "B!", "cluster": "", "success": ["9xx"]}
        ],
        "limits": {"max_body_bytes": "lots"},
        "loop_guard": {"secret": "${env:ABSENT}"},
        "extra": 1
    }"#;
    let found = problems(text);
    let mut paths: Vec<&str> = found.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "extra",
            "limits.max_body_bytes",
            "loop_guard.secret",
            "targets[0].retry.max_atempts",
            "targets[0].timeout",
            "targets[1].cluster",
            "targets[1].match[0].headers[0].name",
            "targets[1].match[0].headers[0].regex",
            "targets[1].match[0].path.prefix",
            "targets[1].name",
            "targets[2].cluster",
            "targets[2].name",
            "targets[2].success[0]",
        ]
    );
    assert!(found.iter().any(|problem| problem
        .starts_with("targets[0].retry.max_atempts: unknown field, expected one of `max_attempts`, `backoff`, `on`, `budget`")));
}

macro_rules! refused {
    ($($name:ident: $problems:expr => $expected:literal;)*) => {
        $(#[test] fn $name() {
            let found = $problems;
            assert!(found.iter().any(|problem| problem.contains($expected)), "{found:?}");
        })*
    };
}

mod dead_letter;
mod shaping;
mod signing;

refused! {
    no_text: problems("") => "configuration: empty, expected a JSON object";
    no_json: problems("{\"targets\": [}") => "configuration: not valid JSON: expected value at line 1 column 14";
    more_than_one_document: problems("{} {}") => "configuration: not valid JSON: trailing characters";
    yaml: problems("targets:\n- name: a") => "configuration: not valid JSON";
    no_object: problems("[]") => "configuration: expected an object, found a list";
    no_targets: problems("{}") => "targets: missing, but required";
    an_empty_list_of_targets: problems(r#"{"targets":[]}"#) => "targets: expected 1 to 32 entries, found 0";
    a_field_given_twice: problems(r#"{"targets":[{"name":"a","cluster":"c","name":"b"}]}"#) => "targets[0].name: given twice";
    a_section_given_twice: of_document(r#""limits":{},"limits":{}"#) => "limits: given twice";
    a_name_given_twice: problems(r#"{"targets":[{"name":"a","cluster":"c"},{"name":"a","cluster":"d"}]}"#) => "targets[1].name: \"a\" is already the name of targets[0]";
    a_name_with_a_dot: problems(r#"{"targets":[{"name":"a.b","cluster":"c"}]}"#) => "targets[0].name: expected a name of the form";
    a_wrong_type: of_target(r#""timeout":2"#) => "targets[0].timeout: expected a duration from 1ms to 1h such as \"250ms\", \"1.5s\" or \"2m\", found the number 2";
    a_timeout_of_nothing: of_target(r#""timeout":"0ms""#) => "targets[0].timeout: expected a duration from 1ms";
    a_timeout_below_a_millisecond: of_target(r#""timeout":"0.9ms""#) => "targets[0].timeout: expected a duration from 1ms";
    a_timeout_above_an_hour: of_target(r#""timeout":"61m""#) => "targets[0].timeout";
    a_duration_without_a_unit: of_target(r#""timeout":"5""#) => "targets[0].timeout";
    a_negative_duration: of_target(r#""timeout":"-5s""#) => "targets[0].timeout";
    a_number_with_a_fraction: of_target(r#""limits":{"max_in_flight":1.5}"#) => "targets[0].limits.max_in_flight: expected a whole number from 1 to 1000000, found the number 1.5";
    a_negative_number: of_target(r#""limits":{"max_in_flight":-1}"#) => "found the number -1";
    a_number_below_its_range: of_target(r#""limits":{"max_in_flight":0}"#) => "targets[0].limits.max_in_flight";
    a_size_of_another_kind: of_document(r#""limits":{"max_body_bytes":"1 parsec"}"#) => "limits.max_body_bytes: expected a size";
    buffers_smaller_than_a_body: of_document(r#""limits":{"max_buffered_bytes":"1KiB"}"#) => "limits.max_buffered_bytes: expected at least `max_body_bytes` (1048576), found 1024";
    a_class_of_statuses_that_is_none: of_target(r#""success":["6xx"]"#) => "targets[0].success[0]: expected a status such as";
    an_empty_success: of_target(r#""success":[]"#) => "targets[0].success: expected 1 to";
    no_rules: of_target(r#""match":[]"#) => "targets[0].match: expected 1 to";
    a_rule_of_nothing: of_target(r#""match":[{}]"#) => "targets[0].match[0]: expected at least one of `methods`, `path`, `authority`, `query`, `headers`, `body`";
    two_conditions_on_a_path: of_target(r#""match":[{"path":{"exact":"/a","prefix":"/b"}}]"#) => "targets[0].match[0].path: expected exactly one of `exact`, `prefix`, `regex`, found 2";
    two_conditions_on_an_authority: of_target(r#""match":[{"authority":{"exact":"a","present":true}}]"#) => "targets[0].match[0].authority: expected exactly one of `exact`, `prefix`, `suffix`, `regex`, `present`, found 2";
    a_pattern_of_an_authority_that_is_none: of_target(r#""match":[{"authority":{"regex":"("}}]"#) => "targets[0].match[0].authority.regex: not a valid regular expression";
    no_condition_on_a_parameter: of_target(r#""match":[{"query":[{"name":"a"}]}]"#) => "targets[0].match[0].query[0]: expected exactly one of";
    a_parameter_without_a_name: of_target(r#""match":[{"query":[{"name":"","present":true}]}]"#) => "targets[0].match[0].query[0].name: expected the name of a parameter";
    no_condition_on_a_body: of_target(r#""match":[{"body":[{"pointer":"/a"}]}]"#) => "targets[0].match[0].body[0]: expected exactly one of";
    two_conditions_on_a_body: of_target(r#""match":[{"body":[{"pointer":"/a","exact":null,"prefix":"b"}]}]"#) => "targets[0].match[0].body[0]: expected exactly one of";
    a_value_of_a_body_that_is_a_list: of_target(r#""match":[{"body":[{"pointer":"/a","exact":[1]}]}]"#) => "targets[0].match[0].body[0].exact: expected a string, a number, true, false or null, found a list";
    a_pointer_to_many_values_of_a_body: of_target(r#""match":[{"body":[{"pointer":"/a/*","present":true}]}]"#) => "targets[0].match[0].body[0].pointer: expected a JSON pointer to one value";
    an_exception_of_nothing: of_target(r#""except":[{}]"#) => "targets[0].except[0]: expected at least one of";
    no_exceptions: of_target(r#""except":[]"#) => "targets[0].except: expected 1 to";
    a_header_that_is_the_authority: of_target(r#""match":[{"headers":[{"name":"Host","exact":"a"}]}]"#) => "targets[0].match[0].headers[0].name: Envoy keeps the host as the authority";
    no_condition_on_a_header: of_target(r#""match":[{"headers":[{"name":"a"}]}]"#) => "targets[0].match[0].headers[0]: expected exactly one of";
    a_method_in_small_letters: of_target(r#""match":[{"methods":["post"]}]"#) => "targets[0].match[0].methods[0]: expected a method in capitals";
    a_path_with_a_query: of_target(r#""match":[{"path":{"exact":"/a?b"}}]"#) => "has no query";
    a_bad_pattern: of_target(r#""match":[{"path":{"regex":"a)(b"}}]"#) => "targets[0].match[0].path.regex: not a valid regular expression";
    a_huge_pattern: of_target(r#""match":[{"path":{"regex":"(a{1000}){1000}"}}]"#) => "not a valid regular expression";
    an_unknown_mode: of_target(r#""circuit_breaker":{"mode":"off"}"#) => "targets[0].circuit_breaker.mode: unknown value \"off\", expected one of `enforce`, `observe`, `disabled`";
    an_unknown_word: of_target(r#""after":"reply""#) => "targets[0].after: unknown value \"reply\", expected one of `request`, `response`";
    a_bound_of_waits_below_the_first_that_is_not_written: of_target(r#""retry":{"backoff":{"max":"1ms"}}"#) => "targets[0].retry.backoff.max: expected at least `base` (100ms), found 1ms";
    a_breaker_that_is_open_for_too_long: of_target(r#""circuit_breaker":{"open_for":"9s","max_open_for":"8s"}"#) => "targets[0].circuit_breaker.open_for: expected at most `max_open_for` (8000ms), found 9000ms";
    a_bound_of_open_times_below_the_first_that_is_not_written: of_target(r#""circuit_breaker":{"max_open_for":"1s"}"#) => "targets[0].circuit_breaker.max_open_for: expected at least `open_for` (5000ms), found 1000ms";
    fewer_places_than_items_of_a_batch_that_says_not_how_many: of_target(r#""batch":{},"limits":{"max_queued":2}"#) => "targets[0].limits.max_queued: expected at least `batch.max_items` (100), because items wait in the queue, found 2";
    a_backoff_upside_down: of_target(r#""retry":{"backoff":{"base":"1s","max":"1ms"}}"#) => "targets[0].retry.backoff.base: expected at most `max` (1ms), found 1000ms";
    an_unknown_retry_condition: of_target(r#""retry":{"on":["often"]}"#) => "targets[0].retry.on[0]: expected a status";
    a_percentage_above_100: of_target(r#""sample":{"percent":101}"#) => "targets[0].sample.percent: expected a number above 0 and up to 100, found the number 101";
    an_unknown_expression: of_target(r#""request":{"path":"/${paht}"}"#) => "targets[0].request.path: unknown expression ${paht}, expected one of `method`";
    an_unknown_expression_deep_in_a_template: of_target(r#""request":{"body":{"template":{"a":[1,{"b":"${x}"}]}}}"#) => "targets[0].request.body.template.a[1].b: unknown expression";
    a_header_set_twice: of_target(r#""request":{"headers":{"set":{"X-A":"1","x-a":"2"}}}"#) => "given twice: header names ignore case";
    a_pointer_without_a_slash: of_target(r#""request":{"body":{"redact":["card"]}}"#) => "targets[0].request.body.redact[0]: expected a JSON pointer";
    a_batch_of_an_unknown_format: of_target(r#""batch":{"format":"xml"}"#) => "targets[0].batch.format: unknown value \"xml\", expected one of `json_array`, `ndjson`";
    a_method_that_opens_a_tunnel: of_target(r#""request":{"method":"CONNECT"}"#) => "targets[0].request.method: expected a method other than CONNECT";
    a_batch_of_responses_to_compare: of_target(r#""batch":{},"compare":{}"#) => "targets[0].batch: cannot be combined with `compare`: a batch has one response for many requests";
    a_batch_of_bodies_that_are_left_out: of_target(r#""batch":{},"request":{"body":{"omit":true}}"#) => "targets[0].batch: cannot be combined with `request.body.omit`";
    a_batch_that_never_gets_full: of_target(r#""batch":{"max_items":3},"limits":{"max_queued":2}"#) => "targets[0].batch.max_items: expected at most `limits.max_queued` (2), because items wait in the queue, found 3";
    a_template_for_a_body_that_is_left_out: of_target(r#""request":{"body":{"omit":true,"template":1}}"#) => "targets[0].request.body.omit: expected false, because there is a `template`";
    a_response_that_is_not_waited_for: of_target(r#""request":{"path":"/${response:status}"}"#) => "targets[0].request.path: ${response:...} needs `after: response`";
    a_secret_that_is_not_set: of_document(r#""loop_guard":{"secret":"${env:NO}"}"#) => "loop_guard.secret: environment variable NO is not set";
    an_empty_secret: of_document(r#""loop_guard":{"secret":""}"#) => "loop_guard.secret: expected text";
    a_secret_of_the_request: of_document(r#""loop_guard":{"secret":"${path}"}"#) => "loop_guard.secret: only ${env:NAME} is allowed here";
    thirty_three_targets: problems(&format!(r#"{{"targets":[{}]}}"#, (0..33).map(|n| format!(r#"{{"name":"t{n}","cluster":"c"}}"#)).collect::<Vec<_>>().join(","))) => "targets: expected 1 to 32 entries, found 33";
}

#[test]
fn thirty_two_targets_are_taken() {
    let targets: Vec<String> = (0..32).map(|n| format!(r#"{{"name":"t{n}","cluster":"c"}}"#)).collect();
    assert_eq!(problems(&format!(r#"{{"targets":[{}]}}"#, targets.join(","))), [] as [&str; 0]);
}

#[test]
fn a_secret_is_never_shown() {
    let found = of_document(r#""loop_guard":{"secret":["hunter2"]},"hunter":"hunter2""#).join("\n");
    assert!(found.contains("loop_guard.secret: expected a string, found a list"), "{found}");
    assert!(!found.contains("hunter2"), "{found}");
}

#[test]
fn a_struct_is_read_like_its_json() {
    let text = r#"{"targets":[{"name":"a","cluster":"c","timeout":"1.5s","limits":{"max_in_flight":3,"max_queued":1e3},"extra":null,
        "success":[204.0,"3xx"]},{"name":"b"}],"limits":{"max_body_bytes":0.5},"loop_guard":{"secret":true}}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    let (mut from_json, mut from_struct) = (problems(text), problems_of(&as_struct(&value)));
    from_json.sort();
    from_struct.sort();
    assert_eq!(from_json, from_struct);
    assert_eq!(from_json.len(), 4, "{from_json:?}");
}

#[test]
fn a_struct_with_doubles_is_taken() {
    let value = serde_json::json!({"targets": [{"name": "a", "cluster": "c", "limits": {"max_in_flight": 3.0}}], "limits": {"max_body_bytes": 1e6}});
    let config = Config::parse(&as_struct(&value), &env).unwrap();
    assert_eq!(config.targets[0].max_in_flight, 3);
    assert_eq!(config.max_body_bytes, 1_000_000);
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "targets",
        "name",
        "cluster",
        "match",
        "path",
        "prefix",
        "timeout",
        "limits",
        "retry",
        "on",
        "request",
        "body",
        "template",
        "2s",
        "${path}",
        "dead_letter",
        "authority",
        "headers",
        "set",
        "${env:NO}",
        "${property:a}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((words.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail_other_than_by_problems(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Config::parse(&bytes, &env).is_err());
    }

    #[test]
    fn any_json_gives_problems_or_a_configuration(value in any_json()) {
        if let Err(problems) = Config::parse(value.to_string().as_bytes(), &env) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn every_duration_in_range_is_read_exactly(millis in 1_u64..=3_600_000) {
        let seconds = format!("{}.{:03}s", millis / 1_000, millis % 1_000);
        for text in [format!("{millis}ms"), seconds] {
            let config = format!(r#"{{"targets":[{{"name":"t","cluster":"c","timeout":"{text}"}}]}}"#);
            let config = Config::parse(config.as_bytes(), &env).unwrap();
            prop_assert_eq!(config.targets[0].timeout, Duration::from_millis(millis));
        }
    }

    #[test]
    fn every_size_in_range_is_read_exactly(kib in 1_u64..=1 << 10) {
        for size in [format!("\"{kib}KiB\""), format!("{}", kib << 10), format!("{}.0", kib << 10), format!("\"{}\"", kib << 10)] {
            let config = format!(r#"{{"targets":[{{"name":"t","cluster":"c"}}],"limits":{{"max_body_bytes":{size}}}}}"#);
            let config = Config::parse(config.as_bytes(), &env).unwrap();
            prop_assert_eq!(config.max_body_bytes as u64, kib << 10);
        }
    }
}
