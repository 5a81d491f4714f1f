//! Regular expressions of rules as those of Envoy (RE2).
//!
//! The two differ in details: what a dot or a class of letters holds, how case is ignored, what RE2 takes for UTF-8. Envoy 1.40 even lets it match bytes
//! instead of characters. So a pattern is not handed over as it stands. It is read, and written with nothing but sets of ASCII characters, text,
//! repetitions, groups and alternatives. These only ever add to what a pattern matches, so a larger set makes a pattern that matches more, and a smaller
//! one a pattern that matches less.

use regex_syntax::ast::{
    self, parse::Parser, AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, Flag, FlagsItemKind,
    RepetitionKind, RepetitionRange,
};
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::predicate::escaped;

/// What the written pattern matches, compared with the rule's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// All that the rule's matches.
    AtLeast,
    /// Nothing but what the rule's matches.
    AtMost,
}

/// RE2 repeats at most so often, over all repetitions around each other.
const MAX_REPETITION: u32 = 1_000;
/// The most sets of characters, repeated ones counted as often as they are repeated. Envoy refuses a pattern that is too large for RE2.
const MAX_SETS: u32 = 20_000;
/// One character that is not ASCII: up to four bytes, or one character.
const NOT_ASCII: &str = r"[^\x{0}-\x{7f}]{1,4}";
/// Matches nothing. RE2 has no empty set.
const NOTHING: &str = r"\b\B";

/// Writes a pattern for texts that have none of the characters `without`. Returns `None` for a pattern that has no such form.
pub(super) fn rewrite(pattern: &str, bound: Bound, without: &[char], ignores_case: bool) -> Option<String> {
    let ast = Parser::new().parse(pattern).ok()?;
    let never = ClassUnicode::new(without.iter().map(|char| ClassUnicodeRange::new(*char, *char)));
    let mut writer = Writer { bound, never, folds: ignores_case, found_flag: ignores_case, sets: 0 };
    writer.write(&ast, 1)?;
    writer.folds = writer.found_flag;
    writer.sets = 0;
    let written = writer.write(&ast, 1)?;
    // Envoy refuses a pattern of no characters.
    Some(if written.is_empty() { "(?:)".to_owned() } else { written })
}

struct Writer {
    bound: Bound,
    /// The characters that no text has.
    never: ClassUnicode,
    /// True if case is ignored anywhere in the pattern.
    folds: bool,
    /// True if a flag said so.
    found_flag: bool,
    sets: u32,
}

impl Writer {
    fn write(&mut self, ast: &Ast, times: u32) -> Option<String> {
        Some(match ast {
            Ast::Empty(_) => String::new(),
            Ast::Flags(flags) => {
                self.flags(&flags.flags)?;
                String::new()
            }
            Ast::Literal(literal) => {
                let set = self.folded(class([(literal.c, literal.c)]), false);
                self.set(set, times)?
            }
            Ast::Dot(_) => {
                let mut set = all();
                // With a flag, a dot is a line break, too.
                if self.bound == Bound::AtMost {
                    set.difference(&class([('\n', '\n')]));
                }
                self.set(set, times)?
            }
            Ast::Assertion(assertion) => match (self.bound, &assertion.kind) {
                (Bound::AtLeast, _) => String::new(),
                (Bound::AtMost, AssertionKind::StartLine | AssertionKind::StartText) => r"\A".to_owned(),
                (Bound::AtMost, AssertionKind::EndLine | AssertionKind::EndText) => r"\z".to_owned(),
                (Bound::AtMost, _) => self.set(ClassUnicode::empty(), times)?,
            },
            Ast::ClassUnicode(_) => return None,
            Ast::ClassPerl(perl) => self.set(of_perl(perl), times)?,
            Ast::ClassBracketed(bracketed) => {
                let ClassSet::Item(item) = &bracketed.kind else { return None };
                let mut set = self.folded(of_item(item)?, bracketed.negated);
                if bracketed.negated {
                    set.negate();
                }
                self.set(set, times)?
            }
            Ast::Repetition(repetition) => {
                let (operator, most) = match &repetition.op.kind {
                    RepetitionKind::ZeroOrOne => ("?".to_owned(), 1),
                    RepetitionKind::ZeroOrMore => ("*".to_owned(), 1),
                    RepetitionKind::OneOrMore => ("+".to_owned(), 1),
                    RepetitionKind::Range(RepetitionRange::Exactly(count)) => (format!("{{{count}}}"), *count),
                    RepetitionKind::Range(RepetitionRange::AtLeast(least)) => (format!("{{{least},}}"), *least),
                    RepetitionKind::Range(RepetitionRange::Bounded(least, most)) => (format!("{{{least},{most}}}"), *most),
                };
                let times = times.checked_mul(most.max(1)).filter(|times| *times <= MAX_REPETITION)?;
                let repeated = self.write(&repetition.ast, times)?;
                match repeated.strip_suffix(&format!("|{NOT_ASCII})")).and_then(|set| set.strip_prefix("(?:")) {
                    // Whether it is bytes or characters makes no difference to any number of them.
                    Some(set) if ["*", "+"].contains(&operator.as_str()) && is_one_set(set) => with_others(set) + &operator,
                    _ => format!("(?:{repeated}){operator}"),
                }
            }
            Ast::Group(group) => {
                if let ast::GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags)?;
                }
                format!("(?:{})", self.write(&group.ast, times)?)
            }
            Ast::Alternation(alternation) => {
                let written: Option<Vec<String>> = alternation.asts.iter().map(|ast| self.write(ast, times)).collect();
                format!("(?:{})", written?.join("|"))
            }
            Ast::Concat(concat) => {
                let written: Option<Vec<String>> = concat.asts.iter().map(|ast| self.write(ast, times)).collect();
                written?.concat()
            }
        })
    }

    /// Notes that case is ignored. Other flags decide about dots, anchors and greed, which are written so that they do not matter.
    fn flags(&mut self, flags: &ast::Flags) -> Option<()> {
        let mut negated = false;
        for item in &flags.items {
            match item.kind {
                FlagsItemKind::Negation => negated = true,
                FlagsItemKind::Flag(Flag::CaseInsensitive) => self.found_flag |= !negated,
                FlagsItemKind::Flag(Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed) => {}
                FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace) => return None,
            }
        }
        Some(())
    }

    /// The set with both cases of its letters, if case is ignored somewhere and that is on the side of the bound.
    fn folded(&self, mut set: ClassUnicode, negated: bool) -> ClassUnicode {
        if self.folds && (self.bound == Bound::AtLeast) != negated {
            let upper = letters(&set, 'a', 'z', |letter| letter.to_ascii_uppercase());
            let lower = letters(&set, 'A', 'Z', |letter| letter.to_ascii_lowercase());
            set.union(&upper);
            set.union(&lower);
        }
        set
    }

    fn set(&mut self, mut set: ClassUnicode, times: u32) -> Option<String> {
        self.sets = self.sets.checked_add(times).filter(|sets| *sets <= MAX_SETS)?;
        set.difference(&self.never);
        if self.bound == Bound::AtMost {
            // RE2 takes some bytes that are not UTF-8 for characters.
            set.intersect(&class([('\0', '\x7f')]));
        }
        Some(written(&set))
    }
}

