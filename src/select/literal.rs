//! The literal text that every match of a pattern begins with.
//!
//! A wrong prefix would hide requests from a rule. So only patterns that consist of the forms listed here have a prefix. A pattern with anything
//! else, such as flags or an unlisted escape, has no known prefix, and its rule is tried for every text.

use std::iter::Peekable;
use std::str::Chars;

/// The literal text that every match of a valid pattern begins with. Empty if unknown.
pub(super) fn literal_prefix(pattern: &str) -> String {
    Reader { chars: pattern.chars().peekable() }.prefix().unwrap_or_default()
}

/// A form of the pattern grammar.
enum Form {
    /// A literal character.
    Character(char),
    /// A form that matches several texts, or the empty one: a class, a dot, an anchor, a repetition.
    Other,
    GroupStart,
    GroupEnd,
    Bar,
}

struct Reader<'p> {
    chars: Peekable<Chars<'p>>,
}

impl Reader<'_> {
    /// The prefix. `None` if the pattern contains an unlisted form, or has alternatives outside of all groups.
    fn prefix(&mut self) -> Option<String> {
        let mut prefix = String::new();
        let mut grows = true;
        let mut depth = 0_usize;
        // A pattern matches the whole text, so it begins at the start anyway.
        self.chars.next_if_eq(&'^');
        while self.chars.peek().is_some() {
            let form = self.form()?;
            match form {
                Form::GroupStart => depth = depth.saturating_add(1),
                Form::GroupEnd => depth = depth.checked_sub(1)?,
                Form::Bar if depth == 0 => return None,
                Form::Character(_) | Form::Other | Form::Bar => {}
            }
            match form {
                // A repeated character may be absent.
                Form::Character(character) if grows && !self.is_repeated() => prefix.push(character),
                _ => grows = false,
            }
        }
        (depth == 0).then_some(prefix)
    }

    fn form(&mut self) -> Option<Form> {
        Some(match self.chars.next()? {
            '\\' => self.escape()?,
            '(' => self.group()?,
            ')' => Form::GroupEnd,
            '|' => Form::Bar,
            '[' => self.class()?,
            '{' => self.count()?,
            '.' | '^' | '$' | '?' | '*' | '+' => Form::Other,
            other if stands_for_itself(other) => Form::Character(other),
            _ => return None,
        })
    }

    fn is_repeated(&mut self) -> bool {
        matches!(self.chars.peek(), Some('?' | '*' | '+' | '{'))
    }

    /// Reads the rest of an escape, after the backslash.
    fn escape(&mut self) -> Option<Form> {
        match self.chars.next()? {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Some(Form::Other),
            other if is_literal_when_escaped(other) => Some(Form::Character(other)),
            _ => None,
        }
    }

    /// Reads the rest of a group, after the parenthesis. The group must not set flags.
    fn group(&mut self) -> Option<Form> {
        if self.chars.next_if_eq(&'?').is_some() {
            match self.chars.next()? {
                ':' => {}
                'P' if self.chars.next()? == '<' => self.name()?,
                '<' => self.name()?,
                _ => return None,
            }
        }
        Some(Form::GroupStart)
    }

    fn name(&mut self) -> Option<()> {
        while self.chars.next_if(|next| next.is_ascii_alphanumeric() || *next == '_').is_some() {}
        (self.chars.next()? == '>').then_some(())
    }

    /// Reads the rest of a class, after the bracket. Rejects a class that contains another one, or in which a closing bracket may be a member.
    fn class(&mut self) -> Option<Form> {
        self.chars.next_if_eq(&'^');
        if matches!(self.chars.peek()?, ']' | '-') {
            return None;
        }
        loop {
            match self.chars.next()? {
                ']' => return Some(Form::Other),
                '\\' => {
                    self.escape()?;
                }
                '[' => return None,
                _ => {}
            }
        }
    }

    /// Reads the rest of a counted repetition, after the brace.
    fn count(&mut self) -> Option<Form> {
        while self.chars.next_if(|next| next.is_ascii_digit() || *next == ',').is_some() {}
        (self.chars.next()? == '}').then_some(Form::Other)
    }
}

