//! Tables of routes, and the targets that come of them.
//!
//! The first route that takes a request decides about its mirrors. Rules of a target have no order: so what an earlier route takes is left out of the
//! rules of a later one. Where that cannot be told exactly, the target wants too little: a copy that Envoy would not have sent may do harm.

use super::remark::{Origin, Remarks};
use super::rule::Rule;
use super::shape::Shape;
use super::term::{without, Term};
use super::text::{Domain, Text};

/// The routes of a listener, a mesh or a gateway.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) name: String,
    /// Where its filter belongs.
    pub(super) advice: String,
    pub(super) hosts: Vec<Host>,
}

/// A virtual host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) domains: Vec<Domain>,
    /// A port of the authority does not count.
    pub(super) any_port: bool,
    pub(super) entries: Vec<Entry>,
}

/// A route, or one of its alternatives.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) origin: Origin,
    /// What it takes, or more if something is lost.
    pub(super) terms: Vec<Term>,
    /// Conditions that no rule can express.
    pub(super) lost: Vec<String>,
    /// The part of the requests that it takes, in percent.
    pub(super) percent: f64,
    pub(super) mirrors: Vec<Mirror>,
}

/// A mirror of a route.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    pub(super) origin: Origin,
    pub(super) cluster: String,
    pub(super) percent: f64,
    pub(super) shape: Shape,
    /// What is not the same.
    pub(super) remarks: Vec<String>,
}

/// A target of the filter.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) percent: f64,
    pub(super) shape: Shape,
    pub(super) rules: Vec<Rule>,
    pub(super) except: Vec<Rule>,
    pub(super) origins: Vec<Origin>,
    pub(super) remarks: Vec<String>,
    /// Which of several mirrors of one route to the same cluster it is.
    twin: usize,
}

impl Table {
    /// The targets, without their names.
    pub(super) fn targets(&self, remarks: &mut Remarks) -> Vec<Target> {
        let mut targets = Targets::default();
        let mut domains: Vec<(&Domain, &Host)> =
            self.hosts.iter().flat_map(|host| host.domains.iter().map(move |domain| (domain, host))).collect();
        domains.sort_by_key(|(domain, _)| domain.rank());
        for (index, (domain, host)) in domains.iter().enumerate() {
            let own = rule_of(domain, host);
            let mut whole = vec![Term::of(own.clone())];
            let mut is_lost = false;
            for (domain, host) in domains.iter().take(index) {
                match without(&whole, &Term::of(rule_of(domain, host))) {
                    Ok(left) => whole = left,
                    Err(_) => is_lost = true,
                }
            }
            if let Some(entry) = host.entries.iter().find(|entry| is_lost && !entry.mirrors.is_empty()) {
                remarks.remark(&entry.origin, "no rule can say which hosts other virtual hosts take; not converted, so there are too few copies");
                continue;
            }
            // With one virtual host, its name need not be said in exceptions.
            let scope = Term::of(if self.hosts.len() > 1 { own } else { Rule::default() });
            host.add_to(&mut targets, &whole, &scope, remarks);
        }
        targets.all
    }
}

fn rule_of(domain: &Domain, host: &Host) -> Rule {
    match domain {
        Domain::Any => Rule::default(),
        domain => Rule::authority(Text::Host(domain.clone(), host.any_port)),
    }
}

impl Host {
    fn add_to(&self, targets: &mut Targets, whole: &[Term], scope: &Term, remarks: &mut Remarks) {
        for (index, entry) in self.entries.iter().enumerate().filter(|(_, entry)| !entry.mirrors.is_empty()) {
            if !entry.lost.is_empty() {
                let why = format!("no rule can say it: {}; its mirrors are not converted, so there are too few copies", entry.lost.join("; "));
                remarks.remark(&entry.origin, why);
                continue;
            }
            let mut more = Vec::new();
            for (number, term) in entry.terms.iter().enumerate() {
                let earlier = self.entries.iter().take(index);
                match left_of(entry, term, number, earlier, whole, scope, &mut more) {
                    Some(parts) => targets.place(&parts, entry, &more),
                    None => remarks.remark(
                        &entry.origin,
                        "no rule can say which of its requests earlier routes take; its mirrors are not converted, so there are too few copies",
                    ),
                }
            }
            for remark in more {
                remarks.remark(&entry.origin, remark);
            }
        }
    }
}

