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
    fn may_meet(&self, other: &Self) -> bool {
        !matches!(self.and(other), Ok(None))
    }

    /// What is left of the term without the requests of another one, in parts of which no two share a request.
    fn without(&self, other: &Self) -> Left {
        let mut left = Left { parts: self.except(&other.holds).into_iter().collect(), is_whole: true };
        if other.fails.is_empty() {
            return left;
        }
        let mut rest = match self.and(&Self::of(other.holds.clone())) {
            Ok(Some(rest)) => rest,
            Ok(None) => return left,
            Err(Inexpressible) => return Left { is_whole: false, ..left },
        };
        for rule in &other.fails {
            match rest.and(&Self::of(rule.clone())) {
                Ok(part) => left.parts.extend(part),
                Err(Inexpressible) => left.is_whole = false,
            }
            match rest.except(rule) {
                Some(next) => rest = next,
                None => break,
            }
        }
        left
    }
}

/// What is left of terms, in parts of which no two share a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    pub(super) parts: Vec<Term>,
    /// False if some requests are left that no rule can say.
    pub(super) is_whole: bool,
}

impl Left {
    pub(super) fn of(term: Term) -> Self {
        Self { parts: vec![term], is_whole: true }
    }

    /// The requests that a term takes, too.
    pub(super) fn and(&self, term: &Term) -> Self {
        let mut left = Self { parts: Vec::new(), ..*self };
        for part in &self.parts {
            match part.and(term) {
                Ok(part) => left.parts.extend(part),
                Err(Inexpressible) => left.is_whole = false,
            }
        }
        left
    }

    /// The requests that a term does not take.
    pub(super) fn without(&self, term: &Term) -> Self {
        let mut left = Self { parts: Vec::new(), ..*self };
        for part in &self.parts {
            let Left { parts, is_whole } = part.without(term);
            left.parts.extend(parts);
            left.is_whole &= is_whole;
        }
        if left.parts.len() > MOST_PARTS {
            left.parts.truncate(MOST_PARTS);
            left.is_whole = false;
        }
        left
    }

    pub(super) fn may_meet(&self, term: &Term) -> bool {
        self.parts.iter().any(|part| part.may_meet(term))
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
