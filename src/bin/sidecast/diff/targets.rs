//! The differences of targets.

use serde::Serialize;
use serde_json::Value;
use sidecast::config::raw;

use super::changes::{changes, Change};
use super::effects::Update;
use super::requests::{self, Relation};
use super::{effects, Side};

/// What becomes of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fate {
    /// Only the new configuration has it.
    Added,
    /// Only the old configuration has it.
    Removed,
    /// Both have it, with other settings.
    Changed,
    /// Both have it, with the same settings.
    Same,
}

/// A target of either configuration.
#[derive(Debug, Serialize)]
pub(super) struct Target {
    pub(super) name: String,
    /// The place in the new configuration, or in the old one if the target is removed.
    pub(super) path: String,
    pub(super) fate: Fate,
    pub(super) cluster: String,
    /// The name of a removed target with the same settings.
    pub(super) renamed_from: Option<String>,
    /// How its requests change. `None` for a target that comes or goes.
    pub(super) requests: Option<Relation>,
    /// The leader whose copies change, if the target follows one.
    pub(super) follows_changed: Option<String>,
    pub(super) changes: Vec<Change>,
    pub(super) effects: Vec<String>,
}

impl Target {
    pub(super) fn differs(&self) -> bool {
        self.fate != Fate::Same
    }
}

/// A target of one side.
struct Of<'s> {
    index: usize,
    normal: &'s Value,
    raw: &'s raw::Target,
}

impl Of<'_> {
    fn name(&self) -> &str {
        &self.raw.name.0 .0
    }

    /// The settings without the name.
    fn settings(&self) -> Value {
        let mut settings = self.normal.clone();
        if let Some(fields) = settings.as_object_mut() {
            fields.remove("name");
        }
        settings
    }
}

fn of(side: &Side) -> Vec<Of<'_>> {
    let normal = side.normal.get("targets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let targets = normal.iter().zip(&side.document.targets.0).enumerate();
    targets.map(|(index, (normal, raw))| Of { index, normal, raw }).collect()
}

/// True if the targets that stay stand in another order.
pub(super) fn order_differs(old: &Side, new: &Side) -> bool {
    let (old, new) = (of(old), of(new));
    let kept = |one: &[Of<'_>], other: &[Of<'_>]| -> Vec<String> {
        let is_kept = |target: &&Of<'_>| other.iter().any(|other| other.name() == target.name());
        one.iter().filter(is_kept).map(|target| target.name().to_owned()).collect()
    };
    kept(&old, &new) != kept(&new, &old)
}

/// The targets of both sides: those of the new one in its order, then those that go.
pub(super) fn compare(old: &Side, new: &Side, update: &Update) -> Vec<Target> {
    let (before, after) = (of(old), of(new));
    let find = |all: &'_ [Of<'_>], name: &str| all.iter().position(|target| target.name() == name);
    let mut targets: Vec<Target> = Vec::new();
    for target in &after {
        let found = find(&before, target.name()).and_then(|index| before.get(index));
        targets.push(match found {
            Some(old) => kept(old, target, update),
            None => {
                let is_alike = |old: &&Of<'_>| find(&after, old.name()).is_none() && old.settings() == target.settings();
                let renamed_from = before.iter().find(is_alike).map(|old| old.name().to_owned());
                Target { renamed_from, effects: effects::of_new(target.normal), ..bare(target, Fate::Added) }
            }
        });
    }
    for target in before.iter().filter(|target| find(&after, target.name()).is_none()) {
        targets.push(Target { effects: effects::of_old(target.normal, update), ..bare(target, Fate::Removed) });
    }
    mark_followers(&mut targets, &after);
    targets
}

fn bare(target: &Of<'_>, fate: Fate) -> Target {
    Target {
        name: target.name().to_owned(),
        path: format!("targets[{}]", target.index),
        fate,
        cluster: target.raw.cluster.0 .0.clone(),
        renamed_from: None,
        requests: None,
        follows_changed: None,
        changes: Vec::new(),
        effects: Vec::new(),
    }
}

fn kept(old: &Of<'_>, new: &Of<'_>, update: &Update) -> Target {
    let changes = changes(old.normal, new.normal);
    if changes.is_empty() {
        return Target { requests: Some(Relation::Same), ..bare(new, Fate::Same) };
    }
    let rules = requests::of_rules(old.raw, new.raw);
    // Rules that are written in the same way are the same, also where that cannot be told from what they say.
    let is_changed = changes.iter().any(|change| change.is_in("match") || change.is_in("except"));
    let rules = if is_changed { rules } else { Relation::Same };
    let relation = rules.and(requests::of_sample(old.normal, new.normal)).and(requests::of_after(old.normal, new.normal));
    let effects = effects::of_kept(old.normal, new.normal, &changes, update);
    Target { requests: Some(relation), changes, effects, ..bare(new, Fate::Changed) }
}

/// Finds the targets that follow one whose copies change, directly or through others.
fn mark_followers(targets: &mut [Target], after: &[Of<'_>]) {
    let leader = |name: &str| -> Option<String> {
        let target = after.iter().find(|target| target.name() == name)?;
        Some(target.normal.pointer("/after/target")?.as_str()?.to_owned())
    };
    let changed: Vec<String> = targets
        .iter()
        .filter(|target| target.fate == Fate::Changed && (target.requests != Some(Relation::Same) || changes_outcome(target)))
        .map(|target| target.name.clone())
        .collect();
    for target in targets.iter_mut().filter(|target| target.fate != Fate::Removed) {
        // A configuration without cycles has been checked. The bound is that of targets.
        let leaders = std::iter::successors(leader(&target.name), |name| leader(name)).take(after.len());
        target.follows_changed = leaders.into_iter().find(|name| changed.contains(name));
    }
}

/// True if the target's copies may end in another way.
fn changes_outcome(target: &Target) -> bool {
    let sections = ["cluster", "request", "success", "timeout", "retry", "circuit_breaker", "limits", "order"];
    target.changes.iter().any(|change| sections.iter().any(|section| change.is_in(section)))
}
