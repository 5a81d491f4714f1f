//! The text that everything begins with that a pattern matches as a whole.

/// What every match of the pattern begins with; empty when that cannot be told easily. The pattern is valid.
pub(super) fn literal_prefix(pattern: &str) -> String {
    // Flags may change what the rest means, even which characters count.
    let has_flags = pattern.split("(?").skip(1).any(|group| !group.starts_with([':', 'P', '<']));
    if has_flags || has_alternatives(pattern) {
        return String::new();
    }
    let mut prefix = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(next) = chars.next() {
        let literal = match next {
            '\\' => chars.next().filter(char::is_ascii_punctuation),
            '.' | '[' | '(' | ')' | '^' | '$' | '|' => None,
            other => Some(other),
        };
        match (literal, chars.peek()) {
            // It may be missing; or not, but not every "+" is one or more: that of "a+*" is not.
            (None, _) | (_, Some('?' | '*' | '+' | '{')) => break,
            (Some(literal), _) => prefix.push(literal),
        }
    }
    prefix
}

/// True when the pattern has alternatives outside of all groups, or may have.
fn has_alternatives(pattern: &str) -> bool {
    let mut depth = 0_usize;
    let mut chars = pattern.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '|' if depth == 0 => return true,
            '\\' => {
                chars.next();
            }
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            '[' => {
                chars.next_if_eq(&'^');
                // As the first one it is a member of the class.
                chars.next_if_eq(&']');
                while let Some(member) = chars.next().filter(|member| *member != ']') {
                    if member == '\\' {
                        chars.next();
                    }
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::names::Pattern;
    use crate::config::scalar::FromText;
    use proptest::prelude::*;

    macro_rules! cases {
        ($($name:ident: $pattern:literal => $prefix:literal;)*) => {
            $(#[test] fn $name() {
                Pattern::from_text($pattern).unwrap();
                assert_eq!(literal_prefix($pattern), $prefix);
            })*
        };
    }

    cases! {
        text_up_to_a_class: "/orders/[0-9]+" => "/orders/";
        text_up_to_a_group: "/orders(/[0-9]+)?" => "/orders";
        text_up_to_any_character: "/a.b" => "/a";
        what_is_only_text: "/orders" => "/orders";
        escaped_punctuation_is_text: r"/a\.b\-c/\d" => "/a.b-c/";
        an_escaped_backslash_is_text: r"/a\\|/b\\" => "";
        a_code_point_is_not_read: r"/a\x62" => "/a";
        what_may_be_missing_is_left_out: "/orders?" => "/order";
        what_may_be_repeated_is_left_out: "/orders*" => "/order";
        what_is_counted_is_left_out: "/orders{0,2}" => "/order";
        what_comes_once_or_more_is_left_out: "/orders+" => "/order";
        what_comes_once_or_more_may_still_be_missing: "/orders+*" => "/order";
        alternatives_have_no_text_in_common: "/a|/b" => "";
        alternatives_in_a_group_do_not_matter: "/a(b|c)" => "/a";
        alternatives_behind_a_group_do: "/a(b)|/c" => "";
        a_bar_in_a_class_is_none: "/a[(|]" => "/a";
        a_bracket_in_a_class_does_not_end_it: "/a[]|]" => "/a";
        an_escaped_bracket_in_a_class_does_not_end_it: r"/a[\]|]" => "/a";
        flags_are_not_read: "/a(?x) # (\n|/b" => "";
        groups_with_names_are: "/a(?P<id>[0-9])(?:x|y)(?<c>z)" => "/a";
        an_anchor_is_no_text: "^/a" => "";
        nothing: "" => "";
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_096, max_global_rejects: 1 << 20, ..ProptestConfig::default() })]

        /// Patterns of the characters that mean something, so that every second one or so is valid.
        #[test]
        fn whatever_a_pattern_matches_begins_with_it(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b", "/", "a", "b", "ab", "(a", "(?:b", "(?i)", "(?x)", "#", " ", "\n", ")", ")", "|", "[a", "[^b", "[]", "]",
                    "\\]", "\\|", "\\(", "\\\\", "\\x61", "\\d", "?", "*", "+", "+", "{0}", "{0,2}", "{2}", "^", "$", ".", "[[:alpha:]",
                ]),
                1..9,
            ),
            texts in prop::collection::vec("[abAB/|()# \\]\n1\\\\]{0,5}", 40),
        ) {
            let pattern = pieces.concat();
            let compiled = Pattern::from_text(&pattern);
            prop_assume!(compiled.is_ok());
            let (compiled, prefix) = (compiled.unwrap().0, literal_prefix(&pattern));
            for text in texts.iter().map(String::as_str).chain(["", "a", "b", "ab", "aa", "/", "/a", "A", "ba", "(", "a(b"]) {
                prop_assert!(!compiled.is_match(text) || text.starts_with(&prefix), "{:?} {:?} {:?}", pattern, text, prefix);
            }
        }
    }
}
