use super::*;
use crate::config::names::{AbsolutePath, Method, ReadHeader};
use crate::config::scalar::{FromText, NonEmpty, Text};
use crate::config::Config;
use crate::headers::Pairs;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;

fn matcher(rules: &str) -> Matcher {
    let text = format!(r#"{{"targets":[{{"name":"t","cluster":"c","match":{rules}}}]}}"#);
    Config::parse(text.as_bytes(), &|_| None).unwrap().targets.remove(0).matcher
}

fn wants(rules: &str, method: &str, path: &str, headers: &[(&str, &[u8])]) -> bool {
    let headers = HeaderMap::from(&Pairs::from_iter(headers.iter().copied()));
    matcher(rules).wants(method.as_bytes(), path.as_bytes(), &headers)
}

macro_rules! cases {
    ($($name:ident: $rules:literal, $method:literal $path:literal $headers:expr => $wanted:literal;)*) => {
        $(#[test] fn $name() { assert_eq!(wants($rules, $method, $path, $headers), $wanted); })*
    };
}

cases! {
    a_method_of_the_list: r#"[{"methods":["POST","PUT"]}]"#, "PUT" "/" &[] => true;
    a_method_not_of_the_list: r#"[{"methods":["POST","PUT"]}]"#, "GET" "/" &[] => false;
    methods_have_case: r#"[{"methods":["POST"]}]"#, "post" "/" &[] => false;
    a_prefix_of_the_path: r#"[{"path":{"prefix":"/orders"}}]"#, "GET" "/orders/7" &[] => true;
    a_prefix_need_not_end_at_a_segment: r#"[{"path":{"prefix":"/orders"}}]"#, "GET" "/orders7" &[] => true;
    another_path: r#"[{"path":{"prefix":"/orders"}}]"#, "GET" "/order" &[] => false;
    an_exact_path: r#"[{"path":{"exact":"/orders"}}]"#, "GET" "/orders" &[] => true;
    no_exact_path: r#"[{"path":{"exact":"/orders"}}]"#, "GET" "/orders/" &[] => false;
    a_pattern_matches_the_whole_path: r#"[{"path":{"regex":"/orders/[0-9]+"}}]"#, "GET" "/orders/42" &[] => true;
    a_pattern_does_not_match_a_part: r#"[{"path":{"regex":"/orders/[0-9]+"}}]"#, "GET" "/orders/42/x" &[] => false;
    borders_of_words_in_a_pattern: r#"[{"path":{"regex":"/\\<orders\\>(/.*)?"}}]"#, "GET" "/orders/7" &[] => true;
    alternatives_of_a_pattern_stay_inside: r#"[{"path":{"regex":"/a|/b"}}]"#, "GET" "/ax" &[] => false;
    an_exact_header: r#"[{"headers":[{"name":"X-A","exact":"1"}]}]"#, "GET" "/" &[("x-a", b"1")] => true;
    a_prefix_of_a_header: r#"[{"headers":[{"name":"x-a","prefix":"ab"}]}]"#, "GET" "/" &[("x-a", b"abc")] => true;
    a_suffix_of_a_header: r#"[{"headers":[{"name":"x-a","suffix":"bc"}]}]"#, "GET" "/" &[("x-a", b"abc")] => true;
    a_pattern_of_a_header: r#"[{"headers":[{"name":"x-a","regex":"a.c"}]}]"#, "GET" "/" &[("x-a", b"abc")] => true;
    any_value_of_a_repeated_header: r#"[{"headers":[{"name":"x-a","exact":"2"}]}]"#, "GET" "/" &[("x-a", b"1"), ("x-a", b"2")] => true;
    a_missing_header: r#"[{"headers":[{"name":"x-a","prefix":""}]}]"#, "GET" "/" &[] => false;
    a_present_header: r#"[{"headers":[{"name":"x-a","present":true}]}]"#, "GET" "/" &[("x-a", b"")] => true;
    an_absent_header: r#"[{"headers":[{"name":"x-a","present":false}]}]"#, "GET" "/" &[] => true;
    a_header_that_should_be_absent: r#"[{"headers":[{"name":"x-a","present":false}]}]"#, "GET" "/" &[("x-a", b"1")] => false;
    bytes_that_are_no_text_match_no_pattern: r#"[{"headers":[{"name":"x-a","regex":".*"}]}]"#, "GET" "/" &[("x-a", b"\xff")] => false;
    bytes_that_are_no_text_can_be_present: r#"[{"headers":[{"name":"x-a","present":true}]}]"#, "GET" "/" &[("x-a", b"\xff")] => true;
    all_conditions_of_a_rule: r#"[{"methods":["GET"],"path":{"exact":"/a"}}]"#, "GET" "/b" &[] => false;
    all_headers_of_a_rule: r#"[{"headers":[{"name":"x-a","exact":"1"},{"name":"x-b","exact":"1"}]}]"#, "GET" "/" &[("x-a", b"1")] => false;
    a_method_of_no_standard: r#"[{"methods":["GET","BREW"]}]"#, "BREW" "/" &[] => true;
    another_method_of_no_standard: r#"[{"methods":["GET","BREW"]}]"#, "STEEP" "/" &[] => false;
    a_suffix_that_is_no_end: r#"[{"headers":[{"name":"x-a","suffix":"bc"}]}]"#, "GET" "/" &[("x-a", b"abcd")] => false;
    an_empty_suffix: r#"[{"headers":[{"name":"x-a","suffix":""}]}]"#, "GET" "/" &[("x-a", b"1")] => true;
    an_empty_exact_value: r#"[{"headers":[{"name":"x-a","exact":""}]}]"#, "GET" "/" &[("x-a", b"")] => true;
    two_values_of_one_header: r#"[{"headers":[{"name":"x-a","prefix":"1"},{"name":"x-a","suffix":"2"}]}]"#, "GET" "/" &[("x-a", b"13"), ("x-a", b"32")] => true;
    the_prefix_that_is_a_slash: r#"[{"path":{"prefix":"/"}}]"#, "GET" "/a" &[] => true;
    a_path_without_a_slash: r#"[{"path":{"prefix":"/"}}]"#, "OPTIONS" "*" &[] => false;
    any_rule: r#"[{"methods":["PUT"]},{"path":{"exact":"/a"}}]"#, "GET" "/a" &[] => true;
}

#[test]
fn without_rules_every_request_is_wanted() {
    assert!(Matcher::new(None).wants(b"BREW", b"", &HeaderMap::default()));
}

/// 1,000 rules, each made of its number.
fn thousand(rule: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..1_000).map(rule).collect::<Vec<_>>().join(","))
}

