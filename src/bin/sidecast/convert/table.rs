//! Tables of routes, and the targets that come of them.
//!
//! The first route that takes a request decides about its mirrors. Rules of a target have no order: so what an earlier route takes is left out of the
//! rules of a later one. Where that cannot be told exactly, the target wants too little: a copy that Envoy would not have sent may do harm.

use serde_json::json;

use super::remark::{Origin, Remarks};
use super::rule::Rule;
use super::shape::{refused, Shape};
use super::term::{Left, Term};
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

impl Mirror {
    /// True if both send the same copies of a request.
    fn is_like(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.shape == other.shape && is_same(self.percent, other.percent)
    }
}

/// Percentages that come of divisions.
fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
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
        for host in self.hosts.iter().filter(|host| host.domains.is_empty()) {
            if let Some(entry) = host.entries.iter().find(|entry| !entry.mirrors.is_empty()) {
                remarks.remark(&entry.origin, "not converted: it has no hosts");
            }
        }
        domains.sort_by_key(|(domain, _)| domain.rank());
        let domains: Vec<(&Domain, &Host)> =
            domains.iter().enumerate().filter(|(index, _)| !is_redundant(*index, &domains)).map(|(_, domain)| *domain).collect();
        for (index, (domain, host)) in domains.iter().enumerate() {
            let own = rule_of(domain, host);
            let earlier = domains.iter().take(index);
            let whole = earlier
                .fold(Left::of(Term::of(own.clone())), |left, (domain, host)| left.without(&Term::of(rule_of(domain, host))));
            if let Some(entry) = host.entries.iter().find(|entry| whole.parts.is_empty() && !entry.mirrors.is_empty()) {
                remarks.remark(&entry.origin, "an earlier virtual host or route has the same host; the mirrors of this one are not converted for it, so there may be too few copies");
                continue;
            }
            // With one virtual host, its name need not be said in exceptions.
            let scope = Term::of(if self.hosts.len() > 1 { own } else { Rule::default() });
            host.add_to(&mut targets, &whole, &scope, remarks);
        }
        targets.all.retain(|target| match (refused(&json!({"cluster": target.cluster})), target.origins.first()) {
            (Some(problem), Some(origin)) => {
                remarks.remark(origin, format!("not converted: {problem}"));
                false
            }
            _ => true,
        });
        targets.all
    }
}

/// True if a later domain of the same host has all hosts of a domain, and no other host takes some of them in between.
fn is_redundant(index: usize, domains: &[(&Domain, &Host)]) -> bool {
    let mut later = domains.iter().skip(index);
    let Some((domain, host)) = later.next() else { return false };
    for (other, other_host) in later {
        if std::ptr::eq(*host, *other_host) && domain.implies(other) {
            return true;
        }
        if !std::ptr::eq(*host, *other_host) && !domain.is_disjoint(other) {
            return false;
        }
    }
    false
}

fn rule_of(domain: &Domain, host: &Host) -> Rule {
    match domain {
        Domain::Any => Rule::default(),
        domain => Rule::authority(Text::Host(domain.clone(), host.any_port)),
    }
}

impl Host {
    fn add_to(&self, targets: &mut Targets, whole: &Left, scope: &Term, remarks: &mut Remarks) {
        for (index, entry) in self.entries.iter().enumerate().filter(|(_, entry)| !entry.mirrors.is_empty()) {
            if !entry.lost.is_empty() {
                let why = format!(
                    "cannot be expressed as a rule: {}; its mirrors are not converted, so there are too few copies",
                    entry.lost.join("; ")
                );
                remarks.remark(&entry.origin, why);
                continue;
            }
            let mut more = Vec::new();
            let mut homes = Vec::new();
            for (number, term) in entry.terms.iter().enumerate() {
                let parts = left_of((entry, term), self.entries.iter().take(index), whole, scope, &mut more);
                // Alternatives of one route may overlap; each request is copied once.
                let apart = entry.terms.iter().take(number).fold(parts.clone(), |left, taken| left.without(taken));
                let is_whole = targets.place([&parts, &apart], entry, &more, &mut homes);
                if !is_whole {
                    push_new(
                        &mut more,
                        "too few copies: no rule can express which requests earlier routes leave for this one".to_owned(),
                    );
                }
            }
            for remark in more {
                remarks.remark(&entry.origin, remark);
            }
        }
    }
}

impl Entry {
    /// True if its mirrors are not converted, and the other route has the same: what both take is mirrored in the same way.
    fn is_stood_in_for_by(&self, other: &Self) -> bool {
        let mut pairs = self.mirrors.iter().zip(&other.mirrors);
        let has_same = self.mirrors.len() == other.mirrors.len() && pairs.all(|(one, two)| one.is_like(two));
        !self.lost.is_empty() && self.percent >= 100.0 && has_same
    }
}

