//! Which requests a target wants: any of its rules, and of a rule all conditions. Compiled once; a request is read, not copied.

use regex_lite::Regex;

use crate::config::raw;
use crate::headers::HeaderMap;

/// The rules of one target.
#[derive(Debug)]
pub struct Matcher {
    /// None: every request.
    rules: Option<Vec<Rule>>,
}

#[derive(Debug)]
struct Rule {
    methods: Vec<String>,
    path: Option<Condition>,
    headers: Vec<(String, Condition)>,
}

#[derive(Debug)]
enum Condition {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
    Present(bool),
}

impl Condition {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            // Patterns are about text; a value that is none matches no pattern.
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text)),
            Self::Present(present) => *present,
        }
    }
}

impl Matcher {
    /// Compiles the rules of a target; none: it wants every request.
    pub fn new(rules: Option<Vec<raw::Rule>>) -> Self {
        Self { rules: rules.map(|rules| rules.into_iter().map(Rule::from).collect()) }
    }

    /// True when the target wants the request. `path` is without its query.
    pub fn wants(&self, method: &[u8], path: &[u8], headers: &HeaderMap) -> bool {
        match &self.rules {
            None => true,
            Some(rules) => rules.iter().any(|rule| rule.holds(method, path, headers)),
        }
    }
}

impl Rule {
    fn holds(&self, method: &[u8], path: &[u8], headers: &HeaderMap) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|wanted| wanted.as_bytes() == method))
            && self.path.as_ref().is_none_or(|condition| condition.holds(path))
            && self.headers.iter().all(|(name, condition)| {
                let mut values = headers.get_all(name.as_bytes());
                match condition {
                    Condition::Present(false) => values.next().is_none(),
                    condition => values.any(|value| condition.holds(value)),
                }
            })
    }
}

impl From<raw::Rule> for Rule {
    fn from(raw: raw::Rule) -> Self {
        let path = raw.path.and_then(|path| {
            let exact = path.exact.map(|text| Condition::Exact(text.0 .0));
            let prefix = path.prefix.map(|text| Condition::Prefix(text.0 .0));
            let regex = path.regex.map(|text| Condition::Regex(text.0 .0));
            exact.or(prefix).or(regex)
        });
        let headers = raw.headers.map_or_else(Vec::new, |headers| headers.0);
        Self {
            methods: raw.methods.map_or_else(Vec::new, |methods| methods.0.into_iter().map(|method| method.0 .0).collect()),
            path,
            headers: headers.into_iter().filter_map(header_condition).collect(),
        }
    }
}

/// The one condition that the grammar makes sure of.
fn header_condition(raw: raw::HeaderRule) -> Option<(String, Condition)> {
    let condition = raw
        .exact
        .map(Condition::Exact)
        .or(raw.prefix.map(Condition::Prefix))
        .or(raw.suffix.map(Condition::Suffix))
        .or(raw.regex.map(|text| Condition::Regex(text.0 .0)))
        .or(raw.present.map(Condition::Present))?;
    Some((raw.name.0 .0, condition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::headers::Pairs;

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
        any_rule: r#"[{"methods":["PUT"]},{"path":{"exact":"/a"}}]"#, "GET" "/a" &[] => true;
    }

    #[test]
    fn without_rules_every_request_is_wanted() {
        assert!(Matcher::new(None).wants(b"BREW", b"", &HeaderMap::default()));
    }
}
