//! Whether a target gets more, fewer or other requests than before.

use serde::Serialize;
use serde_json::Value;
use sidecast::config::raw;

use crate::check::Wanted;

/// How the requests of the new configuration relate to those of the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Relation {
    /// The same requests.
    #[default]
    Same,
    /// All of the old ones, and others.
    More,
    /// Some of the old ones, and no others.
    Fewer,
    /// What cannot be told, or some that are left out and some that are added.
    Other,
    /// None of the old ones.
    Disjoint,
}

impl Relation {
    /// The relation if each of two conditions changes like this, and both must hold.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Disjoint, _) | (_, Self::Disjoint) => Self::Disjoint,
            (Self::Same, relation) | (relation, Self::Same) => relation,
            (one, other) if one == other => one,
            _ => Self::Other,
        }
    }

    fn of_sets(old_in_new: bool, new_in_old: bool) -> Self {
        match (old_in_new, new_in_old) {
            (true, true) => Self::Same,
            (true, false) => Self::More,
            (false, true) => Self::Fewer,
            (false, false) => Self::Other,
        }
    }
}

/// How the rules changed.
pub(super) fn of_rules(old: &raw::Target, new: &raw::Target) -> Relation {
    let (old, new) = (Wanted::new(old), Wanted::new(new));
    let relation = Relation::of_sets(old.is_within(&new), new.is_within(&old));
    if relation == Relation::Other && !old.overlaps(&new) {
        return Relation::Disjoint;
    }
    relation
}

/// How the sample changed. Both are targets in their normal form.
pub(super) fn of_sample(old: &Value, new: &Value) -> Relation {
    let percent = |target: &Value| target.pointer("/sample/percent").and_then(Value::as_f64).unwrap_or(100.0);
    let key = |target: &Value| target.pointer("/sample/key/header").cloned();
    let (before, after) = (percent(old), percent(new));
    let is_all = |percent: f64| percent >= 100.0;
    // A key that a lower percentage admits is admitted by a higher one, too.
    match () {
        () if is_all(before) && is_all(after) => Relation::Same,
        () if key(old) != key(new) && !is_all(before) && !is_all(after) => Relation::Other,
        () if after > before => Relation::More,
        () if after < before => Relation::Fewer,
        () => Relation::Same,
    }
}

/// How the condition on the end of the primary's response, or of another copy, changed. Both are targets in their normal form.
pub(super) fn of_after(old: &Value, new: &Value) -> Relation {
    let (before, after) = (old.get("after"), new.get("after"));
    let leader = |after: Option<&Value>| after.and_then(|after| after.get("target")).cloned();
    let is = |after: Option<&Value>, word: &str| after.is_some_and(|after| after == word);
    match () {
        () if is(before, "response") && is(after, "response") => of_ends(&ends(old.get("statuses")), &ends(new.get("statuses"))),
        () if before == after => Relation::Same,
        () if is(before, "request") => Relation::Fewer,
        () if is(after, "request") => Relation::More,
        () if leader(before).is_some() && leader(before) == leader(after) => of_ends(&of_leader(before), &of_leader(after)),
        () => Relation::Other,
    }
}

/// The ends of a leader's copy that a follower waits for: how it ended, and how its last attempt did.
fn of_leader(after: Option<&Value>) -> Vec<String> {
    let part = |name: &str| after.and_then(|after| after.get(name));
    let outcomes = part("outcome").and_then(Value::as_str).map_or_else(|| vec!["delivered", "given_up"], |outcome| vec![outcome]);
    let statuses = part("statuses").map_or_else(|| vec!["any".to_owned()], |statuses| ends(Some(statuses)));
    // Without statuses, any end will do, an end without an attempt included.
    let statuses = if statuses == ["any"] { all_ends() } else { statuses };
    outcomes.iter().flat_map(|outcome| statuses.iter().map(move |status| format!("{outcome} {status}"))).collect()
}

fn all_ends() -> Vec<String> {
    let named = ["reset", "timeout", "without an attempt"].map(str::to_owned);
    (100..600).map(|status: u16| status.to_string()).chain(named).collect()
}

/// The single ends that patterns such as `2xx` stand for.
fn ends(patterns: Option<&Value>) -> Vec<String> {
    let patterns = patterns.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let expanded = patterns.map(|pattern| match pattern.strip_suffix("xx") {
        Some(class) => (0..100).map(|rest| format!("{class}{rest:02}")).collect(),
        None => vec![pattern.to_owned()],
    });
    expanded.collect::<Vec<Vec<String>>>().concat()
}

fn of_ends(old: &[String], new: &[String]) -> Relation {
    let within = |inner: &[String], outer: &[String]| inner.iter().all(|end| outer.contains(end));
    match Relation::of_sets(within(old, new), within(new, old)) {
        Relation::Other if !old.iter().any(|end| new.contains(end)) => Relation::Disjoint,
        relation => relation,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_that_widen_and_narrow_make_other_requests() {
        assert_eq!(Relation::More.and(Relation::Same), Relation::More);
        assert_eq!(Relation::More.and(Relation::More), Relation::More);
        assert_eq!(Relation::More.and(Relation::Fewer), Relation::Other);
        assert_eq!(Relation::Disjoint.and(Relation::More), Relation::Disjoint);
    }

    #[test]
    fn samples_with_another_key_are_other_samples() {
        let sample = |percent: u64, key: &str| json!({"sample": {"percent": percent, "key": {"header": key}}});
        assert_eq!(of_sample(&json!({}), &sample(10, "a")), Relation::Fewer);
        assert_eq!(of_sample(&sample(10, "a"), &sample(20, "a")), Relation::More);
        assert_eq!(of_sample(&sample(10, "a"), &sample(20, "b")), Relation::Other);
        assert_eq!(of_sample(&sample(10, "a"), &json!({})), Relation::More);
        assert_eq!(of_sample(&sample(100, "a"), &json!({})), Relation::Same);
    }

    #[test]
    fn ends_are_compared_by_what_they_stand_for() {
        let response = |statuses: &[&str]| json!({"after": "response", "statuses": statuses});
        assert_eq!(of_after(&response(&["2xx"]), &response(&["200", "201"])), Relation::Fewer);
        assert_eq!(of_after(&response(&["201"]), &response(&["2xx", "reset"])), Relation::More);
        assert_eq!(of_after(&response(&["2xx"]), &response(&["5xx"])), Relation::Disjoint);
        assert_eq!(of_after(&json!({"after": "request"}), &response(&["2xx"])), Relation::Fewer);
        let follows = |fields: Value| json!({"after": fields});
        let delivered = follows(json!({"target": "a", "outcome": "delivered"}));
        assert_eq!(of_after(&delivered, &follows(json!({"target": "b", "outcome": "delivered"}))), Relation::Other);
        assert_eq!(of_after(&delivered, &follows(json!({"target": "a", "outcome": "given_up"}))), Relation::Disjoint);
        let some = follows(json!({"target": "a", "outcome": "delivered", "statuses": ["201"]}));
        assert_eq!(of_after(&delivered, &some), Relation::Fewer);
    }
}