/// What earlier routes leave of a term of a route.
fn left_of<'e>(
    (entry, term): (&Entry, &Term),
    earlier: impl Iterator<Item = &'e Entry>,
    whole: &Left,
    scope: &Term,
    remarks: &mut Vec<String>,
) -> Left {
    let mut left = whole.and(term);
    for other in earlier.filter(|other| !other.is_stood_in_for_by(entry)) {
        for taken in &other.terms {
            let Ok(Some(taken)) = scope.and(taken) else { continue };
            if !left.may_meet(&taken) {
                continue;
            }
            let line = other.origin.line;
            if !other.lost.is_empty() {
                let why = other.lost.join("; ");
                push_new(
                    remarks,
                    format!("too few copies: the earlier route on line {line} takes fewer requests than its rule here excludes ({why})"),
                );
            } else if other.percent < 100.0 {
                push_new(remarks, format!("too few copies: the earlier route on line {line} takes a random part of these requests; its rule here excludes all of them"));
            }
            left = left.without(&taken);
        }
    }
    left
}

#[derive(Debug, Default)]
struct Targets {
    all: Vec<Target>,
}

impl Targets {
    /// Adds the mirrors of an entry, for one of its terms. `homes` are the targets that all terms so far went to, one for each mirror.
    ///
    /// The first of the parts may share requests with the terms before, which does no harm in the same target. The others share none. Returns false if
    /// some requests of the term are left out.
    fn place(&mut self, [together, apart]: [&Left; 2], entry: &Entry, remarks: &[String], homes: &mut Vec<Home>) -> bool {
        let mut is_whole = true;
        homes.resize(entry.mirrors.len(), homes.first().map_or(Home::None, |_| Home::Several));
        for (index, (mirror, home)) in entry.mirrors.iter().zip(homes).enumerate() {
            let twin = entry.mirrors.iter().take(index).filter(|other| other.cluster == mirror.cluster).count();
            let percent = mirror.percent * entry.percent / 100.0;
            let known = match home {
                Home::One(index) => self
                    .all
                    .get(*index)
                    .filter(|target| together.parts.iter().all(|part| target.takes(mirror, percent, twin, part)))
                    .map(|_| *index),
                _ => None,
            };
            let left = if known.is_some() { together } else { apart };
            is_whole &= left.is_whole;
            for part in &left.parts {
                let found = known.or_else(|| self.all.iter().position(|target| target.takes(mirror, percent, twin, part)));
                let place = found.unwrap_or(self.all.len());
                if found.is_none() {
                    self.all.push(Target::of(mirror, percent, twin));
                }
                let Some(target) = self.all.get_mut(place) else { continue };
                target.add(part);
                if !target.origins.contains(&mirror.origin) {
                    target.origins.push(mirror.origin.clone());
                }
                mirror.remarks.iter().chain(remarks).for_each(|remark| push_new(&mut target.remarks, remark.clone()));
                *home = match home {
                    Home::None => Home::One(place),
                    Home::One(other) if *other == place => Home::One(place),
                    _ => Home::Several,
                };
            }
        }
        is_whole
    }
}

/// The target of all parts of a mirror so far.
#[derive(Clone, Copy, Debug)]
enum Home {
    None,
    One(usize),
    Several,
}

impl Target {
    fn of(mirror: &Mirror, percent: f64, twin: usize) -> Self {
        let Mirror { cluster, shape, .. } = mirror.clone();
        let lists = (Vec::new(), Vec::new());
        Self {
            name: String::new(),
            cluster,
            percent,
            shape,
            rules: lists.0,
            except: lists.1,
            origins: Vec::new(),
            remarks: Vec::new(),
            twin,
        }
    }

    /// True if the part can be added without a change of what the target wants besides.
    fn takes(&self, mirror: &Mirror, percent: f64, twin: usize, part: &Term) -> bool {
        let is_like = self.cluster == mirror.cluster && self.shape == mirror.shape && self.twin == twin;
        let is_known = |rule: &Rule| self.except.contains(rule) || self.rules.contains(rule);
        let is_apart = |rule: &Rule| is_known(rule) || self.rules.iter().all(|own| own.is_disjoint(rule));
        let is_free = |rule: &Rule| part.fails.iter().any(|fails| rule.implies(fails)) || part.holds.is_disjoint(rule);
        is_like && is_same(self.percent, percent) && part.fails.iter().all(is_apart) && self.except.iter().all(is_free)
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
