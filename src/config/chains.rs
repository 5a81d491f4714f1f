//! Chains of targets: which target follows which. Checks them, and finds the leaders of a target.
//!
//! Reads the document itself, so that these problems are reported together with all others.

use serde_json::Value;

use super::problem::{Mistake, Problems};

/// The most targets that can follow one another, the first one not counted.
pub(super) const MAX_DEPTH: usize = 8;

/// The targets of a document, with their names and leaders.
pub(super) struct Chains<'d> {
    targets: Vec<Link<'d>>,
}

struct Link<'d> {
    target: &'d Value,
    name: Option<&'d str>,
    /// The name in `after.target`.
    leader: Option<&'d str>,
}

impl<'d> Chains<'d> {
    pub(super) fn of(document: &'d Value) -> Self {
        let targets = document.get("targets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let text = |value: Option<&'d Value>| value.and_then(Value::as_str);
        let link = |target: &'d Value| Link {
            target,
            name: text(target.get("name")),
            leader: text(target.get("after").and_then(|after| after.get("target"))),
        };
        Self { targets: targets.iter().map(link).collect() }
    }

    fn by_name(&self, name: &str) -> Option<&Link<'d>> {
        self.targets.iter().find(|link| link.name == Some(name))
    }

    /// The leaders of a target, the nearest first. Ends at a name that is unknown, and at the second time that a target comes.
    #[inline(never)]
    fn leaders(&self, index: usize) -> Vec<&Link<'d>> {
        let leader_of = |link: &Link<'d>| link.leader.and_then(|leader| self.by_name(leader));
        let mut leaders: Vec<&Link<'d>> = Vec::new();
        let mut next = self.targets.get(index).and_then(leader_of);
        while let Some(link) = next.filter(|link| !leaders.iter().any(|other| std::ptr::eq(*other, *link))) {
            leaders.push(link);
            next = leader_of(link);
        }
        leaders
    }

    /// True if a target of this name is among the leaders of the target.
    pub(super) fn follows(&self, index: usize, name: &str) -> bool {
        self.leaders(index).iter().any(|leader| leader.name == Some(name))
    }

    /// True if the target, or the first target of its chain, waits for the primary's response.
    pub(super) fn waits_for_response(&self, index: usize) -> bool {
        let waits = |link: &Link<'_>| link.target.get("after").and_then(Value::as_str) == Some("response");
        self.targets.get(index).is_some_and(waits) || self.leaders(index).into_iter().any(waits)
    }

    /// Finds followers of targets that are not there or cannot be followed, cycles, and chains that are too long.
    pub(super) fn check(&self, problems: &mut Problems) {
        let known = || self.targets.iter().filter_map(|link| link.name).map(str::to_owned);
        for (index, link) in self.targets.iter().enumerate() {
            let place = |field: &str| format!("targets[{index}].{field}");
            if let Some(Value::Object(_)) = link.target.get("after") {
                forbid(link, index, problems);
            }
            let Some(leader) = link.leader else {
                continue;
            };
            let Some(leading) = self.by_name(leader) else {
                let known = known().filter(|name| Some(name.as_str()) != link.name).collect();
                problems.push(place("after.target"), Mistake::UnknownValue { found: leader.to_owned(), known });
                continue;
            };
            if is_given(leading.target, "batch") {
                let expected =
                    format!("expected a target without `batch`, found {leader}: a batch has one response for many requests");
                problems.push(place("after.target"), expected);
            }
            if self.follows(index, link.name.unwrap_or_default()) {
                let chain: Vec<&str> = self.leaders(index).iter().filter_map(|link| link.name).collect();
                let until =
                    chain.iter().position(|name| Some(*name) == link.name).map_or(chain.len(), |last| last.saturating_add(1));
                let cycle = chain.get(..until).unwrap_or_default().join(", which follows ");
                let name = link.name.unwrap_or_default();
                problems.push(place("after.target"), format!("expected no cycle: {name} follows {cycle}"));
            } else if self.leaders(index).len() > MAX_DEPTH {
                problems.push(
                    place("after.target"),
                    format!("expected at most {MAX_DEPTH} followers in a chain, found {}", self.leaders(index).len()),
                );
            }
        }
    }
}

/// Finds sections that a follower cannot have.
fn forbid(link: &Link<'_>, index: usize, problems: &mut Problems) {
    let forbidden = [
        ("batch", "expected no `batch` in a target that follows another: each of its copies waits for a different one"),
        ("compare", "expected no `compare` in a target that follows another: its copy is not the primary's request"),
        ("statuses", "expected `statuses` inside `after`: they are the other target's"),
    ];
    for (section, expected) in forbidden {
        if is_given(link.target, section) {
            problems.push(format!("targets[{index}].{section}"), expected);
        }
    }
}

/// True if a target has this section. Null is no section.
pub(super) fn is_given(target: &Value, section: &str) -> bool {
    target.get(section).is_some_and(|value| !value.is_null())
}
