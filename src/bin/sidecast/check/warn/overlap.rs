//! Whether one request can satisfy the rules of two targets. Rules count as contradictory only if no request satisfies them for certain; what
//! cannot be told, such as whether two patterns overlap, counts as possible.

use sidecast::config::raw::{self, Rule};
use sidecast::json::canonical;
use sidecast::select::condition::{Conditions, ExactValue, TextCondition};
use sidecast::select::pattern::Pattern;

/// The most pairs of rules that are compared. Two targets with more count as possible.
const MAX_PAIRS: usize = 100_000;

/// The requests that a target wants.
pub(crate) struct Wanted {
    /// The claims of each rule. A target without rules has a single one without claims.
    rules: Vec<Vec<Claim>>,
    except: Vec<Vec<Claim>>,
}

/// What a rule says about one part of a request.
#[derive(Clone, Debug)]
struct Claim {
    part: Part,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Method,
    Path,
    Authority,
    Parameter(String),
    /// A header can have several values. A test holds if it holds for one of them.
    Header(String),
    Body(String),
}

#[derive(Clone, Debug)]
enum Test {
    OneOf(Vec<String>),
    Exact(String),
    /// A value of a body that is not a string.
    OtherValue(String),
    Prefix(String),
    Suffix(String),
    Regex(Pattern),
    Present,
    Absent,
}

impl Wanted {
    pub(crate) fn new(target: &raw::Target) -> Self {
        let all = |rules: &[Rule]| rules.iter().map(|rule| claims(Conditions::from(rule.clone()))).collect();
        Self {
            rules: target.rules.as_ref().map_or_else(|| vec![Vec::new()], |rules| all(&rules.0)),
            except: target.except.as_ref().map_or_else(Vec::new, |rules| all(&rules.0)),
        }
    }

    /// False if the target wants no request at all.
    pub(super) fn is_possible(&self) -> bool {
        self.overlaps(&Self { rules: vec![Vec::new()], except: Vec::new() })
    }

    /// The places of rules that no request satisfies: those of `match` and those of `except`.
    pub(super) fn impossible(&self) -> [Vec<usize>; 2] {
        [&self.rules, &self.except].map(|rules| {
            let rules = rules.iter().enumerate().filter(|(_, claims)| is_contradictory(claims));
            rules.map(|(index, _)| index).collect()
        })
    }

    /// False if no request is wanted by both targets.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        if self.rules.len().saturating_mul(other.rules.len()) > MAX_PAIRS {
            return true;
        }
        let pairs = self.rules.iter().flat_map(|rule| other.rules.iter().map(move |other| [rule.as_slice(), other].concat()));
        let mut pairs = pairs.filter(|claims| !is_contradictory(claims));
        pairs.any(|claims| !self.makes_exception_of(&claims) && !other.makes_exception_of(&claims))
    }

    /// True if the other target wants every request that this one wants. False also if that cannot be told.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let exceptions = self.except.len().saturating_add(1).saturating_mul(other.except.len());
        if self.rules.len().saturating_mul(other.rules.len().saturating_add(exceptions)) > MAX_PAIRS {
            return false;
        }
        self.rules.iter().filter(|rule| !is_contradictory(rule) && !self.makes_exception_of(rule)).all(|rule| {
            let is_wanted = other.rules.iter().any(|wider| is_implied(wider, rule));
            is_wanted && other.except.iter().all(|except| self.leaves_out(rule, except))
        })
    }

    /// True if this target wants no request for which both the rule and the exception hold.
    fn leaves_out(&self, rule: &[Claim], except: &[Claim]) -> bool {
        let both = [rule, except].concat();
        is_contradictory(&both) || self.makes_exception_of(&both)
    }

    fn makes_exception_of(&self, claims: &[Claim]) -> bool {
        self.except.iter().any(|except| is_implied(except, claims))
    }
}

