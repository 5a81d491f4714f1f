//! The fields of `sample`, `request`, `batch` and `compare`, and their defaults.

use super::*;
use crate::delivery::batch;
use crate::json::Pointer;
use crate::rewrite::items::Format;
use crate::rewrite::shape::{Content, Forward};

fn target(fields: &str) -> Target {
    let text = format!(r#"{{"targets":[{{"name":"t","cluster":"c",{fields}}}]}}"#);
    Config::parse(text.as_bytes(), &env).unwrap_or_else(|problems| panic!("{problems:?}")).targets.remove(0)
}

macro_rules! taken {
    ($($name:ident: $($fields:literal),+;)*) => {
        $(#[test] fn $name() { for fields in [$($fields),+] { assert_eq!(of_target(fields), [] as [&str; 0], "{fields}"); } })*
    };
}

taken! {
    percentages_to_sample: r#""sample":{"percent":0.001}"#, r#""sample":{"percent":100}"#, r#""sample":{"percent":100.0}"#, r#""sample":{"percent":1e-9}"#;
    numbers_as_text: r#""sample":{"percent":"0.001"}"#, r#""sample":{"percent":"1e1"}"#, r#""retry":{"max_attempts":"3.0"}"#, r#""limits":{"max_in_flight":"1e3","rate":{"per_second":"0.5","burst":"2"}}"#;
    a_sample_by_key: r#""sample":{"percent":1,"key":{"header":"X-User-Id"}}"#;
    words_of_forward: r#""request":{"headers":{"forward":"all"}}"#, r#""request":{"headers":{"forward":"none"}}"#, r#""request":{"headers":{"forward":[]}}"#, r#""request":{"headers":{"forward":["Cookie"]}}"#;
    words_of_sensitive: r#""request":{"headers":{"sensitive":"strip"}}"#, r#""request":{"headers":{"sensitive":"forward"}}"#;
    headers_to_set: r#""request":{"headers":{"set":{"authorization":"a","cookie":"b","idempotency-key":"c","content-type":"d","traceparent":"e","proxy-authorization":"f"}}}"#;
    rewrites_of_a_prefix: r#""request":{"prefix_rewrite":{"prefix":"/v1","replacement":"/v2"}}"#, r#""request":{"prefix_rewrite":{"prefix":"/v1/","replacement":"/"}}"#;
    rewrites_by_a_pattern: r#""request":{"regex_rewrite":{"pattern":"^/(a)|(b)","substitution":"/\\2\\\\\\1\\0"}}"#, r#""request":{"regex_rewrite":{"pattern":"a","substitution":""}}"#;
    headers_to_remove: r#""request":{"headers":{"remove":["X-A","content-type","authorization"]}}"#;
    bodies: r#""request":{"body":{}}"#, r#""request":{"body":{"template":null}}"#, r#""request":{"body":{"redact":[]}}"#, r#""request":{"body":{"redact":["","/","/*","/a~0~1b"]}}"#, r#""request":{"body":{"omit":true,"redact":["/a"]}}"#;
    a_batch_of_least: r#""batch":{"max_items":1,"max_bytes":1,"max_delay":"1ms","format":"ndjson"}"#;
    a_batch_of_most: r#""batch":{"max_items":10000,"max_bytes":"1GiB","max_delay":"1h"},"limits":{"max_queued":10000}"#;
    what_is_compared: r#""compare":{}"#, r#""compare":{"body":"exact"}"#, r#""compare":{"body":"none","status":false}"#, r#""compare":{"percent":0.1,"ignore":[],"log_values":true}"#;
    redaction_of_answers: r#""after":"response","response":{"redact":["","/a/*"]}"#, r#""after":"response","response":{}"#, r#""after":"response","response":null"#, r#""response":null"#;
    keys_to_order_by: r#""order":{"key":{"header":"X-User-Id"}}"#, r#""order":{"key":{"body":"/account"}}"#, r#""order":{"key":{"body":""}}"#, r#""order":{"key":{"body":null,"header":"x-a"}}"#, r#""order":null"#, r#""order":{"key":{"header":"x-a"}},"after":"response","compare":{}"#;
    statuses_without_waiting: r#""statuses":["204",404,"5xx"]"#;
}

#[test]
fn a_target_with_an_order_keeps_what_its_key_is_read_from() {
    let plain = target(r#""success":["2xx"]"#);
    assert!(plain.order.is_none() && !plain.reads.headers);
    let by_header = target(r#""order":{"key":{"header":"X-User-Id"}},"request":{"body":{"omit":true}}"#);
    assert_eq!((by_header.order, by_header.reads.headers), (Some(OrderKey::Header("x-user-id".to_owned())), true));
    let config = Config::parse(br#"{"targets":[{"name":"t","cluster":"c","order":{"key":{"body":"/a~1b"}}}]}"#, &env).unwrap();
    let pointer = Pointer::from_str("/a~1b").unwrap();
    assert!(config.reading.pointers.number(&pointer.0).is_some());
    // How the body is encoded stands in the headers.
    assert_eq!((&config.targets[0].order, config.targets[0].reads.headers), (&Some(OrderKey::Body(pointer)), true));
}

refused! {
    redaction_of_no_answer: of_target(r#""response":{"redact":["/a"]}"#) => "targets[0].response: expected `after: response` or a target in `after`: otherwise there is no response to read";
    redaction_of_no_answer_in_words: of_target(r#""after":"request","response":{}"#) => "targets[0].response: expected `after: response` or a target in `after`";
    redaction_at_no_pointer: of_target(r#""after":"response","response":{"redact":["a"]}"#) => "targets[0].response.redact[0]: expected a JSON pointer";
    an_unknown_field_of_a_response: of_target(r#""after":"response","response":{"mask":["/a"]}"#) => "targets[0].response.mask: unknown field, expected one of `redact`";
    a_sample_of_nothing: of_target(r#""sample":{"percent":0}"#) => "targets[0].sample.percent: expected a number above 0 and up to 100, found the number 0";
    a_sample_below_nothing: of_target(r#""sample":{"percent":-1}"#) => "targets[0].sample.percent: expected a number above 0 and up to 100, found the number -1";
    a_sample_of_more_than_all: of_target(r#""sample":{"percent":100.1}"#) => "targets[0].sample.percent: expected a number above 0 and up to 100, found the number 100.1";
    a_sample_in_words: of_target(r#""sample":{"percent":"ten"}"#) => "targets[0].sample.percent: expected a number above 0 and up to 100, found a string";
    a_sample_without_an_end: of_target(r#""sample":{"percent":"inf"}"#) => "targets[0].sample.percent: expected a number above 0 and up to 100, found a string";
    a_sample_of_more_than_all_as_text: of_target(r#""sample":{"percent":"100.5"}"#) => "targets[0].sample.percent: expected a number above 0 and up to 100, found the number 100.5";
    a_sample_without_a_percentage: of_target(r#""sample":{}"#) => "targets[0].sample.percent: missing, but required";
    a_sample_by_an_unknown_key: of_target(r#""sample":{"percent":1,"key":{"cookie":"a"}}"#) => "targets[0].sample.key.cookie: unknown field, expected one of `header`";
    a_sample_by_no_header: of_target(r#""sample":{"percent":1,"key":{"header":"a b"}}"#) => "targets[0].sample.key.header: expected the name of a header";
    an_order_by_nothing: of_target(r#""order":{}"#) => "targets[0].order.key: missing, but required";
    an_order_of_something_else: of_target(r#""order":{"key":{"header":"x-a"},"by":1}"#) => "targets[0].order.by: unknown field, expected one of `key`";
    an_order_in_words: of_target(r#""order":"fifo""#) => "targets[0].order: expected an object, found a string";
    a_key_that_is_a_word: of_target(r#""order":{"key":"x-a"}"#) => "targets[0].order.key: expected an object, found a string";
    a_key_that_is_nowhere: of_target(r#""order":{"key":{}}"#) => "targets[0].order.key: expected exactly one of `header`, `body`, found 0";
    a_key_in_two_places: of_target(r#""order":{"key":{"header":"x-a","body":"/a"}}"#) => "targets[0].order.key: expected exactly one of `header`, `body`, found 2";
    a_key_elsewhere: of_target(r#""order":{"key":{"cookie":"a"}}"#) => "targets[0].order.key.cookie: unknown field, expected one of `header`, `body`";
    a_key_in_no_header: of_target(r#""order":{"key":{"header":":path"}}"#) => "targets[0].order.key.header: expected the name of a header";
    a_key_in_many_places: of_target(r#""order":{"key":{"body":"/items/*"}}"#) => "targets[0].order.key.body: expected a JSON pointer to one value";
    a_key_at_no_pointer: of_target(r#""order":{"key":{"body":"account"}}"#) => "targets[0].order.key.body: expected a JSON pointer";
    an_order_beside_a_batch: of_target(r#""order":{"key":{"header":"x-a"}},"batch":{}"#) => "targets[0].batch: cannot be combined with `order`: a batch has requests of many keys";
    an_unknown_word_of_forward: of_target(r#""request":{"headers":{"forward":"some"}}"#) => "targets[0].request.headers.forward: expected \"all\", \"none\" or a list of header names, found a string";
    a_forward_of_one_name: of_target(r#""request":{"headers":{"forward":true}}"#) => "targets[0].request.headers.forward: expected \"all\", \"none\" or a list of header names, found true";
    a_forward_of_no_name: of_target(r#""request":{"headers":{"forward":["x-a",":path"]}}"#) => "targets[0].request.headers.forward[1]: expected the name of a header";
    an_unknown_word_of_sensitive: of_target(r#""request":{"headers":{"sensitive":"keep"}}"#) => "targets[0].request.headers.sensitive: unknown value \"keep\", expected one of `strip`, `forward`";
    a_removed_header_of_no_name: of_target(r#""request":{"headers":{"remove":[""]}}"#) => "targets[0].request.headers.remove[0]: expected the name of a header";
    a_method_in_small_letters: of_target(r#""request":{"method":"post"}"#) => "targets[0].request.method: expected a method in capitals";
    a_relative_path: of_target(r#""request":{"path":"${path}"}"#) => "targets[0].request.path: expected a path that starts with \"/\"";
    a_path_with_a_fragment: of_target(r##""request":{"path":"/a#b"}"##) => "targets[0].request.path: expected a path";
    a_path_with_a_space: of_target(r#""request":{"path":"/a b"}"#) => "targets[0].request.path: expected a path";
    a_path_that_leads_up: of_target(r#""request":{"path":"/a/../b"}"#) => "targets[0].request.path: expected a path without segments";
    a_path_that_leads_up_whatever_its_values_are: of_target(r#""request":{"path":"/${path}/%2e%2E/b"}"#) => "targets[0].request.path: expected a path without segments";
    two_ways_to_a_path: of_target(r#""request":{"path":"/a","regex_rewrite":{"pattern":"a","substitution":"b"}}"#) => "targets[0].request: expected at most one of `path`, `prefix_rewrite`, `regex_rewrite`, found 2";
    a_relative_prefix: of_target(r#""request":{"prefix_rewrite":{"prefix":"v1","replacement":"/"}}"#) => "targets[0].request.prefix_rewrite.prefix: expected a path that starts with";
    a_relative_replacement: of_target(r#""request":{"prefix_rewrite":{"prefix":"/v1","replacement":"v2"}}"#) => "targets[0].request.prefix_rewrite.replacement: expected a path that starts with";
    a_replacement_with_a_query: of_target(r#""request":{"prefix_rewrite":{"prefix":"/v1","replacement":"/v2?a"}}"#) => "targets[0].request.prefix_rewrite.replacement: expected a path that starts with";
    a_replacement_that_leads_up: of_target(r#""request":{"prefix_rewrite":{"prefix":"/v1","replacement":"/../v2"}}"#) => "targets[0].request.prefix_rewrite.replacement: expected a path without segments";
    a_rewrite_by_no_pattern: of_target(r#""request":{"regex_rewrite":{"pattern":"(","substitution":"b"}}"#) => "targets[0].request.regex_rewrite.pattern: not a valid regular expression";
    a_substitution_of_no_group: of_target(r#""request":{"regex_rewrite":{"pattern":"(a)","substitution":"\\2"}}"#) => "targets[0].request.regex_rewrite.substitution: expected a group of the pattern, which has 1, found \\2";
    a_substitution_with_half_an_escape: of_target(r#""request":{"regex_rewrite":{"pattern":"a","substitution":"b\\"}}"#) => "targets[0].request.regex_rewrite.substitution: expected a group";
    a_substitution_with_a_query: of_target(r#""request":{"regex_rewrite":{"pattern":"a","substitution":"b?c"}}"#) => "targets[0].request.regex_rewrite.substitution: expected a part of a path";
    a_property_that_is_a_map: of_target(r#""request":{"path":"/${property:request.headers}"}"#) => "targets[0].request.path: request.headers is a map, a list or a message";
    a_property_of_the_response: of_target(r#""request":{"body":{"template":{"a":"${property:response.code}"}}}"#) => "targets[0].request.body.template.a: response.code is not known yet";
    an_authority_with_a_user: of_target(r#""request":{"authority":"u@h"}"#) => "targets[0].request.authority: expected a host";
    an_empty_authority: of_target(r#""request":{"authority":""}"#) => "targets[0].request.authority: expected a host";
    a_value_of_two_lines: of_target(r#""request":{"headers":{"set":{"x-a":"a\r\nb"}}}"#) => "targets[0].request.headers.set.x-a: expected a header value without control characters";
    a_set_that_is_a_list: of_target(r#""request":{"headers":{"set":["x-a"]}}"#) => "targets[0].request.headers.set: expected an object of headers, found a list";
    an_omit_in_words: of_target(r#""request":{"body":{"omit":"yes"}}"#) => "targets[0].request.body.omit: expected true or false, found a string";
    a_pointer_with_half_an_escape: of_target(r#""request":{"body":{"redact":["/a","/b~"]}}"#) => "targets[0].request.body.redact[1]: expected a JSON pointer";
    a_pointer_to_many_values: of_target(r#""request":{"body":{"template":["${body:/a/*}"]}}"#) => "targets[0].request.body.template[0]: expected a JSON pointer to one value";
    a_batch_of_nothing: of_target(r#""batch":{"max_items":0}"#) => "targets[0].batch.max_items: expected a whole number from 1 to 10000, found the number 0";
    a_batch_of_too_many: of_target(r#""batch":{"max_items":10001},"limits":{"max_queued":20000}"#) => "targets[0].batch.max_items: expected a whole number from 1 to 10000, found the number 10001";
    a_batch_of_no_bytes: of_target(r#""batch":{"max_bytes":0}"#) => "targets[0].batch.max_bytes: expected a size from 1 to 1073741824 bytes";
    a_batch_of_too_many_bytes: of_target(r#""batch":{"max_bytes":"1025MiB"}"#) => "targets[0].batch.max_bytes: expected a size from 1 to 1073741824 bytes";
    a_batch_that_does_not_wait: of_target(r#""batch":{"max_delay":"0s"}"#) => "targets[0].batch.max_delay: expected a duration from 1ms to 1h";
    a_batch_that_waits_for_too_long: of_target(r#""batch":{"max_delay":"61m"}"#) => "targets[0].batch.max_delay: expected a duration from 1ms to 1h";
    a_batch_larger_than_the_queue_that_is_by_itself: of_target(r#""batch":{"max_items":1025}"#) => "targets[0].batch.max_items: expected at most `limits.max_queued` (1024)";
    a_comparison_of_nothing: of_target(r#""compare":{"percent":0}"#) => "targets[0].compare.percent: expected a number above 0 and up to 100";
    an_unknown_comparison: of_target(r#""compare":{"body":"text"}"#) => "targets[0].compare.body: unknown value \"text\", expected one of `json`, `exact`, `none`";
    an_ignored_place_without_a_slash: of_target(r#""compare":{"ignore":["a"]}"#) => "targets[0].compare.ignore[0]: expected a JSON pointer";
    no_statuses: of_target(r#""after":"response","statuses":[]"#) => "targets[0].statuses: expected 1 to";
    a_response_in_a_body_that_is_not_waited_for: of_target(r#""after":"request","request":{"body":{"template":{"a":["${response:header:a}"]}}}"#) => "targets[0].request.body.template.a[0]: ${response:...} needs";
    a_letter_outside_of_letters: of_target(r#""request":{"body":{"template":"${dead_letter}"}}"#) => "targets[0].request.body.template: ${dead_letter} and ${dead_letter_base64} are allowed only in `dead_letter`";
    a_field_without_a_name: of_document(r#""":1"#) => "\"\": unknown field, expected one of `targets`";
    a_field_without_a_name_in_a_target: of_target(r#""":1"#) => "targets[0].\"\": unknown field";
}

#[test]
fn headers_that_are_nobodys_to_choose_cannot_be_set() {
    for name in [
        "connection",
        "keep-alive",
        "TE",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "content-length",
        "expect",
        "x-envoy-retry-on",
        "X-Sidecast-Target",
        "proxy-connection",
        "proxy-authenticate",
        "host",
        ":path",
        "",
        "a b",
    ] {
        let found = of_target(&format!(r#""request":{{"headers":{{"set":{{"{name}":"v"}}}}}}"#));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let place = if name.is_empty() { r#""""# } else { name };
        assert!(found[0].starts_with(&format!("targets[0].request.headers.set.{place}: ")), "{found:?}");
    }
}

/// The problems of a configuration that names this header, with their paths.
fn of_header(name: &str) -> Vec<String> {
    let text = format!(
        r#"{{"targets":[{{"name":"t","cluster":"c","match":[{{"headers":[{{"name":"{name}","present":true}}]}}],
           "sample":{{"percent":1,"key":{{"header":"{name}"}}}},
           "request":{{"headers":{{"forward":["{name}"],"remove":["{name}"],"set":{{"{name}":"v"}}}},"body":{{"template":"${{header:{name}}}"}}}},
           "dead_letter":{{"cluster":"d","headers":{{"set":{{"{name}":"v"}}}}}}}}],"correlation":{{"header":"{name}"}}}}"#
    );
    let problems = Config::parse(text.as_bytes(), &env).map_or_else(|problems| problems.into_iter().collect(), |_| Vec::new());
    problems.into_iter().map(|problem| problem.path).collect()
}

#[test]
fn a_header_that_makes_no_sense_is_refused_wherever_it_is_named() {
    let sent = ["request.headers.forward[0]", "request.headers.remove[0]"];
    let set = |name: &str| [format!("request.headers.set.{name}"), format!("dead_letter.headers.set.{name}")];
    let read = ["match[0].headers[0].name", "sample.key.header", "request.body.template"];
    let correlation = "correlation.header".to_owned();
    let of_target = |places: &[&str]| places.iter().map(|place| format!("targets[0].{place}")).collect::<Vec<_>>();
    for (name, mut wanted) in [
        ("x-user", vec![]),
        ("Authorization", vec![correlation.clone()]),
        ("cookie", vec![correlation.clone()]),
        ("content-type", vec![correlation.clone()]),
        ("traceparent", vec![correlation.clone()]),
        (
            "content-length",
            [
                of_target(&sent),
                set("content-length").map(|place| format!("targets[0].{place}")).to_vec(),
                vec![correlation.clone()],
            ]
            .concat(),
        ),
        (
            "X-Envoy-Retry-On",
            [
                of_target(&sent),
                set("X-Envoy-Retry-On").map(|place| format!("targets[0].{place}")).to_vec(),
                vec![correlation.clone()],
            ]
            .concat(),
        ),
        (
            "x-sidecast-target",
            [
                of_target(&sent),
                set("x-sidecast-target").map(|place| format!("targets[0].{place}")).to_vec(),
                vec![correlation.clone()],
            ]
            .concat(),
        ),
        (
            "host",
            [
                of_target(&read),
                of_target(&sent),
                set("host").map(|place| format!("targets[0].{place}")).to_vec(),
                vec![correlation.clone()],
            ]
            .concat(),
        ),
    ] {
        let mut found = of_header(name);
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn what_is_not_said_is_as_documented() {
    let plain = target(r#""after":"request""#);
    assert!(plain.sample.is_none() && plain.after == After::Request && plain.batch.is_none() && plain.compare.is_none());
    assert!(plain.shape.is_plain() && plain.reads == Reads { body: true, ..Reads::default() });
    for request in [
        "{}",
        r#"{"headers":{}}"#,
        r#"{"body":{}}"#,
        r#"{"headers":{"forward":"all","sensitive":"strip"},"body":{"omit":false}}"#,
    ] {
        assert!(target(&format!(r#""request":{request}"#)).shape.is_plain(), "{request}");
    }
    let compare = target(r#""compare":{}"#).compare.unwrap();
    assert_eq!((compare.percent, compare.status, compare.body, compare.log_values), (100.0, true, BodyMode::Json, false));
    assert!(!compare.ignore.trail().is_named() && !compare.ignore.trail().leads_on());
}

#[test]
fn what_is_said_is_in_force() {
    let said = target(
        r#""request":{"method":"PATCH","path":"/p","authority":"h","headers":{"forward":["X-A"],"sensitive":"forward","remove":["X-B"],
           "set":{"X-C":"c"}},"body":{"redact":["/a"],"omit":true}},"compare":{"percent":5,"status":false,"body":"none","ignore":["/a"],"log_values":true}"#,
    );
    let head = &said.shape.head;
    assert_eq!((head.method.as_deref(), head.forward_sensitive), (Some("PATCH"), true));
    assert_eq!((&head.forward, &head.remove[..]), (&Forward::Only(vec!["x-a".to_owned()]), &["x-b".to_owned()][..]));
    assert_eq!(head.set, [("x-c".to_owned(), Template::literal("c".to_owned()))]);
    assert_eq!(
        (head.path.template(), &head.authority),
        (Some(&Template::literal("/p".to_owned())), &Some(Template::literal("h".to_owned())))
    );
    assert!(said.shape.body.redact.is_some() && matches!(said.shape.body.content, Content::Omitted));
    assert!(said.reads.headers && !said.reads.response_body);
    let compare = said.compare.unwrap();
    assert_eq!((compare.percent, compare.status, compare.body, compare.log_values), (5.0, false, BodyMode::None, true));
    assert!(compare.ignore.trail().leads_on());
    assert_eq!(target(r#""request":{"headers":{"forward":"none"}}"#).shape.head.forward, Forward::Only(Vec::new()));
    assert!(matches!(target(r#""request":{"body":{"template":1}}"#).shape.body.content, Content::Template(_)));

    let batch = target(r#""batch":{"max_items":2,"max_bytes":"3KiB","max_delay":"1.5s","format":"ndjson"}"#).batch;
    let expected =
        batch::Settings { max_items: 2, max_bytes: 3 << 10, max_delay: Duration::from_millis(1_500), format: Format::Ndjson };
    assert_eq!(batch, Some(expected));
}

#[test]
fn what_has_to_be_kept_is_what_is_asked_for() {
    let reads = |fields: &str| target(fields).reads;
    let none = Reads { body: true, ..Reads::default() };
    assert_eq!(reads(r#""batch":{}"#), Reads { headers: true, ..none });
    assert_eq!(reads(r#""request":{"path":"/${now}"}"#), Reads { headers: true, time: true, ..none });
    for now in ["now_s", "now_ms"] {
        let template = format!(r#""request":{{"body":{{"template":"${{{now}}}"}}}}"#);
        assert_eq!(reads(&template), Reads { headers: true, body: false, time: true, ..none });
    }
    for (body, path, needed) in [
        (r#"{"omit":true}"#, "/a", false),
        (r#"{"omit":true}"#, "/${body:/id}", true),
        (r#"{"omit":true}"#, "/${query:id}", false),
        (r#"{"omit":true,"redact":["/a"]}"#, "/a", false),
        (r#"{"template":{"a":["${path}"]}}"#, "/a", false),
        (r#"{"template":{"a":["${body_text}"]}}"#, "/a", true),
        (r#"{"template":{"a":["${body_base64}"]}}"#, "/a", true),
        (r#"{"template":{"a":"${body}"}}"#, "/a", true),
        (r#"{"redact":["/a"]}"#, "/a", true),
    ] {
        assert_eq!(reads(&format!(r#""request":{{"path":"{path}","body":{body}}}"#)).body, needed, "{body} {path}");
    }
    assert_eq!(reads(r#""request":{"authority":"${property:a}"}"#), Reads { headers: true, properties: true, ..none });
    assert_eq!(reads(r#""dead_letter":{"cluster":"d","path":"/${property:a.b}"}"#), Reads { properties: true, ..none });
    assert_eq!(reads(r#""after":"response","request":{"path":"/${response:status}"}"#), Reads { headers: true, ..none });
    let of_header = reads(r#""after":"response","request":{"headers":{"set":{"x-a":"${response:header:a}"}}}"#);
    assert_eq!(of_header, Reads { headers: true, response_headers: true, ..none });
    assert_eq!(reads(r#""compare":{"body":"exact"}"#), Reads { compared_body: true, ..none });
    assert_eq!(reads(r#""compare":{"body":"none"}"#), none);
}

#[test]
fn a_property_is_asked_for_once() {
    let text = r#"{"targets":[{"name":"a","cluster":"c","request":{"path":"/${property:a.b}/${property:c}"}},
        {"name":"b","cluster":"c","request":{"headers":{"set":{"x":"${property:a.b}"}}},"dead_letter":{"cluster":"d","path":"/${property:d}"}}]}"#;
    let config = Config::parse(text.as_bytes(), &env).unwrap();
    assert_eq!(config.properties, [&["a", "b"][..], &["c"], &["d"]]);
}

#[test]
fn of_an_answer_is_kept_what_expressions_read_and_the_headers_to_decode_it() {
    let reads = |text: &str, place: &str| {
        let place = place.replace('@', text);
        target(&format!(r#""after":"response",{place}"#)).reads
    };
    let in_request = r#""request":{"body":{"template":["@"]}}"#;
    let in_letter = r#""dead_letter":{"cluster":"d","headers":{"set":{"x-a":"@"}}}"#;
    for place in [in_request, in_letter] {
        for text in ["${response:body}", "${response:body:/a}", "${response:body_text}"] {
            let reads = reads(text, place);
            assert!(reads.response_body && reads.response_headers && !reads.compared_body, "{text} {place}");
        }
        let of_header = reads("${response:header:x-a}", place);
        assert!(of_header.response_headers && !of_header.response_body);
        let of_status = reads("${response:status}", place);
        assert!(!of_status.response_headers && !of_status.response_body);
    }
}

#[test]
fn of_a_leaders_answer_is_kept_what_its_followers_read() {
    let kept = |text: &str| {
        let follower =
            format!(r#"{{"name":"b","cluster":"c","after":{{"target":"a"}},"request":{{"body":{{"template":"{text}"}}}}}}"#);
        let text = format!(r#"{{"targets":[{follower},{{"name":"a","cluster":"c"}}]}}"#);
        Config::parse(text.as_bytes(), &env).unwrap().targets[1].kept
    };
    for part in ["body", "body:/a", "body_text"] {
        assert_eq!(kept(&format!("${{target:a:{part}}}")), Kept { answer: true, headers: true, body: true }, "{part}");
    }
    assert_eq!(kept("${target:a:header:x-a}"), Kept { answer: true, headers: true, body: false });
    assert_eq!(kept("${target:a:status}"), Kept { answer: true, headers: false, body: false });
}