/// What earlier routes leave of a term of a route, in parts of which no two share a request. `None` if it cannot be told.
fn left_of<'e>(
    entry: &Entry,
    term: &Term,
    number: usize,
    earlier: impl Iterator<Item = &'e Entry>,
    whole: &[Term],
    scope: &Term,
    remarks: &mut Vec<String>,
) -> Option<Vec<Term>> {
    let mut parts = Vec::new();
    for one in whole {
        parts.extend(one.and(term).ok()?);
    }
    for other in earlier {
        for taken in &other.terms {
            let taken = scope.and(taken).ok()?;
            let Some(taken) = taken.filter(|taken| parts.iter().any(|part| part.may_meet(taken))) else { continue };
            let line = other.origin.line;
            if !other.lost.is_empty() {
                let why = other.lost.join("; ");
                push_new(remarks, format!("too few copies: an earlier route, of line {line}, takes less than is left to it here ({why})"));
            } else if other.percent < 100.0 {
                push_new(remarks, format!("too few copies: an earlier route, of line {line}, takes a part of these requests by chance, here all of them"));
            }
            parts = without(&parts, &taken).ok()?;
        }
    }
    // Alternatives of one route may overlap; each request is copied once.
    for taken in entry.terms.iter().take(number) {
        parts = without(&parts, taken).ok()?;
    }
    Some(parts)
}

#[derive(Debug, Default)]
struct Targets {
    all: Vec<Target>,
}

impl Targets {
    /// Adds the mirrors of an entry, which takes these parts.
    fn place(&mut self, parts: &[Term], entry: &Entry, remarks: &[String]) {
        for (index, mirror) in entry.mirrors.iter().enumerate() {
            let twin = entry.mirrors.iter().take(index).filter(|other| other.cluster == mirror.cluster).count();
            for part in parts {
                let percent = mirror.percent * entry.percent / 100.0;
                let target = match self.all.iter_mut().find(|target| target.takes(mirror, percent, twin, part)) {
                    Some(target) => target,
                    None => {
                        self.all.push(Target::of(mirror, percent, twin));
                        let Some(target) = self.all.last_mut() else { continue };
                        target
                    }
                };
                target.add(part);
                if !target.origins.contains(&mirror.origin) {
                    target.origins.push(mirror.origin.clone());
                }
                mirror.remarks.iter().chain(remarks).for_each(|remark| push_new(&mut target.remarks, remark.clone()));
            }
        }
    }
}

impl Target {
    fn of(mirror: &Mirror, percent: f64, twin: usize) -> Self {
        let Mirror { cluster, shape, .. } = mirror.clone();
        let lists = (Vec::new(), Vec::new());
        Self { name: String::new(), cluster, percent, shape, rules: lists.0, except: lists.1, origins: Vec::new(), remarks: Vec::new(), twin }
    }

    /// True if the part can be added without a change of what the target wants besides.
    fn takes(&self, mirror: &Mirror, percent: f64, twin: usize, part: &Term) -> bool {
        let is_same = self.cluster == mirror.cluster && self.shape == mirror.shape && self.twin == twin;
        let is_known = |rule: &Rule| self.except.contains(rule) || self.rules.contains(rule);
        let is_apart = |rule: &Rule| is_known(rule) || self.rules.iter().all(|own| own.is_disjoint(rule));
        let is_free = |rule: &Rule| part.fails.iter().any(|fails| rule.implies(fails)) || part.holds.is_disjoint(rule);
        let is_same = is_same && (self.percent - percent).abs() < f64::EPSILON;
        is_same && part.fails.iter().all(is_apart) && self.except.iter().all(is_free)
    }

    fn add(&mut self, part: &Term) {
        for rule in &part.fails {
            // What the target wants by another rule need not be left out of this one.
            if !self.rules.contains(rule) && !self.except.contains(rule) {
                self.except.push(rule.clone());
            }
        }
        if !self.rules.contains(&part.holds) {
            self.rules.push(part.holds.clone());
        }
    }
}

fn push_new(all: &mut Vec<String>, one: String) {
    if !all.contains(&one) {
        all.push(one);
    }
}
