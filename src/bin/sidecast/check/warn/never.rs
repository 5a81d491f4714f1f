//! Finds targets that no request ever leads to: targets whose rules contradict each other, those of their leaders, or whose cause never comes true.

use sidecast::config::raw::{Document, Target};
use sidecast::config::raw_after::{After, AfterTarget, OutcomeName};
use sidecast::delivery::trigger::EndPattern;
use sidecast::http::status::StatusPattern;

use super::super::tree::Node;
use super::overlap::Wanted;
use super::{Code, Warning};

/// Warns about targets that never get a copy, and about rules that no request satisfies.
pub(super) fn check(config: &Node, document: &Document, warnings: &mut Vec<Warning>) {
    let targets = &document.targets.0;
    let wanted = targets.iter().map(Wanted::new).collect();
    let chains = Chains { targets, wanted };
    for (index, node) in config.get("targets").map_or(&[][..], Node::items).iter().enumerate() {
        let never = chains.never(index).and_then(|Never { field, message }| {
            let at = field.iter().find_map(|field| node.at(&field.split('.').collect::<Vec<_>>()).map(|node| (field, node)))?;
            Some((at, message))
        });
        match never {
            Some(((field, at), message)) => {
                warnings.push(Warning::new(at, Code::NeverSent, format!("targets[{index}].{field}"), message));
            }
            None => chains.impossible_rules(index, node, warnings),
        }
    }
}

/// Why a target never gets a copy.
struct Never {
    /// The field that says so: the first of these that is written.
    field: &'static [&'static str],
    message: String,
}

struct Chains<'t> {
    targets: &'t [Target],
    wanted: Vec<Wanted>,
}

impl Chains<'_> {
    /// Warns about single rules that contradict themselves.
    fn impossible_rules(&self, index: usize, target: &Node, warnings: &mut Vec<Warning>) {
        let Some(wanted) = self.wanted.get(index) else { return };
        for (field, places) in ["match", "except"].into_iter().zip(wanted.impossible()) {
            for place in places {
                let Some(rule) = target.get(field).and_then(|rules| rules.items().get(place)) else { continue };
                let message = "never matches: its conditions contradict each other";
                warnings.push(Warning::new(rule, Code::NeverMatches, format!("targets[{index}].{field}[{place}]"), message));
            }
        }
    }

    fn never(&self, index: usize) -> Option<Never> {
        self.never_within(index, self.targets.len())
    }

    /// `left` bounds the recursion, because a configuration with a cycle comes here, too.
    fn never_within(&self, index: usize, left: usize) -> Option<Never> {
        let left = left.checked_sub(1)?;
        let target = self.targets.get(index)?;
        if !self.wanted.get(index)?.is_possible() {
            let message = "never sent: no request can match these rules".to_owned();
            return Some(Never { field: &["match", "except"], message });
        }
        match &target.after {
            After::Request => None,
            After::Response => {
                let is_final = |end: &EndPattern| covered(end).any(|status| status >= 200) || !is_status(end);
                let statuses = target.statuses.as_ref()?;
                let message = "never sent: no response ends with a status of 1xx".to_owned();
                (!statuses.0.iter().any(is_final)).then_some(Never { field: &["statuses"], message })
            }
            After::Target(after) => {
                let leader = self.position(after)?;
                let name = &after.target.0 .0;
                if self.never_within(leader, left).is_some() {
                    let message = format!("never sent: {name:?} never gets a copy, so nothing follows it");
                    return Some(Never { field: &["after.target"], message });
                }
                never_ends(&self.targets.get(leader)?.success.0, after).or_else(|| self.excluded(index))
            }
        }
    }

    fn position(&self, after: &AfterTarget) -> Option<usize> {
        self.targets.iter().position(|target| target.name.0 .0 == after.target.0 .0)
    }

    fn leader(&self, index: usize) -> Option<usize> {
        match &self.targets.get(index)?.after {
            After::Target(after) => self.position(after),
            After::Request | After::Response => None,
        }
    }

    /// Whether the rules of a target exclude those of a leader.
    fn excluded(&self, index: usize) -> Option<Never> {
        let own = self.wanted.get(index)?;
        let mut leaders = std::iter::successors(self.leader(index), |leader| self.leader(*leader)).take(self.targets.len());
        let other = leaders.find(|leader| self.wanted.get(*leader).is_some_and(|wanted| !wanted.overlaps(own)))?;
        let name = &self.targets.get(other)?.name.0 .0;
        let message = format!("never sent: it follows {name:?}, and no request matches the rules of both");
        Some(Never { field: &["match", "except", "after.target"], message })
    }
}

/// Whether the copy of a leader with this `success` never ends as its follower waits for.
fn never_ends(success: &[StatusPattern], after: &AfterTarget) -> Option<Never> {
    let statuses = &after.statuses.as_ref()?.0;
    let succeeds = |status: u16| success.iter().any(|pattern| pattern.covers(status));
    let name = &after.target.0 .0;
    let message = match after.outcome? {
        OutcomeName::Delivered if !statuses.iter().flat_map(covered).any(succeeds) => {
            format!("never sent: none of these counts as delivered for {name:?}; its `success` does not name them")
        }
        OutcomeName::GivenUp if statuses.iter().all(is_status) && statuses.iter().flat_map(covered).all(succeeds) => {
            format!("never sent: all of these count as delivered for {name:?}; its `success` names them")
        }
        OutcomeName::Delivered | OutcomeName::GivenUp => return None,
    };
    Some(Never { field: &["after.statuses"], message })
}

/// The statuses that a pattern covers.
fn covered(end: &EndPattern) -> impl Iterator<Item = u16> + use<> {
    let pattern = match end {
        EndPattern::Status(pattern) => Some(*pattern),
        EndPattern::Reset | EndPattern::Timeout => None,
    };
    pattern.into_iter().flat_map(|pattern| (100..600).filter(move |status| pattern.covers(*status)))
}

fn is_status(end: &EndPattern) -> bool {
    matches!(end, EndPattern::Status(_))
}
