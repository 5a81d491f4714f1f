//! For arbitrary rules, the index finds the same as a loop over all rules.

use crate::select::index::Step;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::config::names::AbsolutePath;
use crate::config::raw;
use crate::config::scalar::{NonEmpty, Text};
use crate::http::names::Method;
use crate::json;
use crate::select::condition::Conditions;
use crate::select::condition::{ExactValue, TextCondition};
use std::str::FromStr;

mod model {
    //! A literal implementation of the rules.

    use super::*;

    fn text_holds(rule: &TextCondition, value: &[u8]) -> bool {
        let text = std::str::from_utf8(value);
        rule.exact.as_ref().is_some_and(|exact| value == exact.as_bytes())
            || rule.prefix.as_ref().is_some_and(|prefix| value.starts_with(prefix.as_bytes()))
            || rule.suffix.as_ref().is_some_and(|suffix| value.ends_with(suffix.as_bytes()))
            || rule.regex.as_ref().is_some_and(|regex| text.is_ok_and(|text| regex.0.is_match(text)))
            || rule.present == Some(true)
    }

    fn any_holds<'v>(rule: &TextCondition, mut values: impl Iterator<Item = &'v [u8]>) -> bool {
        match rule.present {
            Some(false) => values.next().is_none(),
            _ => values.any(|value| text_holds(rule, value)),
        }
    }

    fn path_holds(rule: &raw::PathRule, path: &str) -> bool {
        rule.exact.as_ref().is_some_and(|exact| path == exact.0 .0)
            || rule.prefix.as_ref().is_some_and(|prefix| path.starts_with(&prefix.0 .0))
            || rule.regex.as_ref().is_some_and(|regex| regex.0 .0.is_match(path))
    }

    fn body_holds(rule: &raw::BodyRule, body: &serde_json::Value) -> bool {
        use serde_json::Value;
        let value = body.pointer(&rule.pointer.0 .0.to_string());
        match &rule.exact {
            Some(ExactValue::Null) => value == Some(&Value::Null),
            Some(ExactValue::Flag(flag)) => value == Some(&Value::Bool(*flag)),
            Some(ExactValue::Number(number)) => {
                value.and_then(Value::as_f64).is_some_and(|value| Some(value) == number.parse().ok())
            }
            Some(ExactValue::Text(text)) => value.and_then(Value::as_str) == Some(text),
            None => match rule.present {
                Some(present) => value.is_some() == present,
                None => value.and_then(Value::as_str).is_some_and(|text| text_holds(&rule.clone().into(), text.as_bytes())),
            },
        }
    }

    fn rule_holds(rule: &raw::Rule, request: &Asked) -> bool {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let authority = request.named(":authority").next().unwrap_or_default().to_ascii_lowercase();
        let in_lower_case = |text: Option<String>| text.map(|text| text.to_lowercase());
        let authority_holds = |rule: &raw::AuthorityRule| {
            let TextCondition { exact, prefix, suffix, regex, present } = rule.clone().into();
            let (exact, prefix, suffix) = (in_lower_case(exact), in_lower_case(prefix), in_lower_case(suffix));
            let rule = TextCondition { exact, prefix, suffix, regex, present };
            any_holds(&rule, Some(authority.as_slice()).filter(|authority| !authority.is_empty()).into_iter())
        };
        let parameter_holds = |rule: &raw::QueryRule| {
            let mut all = form_urlencoded::parse(query.as_bytes());
            let first = all.find(|(name, _)| *name == rule.name.0 .0).map(|(_, value)| value.into_owned().into_bytes());
            any_holds(&rule.clone().into(), first.iter().map(Vec::as_slice))
        };
        rule.methods.as_ref().is_none_or(|methods| methods.0.iter().any(|wanted| wanted.0 .0 == request.method))
            && rule.path.as_ref().is_none_or(|wanted| path_holds(wanted, path))
            && rule.authority.as_ref().is_none_or(authority_holds)
            && rule.query.as_ref().is_none_or(|wanted| wanted.0.iter().all(parameter_holds))
            && rule.headers.as_ref().is_none_or(|wanted| {
                wanted.0.iter().all(|wanted| any_holds(&wanted.clone().into(), request.named(&wanted.name.0 .0)))
            })
            && rule.body.as_ref().is_none_or(|wanted| wanted.0.iter().all(|wanted| body_holds(wanted, &request.body)))
    }

    pub(super) fn wants(rules: &[raw::Rule], except: &[raw::Rule], request: &Asked) -> bool {
        rules.iter().any(|rule| rule_holds(rule, request)) && !except.iter().any(|rule| rule_holds(rule, request))
    }
}

const METHODS: [&str; 4] = ["GET", "POST", "BREW", "STEEP"];
const NAMES: [&str; 3] = ["x-a", "x-b", "x-long"];
const PARAMETERS: [&str; 3] = ["a", "b c", "long"];
const POINTERS: [&str; 4] = ["/a", "/b", "/a/0", ""];

fn conditions(rules: &[raw::Rule]) -> Vec<Conditions> {
    rules.iter().cloned().map(Conditions::from).collect()
}