fn claims(rule: Conditions) -> Vec<Claim> {
    let of_text = |part: Part, condition: TextCondition| Test::of_text(condition).map(|test| Claim { part, test });
    let methods = rule.methods.map(|methods| methods.into_iter().map(|method| method.0).collect());
    let method = methods.map(|methods| Claim { part: Part::Method, test: Test::OneOf(methods) });
    let path = rule.path.and_then(|condition| of_text(Part::Path, condition));
    let authority = rule.authority.and_then(|condition| of_text(Part::Authority, condition.in_lower_case()));
    let query = rule.query.into_iter().filter_map(|(name, condition)| of_text(Part::Parameter(name), condition));
    let headers = rule.headers.into_iter().filter_map(|(name, condition)| of_text(Part::Header(name), condition));
    let body = rule.body.into_iter().filter_map(|(pointer, exact, condition)| {
        let test = exact.map(Test::of_value).or_else(|| Test::of_text(condition))?;
        Some(Claim { part: Part::Body(pointer.to_string()), test })
    });
    method.into_iter().chain(path).chain(authority).chain(query).chain(headers).chain(body).collect()
}

/// True if two of the claims exclude each other.
fn is_contradictory(claims: &[Claim]) -> bool {
    claims.iter().enumerate().any(|(place, claim)| claims.iter().skip(place.saturating_add(1)).any(|other| claim.excludes(other)))
}

/// True if these claims hold for every request for which the others hold.
fn is_implied(claims: &[Claim], by: &[Claim]) -> bool {
    claims.iter().all(|claim| by.iter().any(|other| other.implies(claim)))
}

impl Claim {
    fn excludes(&self, other: &Self) -> bool {
        self.part == other.part
            && match self.part {
                Part::Header(_) => self.test.is_absent() != other.test.is_absent(),
                _ => self.test.excludes(&other.test),
            }
    }

    fn implies(&self, other: &Self) -> bool {
        self.part == other.part && self.test.implies(&other.test)
    }
}

impl Test {
    fn of_text(condition: TextCondition) -> Option<Self> {
        let TextCondition { exact, prefix, suffix, regex, present } = condition;
        let present = present.map(|present| if present { Self::Present } else { Self::Absent });
        exact.map(Self::Exact).or(prefix.map(Self::Prefix)).or(suffix.map(Self::Suffix)).or(regex.map(Self::Regex)).or(present)
    }

    fn of_value(value: ExactValue) -> Self {
        match value {
            ExactValue::Text(text) => Self::Exact(text),
            ExactValue::Null => Self::OtherValue("null".to_owned()),
            ExactValue::Flag(flag) => Self::OtherValue(flag.to_string()),
            ExactValue::Number(number) => Self::OtherValue(canonical(&number)),
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// True if the test holds for a value that equals this text.
    fn holds_for(&self, text: &str) -> bool {
        match self {
            Self::OneOf(texts) => texts.iter().any(|other| other == text),
            Self::Exact(exact) => exact == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Regex(pattern) => pattern.0.is_match(text),
            Self::Present => true,
            Self::OtherValue(_) | Self::Absent => false,
        }
    }

    /// True if no value satisfies both tests.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => false,
            (Self::Absent, _) | (_, Self::Absent) => true,
            (Self::Present, _) | (_, Self::Present) => false,
            (Self::OtherValue(value), Self::OtherValue(other)) => value != other,
            (Self::OtherValue(_), _) | (_, Self::OtherValue(_)) => true,
            (Self::Exact(text), test) | (test, Self::Exact(text)) => !test.holds_for(text),
            (Self::OneOf(texts), test) | (test, Self::OneOf(texts)) => !texts.iter().any(|text| test.holds_for(text)),
            (Self::Prefix(prefix), Self::Prefix(other)) => !prefix.starts_with(other) && !other.starts_with(prefix),
            (Self::Suffix(suffix), Self::Suffix(other)) => !suffix.ends_with(other) && !other.ends_with(suffix),
            (Self::Prefix(_) | Self::Suffix(_) | Self::Regex(_), Self::Prefix(_) | Self::Suffix(_) | Self::Regex(_)) => false,
        }
    }

    /// True if every value that satisfies this test satisfies the other one, too.
    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, other) => other.is_absent(),
            (_, Self::Present) => true,
            (Self::OtherValue(value), Self::OtherValue(other)) => value == other,
            (Self::Exact(text), other) => other.holds_for(text),
            (Self::OneOf(texts), other) => texts.iter().all(|text| other.holds_for(text)),
            (Self::Prefix(prefix), Self::Prefix(other)) => prefix.starts_with(other),
            (Self::Suffix(suffix), Self::Suffix(other)) => suffix.ends_with(other),
            (Self::Regex(pattern), Self::Regex(other)) => pattern.text() == other.text(),
            _ => false,
        }
    }
}

