mod bodies;
mod property;

use super::*;
use crate::config::Config;
use crate::http::headers::{HeaderMap, Pairs};
use crate::http::loop_mark::LoopGuard;
use crate::http::request_head::RequestHead;
use crate::select::index::Step;
use std::cell::RefCell;

/// The only target of a configuration with these rules or fields.
fn configured(fields: &str) -> Config {
    let fields = if fields.starts_with('[') { format!(r#""match":{fields}"#) } else { fields.to_owned() };
    let text = format!(r#"{{"targets":[{{"name":"t","cluster":"c",{fields}}}]}}"#);
    Config::parse(text.as_bytes(), &|_| None).unwrap_or_else(|problems| panic!("{problems:?}: {text}"))
}

fn map(method: &str, path: &str, headers: &[(&str, &[u8])]) -> HeaderMap {
    let line = [(":method", method.as_bytes()), (":path", path.as_bytes())];
    HeaderMap::from(&line.into_iter().chain(headers.iter().copied()).collect::<Pairs>())
}

fn head(headers: &HeaderMap) -> RequestHead<'_> {
    RequestHead::read(headers, &LoopGuard::new(None))
}

fn verdict(config: &Config, headers: &HeaderMap) -> Verdict {
    config.targets[0].matcher.at_headers(&Request::new(&head(headers), headers, &config.matched_parameters))
}

/// Whether the headers of a request decide that the target wants it.
fn wants(fields: &str, method: &str, path: &str, headers: &[(&str, &[u8])]) -> bool {
    let config = configured(fields);
    let headers = map(method, path, headers);
    let request = Request::new(&head(&headers), &headers, &config.matched_parameters);
    let verdict = config.targets[0].matcher.at_headers(&request);
    assert_eq!(config.targets[0].matcher.wants(&request), verdict == Verdict::Yes);
    assert_ne!(verdict, Verdict::ByBody);
    verdict == Verdict::Yes
}

/// 1,000 patterns without a literal beginning.
fn many_patterns() -> String {
    let rules: Vec<String> = (0..1_000).map(|number| format!(r#"{{"path":{{"regex":".*/{number}x"}}}}"#)).collect();
    format!("[{}]", rules.join(","))
}

fn judged(fields: &str, path: &str, max_work: usize) -> (Verdict, Verdict) {
    let config = configured(fields);
    let headers = map("GET", path, &[("x-a", b"b")]);
    let request = || Request::new(&head(&headers), &headers, &config.matched_parameters).with_max_work(max_work);
    let matcher = &config.targets[0].matcher;
    (matcher.at_headers(&request()), matcher.at_end(&request()))
}

#[test]
fn patterns_are_held_against_no_more_text_than_the_work_of_a_request_allows() {
    let long = format!("/{}", "a".repeat(58_000));
    let default = 8 << 20;
    assert_eq!(judged(&many_patterns(), &long, default).0, Verdict::TooMuchWork);
    assert_eq!(judged(&many_patterns(), &long, default).1, Verdict::TooMuchWork);
    assert_eq!(judged(&many_patterns(), "/orders/of/a/path/of/usual/length", default).0, Verdict::No);
    assert_eq!(judged(&many_patterns(), "/orders/999x", default).0, Verdict::Yes);
}

#[test]
fn what_was_not_tried_matters_only_where_no_other_rule_holds() {
    let long = format!("/{}", "a".repeat(1_000));
    let pattern = r#"{"path":{"regex":".*z"}}"#;
    let header = r#"{"headers":[{"name":"x-a","exact":"b"}]}"#;
    let both = |fields: &str| judged(fields, &long, 100).0;
    assert_eq!(both(&format!("[{pattern}]")), Verdict::TooMuchWork);
    assert_eq!(both(&format!("[{pattern},{header}]")), Verdict::Yes);
    assert_eq!(both(&format!(r#""except":[{pattern}]"#)), Verdict::TooMuchWork);
    assert_eq!(both(&format!(r#""except":[{pattern},{header}]"#)), Verdict::No);
    assert_eq!(both(&format!(r#""match":[{pattern},{header}],"except":[{{"methods":["POST"]}}]"#)), Verdict::Yes);
    assert_eq!(both(r#"[{"path":{"regex":"/b.*"}}]"#), Verdict::No, "the path does not begin as the pattern does");
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
    an_authority: r#"[{"authority":{"exact":"Shop.example"}}]"#, "GET" "/" &[(":authority", b"shop.EXAMPLE")] => true;
    an_authority_with_a_port: r#"[{"authority":{"exact":"shop.example"}}]"#, "GET" "/" &[(":authority", b"shop.example:81")] => false;
    the_beginning_of_an_authority: r#"[{"authority":{"prefix":"shop."}}]"#, "GET" "/" &[(":authority", b"SHOP.example:81")] => true;
    the_end_of_an_authority: r#"[{"authority":{"suffix":".EXAMPLE"}}]"#, "GET" "/" &[(":authority", b"shop.example")] => true;
    another_end_of_an_authority: r#"[{"authority":{"suffix":".example"}}]"#, "GET" "/" &[(":authority", b"shop.example.org")] => false;
    a_pattern_of_an_authority: r#"[{"authority":{"regex":"Shop[.].*(:[0-9]+)?"}}]"#, "GET" "/" &[(":authority", b"shop.example:81")] => true;
    a_pattern_of_a_part_of_an_authority: r#"[{"authority":{"regex":"shop"}}]"#, "GET" "/" &[(":authority", b"shop.example")] => false;
    some_authority: r#"[{"authority":{"present":true}}]"#, "GET" "/" &[(":authority", b"a")] => true;
    no_authority: r#"[{"authority":{"present":false}}]"#, "GET" "/" &[] => true;
    no_authority_where_one_is: r#"[{"authority":{"present":false}}]"#, "GET" "/" &[(":authority", b"a")] => false;
    a_parameter: r#"[{"query":[{"name":"a b","exact":"1&2"}]}]"#, "GET" "/?x=1&a+b=1%262" &[] => true;
    a_parameter_of_another_value: r#"[{"query":[{"name":"a","exact":"1"}]}]"#, "GET" "/?a=11" &[] => false;
    a_parameter_of_no_value: r#"[{"query":[{"name":"a","exact":""}]}]"#, "GET" "/?b&a" &[] => true;
    the_first_of_repeated_parameters: r#"[{"query":[{"name":"a","exact":"1"}]}]"#, "GET" "/?%61=1&a=2" &[] => true;
    no_later_one_of_repeated_parameters: r#"[{"query":[{"name":"a","exact":"2"}]}]"#, "GET" "/?a=1&a=2" &[] => false;
    the_beginning_of_a_parameter: r#"[{"query":[{"name":"a","prefix":"é"}]}]"#, "GET" "/?a=%C3%A9t" &[] => true;
    the_end_of_a_parameter: r#"[{"query":[{"name":"a","suffix":"t"}]}]"#, "GET" "/?a=%C3%A9t" &[] => true;
    a_pattern_of_a_parameter: r#"[{"query":[{"name":"a","regex":"[0-9]+"}]}]"#, "GET" "/?a=17" &[] => true;
    a_parameter_that_is_there: r#"[{"query":[{"name":"a","present":true}]}]"#, "GET" "/?a=" &[] => true;
    a_parameter_that_should_not_be_there: r#"[{"query":[{"name":"a","present":false}]}]"#, "GET" "/?a" &[] => false;
    a_parameter_that_is_not_there: r#"[{"query":[{"name":"a","present":false}]}]"#, "GET" "/a=1" &[] => true;
    a_parameter_behind_a_hash_is_none: r#"[{"query":[{"name":"a","present":true}]}]"#, "GET" "/?b#a" &[] => false;
    all_parameters_of_a_rule: r#"[{"query":[{"name":"a","exact":"1"},{"name":"b","exact":"2"}]}]"#, "GET" "/?b=2" &[] => false;
    an_exception: r#""except":[{"path":{"exact":"/health"}}]"#, "GET" "/health" &[] => false;
    all_but_an_exception: r#""except":[{"path":{"exact":"/health"}}]"#, "GET" "/healthy" &[] => true;
    an_exception_of_what_matches: r#""match":[{"path":{"prefix":"/a"}}],"except":[{"headers":[{"name":"user-agent","prefix":"bot"}]}]"#, "GET" "/a" &[("user-agent", b"bot/1")] => false;
    what_matches_and_is_no_exception: r#""match":[{"path":{"prefix":"/a"}}],"except":[{"headers":[{"name":"user-agent","prefix":"bot"}]}]"#, "GET" "/a" &[("user-agent", b"robot")] => true;
    what_is_no_exception_and_does_not_match: r#""match":[{"path":{"prefix":"/a"}}],"except":[{"methods":["PUT"]}]"#, "GET" "/b" &[] => false;
    any_rule: r#"[{"methods":["PUT"]},{"path":{"exact":"/a"}}]"#, "GET" "/a" &[] => true;
}

#[test]
fn without_rules_every_request_is_wanted() {
    let headers = HeaderMap::default();
    let parameters = Parameters::default();
    let request = Request::new(&head(&headers), &headers, &parameters);
    assert_eq!(Matcher::new(None, None).at_headers(&request), Verdict::Yes);
}

/// 1,000 rules, each made from its number.
fn thousand(rule: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..1_000).map(rule).collect::<Vec<_>>().join(","))
}

/// The number of index steps and of rules tried to decide a request, and whether a rule holds.
fn steps(rules: &str, request: (&str, &str, &[(&str, &[u8])])) -> (usize, usize, bool) {
    let (method, path, headers) = request;
    let headers = map(method, path, headers);
    let seen = RefCell::new((0, 0));
    let config = configured(rules);
    let rules = config.targets[0].matcher.wanted.as_ref().unwrap();
    let wanted = rules.plain.hold(&Request::new(&head(&headers), &headers, &config.matched_parameters), |step| match step {
        Step::Probe => seen.borrow_mut().0 += 1,
        Step::Rule(_) => seen.borrow_mut().1 += 1,
    });
    let (probes, looked_at) = seen.into_inner();
    (probes, looked_at, wanted)
}

/// Each case has 1,000 rules of one shape, a request that no rule wants, and one that rule 500 wants. The numbers are the steps and the rules
/// tried: for the first request with 1,000 rules and with one rule, then for the second request with 1,000 rules.
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
    a_thousand_authorities: |n| format!(r#"{{"authority":{{"exact":"t-{n}.example"}}}}"#),
        ("GET", "/", &[(":authority", b"t-abc.example")]) => (1, 0), (1, 0);
        ("GET", "/", &[(":authority", b"T-500.example")]) => (1, 1);
    a_thousand_ends_of_an_authority: |n| format!(r#"{{"authority":{{"suffix":".t{n:03}.example"}}}}"#),
        ("GET", "/", &[(":authority", b"www.abc.example")]) => (1, 0), (1, 0);
        ("GET", "/", &[(":authority", b"www.t500.example")]) => (2, 1);
    a_thousand_values_of_a_parameter: |n| format!(r#"{{"query":[{{"name":"tenant","exact":"t-{n}"}}]}}"#),
        ("GET", "/?a=1&tenant=t-abc", &[]) => (2, 0), (2, 0);
        ("GET", "/?a=1&tenant=t-500&tenant=t-1", &[]) => (2, 1);
    a_thousand_parameters: |n| format!(r#"{{"query":[{{"name":"flag-{n}","present":true}}]}}"#),
        ("GET", "/?flag-abc=1&flag-1000", &[]) => (0, 0), (0, 0);
        ("GET", "/?flag-500", &[]) => (2, 1);
    // The worst case: the rules are tried one by one.
    a_thousand_patterns_that_do_not: |n| format!(r#"{{"path":{{"regex":"/[a-z]+/{n}"}}}}"#),
        ("GET", "/svc/abc", &[]) => (1, 1000), (1, 1);
        ("GET", "/svc/500", &[]) => (1, 501);
}

/// Rules are filed again only a limited number of times. The rest are tried one by one.
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
    // For each of the 8 values its name, the root and a node, at each of the 5 levels. Not 8 to the power of 5. Then the last.
    assert_eq!(probes, 8 * 3 * 5 + 2);
}

/// A repeated parameter is looked up once.
#[test]
fn a_parameter_that_is_repeated_multiplies_nothing() {
    let rule = |last| format!(r#"{{"query":[{{"name":"a","prefix":"1"}},{{"name":"b","suffix":"-{last}"}}]}}"#);
    let path = format!("/?{}b=none", "a=1&".repeat(20_000));
    let (probes, looked_at, wanted) = steps(&thousand(rule), ("GET", &path, &[]));
    assert_eq!((looked_at, wanted), (0, false));
    // The name, the root and a node; then the name and the root of the other parameter.
    assert_eq!(probes, 3 + 2);
}
