//! Conditions on a text, and what is known of two of them.

use regex_lite::Regex;
use serde::{Serialize, Serializer};

/// A condition on a text, such as a path or the value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Exact(String),
    Prefix(String),
    Suffix(String),
    /// A pattern that matches the whole text.
    Regex(String),
    Present(bool),
    /// An authority. The flag says whether a port may follow.
    Host(Domain, bool),
}

/// The domains of a virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Domain {
    Any,
    Exact(String),
    /// `*.example.com`, without its asterisk. Something stands before it.
    Suffix(String),
    /// `shop.*`, without its asterisk. Something stands behind it.
    Prefix(String),
    /// A service of a cluster, by its short name and by all longer ones: name and namespace.
    Service(String, String),
}

impl Domain {
    /// A domain as Envoy, Istio and the Gateway API write it.
    pub(super) fn of(written: &str) -> Self {
        let written = written.to_ascii_lowercase();
        match (written.strip_prefix('*'), written.strip_suffix('*')) {
            (Some(""), _) => Self::Any,
            (Some(rest), _) => Self::Suffix(rest.to_owned()),
            (_, Some(rest)) => Self::Prefix(rest.to_owned()),
            _ => Self::Exact(written),
        }
    }

    /// The order in which Envoy tries domains: whole names, the longest ends, the longest beginnings, any.
    pub(super) fn rank(&self) -> (u8, usize) {
        match self {
            Self::Exact(_) | Self::Service(..) => (0, 0),
            Self::Suffix(text) => (1, usize::MAX - text.len()),
            Self::Prefix(text) => (2, usize::MAX - text.len()),
            Self::Any => (3, 0),
        }
    }

    /// All hosts of the domain, if they can be listed.
    fn hosts(&self) -> Option<Vec<String>> {
        match self {
            Self::Exact(host) => Some(vec![host.clone()]),
            Self::Service(name, namespace) => {
                let ends = [
                    "".to_owned(),
                    format!(".{namespace}"),
                    format!(".{namespace}.svc"),
                    format!(".{namespace}.svc.cluster.local"),
                ];
                Some(ends.iter().map(|end| format!("{name}{end}")).collect())
            }
            _ => None,
        }
    }

    fn has(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Suffix(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            Self::Prefix(start) => host.len() > start.len() && host.starts_with(start.as_str()),
            finite => finite.hosts().is_some_and(|hosts| hosts.iter().any(|one| one == host)),
        }
    }

    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Suffix(one), Self::Suffix(two)) => !one.ends_with(two.as_str()) && !two.ends_with(one.as_str()),
            (Self::Prefix(one), Self::Prefix(two)) => !one.starts_with(two.as_str()) && !two.starts_with(one.as_str()),
            _ => match (self.hosts(), other.hosts()) {
                (Some(hosts), _) => !hosts.iter().any(|host| other.has(host)),
                (None, Some(hosts)) => !hosts.iter().any(|host| self.has(host)),
                (None, None) => false,
            },
        }
    }

    pub(super) fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) => true,
            (Self::Suffix(one), Self::Suffix(two)) => one.ends_with(two.as_str()),
            (Self::Prefix(one), Self::Prefix(two)) => one.starts_with(two.as_str()),
            _ => self.hosts().is_some_and(|hosts| hosts.iter().all(|host| other.has(host))),
        }
    }

    fn pattern(&self) -> String {
        match self {
            Self::Any => ".*".to_owned(),
            Self::Exact(host) => escaped(host),
            Self::Suffix(end) => format!(".+{}", escaped(end)),
            Self::Prefix(start) => format!("{}.+", escaped(start)),
            Self::Service(name, namespace) => {
                format!(r"{}(\.{}(\.svc(\.cluster\.local)?)?)?", escaped(name), escaped(namespace))
            }
        }
    }
}

impl Text {
    /// True if the text holds the condition. `None` if that is not known.
    pub(super) fn holds(&self, text: &str) -> Option<bool> {
        Some(match self {
            Self::Exact(exact) => exact == text,
            Self::Prefix(start) => text.starts_with(start.as_str()),
            Self::Suffix(end) => text.ends_with(end.as_str()),
            Self::Regex(pattern) => Regex::new(&format!("^(?:{pattern})$")).ok()?.is_match(text),
            Self::Present(present) => *present,
            Self::Host(domain, with_port) => {
                let text = text.to_ascii_lowercase();
                let host = text.rsplit_once(':').filter(|_| *with_port).map_or(text.as_str(), |(host, _)| host);
                domain.has(host)
            }
        })
    }