trait InLowerCase {
    fn in_lower_case(self) -> Self;
}

impl InLowerCase for TextCondition {
    /// The condition on an authority, whose letters have no case. Its pattern ignores case by itself.
    fn in_lower_case(self) -> Self {
        let lower = |text: Option<String>| text.map(|text| text.to_ascii_lowercase());
        Self { exact: lower(self.exact), prefix: lower(self.prefix), suffix: lower(self.suffix), ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use serde_json::{json, Value};
    use sidecast::config::problem::Problems;
    use sidecast::config::raw::Document;
    use sidecast::config::Config;
    use sidecast::http::headers::{HeaderMap, Pairs};
    use sidecast::http::request_head::RequestHead;
    use sidecast::rewrite::capture::{CapturedHead, Needs};
    use sidecast::rewrite::reading::Reading;
    use sidecast::select::{BodyValues, Request};

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        "[abA]{0,2}"
    }

    /// The fields of a condition on a text.
    fn condition(has_present: bool) -> impl Strategy<Value = Value> {
        let pattern = prop::sample::select(vec!["a.*", ".*b", "a|b", "[^a]*", "(?i)ab"]);
        prop_oneof![
            4 => text().prop_map(|text| json!({"exact": text})),
            3 => text().prop_map(|text| json!({"prefix": text})),
            2 => text().prop_map(|text| json!({"suffix": text})),
            1 => pattern.prop_map(|pattern| json!({"regex": pattern})),
            2 => any::<bool>().prop_map(move |flag| if has_present { json!({"present": flag}) } else { json!({"prefix": "a"}) }),
        ]
    }

    fn with(mut fields: Value, name: &str, value: &str) -> Value {
        fields[name] = value.into();
        fields
    }

    fn path() -> impl Strategy<Value = Value> {
        (prop::sample::select(vec!["exact", "prefix", "prefix", "regex"]), "/[ab/]{0,3}")
            .prop_map(|(kind, text)| json!({kind: text}))
    }

    fn body() -> impl Strategy<Value = Value> {
        let exact = prop::sample::select(vec![json!(null), json!(true), json!(1), json!(1.5), json!("a"), json!("1")]);
        prop_oneof![condition(true), exact.prop_map(|value| json!({"exact": value}))]
    }

    fn rule() -> impl Strategy<Value = Value> {
        let methods = prop::sample::subsequence(vec!["GET", "POST", "PUT", "BREW"], 1..3);
        let named = |name: &'static str, names: [&'static str; 2], condition: BoxedStrategy<Value>| {
            let one = (prop::sample::select(names.to_vec()), condition).prop_map(move |(of, fields)| with(fields, name, of));
            prop::option::weighted(0.35, prop::collection::vec(one, 1..3))
        };
        (
            prop::option::weighted(0.4, methods),
            prop::option::weighted(0.4, path()),
            prop::option::weighted(0.3, condition(true)),
            named("name", ["x", "y"], condition(true).boxed()),
            named("name", ["x-a", "x-b"], condition(true).boxed()),
            named("pointer", ["/a", "/b"], body().boxed()),
        )
            .prop_map(|(methods, path, authority, query, headers, body)| {
                let rule = json!({
                    "methods": methods, "path": path, "authority": authority, "query": query, "headers": headers, "body": body,
                });
                let given = rule.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
                Value::Object(given.map(|(name, value)| (name.clone(), value.clone())).collect())
            })
            .prop_filter("a rule has a condition", |rule| rule != &json!({}))
    }

    fn target() -> impl Strategy<Value = Value> {
        let rules = prop::option::weighted(0.9, prop::collection::vec(rule(), 1..3));
        let except = prop::option::weighted(0.3, prop::collection::vec(rule(), 1..2));
        (rules, except).prop_map(|(rules, except)| json!({"cluster": "c", "match": rules, "except": except}))
    }

    #[derive(Clone, Debug)]
    struct Asked {
        headers: Vec<(String, String)>,
        body: String,
    }

