//! Rules on the body: what they leave undecided at the headers, and what they decide with the body.

use super::*;
use crate::json;

/// The verdict at the headers, and whether the request is wanted with its body.
fn decided(fields: &str, path: &str, body: &str) -> (Verdict, bool) {
    let config = configured(fields);
    let headers = map("POST", path, &[]);
    let mut values = BodyValues::default();
    if !body.is_empty() {
        let json = json::parse(body.as_bytes()).unwrap();
        for pointer in &config.matched_pointers {
            json.root().at(&pointer.0).into_iter().for_each(|value| values.push(pointer, value));
        }
    }
    let request = Request::new(&head(&headers), &headers, &config.matched_parameters).with_body(&values);
    (verdict(&config, &headers), config.targets[0].matcher.wants(&request))
}

macro_rules! bodies {
    ($($name:ident: $condition:literal { $($body:literal => $wanted:literal),+ $(,)? })*) => {
        $(#[test] fn $name() {
            for (body, wanted) in [$(($body, $wanted)),+] {
                let fields = format!(r#"[{{"body":[{}]}}]"#, $condition);
                assert_eq!(decided(&fields, "/", body), (Verdict::ByBody, wanted), "{fields} {body}");
            }
        })*
    };
}

bodies! {
    a_string: r#"{"pointer":"/type","exact":"order"}"# {
        r#"{"type":"order"}"# => true,
        r#"{"type":"\u006frder","x":1}"# => true,
        r#"{"type":"orders"}"# => false,
        r#"{"type":["order"]}"# => false,
        r#"{"x":{"type":"order"}}"# => false,
        r#""order""# => false,
        "" => false,
    }
    a_string_that_looks_like_a_number: r#"{"pointer":"/n","exact":"7"}"# { r#"{"n":7}"# => false, r#"{"n":"7"}"# => true }
    a_number: r#"{"pointer":"/n","exact":7}"# {
        r#"{"n":7}"# => true,
        r#"{"n":7.0}"# => true,
        r#"{"n":70e-1}"# => true,
        r#"{"n":"7"}"# => false,
        r#"{"n":-7}"# => false,
        r#"{"n":7.0000000000000000000001}"# => false,
    }
    a_fraction: r#"{"pointer":"/n","exact":-1.5}"# { r#"{"n":-15e-1}"# => true, r#"{"n":1.5}"# => false }
    a_large_number: r#"{"pointer":"/n","exact":18446744073709551615}"# { r#"{"n":18446744073709551615}"# => true, r#"{"n":18446744073709551614}"# => false }
    a_flag: r#"{"pointer":"/f","exact":false}"# { r#"{"f":false}"# => true, r#"{"f":true}"# => false, r#"{"f":"false"}"# => false, r#"{"f":null}"# => false }
    null: r#"{"pointer":"/f","exact":null}"# { r#"{"f":null}"# => true, r#"{"f":""}"# => false, "{}" => false, r#"{"f":"z"}"# => false }
    an_empty_string: r#"{"pointer":"/s","exact":""}"# { r#"{"s":""}"# => true, "{}" => false }
    the_beginning_of_a_string: r#"{"pointer":"/s","prefix":"or"}"# { r#"{"s":"order"}"# => true, r#"{"s":"for"}"# => false }
    the_beginning_of_no_string: r#"{"pointer":"/s","prefix":"1"}"# { r#"{"s":12}"# => false, r#"{"s":"12"}"# => true }
    any_string: r#"{"pointer":"/s","prefix":""}"# { r#"{"s":""}"# => true, r#"{"s":1}"# => false, r#"{"s":{}}"# => false }
    the_end_of_a_string: r#"{"pointer":"/s","suffix":"er"}"# { r#"{"s":"order"}"# => true, r#"{"s":"orders"}"# => false }
    the_end_of_no_string: r#"{"pointer":"/s","suffix":"1"}"# { r#"{"s":11}"# => false, r#"{"s":"11"}"# => true }
    a_pattern: r#"{"pointer":"/s","regex":"or.*|a"}"# { r#"{"s":"order"}"# => true, r#"{"s":"a"}"# => true, r#"{"s":"for"}"# => false }
    a_pattern_with_text_first: r#"{"pointer":"/s","regex":"or(der)?"}"# { r#"{"s":"order"}"# => true, r#"{"s":"orders"}"# => false }
    a_pattern_of_no_string: r#"{"pointer":"/s","regex":"[0-9]+"}"# { r#"{"s":11}"# => false, r#"{"s":"11"}"# => true }
    something: r#"{"pointer":"/a/0","present":true}"# { r#"{"a":[null]}"# => true, r#"{"a":[]}"# => false, r#"{"a":{"0":{}}}"# => true }
    nothing: r#"{"pointer":"/a/0","present":false}"# { r#"{"a":[null]}"# => false, r#"{"a":[]}"# => true, "" => true, "7" => true }
    all_of_it: r#"{"pointer":"","exact":7}"# { "7" => true, "[7]" => false }
    two_conditions: r#"{"pointer":"/a","exact":1},{"pointer":"/b","present":false}"# { r#"{"a":1}"# => true, r#"{"a":1,"b":2}"# => false }
    the_last_of_a_repeated_key: r#"{"pointer":"/a","exact":1}"# { r#"{"a":2,"a":1}"# => true, r#"{"a":1,"a":2}"# => false }
}