    /// True if no text holds both conditions. False if that is not known.
    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present(false), Self::Present(false)) => false,
            (Self::Present(false), _) | (_, Self::Present(false)) => true,
            (Self::Host(one, _), Self::Host(two, _)) => one.is_disjoint(two),
            (Self::Exact(text), other) | (other, Self::Exact(text)) => other.holds(text) == Some(false),
            (Self::Prefix(one), Self::Prefix(two)) => !one.starts_with(two.as_str()) && !two.starts_with(one.as_str()),
            (Self::Suffix(one), Self::Suffix(two)) => !one.ends_with(two.as_str()) && !two.ends_with(one.as_str()),
            (one, two) => match (one.beginning(), two.beginning()) {
                (Some(one), Some(two)) => !one.may_be_of(&two),
                _ => false,
            },
        }
    }

    /// How every text begins that holds the condition.
    fn beginning(&self) -> Option<Beginning> {
        match self {
            Self::Prefix(text) => Some(Beginning { text: text.clone(), ignores_case: false, rest: ".*".to_owned() }),
            Self::Regex(pattern) => Some(Beginning::of(pattern)),
            _ => None,
        }
    }

    /// True if every text that holds this condition holds the other. False if that is not known.
    pub(super) fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (one, two) if one == two => true,
            (Self::Present(false), _) => false,
            (_, Self::Present(present)) => *present,
            (Self::Host(one, one_port), Self::Host(two, two_port)) => {
                (!one_port || *two_port || *two == Domain::Any) && one.implies(two)
            }
            (Self::Exact(text), other) => other.holds(text) == Some(true),
            (Self::Prefix(one), Self::Prefix(two)) => one.starts_with(two.as_str()),
            (Self::Suffix(one), Self::Suffix(two)) => one.ends_with(two.as_str()),
            (one @ (Self::Prefix(_) | Self::Regex(_)), two @ (Self::Prefix(_) | Self::Regex(_))) => {
                matches!((one.beginning(), two.beginning()), (Some(one), Some(two)) if one.implies(&two))
            }
            _ => false,
        }
    }

    /// The condition, as the filter's configuration has it.
    fn written(&self) -> (&'static str, String) {
        match self {
            Self::Exact(text) => ("exact", text.clone()),
            Self::Prefix(text) => ("prefix", text.clone()),
            Self::Suffix(text) => ("suffix", text.clone()),
            Self::Regex(text) => ("regex", text.clone()),
            Self::Present(present) => ("present", present.to_string()),
            Self::Host(Domain::Exact(host), false) => ("exact", host.clone()),
            Self::Host(domain, false) => ("regex", domain.pattern()),
            Self::Host(domain, true) => ("regex", format!("{}(:[0-9]+)?", domain.pattern())),
        }
    }
}

/// The text with which a pattern begins, and the rest of the pattern.
#[derive(Debug)]
struct Beginning {
    text: String,
    ignores_case: bool,
    rest: String,
}

impl Beginning {
    fn of(pattern: &str) -> Self {
        let nothing = || Self { text: String::new(), ignores_case: false, rest: pattern.to_owned() };
        let flags = pattern
            .strip_prefix("(?")
            .and_then(|rest| rest.split_once(')'))
            .filter(|(flags, _)| matches!(*flags, "i" | "s" | "is"));
        let (flags, inner) = flags.unwrap_or(("", pattern));
        let inner = inner.strip_prefix('^').unwrap_or(inner);
        // Alternatives begin in ways of their own, unless they stand in a group.
        if has_alternatives(inner) {
            return nothing();
        }
        let mut text = String::new();
        let mut rest = inner;
        loop {
            let mut chars = rest.chars();
            let (literal, after) = match chars.next() {
                Some('\\') => match chars.next() {
                    Some(char) if char.is_ascii_punctuation() => (char, chars.as_str()),
                    _ => break,
                },
                Some(char) if !".+*?()|[]{}^$".contains(char) => (char, chars.as_str()),
                _ => break,
            };
            // What may be left out or repeated is no beginning.
            if after.starts_with(['*', '?', '{', '+']) {
                break;
            }
            text.push(literal);
            rest = after;
        }
        let rest = if flags.contains('s') || rest != ".*" { rest } else { "." };
        Self { text, ignores_case: flags.contains('i'), rest: rest.to_owned() }
    }

