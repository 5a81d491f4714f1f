//! Generates patterns with every form of the grammar, and compares the index with trying each rule.

use super::*;
use crate::config::Config;
use crate::http::headers::{HeaderMap, Pairs};
use crate::http::loop_mark::LoopGuard;
use crate::http::request_head::RequestHead;
use crate::json;
use crate::select::pattern::Pattern;
use std::str::FromStr;

use proptest::prelude::*;
use serde_json::json as value;

/// Short texts that patterns of [`piece`]s match often.
pub(super) const TEXTS: [&str; 16] =
    ["", "a", "b", "ab", "aa", "/", "/a", "A", "ba", "(", "a(b", "/a/b", "/b", "/ab", "/a-b", "aab"];

const TEXT: &[&str] = &["a", "b", "/", "a", "b", "ab", "/a", "-", "_", " ", "#", "\n", "<", ">", "é", "&", "~"];
const GROUPS: &[&str] = &[
    "(a", "(", "(?:b", "(?P<n>a", "(?<n>a", ")", ")", ")", "|", "(?i)", "(?x)", "(?s)", "(?m)", "(?U)", "(?R)", "(?-i)", "(?i:a",
    "(?x: a", "(?i-s:",
];
const CLASSES: &[&str] = &[
    "[a",
    "[^b",
    "[]",
    "[]-",
    "[-",
    "[^]",
    "[^-",
    "]",
    "]",
    "[[:alpha:]]",
    "[[:^alpha:]",
    "[a-b]",
    r"[\]|]",
    r"[\d",
    "[^a]",
    "[|(]",
    "[&&",
    "[a--b",
];
const REPETITIONS: &[&str] = &["?", "*", "+", "??", "*?", "+?", "{0}", "{1}", "{2}", "{0,2}", "{0,}", "{1,2}?", "{ 0 }"];
const ANCHORS: &[&str] = &["^", "$", "."];

/// All escapes of one character, and the longer ones.
fn escape() -> impl Strategy<Value = String> {
    const LONGER: &[&str] = &[
        r"\x61",
        r"\x{61}",
        r"\u0061",
        r"\u{61}",
        r"\U00000061",
        r"\U{61}",
        r"\b{start}",
        r"\b{end}",
        r"\b{start-half}",
        r"\b{end-half}",
        r"\b{1}",
        r"\<",
        r"\>",
        r"\b",
        r"\B",
        r"\A",
        r"\z",
        r"\d",
        r"\w",
        r"\S",
        r"\/",
        r"\.",
        r"\-",
    ];
    prop_oneof![
        (0_u8..128).prop_map(|byte| format!("\\{}", char::from(byte))),
        prop::sample::select(LONGER).prop_map(str::to_owned)
    ]
}

/// A piece of a pattern.
pub(super) fn piece() -> impl Strategy<Value = String> {
    let of = |pieces: &'static [&'static str]| prop::sample::select(pieces).prop_map(str::to_owned);
    prop_oneof![5 => of(TEXT), 2 => of(GROUPS), 1 => of(CLASSES), 2 => of(REPETITIONS), 1 => of(ANCHORS), 2 => escape()]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    // Some patterns get a literal beginning, so that the index separates them.
    ("(/a|/b|/ab)?", prop::collection::vec(piece(), 0..6))
        .prop_filter_map("not a pattern", |(start, pieces)| Pattern::from_str(&(start + &pieces.concat())).ok())
}

/// One rule for each pattern.
fn rules(patterns: &[Pattern], rule: fn(&str) -> serde_json::Value) -> Matcher {
    let rules: Vec<_> = patterns.iter().map(|pattern| rule(pattern.text())).collect();
    let text = value!({"targets": [{"name": "t", "cluster": "c", "match": rules}]}).to_string();
    Config::parse(text.as_bytes(), &|_| None).unwrap().targets.remove(0).matcher
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_local_rejects: 1 << 22, ..ProptestConfig::default() })]

    #[test]
    fn rules_of_patterns_want_what_their_patterns_match(
        patterns in prop_oneof![prop::collection::vec(pattern(), 1..4), prop::collection::vec(pattern(), 20..60)],
        texts in prop::collection::vec("[abAB/|()# \\]\n1<>_.-]{0,5}", 20),
    ) {
        let by_path = rules(&patterns, |pattern| value!({"path": {"regex": pattern}}));
        let by_body = rules(&patterns, |pattern| value!({"body": [{"pointer": "", "regex": pattern}]}));
        let by_header = rules(&patterns, |pattern| value!({"headers": [{"name": "x-a", "regex": pattern}]}));
        for text in texts.iter().map(String::as_str).chain(TEXTS) {
            let expected = patterns.iter().any(|pattern| pattern.0.is_match(text));
            let headers = HeaderMap::from(&Pairs::from_iter([("x-a", text.as_bytes())]));
            let mut head = RequestHead::read(&headers, &LoopGuard::new(None));
            head.path = text.as_bytes();
            let written = value!(text).to_string();
            let body = json::parse(written.as_bytes()).unwrap();
            let mut values = BodyValues::default();
            by_body.pointers().take(1).for_each(|pointer| values.push(pointer, body.root()));
            let parameters = Parameters::default();
            let request = Request::new(&head, &headers, &parameters).with_body(&values);
            for matcher in [&by_path, &by_header, &by_body] {
                prop_assert_eq!(matcher.wants(&request), expected, "{:?} {:?}", text, patterns);
            }
        }
    }
}
