//! What all Envoys say together, and what is wrong.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reading::{Reading, Target, REJECTED};

/// One Envoy, or one that should be there.
#[derive(Debug)]
pub(super) struct Envoy {
    pub(super) name: String,
    /// What it says, or why it says nothing.
    pub(super) said: Result<Reading, String>,
    /// What was counted since it was last read.
    pub(super) since: Option<Since>,
}

/// What an Envoy counted between two readings.
#[derive(Debug)]
pub(super) struct Since {
    pub(super) counted: Reading,
    pub(super) seconds: f64,
    pub(super) is_restarted: bool,
}

impl Envoy {
    pub(super) fn reading(&self) -> Option<&Reading> {
        self.said.as_ref().ok()
    }

    /// What to judge: what was counted since the last reading, or in all.
    fn judged(&self) -> Option<&Reading> {
        self.since.as_ref().map(|since| &since.counted).or(self.reading())
    }
}

/// A target of all Envoys, or of one.
#[derive(Debug)]
pub(super) struct Row<'o> {
    pub(super) target: &'o str,
    /// `None` for the sum of all.
    pub(super) envoy: Option<&'o str>,
    pub(super) total: Target,
    pub(super) rates: Option<Rates>,
}

/// Counted a second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Rates {
    pub(super) matched: f64,
    pub(super) delivered: f64,
    pub(super) lost: f64,
}

impl Rates {
    fn add(&mut self, target: &Target, seconds: f64) {
        let seconds = seconds.max(0.001);
        self.matched += target.get("matched") as f64 / seconds;
        self.delivered += target.get("delivered") as f64 / seconds;
        self.lost += target.lost_in_all() as f64 / seconds;
    }
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Unreachable,
    NoFilter,
    Rejected,
    Unexpected,
    Breaker,
    Lost,
}

/// The kinds that can be allowed, by name.
pub(super) const ALLOWED: [(&str, Kind); 5] = [
    ("breaker", Kind::Breaker),
    ("lost", Kind::Lost),
    ("no-filter", Kind::NoFilter),
    ("rejected", Kind::Rejected),
    ("unexpected", Kind::Unexpected),
];

/// Something that is wrong.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) envoy: Option<String>,
    pub(super) target: Option<String>,
    pub(super) message: String,
}

/// All Envoys at one time.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) envoys: Vec<Envoy>,
}

impl Overview {
    /// The sums of all targets, by name.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: BTreeMap<&str, Row<'_>> = BTreeMap::new();
        for own in self.rows_per_envoy() {
            let new = Row { target: own.target, envoy: None, total: Target::default(), rates: None };
            let row = rows.entry(own.target).or_insert(new);
            row.total.add(&own.total);
            if let Some(own) = own.rates {
                let sum = row.rates.get_or_insert_default();
                sum.matched += own.matched;
                sum.delivered += own.delivered;
                sum.lost += own.lost;
            }
        }
        rows.into_values().collect()
    }

    /// The targets of each Envoy, by name.
    pub(super) fn rows_per_envoy(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for envoy in &self.envoys {
            for (name, target) in envoy.reading().into_iter().flat_map(|reading| &reading.targets) {
                let rates = envoy.since.as_ref().and_then(|since| {
                    let mut rates = Rates::default();
                    rates.add(since.counted.targets.get(name)?, since.seconds);
                    Some(rates)
                });
                rows.push(Row { target: name, envoy: Some(&envoy.name), total: target.clone(), rates });
            }
        }
        rows.sort_by_key(|row| row.target);
        rows
    }

    /// What is wrong, but for what is allowed: kinds of problems, and reasons for which copies may be lost.
    pub(super) fn problems(&self, allowed: &[String]) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.envoys.iter().flat_map(of_envoy).collect();
        problems.extend(self.breakers());
        problems.extend(self.losses(allowed));
        let is_allowed = |problem: &Problem| {
            ALLOWED.iter().any(|(name, kind)| *kind == problem.kind && allowed.iter().any(|allowed| allowed == name))
        };
        problems.retain(|problem| !is_allowed(problem));
        problems
    }

    fn breakers(&self) -> Vec<Problem> {
        let broken = self.rows().into_iter().filter(|row| !row.total.breaker.is_closed());
        let problems = broken.map(|row| {
            let is_not_closed = |one: &&Row<'_>| one.target == row.target && !one.total.breaker.is_closed();
            let all = self.rows_per_envoy();
            let names: Vec<&str> = all.iter().filter(is_not_closed).filter_map(|one| one.envoy).collect();
            let message = format!("the circuit breaker is not closed ({}): {}", row.total.breaker.shown(), names.join(", "));
            Problem { kind: Kind::Breaker, envoy: None, target: Some(row.target.to_owned()), message }
        });
        problems.collect()
    }

    fn losses(&self, allowed: &[String]) -> Vec<Problem> {
        let mut sums: BTreeMap<&str, Target> = BTreeMap::new();
        for (name, target) in self.envoys.iter().filter_map(Envoy::judged).flat_map(|reading| &reading.targets) {
            sums.entry(name).or_default().add(target);
        }
        let problems = sums.into_iter().filter_map(|(name, target)| {
            let lost: Vec<(&str, u64)> =
                target.lost().into_iter().filter(|(reason, _)| allowed.iter().all(|allowed| allowed != reason)).collect();
            let count = lost.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
            let message = format!("{count} lost: {}", reasons(&lost));
            (count > 0).then(|| Problem { kind: Kind::Lost, envoy: None, target: Some(name.to_owned()), message })
        });
        problems.collect()
    }
}

/// Such as `queue_full 10, expired 2`.
pub(super) fn reasons(lost: &[(&str, u64)]) -> String {
    lost.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn of_envoy(envoy: &Envoy) -> Vec<Problem> {
    let problem = |kind, message| Problem { kind, envoy: Some(envoy.name.clone()), target: None, message };
    let reading = match &envoy.said {
        Ok(reading) => reading,
        Err(error) => return vec![problem(Kind::Unreachable, error.clone())],
    };
    let mut problems = Vec::new();
    if !reading.has_filter {
        problems.push(problem(Kind::NoFilter, "no statistics of Sidecast: this Envoy does not run the filter".to_owned()));
    }
    let Some(judged) = envoy.judged() else { return problems };
    if let Some(count) = judged.rejected.filter(|count| *count > 0) {
        problems.push(problem(Kind::Rejected, format!("refused {} of its listeners ({REJECTED})", counted(count, "update"))));
    }
    if judged.unexpected > 0 {
        let message =
            format!("{} (sidecast_unexpected): see its log lines `unexpected`", counted(judged.unexpected, "unexpected event"));
        problems.push(problem(Kind::Unexpected, message));
    }
    problems
}
