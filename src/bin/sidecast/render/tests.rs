//! Patterns are held against regex-lite, in whose language the written ones are, too. Whole conditions are tested in a real Envoy.

use std::str::FromStr;

use proptest::prelude::*;
use regex_lite::Regex;
use serde_json::json;
use sidecast::select::pattern::Pattern;

use super::pattern::{rewrite, Bound};
use super::*;

macro_rules! written {
    ($($name:ident: $pattern:literal, $bound:ident, without $without:literal => $written:expr;)*) => {
        $(#[test] fn $name() {
            let without: Vec<char> = $without.chars().collect();
            assert_eq!(rewrite($pattern, Bound::$bound, &without, false).as_deref(), $written);
        })*
    };
}

written! {
    text_is_itself: "/orders/v1", AtLeast, without "" => Some("/orders/v1");
    what_is_no_text_is_written_by_number: r"a\.b", AtLeast, without "" => Some(r"a\x{2e}b");
    a_dot_is_every_character_or_its_bytes: "a.", AtLeast, without "" => Some(r"a(?:[\x{0}-\x{7f}]|[^\x{0}-\x{7f}]{1,4})");
    a_dot_leaves_out_what_no_text_has: "/.*", AtLeast, without "?#" => Some(r"/[\x{0}-\x{22}\x{24}-\x{3e}\x{40}-\x{7f}[:^ascii:]]*");
    text_that_is_not_ascii_is_itself: "(é)+[éü]", AtLeast, without "" => Some(r"(?:(?:é))+[^\x{0}-\x{7f}]{1,4}");
    an_exception_matches_ascii_alone: "[^a]", AtMost, without "" => Some(r"[\x{0}-\x{60}b-\x{7f}]");
    what_no_text_has_matches_nothing: "a,b", AtMost, without "," => Some(r"a\b\Bb");
    case_that_is_ignored_is_written: "(?i)a[k-l]", AtLeast, without "" => Some("[Aa][K-Lk-l]");
    case_is_not_ignored_in_an_exception: "(?i)a", AtMost, without "" => Some("a");
    an_anchor_is_left_out: "^a$", AtLeast, without "" => Some("a");
    an_anchor_of_an_exception_stays: "^a$", AtMost, without "" => Some(r"\Aa\z");
    classes_by_name_are_not_written: "[[:alpha:]]", AtLeast, without "" => None;
    white_space_that_is_ignored_is_not_written: "(?x)a b", AtLeast, without "" => None;
    a_thousand_repetitions_are: "(a{10}){100}", AtLeast, without "" => Some("(?:(?:(?:a){10})){100}");
    more_are_not: "(a{10}){101}", AtLeast, without "" => None;
}

fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "a", "b", "K", "k", "/", "é", ",", "?", "*", "+", "{1,2}", "{0}", "(", "(?:", "(?i)", "(?i:", "(?-i)", "(?s)", "(?m)",
        "(?U)", "(?P<n>", ")", ")", "|", ".", ".*", "^", "$", r"\b", r"\B", r"\A", r"\z", r"\<", r"\d", r"\D", r"\w", r"\W",
        r"\s", r"\S", "[a-k]", "[^a]", "[^a-jK]", r"[\w,]", r"[^\s]", r"\x61", r"[\d-]", "[]a]", "[^]k]", "[a-]", "\u{212a}",
        "[^é]", r"\?", r"\.", "[.-/]",
    ];
    prop::sample::select(PIECES).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, max_global_rejects: 1 << 20, ..ProptestConfig::default() })]

    #[test]
    fn a_written_pattern_is_on_its_side(
        pieces in prop::collection::vec(piece(), 1..8),
        texts in prop::collection::vec("[abkKA,/?é\u{212a} 1_.-]{0,5}", 20),
        without in prop::sample::select(&["", ",", "?#"][..]),
    ) {
        let text = pieces.concat();
        let pattern = Pattern::from_str(&text);
        prop_assume!(pattern.is_ok());
        let pattern = pattern.unwrap().0;
        let without: Vec<char> = without.chars().collect();
        for bound in [Bound::AtLeast, Bound::AtMost] {
            let Some(written) = rewrite(&text, bound, &without, false) else { continue };
            let compiled = Regex::new(&format!("^(?:{written})$")).unwrap();
            for text in &texts {
                let (own, other) = (pattern.is_match(text), compiled.is_match(text));
                if bound == Bound::AtLeast && !text.contains(without.as_slice()) {
                    prop_assert!(!own || other, "{:?} {:?} misses {:?}", pieces, written, text);
                }
                if bound == Bound::AtMost {
                    prop_assert!(own || !other, "{:?} {:?} takes {:?}", pieces, written, text);
                }
            }
        }
    }
}

#[test]
fn lists_of_one_and_none_are_no_lists() {
    let one = || Predicate::header("x", predicate::Text::exact("1"));
    assert_eq!(Predicate::any([one(), one()]), one());
    assert_eq!(Predicate::every([one(), Predicate::Always]), one());
    assert_eq!(Predicate::any([]), Predicate::Never);
    assert_eq!(Predicate::every([]), Predicate::Always);
    assert_eq!(Predicate::any([one(), Predicate::Always]), Predicate::Always);
    assert_eq!(Predicate::every([one(), Predicate::Never]), Predicate::Never);
    assert_eq!(Predicate::not(Predicate::not(one())), one());
}

#[test]
fn routes_leave_out_what_they_cannot_say() {
    let text = |name: &str| Predicate::header(name, predicate::Text::exact("1"));
    let mut left_out = false;
    let both = Predicate::every([text("a"), Predicate::not(Predicate::every([text("b"), text("c")]))]);
    assert_eq!(json!(both.to_routes(&mut left_out)), json!([[{"name": "a", "string_match": {"exact": "1"}}]]));
    assert!(left_out);
    left_out = false;
    let neither = Predicate::every([text("a"), Predicate::not(Predicate::any([text("b"), text("c")]))]);
    let other = |name: &str| json!({"name": name, "string_match": {"exact": "1"}, "invert_match": true, "treat_missing_header_as_empty": true});
    assert_eq!(
        json!(neither.to_routes(&mut left_out)),
        json!([[{"name": "a", "string_match": {"exact": "1"}}, other("b"), other("c")]])
    );
    assert!(!left_out);
}