    fn may_be_of(&self, other: &Self) -> bool {
        if self.ignores_case || other.ignores_case {
            let (one, two) = (self.text.to_ascii_lowercase(), other.text.to_ascii_lowercase());
            return one.starts_with(&two) || two.starts_with(&one);
        }
        self.text.starts_with(&other.text) || other.text.starts_with(&self.text)
    }

    /// True if the other one is nothing but a beginning, and this one has it.
    fn implies(&self, other: &Self) -> bool {
        let has_it = if other.ignores_case {
            self.text.to_ascii_lowercase().starts_with(&other.text.to_ascii_lowercase())
        } else {
            !self.ignores_case && self.text.starts_with(&other.text)
        };
        other.rest == ".*" && has_it
    }
}

/// The text with which a pattern begins, and whether its case does not matter.
pub(super) fn beginning(pattern: &str) -> (String, bool) {
    let Beginning { text, ignores_case, .. } = Beginning::of(pattern);
    (text, ignores_case)
}

fn has_alternatives(pattern: &str) -> bool {
    let mut depth = 0_usize;
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, text) = self.written();
        match self {
            Self::Present(present) => serializer.collect_map([(kind, present)]),
            _ => serializer.collect_map([(kind, text)]),
        }
    }
}

/// A text as a pattern that matches nothing else.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if r"\.+*?()|[]{}^$".contains(char) {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(pattern: &str) -> Text {
        Text::Regex(pattern.to_owned())
    }

    fn prefix(text: &str) -> Text {
        Text::Prefix(text.to_owned())
    }

    #[test]
    fn patterns_that_begin_in_other_ways_share_no_text() {
        for (pattern, text) in [
            ("/users/[0-9]+", "/orders"),
            ("(?i)/Users", "/orders"),
            (r"/a\.b.*", "/ab"),
            ("^/x(a|b)", "/y"),
            ("(?is)/A.*", "/b"),
        ] {
            assert!(regex(pattern).is_disjoint(&prefix(text)) && prefix(text).is_disjoint(&regex(pattern)), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("/a|/orders", "/orders"),
            ("(?i)/ORDERS", "/orders"),
            ("/a?orders", "/orders"),
            ("/[a-z]+", "/orders"),
            (".*", "/a"),
            ("/ab{0}c", "/ac"),
            ("(?x)/ a", "/a"),
        ] {
            assert!(!regex(pattern).is_disjoint(&prefix(text)), "{pattern} {text}");
        }
    }

    #[test]
    fn a_beginning_is_implied_by_longer_ones() {
        assert!(prefix("/orders").implies(&regex("(?is)/Orders.*")));
        assert!(regex("/orders/[0-9]+").implies(&prefix("/orders")));
        assert!(!regex("(?i)/orders/x").implies(&prefix("/orders")));
        assert!(!prefix("/orders").implies(&regex("/orders.*")), "a line break is no dot");
        assert!(!prefix("/orders").implies(&regex("(?s)/orders.+")));
    }

    #[test]
    fn hosts_are_told_apart() {
        let host = |written| Text::Host(Domain::of(written), false);
        assert!(host("a.example").is_disjoint(&host("*.test")) && !host("a.example").is_disjoint(&host("*.example")));
        assert!(host("*.a.example").implies(&host("*.example")) && !host("*.example").implies(&host("*.a.example")));
        assert!(host(".example").is_disjoint(&host("*.example")));
        assert!(!host("shop.*").is_disjoint(&host("*.example")) && host("shop.*").implies(&host("*")));
        assert!(host("a.example").is_disjoint(&Text::Exact("a.example:80".to_owned())));
        assert!(!Text::Host(Domain::of("a.example"), true).is_disjoint(&Text::Exact("A.example:80".to_owned())));
    }
}