#[test]
fn headers_alone_decide_where_they_can() {
    let body = r#"{"path":{"prefix":"/orders"},"body":[{"pointer":"/a","exact":1}]}"#;
    assert_eq!(decided(&format!("[{body}]"), "/carts", "{}"), (Verdict::No, false));
    assert_eq!(decided(&format!("[{body}]"), "/orders", r#"{"a":1}"#), (Verdict::ByBody, true));
    assert_eq!(decided(&format!(r#"[{body},{{"path":{{"exact":"/orders/7"}}}}]"#), "/orders/7", "{}"), (Verdict::Yes, true));
    for (path, body, wanted) in [
        ("/a", "{}", (Verdict::ByBody, true)),
        ("/a", r#"{"test":true}"#, (Verdict::ByBody, false)),
        ("/health", "{}", (Verdict::No, false)),
        ("/b", "{}", (Verdict::Yes, true)),
    ] {
        let fields =
            r#""except":[{"path":{"exact":"/a"},"body":[{"pointer":"/test","exact":true}]},{"path":{"exact":"/health"}}]"#;
        assert_eq!(decided(fields, path, body), wanted, "{path} {body}");
    }
}

#[test]
fn a_thousand_values_of_a_body_cost_what_one_costs() {
    let rule =
        |number: usize| format!(r#"{{"path":{{"prefix":"/orders"}},"body":[{{"pointer":"/tenant","exact":"t-{number}"}}]}}"#);
    let cost = |rules: &str, tenant: &str| {
        let config = configured(rules);
        let headers = map("POST", "/orders", &[]);
        let text = format!(r#"{{"tenant":"{tenant}"}}"#);
        let json = json::parse(text.as_bytes()).unwrap();
        let mut values = BodyValues::default();
        for pointer in &config.matched_pointers {
            json.root().at(&pointer.0).into_iter().for_each(|value| values.push(pointer, value));
        }
        assert_eq!(config.matched_pointers.len(), 1);
        let rules = config.targets[0].matcher.wanted.as_ref().unwrap();
        let seen = RefCell::new(0);
        let count = |_| *seen.borrow_mut() += 1;
        let request = Request::new(&head(&headers), &headers, &config.matched_parameters);
        assert!(rules.heads.hold(&request, count));
        let at_headers = seen.replace(0);
        let wanted = rules.wholes.hold(&request.with_body(&values), count);
        (at_headers, seen.into_inner(), wanted)
    };
    let (many, one) = (thousand(rule), format!("[{}]", rule(500)));
    // At the headers: the root, the prefix and the first rule. With the body: the root, the prefix, the pointer and its values; one rule is tried.
    assert_eq!(cost(&many, "t-abc"), (3, 4, false));
    assert_eq!(cost(&one, "t-abc"), (3, 3, false));
    assert_eq!(cost(&many, "t-500"), (3, 5, true));
}