/// How many steps of the index and how many rules it takes to find that no rule holds, or that one does.
fn steps(rules: &str, request: (&str, &str, &[(&str, &[u8])])) -> (usize, usize, bool) {
    let (method, path, headers) = request;
    let headers = HeaderMap::from(&Pairs::from_iter(headers.iter().copied()));
    let seen = RefCell::new((0, 0));
    let rules = matcher(rules).rules.unwrap();
    let wanted = rules.hold(&Request::new(method.as_bytes(), path.as_bytes(), &headers), |step| match step {
        Step::Probe => seen.borrow_mut().0 += 1,
        Step::Rule(_) => seen.borrow_mut().1 += 1,
    });
    let (probes, looked_at) = seen.into_inner();
    (probes, looked_at, wanted)
}

/// For each shape of 1,000 rules: a request that none wants, and one that the rule with the number 500 wants. The figures are
/// the steps and the rules looked at that the first takes, with 1,000 rules and with one; and those of the second, with 1,000.
macro_rules! costs {
    ($($name:ident: |$number:ident| $rule:expr, $other:expr => $many:expr, $one:expr; $wanted:expr => $found:expr;)*) => {
        $(#[test] fn $name() {
            let rule = |$number: usize| $rule;
            let (many, one) = (thousand(rule), format!("[{}]", rule(500)));
            let (unwanted, wanted): ((_, _, &[(&str, &[u8])]), (_, _, &[(&str, &[u8])])) = ($other, $wanted);
            let ((probes, rules), (probes_of_one, rules_of_one), (probes_to_find, rules_to_find)) = ($many, $one, $found);
            assert_eq!(steps(&many, unwanted), (probes, rules, false), "1,000 rules, none wants it");
            assert_eq!(steps(&one, unwanted), (probes_of_one, rules_of_one, false), "one rule, which does not want it");
            assert_eq!(steps(&many, wanted), (probes_to_find, rules_to_find, true), "1,000 rules, one wants it");
        })*
    };
}