    fn asked() -> impl Strategy<Value = Asked> {
        let query = prop::collection::vec((prop::sample::select(vec!["x", "y"]), text()), 0..3);
        let headers = prop::collection::vec((prop::sample::select(vec!["x-a", "x-b"]), text()), 0..4);
        let value = || prop::sample::select(vec!["null", "true", "1.0", "1.5", r#""a""#, r#""1""#, r#""ab""#, "[]", r#""b""#]);
        let values = prop::collection::vec((prop::sample::select(vec!["a", "b"]), value()), 0..3);
        let method = prop::sample::select(vec!["GET", "POST", "PUT", "BREW", "DELETE"]);
        (method, "/[ab/]{0,3}", text(), query, headers, values).prop_map(|(method, path, authority, query, headers, values)| {
            let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut values = values;
            values.sort_unstable();
            values.dedup_by_key(|(name, _)| *name);
            let body: Vec<String> = values.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            let line =
                [(":method", method.to_owned()), (":path", format!("{path}?{}", query.join("&"))), (":authority", authority)];
            Asked {
                headers: line.into_iter().chain(headers).map(|(name, value)| (name.to_owned(), value)).collect(),
                body: format!("{{{}}}", body.join(",")),
            }
        })
    }

    /// Two targets as the filter has them, and as this module compares them.
    struct Pair {
        config: Config,
        overlap: bool,
        /// Whether the second target wants all that the first one wants.
        within: bool,
        possible: [bool; 2],
    }

    fn pair(first: &Value, second: &Value) -> Pair {
        let document = json!({"targets": [with(first.clone(), "name", "first"), with(second.clone(), "name", "second")]});
        let config = Config::parse(document.to_string().as_bytes(), &|_| None).unwrap();
        let raw: Document = deserr::deserialize::<_, _, Problems>(document).unwrap();
        let wanted: Vec<Wanted> = raw.targets.0.iter().map(Wanted::new).collect();
        let within = wanted[0].is_within(&wanted[1]);
        Pair {
            config,
            overlap: wanted[0].overlaps(&wanted[1]),
            within,
            possible: [wanted[0].is_possible(), wanted[1].is_possible()],
        }
    }

    /// Which of the two targets want a request, by the filter's own matcher.
    fn wants(config: &Config, asked: &Asked) -> [bool; 2] {
        let headers: Pairs = asked.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let headers = HeaderMap::from(&headers);
        let head = RequestHead::read(&headers, &config.loop_guard);
        let needs = Needs { all: true, ..Needs::default() };
        let captured = CapturedHead::capture(headers.clone(), false, None, needs, &config.correlation);
        let reading = Reading::new(&captured, asked.body.as_bytes(), &config.reading);
        let body = BodyValues::read(&config.matched_pointers, reading.look_into_body().unwrap()).unwrap();
        let request = || Request::new(&head, &headers, &config.matched_parameters).with_body(&body);
        [0, 1].map(|index| config.targets[index].matcher.wants(&request()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

        #[test]
        fn what_is_told_of_two_targets_holds_for_every_request(
            first in target(), second in target(), requests in prop::collection::vec(asked(), 40),
        ) {
            let pair = pair(&first, &second);
            for request in requests {
                let wants = wants(&pair.config, &request);
                prop_assert!(pair.overlap || wants != [true, true], "{:?}", request);
                prop_assert!(!pair.within || wants != [true, false], "{:?}", request);
                for (possible, wants) in pair.possible.into_iter().zip(wants) {
                    prop_assert!(possible || !wants, "{:?}", request);
                }
            }
        }
    }

    #[test]
    fn the_targets_and_requests_of_the_property_agree_and_contradict_often_enough() {
        let mut runner = TestRunner::deterministic();
        let (mut contradictory, mut within, mut wanted) = (0, 0, 0);
        for _ in 0..1_000 {
            let mut target = || target().new_tree(&mut runner).unwrap().current();
            let pair = pair(&target(), &target());
            let request = asked().new_tree(&mut runner).unwrap().current();
            contradictory += usize::from(!pair.overlap);
            within += usize::from(pair.within);
            wanted += usize::from(wants(&pair.config, &request) == [true, true]);
        }
        assert!((200..800).contains(&contradictory) && within > 50 && wanted > 20, "{contradictory}, {within}, {wanted}");
    }
}