fn class<const N: usize>(ranges: [(char, char); N]) -> ClassUnicode {
    ClassUnicode::new(ranges.into_iter().map(|(first, last)| ClassUnicodeRange::new(first, last)))
}

fn all() -> ClassUnicode {
    class([('\0', char::MAX)])
}

/// The letters of a set between two others, each changed.
fn letters(set: &ClassUnicode, first: char, last: char, change: fn(&char) -> char) -> ClassUnicode {
    let mut letters = class([(first, last)]);
    letters.intersect(set);
    ClassUnicode::new(letters.iter().map(|range| ClassUnicodeRange::new(change(&range.start()), change(&range.end()))))
}

fn of_perl(perl: &ClassPerl) -> ClassUnicode {
    let mut set = match perl.kind {
        ClassPerlKind::Digit => class([('0', '9')]),
        ClassPerlKind::Space => class([('\t', '\r'), (' ', ' ')]),
        ClassPerlKind::Word => class([('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
    };
    if perl.negated {
        set.negate();
    }
    set
}

fn of_item(item: &ClassSetItem) -> Option<ClassUnicode> {
    Some(match item {
        ClassSetItem::Empty(_) => ClassUnicode::empty(),
        ClassSetItem::Literal(literal) => class([(literal.c, literal.c)]),
        ClassSetItem::Range(range) => class([(range.start.c, range.end.c)]),
        ClassSetItem::Perl(perl) => of_perl(perl),
        ClassSetItem::Union(union) => {
            let mut set = ClassUnicode::empty();
            for item in &union.items {
                set.union(&of_item(item)?);
            }
            set
        }
        // A class in a class, and classes by name.
        ClassSetItem::Bracketed(_) | ClassSetItem::Ascii(_) | ClassSetItem::Unicode(_) => return None,
    })
}

/// Writes a set. Of what is not ASCII it has all or nothing.
fn written(set: &ClassUnicode) -> String {
    if let [range] = set.ranges() {
        if range.start() == range.end() {
            return escaped(&range.start().to_string());
        }
    }
    let mut ascii = set.clone();
    ascii.intersect(&class([('\0', '\x7f')]));
    let ranges: String = ascii.iter().map(|range| of_range(*range)).collect();
    let has_others = set.iter().any(|range| !range.end().is_ascii());
    match (ranges.is_empty(), has_others) {
        (true, false) => NOTHING.to_owned(),
        (true, true) => NOT_ASCII.to_owned(),
        (false, false) => format!("[{ranges}]"),
        (false, true) => format!("(?:[{ranges}]|{NOT_ASCII})"),
    }
}

/// True if a pattern is nothing but a set in brackets, in which brackets are written by number.
fn is_one_set(pattern: &str) -> bool {
    pattern.starts_with('[') && pattern.find(']').is_some_and(|end| end.saturating_add(1) == pattern.len())
}

/// A set in brackets, with all that is not ASCII.
fn with_others(set: &str) -> String {
    set.strip_suffix(']').map_or_else(String::new, |set| format!("{set}[:^ascii:]]"))
}

fn of_range(range: ClassUnicodeRange) -> String {
    let char = |char: char| {
        if char.is_ascii_alphanumeric() {
            char.to_string()
        } else {
            format!("\\x{{{:x}}}", u32::from(char))
        }
    };
    if range.start() == range.end() {
        char(range.start())
    } else {
        format!("{}-{}", char(range.start()), char(range.end()))
    }
}
