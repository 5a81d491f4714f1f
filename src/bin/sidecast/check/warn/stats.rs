//! Checks that an Envoy creates the labels of Sidecast's metrics that the shipped alerts use.

use std::ops::Range;

use regex_lite::Regex;

use super::super::tree::Node;
use super::{Code, Warning};

/// An example of a metric, and the expected result of tag extraction.
struct Asked {
    statistic: &'static str,
    /// The name without labels.
    name: &'static str,
    labels: &'static [(&'static str, &'static str)],
}

const ASKED: [Asked; 4] = [
    Asked { statistic: "wasmcustom.sidecast.audit.matched", name: "wasmcustom.sidecast.matched", labels: &[("target", "audit")] },
    Asked {
        statistic: "wasmcustom.sidecast.audit.dropped.queue_full",
        name: "wasmcustom.sidecast.dropped",
        labels: &[("target", "audit"), ("reason", "queue_full")],
    },
    Asked {
        statistic: "wasmcustom.sidecast.audit.attempt_failures.status_5xx",
        name: "wasmcustom.sidecast.attempt_failures",
        labels: &[("target", "audit"), ("cause", "status_5xx")],
    },
    Asked {
        statistic: "wasmcustom.sidecast_build_info.1.20.3",
        name: "wasmcustom.sidecast_build_info",
        labels: &[("version", "1.20.3")],
    },
];

/// A tag of `stats_tags`.
struct Tag<'t> {
    name: &'t str,
    /// `None` if this crate cannot compile the pattern: Envoy's patterns have more features.
    pattern: Option<Regex>,
}

pub(super) fn check(bootstrap: &Node) -> Option<Warning> {
    let written = bootstrap.get("stats_config").and_then(|config| config.member("stats_tags"));
    let tags: Vec<Tag<'_>> = written.map_or(&[][..], |tags| tags.value.items()).iter().filter_map(tag_of).collect();
    let is_asked = |tag: &Tag<'_>| ASKED.iter().any(|asked| asked.labels.iter().any(|(name, _)| *name == tag.name));
    if tags.iter().any(|tag| tag.pattern.is_none() && is_asked(tag)) || ASKED.iter().all(|asked| are_made(&tags, asked)) {
        return None;
    }
    let message = "no `stats_tags` for the labels `target`, `reason`, `cause` and `version` of Sidecast's statistics: the shipped alerts and dashboard find nothing";
    let warning = Warning::new(bootstrap, Code::NoStatsTags, "stats_config.stats_tags", message);
    let hint = Some("copy the four from envoy/envoy.yaml".to_owned());
    Some(Warning { at: written.map_or(bootstrap.span.start, |written| written.key_at), hint, ..warning })
}

fn tag_of(tag: &Node) -> Option<Tag<'_>> {
    let (name, pattern) = (tag.text_of("tag_name")?, tag.text_of("regex")?);
    Some(Tag { name, pattern: Regex::new(pattern).ok() })
}

/// Extracts tags like Envoy: removes the first group from the name, and takes the second one (or the only one) as the value.
fn are_made(tags: &[Tag<'_>], asked: &Asked) -> bool {
    let mut taken: Vec<Range<usize>> = Vec::new();
    let mut made = Vec::new();
    for tag in tags {
        let Some(groups) = tag.pattern.as_ref().and_then(|pattern| pattern.captures(asked.statistic)) else { continue };
        let Some(first) = groups.get(1) else { continue };
        taken.push(first.range());
        made.push((tag.name, groups.get(2).unwrap_or(first).as_str()));
    }
    let left = asked.statistic.char_indices().filter(|(at, _)| !taken.iter().any(|taken| taken.contains(at)));
    left.map(|(_, char)| char).eq(asked.name.chars()) && asked.labels.iter().all(|label| made.contains(label))
}