costs! {
    a_thousand_prefixes: |n| format!(r#"{{"path":{{"prefix":"/team-{}/svc-{n}/"}}}}"#, n % 37),
        ("GET", "/team-7/unknown/x", &[]) => (1, 0), (1, 0);
        ("GET", "/team-19/svc-500/items", &[]) => (4, 1);
    a_thousand_prefixes_of_one_length: |n| format!(r#"{{"path":{{"prefix":"/svc-{n:03}/"}}}}"#),
        ("GET", "/svc-abc/x", &[]) => (1, 0), (1, 0);
        ("GET", "/svc-500/items", &[]) => (2, 1);
    a_thousand_exact_paths: |n| format!(r#"{{"path":{{"exact":"/svc-{n}"}}}}"#),
        ("GET", "/svc-abc", &[]) => (1, 0), (1, 0);
        ("GET", "/svc-500", &[]) => (1, 1);
    a_thousand_exact_paths_of_other_lengths: |n| format!(r#"{{"path":{{"exact":"/svc-{n}"}}}}"#),
        ("GET", "/checkout/cart", &[]) => (0, 0), (0, 0);
        ("GET", "/svc-500", &[]) => (1, 1);
    a_thousand_prefixes_of_other_methods: |n| format!(r#"{{"methods":["POST"],"path":{{"prefix":"/svc-{n}/"}}}}"#),
        ("GET", "/svc-500/x", &[]) => (0, 0), (0, 0);
        ("POST", "/svc-500/x", &[]) => (4, 1);
    a_thousand_prefixes_with_a_header: |n| format!(r#"{{"path":{{"prefix":"/svc-{n:03}/"}},"headers":[{{"name":"x-a","exact":"1"}}]}}"#),
        ("GET", "/svc-500/x", &[("x-a", b"2")]) => (2, 1), (2, 1);
        ("GET", "/svc-500/x", &[("x-a", b"1")]) => (2, 1);
    a_thousand_values_of_a_header: |n| format!(r#"{{"headers":[{{"name":"x-tenant","exact":"t-{n}"}}]}}"#),
        ("GET", "/", &[("x-a", b"1"), ("x-tenant", b"t-abc")]) => (2, 0), (2, 0);
        ("GET", "/", &[("x-a", b"1"), ("x-tenant", b"t-500")]) => (2, 1);
    a_thousand_values_of_a_header_that_is_not_there: |n| format!(r#"{{"headers":[{{"name":"x-tenant","exact":"t-{n}"}}]}}"#),
        ("GET", "/", &[("x-a", b"1"), ("accept", b"*/*")]) => (0, 0), (0, 0);
        ("GET", "/", &[("x-tenant", b"t-500")]) => (2, 1);
    a_thousand_ends_of_a_header: |n| format!(r#"{{"headers":[{{"name":"x-host","suffix":".t{n:03}.example.com"}}]}}"#),
        ("GET", "/", &[("x-host", b"www.abc.example.com")]) => (2, 0), (2, 0);
        ("GET", "/", &[("x-host", b"www.t500.example.com")]) => (3, 1);
    a_thousand_headers: |n| format!(r#"{{"headers":[{{"name":"x-flag-{n}","present":true}}]}}"#),
        ("GET", "/", &[("x-flag-abc", b"1"), ("x-flag-1000", b"1")]) => (0, 0), (0, 0);
        ("GET", "/", &[("x-flag-500", b"1")]) => (2, 1);
    a_thousand_rules_for_one_prefix: |n| format!(r#"{{"path":{{"prefix":"/orders"}},"headers":[{{"name":"x-tenant","exact":"t-{n}"}}]}}"#),
        ("GET", "/orders/1", &[("x-tenant", b"t-abc")]) => (4, 0), (2, 1);
        ("GET", "/orders/1", &[("x-tenant", b"t-500")]) => (4, 1);
    every_prefix_with_every_value: |n| format!(r#"{{"path":{{"prefix":"/svc-{:02}"}},"headers":[{{"name":"x-tenant","exact":"t-{:02}"}}]}}"#, n / 32, n % 32),
        ("GET", "/svc-15/1", &[("x-tenant", b"t-99")]) => (4, 0), (2, 1);
        ("GET", "/svc-15/1", &[("x-tenant", b"t-20")]) => (4, 1);
    a_thousand_methods_and_patterns: |n| format!(r#"{{"methods":["PUT"],"path":{{"regex":".*/{n}"}}}}"#),
        ("GET", "/500", &[]) => (0, 0), (0, 0);
        ("PUT", "/0", &[]) => (1, 1);
    a_thousand_patterns_that_begin_with_text: |n| format!(r#"{{"path":{{"regex":"/svc-{n:03}/[0-9]+"}}}}"#),
        ("GET", "/svc-abc/1", &[]) => (1, 0), (1, 0);
        ("GET", "/svc-500/1", &[]) => (2, 1);
    // The limit: they are tried one by one.
    a_thousand_patterns_that_do_not: |n| format!(r#"{{"path":{{"regex":"/[a-z]+/{n}"}}}}"#),
        ("GET", "/svc/abc", &[]) => (1, 1000), (1, 1);
        ("GET", "/svc/500", &[]) => (1, 501);
}

/// There is an end to filing again: what is left is looked at one by one.
#[test]
fn rules_may_share_more_than_they_are_filed_by() {
    let shared: String = (0..12).map(|header| format!(r#"{{"name":"x-{header}","exact":"1"}},"#)).collect();
    let rules: Vec<_> = (0..20).map(|last| format!(r#"{{"headers":[{shared}{{"name":"x-last","exact":"{last}"}}]}}"#)).collect();
    let rules = format!("[{}]", rules.join(","));
    let names: Vec<String> = (0..12).map(|header| format!("x-{header}")).collect();
    let mut headers: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"1"[..])).collect();
    headers.push(("x-last", b"19"));
    let (_, looked_at, wanted) = steps(&rules, ("GET", "/", &headers));
    assert_eq!((looked_at, wanted), (20, true));
    headers[12].1 = b"20";
    let (_, looked_at, wanted) = steps(&rules, ("GET", "/", &headers));
    assert_eq!((looked_at, wanted), (20, false));
}

#[test]
fn a_header_that_is_repeated_multiplies_nothing() {
    let shared: String = (0..5).map(|header| format!(r#"{{"name":"x-{header}","prefix":"1"}},"#)).collect();
    let rule = |last| format!(r#"{{"headers":[{shared}{{"name":"x-last","suffix":"-{last}"}}]}}"#);
    let names: Vec<String> = (0..5).map(|header| format!("x-{header}")).collect();
    let values: Vec<String> = (0..8).map(|value| format!("1{value}")).collect();
    let pairs = names.iter().flat_map(|name| values.iter().map(|value| (name.as_str(), value.as_bytes())));
    let headers: Vec<(&str, &[u8])> = pairs.chain([("x-last", &b"none"[..])]).collect();
    let (probes, looked_at, wanted) = steps(&thousand(rule), ("GET", "/", &headers));
    assert_eq!((looked_at, wanted), (0, false));
    // For each of the 8 values its name, the root and a node; at each of the 5 levels. Not 8 to the power of 5. Then the last.
    assert_eq!(probes, 8 * 3 * 5 + 2);
}

mod model {
    //! What the rules say, word by word.

    use super::*;

    fn value_holds(rule: &raw::HeaderRule, value: &[u8]) -> bool {
        let text = std::str::from_utf8(value);
        rule.exact.as_ref().is_some_and(|exact| value == exact.as_bytes())
            || rule.prefix.as_ref().is_some_and(|prefix| value.starts_with(prefix.as_bytes()))
            || rule.suffix.as_ref().is_some_and(|suffix| value.ends_with(suffix.as_bytes()))
            || rule.regex.as_ref().is_some_and(|regex| text.is_ok_and(|text| regex.0 .0.is_match(text)))
            || rule.present == Some(true)
    }

    fn header_holds(rule: &raw::HeaderRule, headers: &[(String, Vec<u8>)]) -> bool {
        let mut values = headers.iter().filter(|(name, _)| *name == rule.name.0 .0).map(|(_, value)| value);
        match rule.present {
            Some(false) => values.next().is_none(),
            _ => values.any(|value| value_holds(rule, value)),
        }
    }

    fn path_holds(rule: &raw::PathRule, path: &str) -> bool {
        rule.exact.as_ref().is_some_and(|exact| path == exact.0 .0)
            || rule.prefix.as_ref().is_some_and(|prefix| path.starts_with(&prefix.0 .0))
            || rule.regex.as_ref().is_some_and(|regex| regex.0 .0.is_match(path))
    }

    pub(super) fn wants(rules: &[raw::Rule], method: &str, path: &str, headers: &[(String, Vec<u8>)]) -> bool {
        rules.iter().any(|rule| {
            rule.methods.as_ref().is_none_or(|methods| methods.0.iter().any(|wanted| wanted.0 .0 == method))
                && rule.path.as_ref().is_none_or(|wanted| path_holds(wanted, path))
                && rule.headers.as_ref().is_none_or(|wanted| wanted.0.iter().all(|wanted| header_holds(wanted, headers)))
        })
    }
}

const METHODS: [&str; 4] = ["GET", "POST", "BREW", "STEEP"];
const NAMES: [&str; 3] = ["x-a", "x-b", "x-long"];

fn typed<T: FromText>(text: &str) -> Text<T> {
    Text(T::from_text(text).unwrap())
}

fn path_text() -> impl Strategy<Value = String> {
    "/|/[ab]{1,2}(/[ab]{1,2}){0,2}"
}

fn pattern() -> impl Strategy<Value = String> {
    (
        "(/a)?",
        prop::sample::select(vec!["/[ab]+", "(/a|/b)", "/b?", "/a|/b/a", ".*", "/(?:a+|b)/.*", "/ab", "/b+a*", "[^b]", "a?"]),
    )
        .prop_map(|(literal, rest)| literal + rest)
}

fn path_rule() -> impl Strategy<Value = raw::PathRule> {
    let none = raw::PathRule { exact: None, prefix: None, regex: None };
    prop_oneof![
        path_text().prop_map({
            let none = none.clone();
            move |text| raw::PathRule { exact: Some(typed::<AbsolutePath>(&text)), ..none.clone() }
        }),
        path_text().prop_map({
            let none = none.clone();
            move |text| raw::PathRule { prefix: Some(typed::<AbsolutePath>(&text)), ..none.clone() }
        }),
        pattern().prop_map(move |text| raw::PathRule { regex: Some(typed(&text)), ..none.clone() }),
    ]
}

fn header_rule() -> impl Strategy<Value = raw::HeaderRule> {
    (prop::sample::select(&NAMES), 0_u8..6, "[ab]{0,2}", pattern()).prop_map(|(name, kind, text, pattern)| {
        let given = |this| (kind == this).then(|| text.clone());
        raw::HeaderRule {
            name: typed::<ReadHeader>(name),
            exact: given(0),
            prefix: given(1),
            suffix: given(2),
            regex: (kind == 3).then(|| typed(&pattern.replace('/', ""))),
            present: (kind > 3).then_some(kind == 4),
        }
    })
}

fn rule() -> impl Strategy<Value = raw::Rule> {
    let methods = prop::option::weighted(0.4, prop::sample::subsequence(&METHODS, 1..3));
    let headers = prop::option::weighted(0.5, prop::collection::vec(header_rule(), 1..3));
    (methods, prop::option::weighted(0.7, path_rule()), headers)
        .prop_map(|(methods, path, headers)| raw::Rule {
            methods: methods.map(|methods| NonEmpty(methods.iter().map(|method| typed::<Method>(method)).collect())),
            path,
            headers: headers.map(NonEmpty),
        })
        .prop_filter("a rule has a condition", |rule| rule.methods.is_some() || rule.path.is_some() || rule.headers.is_some())
}

type Asked = (&'static str, String, Vec<(String, Vec<u8>)>);

fn asked() -> impl Strategy<Value = Asked> {
    let value = prop_oneof![9 => "[ab]{0,3}".prop_map(String::into_bytes), 1 => Just(b"a\xff".to_vec())];
    let headers = prop::collection::vec((prop::sample::select(&NAMES).prop_map(str::to_owned), value), 0..6);
    let path = prop_oneof![9 => path_text(), 1 => "[*ab]{0,2}"];
    (prop::sample::select(&METHODS), path, headers)
}

/// What the matcher says, and which rules it looked at.
fn wanted(matcher: &Matcher, (method, path, headers): &Asked) -> (bool, Vec<usize>) {
    let headers = HeaderMap::from(&headers.iter().map(|(name, value)| (name, value)).collect::<Pairs>());
    let looked_at = RefCell::new(Vec::new());
    let rules = matcher.rules.as_ref().unwrap();
    let holds = rules.hold(&Request::new(method.as_bytes(), path.as_bytes(), &headers), |step| {
        if let Step::Rule(place) = step {
            looked_at.borrow_mut().push(place);
        }
    });
    assert_eq!(holds, matcher.wants(method.as_bytes(), path.as_bytes(), &headers));
    (holds, looked_at.into_inner())
}

fn few_or_many_rules() -> impl Strategy<Value = Vec<raw::Rule>> {
    prop_oneof![prop::collection::vec(rule(), 1..4), prop::collection::vec(rule(), 1..120)]
}

#[test]
fn the_rules_and_requests_of_the_property_hit_often_enough() {
    let mut runner = TestRunner::deterministic();
    let (rules, requests) = (few_or_many_rules(), asked());
    let hits = (0..1_000)
        .filter(|_| {
            let rules = rules.new_tree(&mut runner).unwrap().current();
            let (method, path, headers) = requests.new_tree(&mut runner).unwrap().current();
            model::wants(&rules, method, &path, &headers)
        })
        .count();
    assert!((250..=750).contains(&hits), "{hits} of 1000");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    /// Of few rules each decides; of many, they are filed and filed again.
    #[test]
    fn what_is_wanted_is_what_a_walk_of_all_rules_says(
        rules in few_or_many_rules(),
        requests in prop::collection::vec(asked(), 30),
    ) {
        let matcher = Matcher::new(Some(rules.clone()));
        for request in requests {
            let expected = model::wants(&rules, request.0, &request.1, &request.2);
            let (wanted, mut looked_at) = wanted(&matcher, &request);
            prop_assert_eq!(wanted, expected, "{:?}", request);
            let count = looked_at.len();
            looked_at.sort_unstable();
            looked_at.dedup();
            prop_assert_eq!(looked_at.len(), count, "a rule came up twice for {:?}", request);
        }
    }
}
