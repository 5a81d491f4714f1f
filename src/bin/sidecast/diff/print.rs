//! The differences in plain words.

use std::fmt::Write;

use serde_json::Value;

use super::changes::Change;
use super::requests::Relation;
use super::targets::{Fate, Target};
use super::{Compared, Difference};

/// The headings, and the sections that stand under each.
const HEADINGS: [(&str, &[&str]); 8] = [
    ("Destination", &["cluster"]),
    ("Requests", &["match", "except", "sample"]),
    ("When", &["after", "statuses", "order"]),
    ("What it receives", &["request", "response", "batch"]),
    ("Delivery", &["success", "timeout", "retry", "limits"]),
    ("Circuit breaker", &["circuit_breaker"]),
    ("Dead letters", &["dead_letter"]),
    ("Comparison", &["compare"]),
];

pub(super) fn text(difference: &Difference) -> String {
    let mut text = String::new();
    let count = difference.configurations.len();
    for (index, compared) in difference.configurations.iter().enumerate() {
        if count > 1 {
            line(&mut text, 0, &format!("Configuration {} of {count}", index.saturating_add(1)));
        }
        configuration(&mut text, compared);
        if index.saturating_add(1) < count {
            text.push('\n');
        }
    }
    text
}

fn configuration(text: &mut String, compared: &Compared) {
    if !compared.differs {
        return line(text, 0, "No difference.");
    }
    for target in compared.targets.iter().filter(|target| target.differs() || target.follows_changed.is_some()) {
        of_target(text, target);
        text.push('\n');
    }
    let same: Vec<&str> = compared
        .targets
        .iter()
        .filter(|target| !target.differs() && target.follows_changed.is_none())
        .map(|target| target.name.as_str())
        .collect();
    if !same.is_empty() {
        line(text, 0, &format!("Unchanged targets: {}\n", same.join(", ")));
    }
    if compared.order_differs {
        line(text, 0, "The order of the targets differs: `limits.max_work_bytes` is shared out in this order.\n");
    }
    if !compared.changes.is_empty() {
        line(text, 0, "All targets:");
        compared.changes.iter().for_each(|change| of_change(text, change));
        text.push('\n');
    }
    line(text, 0, "The update:");
    compared.effects.iter().for_each(|effect| line(text, 2, effect));
}

fn of_target(text: &mut String, target: &Target) {
    let Target { name, path, cluster, .. } = target;
    line(
        text,
        0,
        &match target.fate {
            Fate::Added => format!("{name} ({path}): added; its copies go to the cluster {cluster}"),
            Fate::Removed => {
                format!("{name} ({path} of the old configuration): removed; its copies went to the cluster {cluster}")
            }
            Fate::Changed => format!("{name} ({path}): changed"),
            Fate::Same => format!("{name} ({path}): has the same settings"),
        },
    );
    if let Some(old) = &target.renamed_from {
        line(text, 2, &format!("It has the settings of {old}, which is removed: a renamed target is a new target."));
    }
    if target.fate == Fate::Changed {
        line(text, 2, requests(target.requests.unwrap_or_default()));
    }
    if let Some(leader) = &target.follows_changed {
        line(text, 2, &format!("It follows {leader}, whose requests or outcomes change, so its requests may change too."));
    }
    for (heading, sections) in HEADINGS {
        let mut changes = target.changes.iter().filter(|change| sections.iter().any(|section| change.is_in(section))).peekable();
        if changes.peek().is_some() {
            line(text, 2, &format!("{heading}:"));
            changes.for_each(|change| of_change(text, change));
        }
    }
    let known = |change: &&Change| HEADINGS.iter().any(|(_, sections)| sections.iter().any(|section| change.is_in(section)));
    target.changes.iter().filter(|change| !known(change)).for_each(|change| of_change(text, change));
    if !target.effects.is_empty() {
        line(text, 2, "The update:");
        target.effects.iter().for_each(|effect| line(text, 4, effect));
    }
}

fn requests(relation: Relation) -> &'static str {
    match relation {
        Relation::Same => "It gets the same requests.",
        Relation::More => "It gets more requests: all as before, and others.",
        Relation::Fewer => "It gets fewer requests: some of those before, and no others.",
        Relation::Other => "It gets other requests.",
        Relation::Disjoint => "It gets other requests: none of those before.",
    }
}

fn of_change(text: &mut String, change: &Change) {
    let path = &change.path;
    if let Some((gone, come)) = change.entries().filter(|(gone, come)| !gone.is_empty() || !come.is_empty()) {
        line(text, 4, &format!("{path}:"));
        gone.into_iter().for_each(|entry| line(text, 6, &format!("- {entry}")));
        come.into_iter().for_each(|entry| line(text, 6, &format!("+ {entry}")));
        return;
    }
    let (old, new) = (value(change.old.as_ref()), value(change.new.as_ref()));
    if old == new {
        return line(text, 4, &format!("{path}: differs (a credential, not shown)"));
    }
    line(text, 4, &format!("{path}: {old} -> {new}"));
}

fn value(value: Option<&Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Value::String(text)) if is_plain(text) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// True for text that cannot be taken for anything else.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text != "absent" && text.chars().all(|char| char.is_ascii_graphic() && char != '"')
}

/// Writes a line without control characters that a terminal would obey.
fn line(text: &mut String, indent: usize, line: &str) {
    let (line, end) = line.strip_suffix('\n').map_or((line, "\n"), |line| (line, "\n\n"));
    let visible: String = line.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect();
    // Writing to a string cannot fail.
    let _ = write!(text, "{:indent$}{visible}{end}", "");
}
