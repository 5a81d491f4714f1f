//! What must hold when a run is over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::marks;
use crate::run::Script;
use crate::stage::Stage;
use crate::stock;
use crate::support::log;
use crate::support::stats::Stats;

/// What was seen in one run or many.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: usize,
    /// Answered as the primary responded.
    pub(crate) right: usize,
    /// Answers that broke off with the connection.
    pub(crate) broken_off: usize,
    /// Copies that arrived somewhere.
    pub(crate) arrived: usize,
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.right += other.right;
        self.broken_off += other.broken_off;
        self.arrived += other.arrived;
        for (name, count) in other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }
}

/// Looks at everything that is left of a run.
pub(crate) fn hold(script: &Script, stage: &Stage, stats: &Stats, tally: &mut Tally) {
    let book = &stage.servers.book;
    let targets = script.targets();
    for (name, target) in &targets {
        for (account, count) in stats.target(name) {
            *tally.counts.entry(account).or_default() += count;
        }
        counts(name, target, stats, script, tally);
    }
    assert!(book.faults().is_empty(), "{:#?}", book.faults());
    for (name, seen) in book.take_targets() {
        let target = targets.get(&name).unwrap_or_else(|| panic!("a copy for {name}, which is not configured"));
        tally.arrived += seen.requests;
        let attempts = stats.of(&name, "attempts");
        assert!(seen.requests as u64 <= attempts, "{name}: {} arrived of {attempts} attempts", seen.requests);
        assert!(seen.doubled.is_empty(), "{name}: {:?}", seen.doubled);
        let most = target.iter().map(most_attempts).max().unwrap();
        let last = seen.attempts.values().flatten().max().copied().unwrap_or(0);
        assert!(last <= most, "{name}: attempt {last} of {most}");
        no_leak(&name, target, &seen.marks, false);
        stays(&name, target, &seen.elsewhere);
    }
    for (name, marks) in book.take_letters() {
        let target = targets.get(&name).unwrap_or_else(|| panic!("a letter of {name}, which is not configured"));
        no_leak(&name, target, &marks, true);
    }
    let log = stage.envoy.log();
    let critical: Vec<&str> = log.lines().filter(|line| line.starts_with("critical")).collect();
    assert!(critical.is_empty(), "{critical:#?}");
    assert!(log::traps(&log).is_empty(), "{:#?}", log::traps(&log));
    log::events(&log);
    let leaks = marks::within(log.as_bytes());
    assert!(leaks.is_empty(), "in the log: {leaks:?}");
}

fn counts(name: &str, target: &[Value], stats: &Stats, script: &Script, tally: &Tally) {
    let of = |account: &str| stats.of(name, account);
    let all = format!("{name}: {:?}, {target:?}", stats.target(name));
    assert!(of("retries") <= of("attempts") && of("breaker.state") <= 2, "{all}");
    assert!(of("matched") <= tally.requests as u64 * script.configurations.len() as u64, "{all}");
    // Calls of batches are fewer than the requests in them; and attempts that end with their configuration have neither end.
    let is_alone = target.iter().all(|target| !target["batch"].is_object());
    let ended = of("delivered") + of("attempt_failures");
    if is_alone {
        let are_right = if script.configurations.len() == 1 { of("attempts") == ended } else { of("attempts") >= ended };
        assert!(are_right, "{all}");
    }
    // Each copy has one result, also if it was given up.
    if script.configurations.len() == 1 && target[0]["compare"].is_object() && target[0]["compare"]["percent"].is_null() {
        let results =
            ["match", "status_mismatch", "body_mismatch", "not_comparable"].map(|result| of(&format!("compare.{result}")));
        assert_eq!(results.iter().sum::<u64>(), of("matched") - of("sampled_out"), "{results:?}, {all}");
    }
    // A target that wants everything has wanted everything that was surely seen.
    let wants_all = target.iter().all(|target| ["match", "except"].iter().all(|list| target[*list].is_null()));
    if wants_all && script.configurations.len() == 1 {
        assert!(of("matched") >= tally.right as u64, "{} were answered, {all}", tally.right);
    }
}

fn most_attempts(target: &Value) -> u64 {
    let most = &target["retry"]["max_attempts"];
    match &target["retry"] {
        Value::Object(_) => most.as_f64().or_else(|| most.as_str()?.parse().ok()).unwrap_or(3.0) as u64,
        _ => 1,
    }
}

/// Only a path of which a target changes nothing may lead elsewhere: it is the primary's.
fn stays(name: &str, target: &[Value], elsewhere: &BTreeSet<String>) {
    let has = |field: &str| target.iter().all(|target| !target["request"][field].is_null());
    let of_client = |path: &String| stock::PATHS.contains(&path.split('?').next().unwrap_or_default());
    let wrong: Vec<&String> = match (has("path"), has("prefix_rewrite") || has("regex_rewrite")) {
        (true, _) => elsewhere.iter().collect(),
        (_, true) => elsewhere.iter().filter(|path| !of_client(path)).collect(),
        _ => Vec::new(),
    };
    assert!(wrong.is_empty(), "{name} was asked for {wrong:?}: {target:#?}");
}

fn no_leak(name: &str, target: &[Value], marks: &BTreeMap<String, String>, is_letter: bool) {
    for (mark, shown) in marks {
        let may = target.iter().any(|target| marks::may_see(mark, target, is_letter));
        let what = if is_letter { "a letter of" } else { "a copy for" };
        assert!(may, "{what} {name} has {mark}: {shown}\n{target:#?}");
    }
}
