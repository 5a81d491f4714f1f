//! What a route takes, as rules: some that hold, and some that do not.

use super::rule::{Both, Rule};

/// More parts of one route than this are not worth their rules.
const MOST_PARTS: usize = 128;

/// One rule holds, and none of the others does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Term {
    pub(super) holds: Rule,
    pub(super) fails: Vec<Rule>,
}

/// The filter has no rules for it.
#[derive(Debug)]
pub(super) struct Inexpressible;

impl Term {
    pub(super) fn of(holds: Rule) -> Self {
        Self { holds, fails: Vec::new() }
    }

    pub(super) fn not(fails: Rule) -> Self {
        match fails.inverted() {
            Some(holds) => Self::of(holds),
            None => Self { holds: Rule::default(), fails: vec![fails] },
        }
    }

    /// Both terms together. `None` if no request holds both.
    pub(super) fn and(&self, other: &Self) -> Result<Option<Self>, Inexpressible> {
        let holds = match self.holds.and(&other.holds) {
            Both::Rule(rule) => rule,
            Both::Nothing => return Ok(None),
            Both::Unknown => return Err(Inexpressible),
        };
        let mut both = Self { holds, fails: Vec::new() };
        for rule in self.fails.iter().chain(&other.fails) {
            match both.except(rule) {
                Some(next) => both = next,
                None => return Ok(None),
            }
        }
        Ok(Some(both))
    }

    /// The same without the requests of a rule. `None` if nothing is left.
    pub(super) fn except(&self, rule: &Rule) -> Option<Self> {
        if self.holds.is_disjoint(rule) || self.fails.iter().any(|fails| rule.implies(fails)) {
            return Some(self.clone());
        }
        if self.holds.implies(rule) {
            return None;
        }
        // A condition on whether there is something can be turned around.
        if let Some(Both::Rule(holds)) = rule.inverted().map(|inverted| self.holds.and(&inverted)) {
            return Some(Self { holds, fails: self.fails.clone() });
        }
        let mut fails: Vec<Rule> = self.fails.iter().filter(|fails| !fails.implies(rule)).cloned().collect();
        fails.push(rule.clone());
        Some(Self { holds: self.holds.clone(), fails })
    }

    /// True if some request may hold both.
    pub(super) fn may_meet(&self, other: &Self) -> bool {
        !matches!(self.and(other), Ok(None))
    }

    /// What is left of the term without the requests of another one, in parts of which no two share a request.
    pub(super) fn without(&self, other: &Self) -> Result<Vec<Self>, Inexpressible> {
        let mut parts: Vec<Self> = self.except(&other.holds).into_iter().collect();
        if other.fails.is_empty() {
            return Ok(parts);
        }
        let Some(mut rest) = self.and(&Self::of(other.holds.clone()))? else { return Ok(parts) };
        for rule in &other.fails {
            if let Some(part) = rest.and(&Self::of(rule.clone()))? {
                parts.push(part);
            }
            match rest.except(rule) {
                Some(next) => rest = next,
                None => break,
            }
        }
        Ok(parts)
    }
}

/// All of these at once, each with its alternatives.
pub(super) fn every(conditions: &[Vec<Term>]) -> Result<Vec<Term>, Inexpressible> {
    let mut all = vec![Term::default()];
    for alternatives in conditions {
        let mut next = Vec::new();
        for one in &all {
            for other in alternatives {
                next.extend(one.and(other)?);
            }
        }
        if next.len() > MOST_PARTS {
            return Err(Inexpressible);
        }
        all = next;
    }
    Ok(all)
}

/// What is left of these parts without the requests of a term.
pub(super) fn without(parts: &[Term], term: &Term) -> Result<Vec<Term>, Inexpressible> {
    let mut left = Vec::new();
    for part in parts {
        left.extend(part.without(term)?);
    }
    if left.len() > MOST_PARTS {
        return Err(Inexpressible);
    }
    Ok(left)
}
