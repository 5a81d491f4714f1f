//! Patterns that match no text, or not what their author means.

use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// What is wrong with a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No text matches.
    Nothing,
    /// No path begins like that.
    Beginning,
    /// It asks for a question mark.
    Query,
    /// Text behind `^`, with nothing that says what may follow.
    Beginnings(String),
    /// It ends with any number of slashes. The text before them is left.
    Slashes(String),
}

/// The fault of a pattern that is held against a whole path, without its query.
pub(super) fn of_path(pattern: &str) -> Option<Fault> {
    let hir = regex_syntax::parse(pattern).ok()?;
    if begins_otherwise(&hir) {
        return Some(Fault::Beginning);
    }
    if asks_for(&hir, '?') {
        return Some(Fault::Query);
    }
    if let Some(fault) = of_hir(&hir) {
        return Some(fault);
    }
    let before = pattern.strip_suffix("/*").filter(|before| ends_with_slashes(&hir) && !before.contains('\''))?;
    Some(Fault::Slashes(before.to_owned()))
}

/// The fault of a pattern that is held against a whole text.
pub(super) fn of_text(pattern: &str) -> Option<Fault> {
    of_hir(&regex_syntax::parse(pattern).ok()?)
}

fn of_hir(hir: &Hir) -> Option<Fault> {
    if matches_nothing(hir) {
        return Some(Fault::Nothing);
    }
    let HirKind::Concat(parts) = hir.kind() else { return None };
    match parts.as_slice() {
        [start, text] if matches!(start.kind(), HirKind::Look(Look::Start)) => match text.kind() {
            HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).ok().map(Fault::Beginnings),
            _ => None,
        },
        _ => None,
    }
}

/// True if certainly no text matches: a class is empty, or text stands before `^` or behind `$`.
fn matches_nothing(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => class.ranges().is_empty(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().is_empty(),
        HirKind::Capture(capture) => matches_nothing(&capture.sub),
        HirKind::Repetition(repetition) => repetition.min > 0 && matches_nothing(&repetition.sub),
        HirKind::Alternation(parts) => parts.iter().all(matches_nothing),
        HirKind::Concat(parts) => {
            let is = |part: &Hir, wanted: Look| matches!(part.kind(), HirKind::Look(look) if *look == wanted);
            let is_text = |part: &Hir| part.properties().minimum_len().is_some_and(|least| least > 0);
            let is_late = |at: usize, look| parts.get(at).is_some_and(|part| is(part, look));
            let after = |at: usize| parts.iter().skip(at.saturating_add(1)).any(is_text);
            let before = |at: usize| parts.iter().take(at).any(is_text);
            let contradicts =
                (0..parts.len()).any(|at| is_late(at, Look::Start) && before(at) || is_late(at, Look::End) && after(at));
            contradicts || parts.iter().any(matches_nothing)
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Look(_) => false,
    }
}

/// True if every text that matches begins with something else than a path.
fn begins_otherwise(hir: &Hir) -> bool {
    let beginnings = Extractor::new().kind(ExtractKind::Prefix).extract(hir);
    let is_other = |bytes: &[u8]| bytes.first().is_some_and(|first| !matches!(first, b'/' | b'*'));
    beginnings.literals().is_some_and(|texts| !texts.is_empty() && texts.iter().all(|text| is_other(text.as_bytes())))
}

/// True if every text that matches has this character.
fn asks_for(hir: &Hir, wanted: char) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).is_ok_and(|text| text.contains(wanted)),
        HirKind::Class(Class::Unicode(class)) => {
            !class.ranges().is_empty() && class.ranges().iter().all(|range| range.start() == wanted && range.end() == wanted)
        }
        HirKind::Capture(capture) => asks_for(&capture.sub, wanted),
        HirKind::Repetition(repetition) => repetition.min > 0 && asks_for(&repetition.sub, wanted),
        HirKind::Alternation(parts) => parts.iter().all(|part| asks_for(part, wanted)),
        HirKind::Concat(parts) => parts.iter().any(|part| asks_for(part, wanted)),
        HirKind::Class(Class::Bytes(_)) | HirKind::Empty | HirKind::Look(_) => false,
    }
}

fn ends_with_slashes(hir: &Hir) -> bool {
    let last = match hir.kind() {
        HirKind::Concat(parts) => parts.last(),
        _ => Some(hir),
    };
    last.is_some_and(|last| match last.kind() {
        HirKind::Repetition(repetition) => {
            repetition.min == 0
                && repetition.max.is_none()
                && matches!(repetition.sub.kind(), HirKind::Literal(text) if *text.0 == *b"/")
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sidecast::select::pattern::Pattern;
    use std::str::FromStr;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_048, ..ProptestConfig::default() })]

        /// Asked of the matcher that the filter has.
        #[test]
        fn what_counts_as_never_matching_never_matches(
            pattern in r"[/ab^$|()*?+.\\\[\]-]{1,8}", paths in prop::collection::vec("/[ab/]{0,4}", 20),
        ) {
            let Ok(compiled) = Pattern::from_str(&pattern) else { return Ok(()) };
            let is_never = matches!(of_path(&pattern), Some(Fault::Beginning | Fault::Query | Fault::Nothing));
            for path in paths.iter().filter(|_| is_never) {
                prop_assert!(!compiled.0.is_match(path), "{pattern}: {path}");
            }
            if of_text(&pattern) == Some(Fault::Nothing) {
                for text in ["", "a", "b", "ab", "/"] {
                    prop_assert!(!compiled.0.is_match(text), "{pattern}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_no_path_matches_is_known() {
        for (pattern, fault) in [
            ("orders/.*", Fault::Beginning),
            ("^orders", Fault::Beginning),
            ("(orders|items)/[0-9]+", Fault::Beginning),
            ("[a-c]/x", Fault::Beginning),
            (r"/orders\?x=.*", Fault::Query),
            (r"/orders(\?|[?])x", Fault::Query),
            ("/a$/b", Fault::Nothing),
            ("/a^/b", Fault::Nothing),
            (r"[^\s\S]", Fault::Nothing),
            ("^/orders", Fault::Beginnings("/orders".to_owned())),
            ("/orders/*", Fault::Slashes("/orders".to_owned())),
        ] {
            assert_eq!(of_path(pattern), Some(fault), "{pattern}");
        }
        for pattern in [
            "/orders",
            "^/orders$",
            "^/orders/.*",
            "/orders/.*",
            ".*orders",
            "(?i)/orders",
            "/?orders",
            r"/orders(\?x)?",
            "/a(/b)*",
            "(/|x)y",
            r"/\*",
            "[/a]b",
            "a?/b",
            "",
            "/orders/?",
            "(^/a|/b)",
            "/a$|/b",
            "[^/].*|/x",
        ] {
            assert_eq!(of_path(pattern), None, "{pattern}");
        }
    }
}
