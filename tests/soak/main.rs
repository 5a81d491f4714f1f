//! Random configurations in a real Envoy, with clients that leave and upstreams that answer anything: promise 5 holds for every
//! target, the primary notices nothing, and nothing that is masked leaves.
//!
//! Configurations are made of the JSON Schema, so that a new field takes part by itself. One number decides all of a run:
//! `SIDECAST_SOAK_SEED=7` repeats run 7, `SIDECAST_SOAK_RUNS=100` makes a hundred longer runs.
mod answers;
mod book;
mod client;
mod configuration;
mod dice;
mod grammar;
mod marks;
mod request;
mod run;
mod server;
mod stage;
mod stock;
#[path = "../support/mod.rs"]
#[allow(dead_code)] // Shared with other tests.
mod support;
mod verdicts;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;

use run::{run, Script, Size};
use verdicts::Tally;

/// The runs of every day: with them come updates, a drain, the least capabilities, and up to 32 targets and 4 workers.
const FEW: std::ops::Range<u64> = 120..123;
/// More runs than these are not made to have every field of the schema in one.
const MOST: u64 = 12;
const SHORT: Size = Size { requests: 300, clients: 16, time: Duration::from_secs(4) };
const LONG: Size = Size { requests: 1_500, clients: 24, time: Duration::from_secs(15) };

/// What has been run so far.
#[derive(Default)]
struct Soak {
    failed: Vec<u64>,
    configurations: usize,
    targets: usize,
    /// Of documents that the parser refused and that could not be mended.
    discarded: usize,
    /// Places that the parser refused, and that were drawn anew or left out.
    mended: usize,
    covered: BTreeSet<String>,
    tally: Tally,
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed, configurations, targets, discarded, mended, tally, .. } = self;
        write!(
            f,
            "{configurations} configurations with {targets} targets, {discarded} more discarded, {mended} places mended; "
        )?;
        write!(f, "failed: {failed:?}; {tally:#?}")
    }
}

impl Soak {
    fn take(&mut self, seed: u64, size: Size, schema: &Value, is_shown: bool) {
        let script = Script::of(seed, schema);
        let mut targets = Vec::new();
        for drawn in &script.configurations {
            grammar::covered(schema, &drawn.document, "", &mut self.covered);
            targets.push(drawn.document["targets"].as_array().unwrap().len());
            (self.discarded, self.mended) = (self.discarded + drawn.discarded, self.mended + drawn.mended);
            if is_shown {
                println!("{:#}", drawn.document);
            }
        }
        self.configurations += targets.len();
        self.targets += targets.iter().sum::<usize>();
        println!("SIDECAST_SOAK_SEED={seed}: {targets:?} targets, {:?}, drained: {}", script.terms, script.is_drained);
        let began = Instant::now();
        // On a thread of its own, so that a run that fails does not end the others.
        match std::thread::spawn(move || Runtime::new().unwrap().block_on(run(&script, size))).join() {
            Ok(tally) => {
                println!("    {:.1?}: {tally:?}", began.elapsed());
                self.tally.add(tally);
            }
            // It has said why.
            Err(_) => self.failed.push(seed),
        }
    }
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

#[test]
fn the_accounts_of_random_configurations_add_up_whatever_clients_and_upstreams_do() {
    let schema = sidecast::config::schema::schema();
    let mut places = BTreeSet::new();
    grammar::places(&schema, "", &mut places);
    let mut soak = Soak::default();
    match (asked("SIDECAST_SOAK_SEED"), asked("SIDECAST_SOAK_RUNS")) {
        (None, None) => {
            FEW.for_each(|seed| soak.take(seed, SHORT, &schema, false));
            for seed in FEW.end..FEW.start + MOST {
                if soak.covered.len() < places.len() {
                    soak.take(seed, SHORT, &schema, false);
                }
            }
        }
        (first, runs) => {
            let (first, is_shown) = (first.unwrap_or(1), runs.is_none());
            (first..first + runs.unwrap_or(1)).for_each(|seed| soak.take(seed, LONG, &schema, is_shown));
        }
    }
    println!("{} of {} places of the schema; {soak}", soak.covered.len(), places.len());
    assert!(soak.failed.is_empty(), "run each again with SIDECAST_SOAK_SEED=: {:?}", soak.failed);
    // One configuration alone cannot have everything.
    if asked("SIDECAST_SOAK_SEED").is_none() {
        let missing: Vec<&String> = places.difference(&soak.covered).collect();
        assert!(missing.is_empty(), "no configuration has {missing:?}");
    }
}