fn typed<T: FromStr<Err = crate::http::invalid::Invalid>>(text: &str) -> Text<T> {
    Text(T::from_str(text).unwrap())
}

fn path_text() -> impl Strategy<Value = String> {
    "/|/[ab]{1,2}(/[ab]{1,2}){0,2}"
}

fn pattern() -> impl Strategy<Value = String> {
    (
        "(/a)?",
        prop::sample::select(vec![
            "/[ab]+",
            "(/a|/b)",
            "/b?",
            "/a|/b/a",
            ".*",
            "/(?:a+|b)/.*",
            "/ab",
            "/b+a*",
            "[^b]",
            "a?",
            r"\<a\>.*",
            r"\/b",
        ]),
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

/// A condition on a text, and its pattern as text.
fn condition() -> impl Strategy<Value = (TextCondition, Option<String>)> {
    (0_u8..6, "[abA]{0,2}", pattern()).prop_map(|(kind, text, pattern)| {
        let given = |this| (kind == this).then(|| text.clone());
        let condition = TextCondition {
            exact: given(0),
            prefix: given(1),
            suffix: given(2),
            regex: None,
            present: (kind > 3).then_some(kind == 4),
        };
        (condition, (kind == 3).then(|| pattern.replace('/', "")))
    })
}

fn header_rule() -> impl Strategy<Value = raw::HeaderRule> {
    (prop::sample::select(&NAMES), condition()).prop_map(
        |(name, (TextCondition { exact, prefix, suffix, present, .. }, regex))| raw::HeaderRule {
            name: typed(name),
            exact,
            prefix,
            suffix,
            regex: regex.map(|regex| typed(&regex)),
            present,
        },
    )
}

fn query_rule() -> impl Strategy<Value = raw::QueryRule> {
    (prop::sample::select(&PARAMETERS), condition()).prop_map(
        |(name, (TextCondition { exact, prefix, suffix, present, .. }, regex))| raw::QueryRule {
            name: typed(name),
            exact,
            prefix,
            suffix,
            regex: regex.map(|regex| typed(&regex)),
            present,
        },
    )
}

fn authority_rule() -> impl Strategy<Value = raw::AuthorityRule> {
    condition().prop_map(|(TextCondition { exact, prefix, suffix, present, .. }, regex)| raw::AuthorityRule {
        exact,
        prefix,
        suffix,
        regex: regex.map(|regex| typed(&regex)),
        present,
    })
}

fn body_rule() -> impl Strategy<Value = raw::BodyRule> {
    let exact = prop::sample::select(vec![
        ExactValue::Null,
        ExactValue::Flag(true),
        ExactValue::Number("1".to_owned()),
        ExactValue::Number("-1.5".to_owned()),
        ExactValue::Text("a".to_owned()),
        ExactValue::Text("1".to_owned()),
    ]);
    (prop::sample::select(&POINTERS), condition(), exact).prop_map(
        |(pointer, (TextCondition { exact: is_exact, prefix, suffix, present, .. }, regex), exact)| raw::BodyRule {
            pointer: typed(pointer),
            exact: is_exact.map(|_| exact),
            prefix,
            suffix,
            regex: regex.map(|regex| typed(&regex)),
            present,
        },
    )
}

fn rule() -> impl Strategy<Value = raw::Rule> {
    let methods = prop::option::weighted(0.4, prop::sample::subsequence(&METHODS, 1..3));
    let headers = prop::option::weighted(0.4, prop::collection::vec(header_rule(), 1..3));
    let query = prop::option::weighted(0.2, prop::collection::vec(query_rule(), 1..3));
    let body = prop::option::weighted(0.3, prop::collection::vec(body_rule(), 1..3));
    let path = prop::option::weighted(0.6, path_rule());
    (methods, path, prop::option::weighted(0.2, authority_rule()), query, headers, body)
        .prop_map(|(methods, path, authority, query, headers, body)| raw::Rule {
            methods: methods.map(|methods| NonEmpty(methods.iter().map(|method| typed::<Method>(method)).collect())),
            path,
            authority,
            query: query.map(NonEmpty),
            headers: headers.map(NonEmpty),
            body: body.map(NonEmpty),
        })
        .prop_filter("a rule has a condition", |rule| {
            let of_line = rule.methods.is_some() || rule.path.is_some() || rule.authority.is_some() || rule.query.is_some();
            of_line || rule.headers.is_some() || rule.body.is_some()
        })
}

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: serde_json::Value,
}

impl Asked {
    fn named<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n [u8]> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_slice())
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let value = prop_oneof![9 => "[abA]{0,3}".prop_map(String::into_bytes), 1 => Just(b"a\xff".to_vec())];
    let names = prop::sample::select(vec!["x-a", "x-b", "x-long", "x-a", "x-b"]).prop_map(str::to_owned);
    let headers = prop::collection::vec((names, value), 0..6);
    let authority = "[abA]{0,3}";
    let path = prop_oneof![9 => path_text(), 1 => "[*ab]{0,2}"];
    let query = prop::collection::vec(prop::sample::select(vec!["a=a", "a=ab", "b+c=b", "%61=A", "b%20c", "long=a", "x"]), 0..4);
    let values =
        || prop::sample::select(vec!["null", "true", "1", "1.0", "-15e-1", r#""a""#, r#""1""#, r#""ab""#, r#"["a"]"#, "{}"]);
    let body = (values(), values()).prop_map(|(a, b)| serde_json::from_str(&format!(r#"{{"a":{a},"b":{b}}}"#)).unwrap());
    let body = prop_oneof![8 => body, 1 => Just(serde_json::json!("a"))];
    (prop::sample::select(&METHODS), path, query, headers, authority, body).prop_map(
        |(method, path, query, mut headers, authority, body)| {
            headers.push((":authority".to_owned(), authority.into_bytes()));
            let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
            Asked { method, path, headers, body }
        },
    )
}

/// The matcher's verdict on a complete request, and the rules that it tried.
fn wanted(matcher: &Matcher, request: &Asked) -> (bool, Vec<(usize, usize)>) {
    let borrowed: Vec<(&str, &[u8])> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let headers = map(request.method, &request.path, &borrowed);
    let parameters = Parameters::new(matcher.parameters());
    let text = request.body.to_string();
    let json = json::parse(text.as_bytes()).unwrap();
    let mut values = BodyValues::default();
    for pointer in each_once(matcher.pointers()) {
        json.root().at(&pointer.0).into_iter().for_each(|value| values.push(&pointer, value));
    }
    let head = head(&headers);
    let at_headers = matcher.at_headers(&Request::new(&head, &headers, &parameters));
    let whole = Request::new(&head, &headers, &parameters).with_body(&values);
    let wants = matcher.wants(&whole);
    match at_headers {
        Verdict::Yes => assert!(wants, "what was wanted at the headers is wanted"),
        Verdict::No => assert!(!wants, "what was not wanted at the headers is not wanted"),
        Verdict::ByBody => {}
        Verdict::TooMuchWork => panic!("there is no bound"),
    }
    let looked_at = RefCell::new(Vec::new());
    let lists = matcher.wanted.iter().chain(&matcher.except).flat_map(|rules| [&rules.plain, &rules.wholes]);
    for (list, filed) in lists.enumerate() {
        filed.index.any(&whole, &mut |step| {
            if let Step::Rule(place) = step {
                looked_at.borrow_mut().push((list, place));
            }
            false
        });
    }
    (wants, looked_at.into_inner())
}

fn few_or_many_rules() -> impl Strategy<Value = Vec<raw::Rule>> {
    prop_oneof![prop::collection::vec(rule(), 1..4), prop::collection::vec(rule(), 1..120)]
}

#[test]
fn the_rules_and_requests_of_the_property_hit_often_enough() {
    let mut runner = TestRunner::deterministic();
    let (rules, except, requests) = (few_or_many_rules(), prop::collection::vec(rule(), 0..3), asked());
    let hits = (0..1_000)
        .filter(|_| {
            let rules = rules.new_tree(&mut runner).unwrap().current();
            let except = except.new_tree(&mut runner).unwrap().current();
            let request = requests.new_tree(&mut runner).unwrap().current();
            model::wants(&rules, &except, &request)
        })
        .count();
    assert!((200..=800).contains(&hits), "{hits} of 1000");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    /// With few rules, each one decides. Many rules are filed several times.
    #[test]
    fn what_is_wanted_is_what_a_walk_of_all_rules_says(
        rules in few_or_many_rules(),
        except in prop::collection::vec(rule(), 0..3),
        requests in prop::collection::vec(asked(), 20),
    ) {
        let matcher = Matcher::new(Some(conditions(&rules)), Some(conditions(&except)));
        for request in requests {
            let expected = model::wants(&rules, &except, &request);
            let (wanted, mut looked_at) = wanted(&matcher, &request);
            prop_assert_eq!(wanted, expected, "{:?}", request);
            let count = looked_at.len();
            looked_at.sort_unstable();
            looked_at.dedup();
            prop_assert_eq!(looked_at.len(), count, "a rule came up twice for {:?}", request);
        }
    }

    /// A request is left out by its path only if no rule has that path.
    #[test]
    fn the_path_alone_leaves_out_what_no_rule_has_the_path_of(
        rules in few_or_many_rules(),
        requests in prop::collection::vec(asked(), 20),
    ) {
        let of = |rule: &raw::Rule| rule.path.clone().map(TextCondition::from);
        let Some(paths) = Paths::new(rules.iter().map(of)) else {
            prop_assert!(rules.iter().any(|rule| rule.path.is_none()));
            return Ok(());
        };
        for request in requests {
            let of_path = |rule: &raw::Rule| raw::Rule { path: rule.path.clone(), ..nothing() };
            let expected = model::wants(&rules.iter().map(of_path).collect::<Vec<_>>(), &[], &request);
            prop_assert_eq!(paths.may_be_wanted(request.path.as_bytes(), usize::MAX), expected, "{:?}", request);
        }
    }
}

fn nothing() -> raw::Rule {
    raw::Rule { methods: None, path: None, authority: None, query: None, headers: None, body: None }
}