fn stands_for_itself(character: char) -> bool {
    character.is_ascii_alphanumeric() || "/-_~%=,:;@!&'".contains(character)
}

fn is_literal_when_escaped(character: char) -> bool {
    r"/-_~%=,:;@!&'.+*?()[]{}|^$\#".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::grammar::{piece, TEXTS};
    use crate::select::pattern::Pattern;
    use proptest::prelude::*;
    use std::str::FromStr;

    macro_rules! cases {
        ($($name:ident: $pattern:literal => $prefix:literal;)*) => {
            $(#[test] fn $name() {
                Pattern::from_str($pattern).unwrap();
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
        the_start_of_a_word_is_no_text: r"/\<orders\>(/.*)?" => "";
        a_border_of_a_word_is_no_text: r"/a\b{start}b" => "";
        a_code_point_is_not_read: r"/a\x62" => "";
        a_class_of_an_escape_ends_the_text: r"/a\w+" => "/a";
        what_may_be_missing_is_left_out: "/orders?" => "/order";
        what_may_be_repeated_is_left_out: "/orders*" => "/order";
        what_is_counted_is_left_out: "/orders{0,2}" => "/order";
        what_comes_once_or_more_is_left_out: "/orders+" => "/order";
        what_comes_once_or_more_may_still_be_missing: "/orders+*" => "/order";
        alternatives_have_no_text_in_common: "/a|/b" => "";
        alternatives_in_a_group_do_not_matter: "/a(b|c)" => "/a";
        alternatives_behind_a_group_do: "/a(b)|/c" => "";
        a_bar_in_a_class_is_none: "/a[(|]" => "/a";
        a_class_that_begins_with_a_bracket_is_not_read: "/a[]|]" => "";
        an_escaped_bracket_in_a_class_does_not_end_it: r"/a[\]|]" => "/a";
        a_class_in_a_class_is_not_read: "/a[[:alpha:]]" => "";
        flags_are_not_read: "/a(?x) # (\n|/b" => "";
        flags_of_a_group_are_not_read: "/a(?i:b)" => "";
        groups_with_names_are: "/a(?P<id>[0-9])(?:x|y)(?<c>z)" => "/a";
        the_anchor_of_the_start_is_passed: "^/a" => "/a";
        an_anchor_that_is_repeated_ends_the_text: "^*/a" => "";
        an_anchor_elsewhere_ends_the_text: "/a$b" => "/a";
        nothing: "" => "";
    }

    /// Every escape of one character, as the compiled pattern treats it.
    #[test]
    fn an_escape_that_is_text_matches_that_text_and_no_other() {
        for escaped in (0_u8..128).map(char::from) {
            let pattern = format!(r"/\{escaped}x");
            if let Ok(compiled) = Pattern::from_str(&pattern) {
                let prefix = literal_prefix(&pattern);
                let is_text = prefix.len() == 3;
                assert!(!is_text || compiled.0.is_match(&format!("/{escaped}x")), "{pattern:?} {prefix:?}");
                for other in (0_u8..128).map(char::from).map(|other| format!("/{other}x")).chain(["/x".to_owned()]) {
                    assert!(!compiled.0.is_match(&other) || other.starts_with(&prefix), "{pattern:?} {prefix:?} {other:?}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8_192, max_global_rejects: 1 << 22, ..ProptestConfig::default() })]

        /// The patterns contain all forms of the grammar, so about every second one is valid.
        #[test]
        fn whatever_a_pattern_matches_begins_with_it(
            pieces in prop::collection::vec(piece(), 1..9),
            texts in prop::collection::vec("[abAB/|()# \\]\n1\\\\<>_.-]{0,5}", 40),
        ) {
            let pattern = pieces.concat();
            let compiled = Pattern::from_str(&pattern);
            prop_assume!(compiled.is_ok());
            let (compiled, prefix) = (compiled.unwrap().0, literal_prefix(&pattern));
            for text in texts.iter().map(String::as_str).chain(TEXTS) {
                prop_assert!(!compiled.is_match(text) || text.starts_with(&prefix), "{:?} {:?} {:?}", pattern, text, prefix);
            }
        }
    }
}
