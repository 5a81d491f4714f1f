//! One run: an Envoy, one or more configurations, a load, and what must hold at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::client::{Client, Verdict};
use crate::configuration::{by_name, draw, Drawn};
use crate::dice::Dice;
use crate::request::Plan;
use crate::stage::{Stage, Terms};
use crate::support::bootstrap::Filter;
use crate::support::client::Client as Plain;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::stats::Stats;
use crate::verdicts::{self, Tally};

/// How much is sent in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) requests: u64,
    pub(crate) clients: usize,
    /// No request begins later than this.
    pub(crate) time: Duration,
}

/// What a seed decides.
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) terms: Terms,
    /// The first one is in force from the start; the others replace it one after another.
    pub(crate) configurations: Vec<Drawn>,
    /// Listeners are drained before the load has ended.
    pub(crate) is_drained: bool,
}

impl Script {
    pub(crate) fn of(seed: u64, schema: &Value) -> Self {
        let mut dice = Dice::of(seed, "script", 0);
        // In turn, so that a few runs one after another have all of these.
        let is_dynamic = seed.is_multiple_of(3);
        let terms = Terms {
            workers: dice.between(1, 4) as u32,
            is_dynamic,
            is_restricted: matches!(seed % 6, 1 | 5),
            is_buffered: matches!(seed % 6, 4 | 5),
            level: ["debug", "debug", "info", "warn"][dice.below(4)],
        };
        let count = if is_dynamic { dice.between(2, 4) } else { 1 };
        let configurations = (0..count as u64).map(|index| {
            let mut dice = Dice::of(seed, "configuration", index);
            let targets = *dice.one_of(&[1, 2, 3, 5, 8, 16, 24, 32, 32]);
            draw(schema, &mut dice, targets)
        });
        Self { seed, terms, configurations: configurations.collect(), is_drained: seed % 6 == 2 }
    }

    fn filter(&self, index: usize) -> Filter {
        let document = &self.configurations[index].document;
        match (self.seed + index as u64) % 2 {
            0 => Filter::json(document),
            _ => Filter::Struct(document.clone()),
        }
    }

    /// All configurations of each target.
    pub(crate) fn targets(&self) -> BTreeMap<String, Vec<Value>> {
        let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (name, target) in self.configurations.iter().map(|drawn| by_name(&drawn.document)).flat_map(Map::into_iter) {
            all.entry(name).or_default().push(target);
        }
        all
    }
}

/// The load, shared by all clients.
struct Load {
    seed: u64,
    size: Size,
    began: Instant,
    next: AtomicU64,
    over: AtomicBool,
}

impl Load {
    fn next(&self) -> Option<Plan> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let goes_on = number < self.size.requests && self.began.elapsed() < self.size.time && !self.over.load(Ordering::Relaxed);
        goes_on.then(|| Plan::draw(self.seed, number))
    }

    /// How many of a hundred requests have begun.
    fn percent(&self) -> u64 {
        let by_number = self.next.load(Ordering::Relaxed) * 100 / self.size.requests;
        by_number.max((self.began.elapsed().as_millis() * 100 / self.size.time.as_millis()) as u64)
    }
}

/// Runs what a seed decides, to its end.
pub(crate) async fn run(script: &Script, size: Size) -> Tally {
    let stage = Stage::set_up(script.seed, script.terms, script.filter(0)).await;
    let load =
        Arc::new(Load { seed: script.seed, size, began: Instant::now(), next: AtomicU64::new(0), over: AtomicBool::new(false) });
    // A connection does not outlive the configuration that it came with.
    let may_break_off = script.terms.is_dynamic || script.is_drained;
    let mut clients = JoinSet::new();
    for _ in 0..size.clients {
        let mut client = Client::new(script, stage.envoy.address("main"), Arc::clone(&stage.servers.book));
        let load = Arc::clone(&load);
        clients.spawn(async move {
            let mut tally = Tally::default();
            while let Some(plan) = load.next() {
                let verdict = client.send(&plan).await;
                tally.requests += 1;
                tally.right += usize::from(verdict == Verdict::Right && !plan.is_left_alone);
                if let Verdict::Incomplete(what) = verdict {
                    assert!(may_break_off, "the response broke off: {what}");
                    tally.broken_off += 1;
                }
            }
            tally
        });
    }
    let steps = script.configurations.len() as u64 - 1 + u64::from(script.is_drained);
    for step in 1..=steps {
        while load.percent() < 100 * step / (steps + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match script.is_drained {
            true => drain(&stage, script.seed).await,
            false => update(&stage, script.filter(step as usize)).await,
        }
    }
    let mut tally = Tally::default();
    while let Some(done) = clients.join_next().await {
        tally.add(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    stage.servers.have_mercy();
    let stats = settled(&stage, script).await;
    verdicts::hold(script, &stage, &stats, &mut tally);
    tally
}

async fn update(stage: &Stage, filter: Filter) {
    let taken = async || stage.envoy.stats().await.find("listener_manager.lds.update_success").unwrap_or(0);
    let before = taken().await;
    stage.envoy.replace_listeners(&[("main", filter)]);
    eventually(PATIENCE, "the update to be taken", async || match taken().await {
        seen if seen > before => Ok(()),
        seen => Err(format!("{seen}, log: {}", stage.envoy.log())),
    })
    .await;
}

async fn drain(stage: &Stage, seed: u64) {
    let how = if seed.is_multiple_of(2) { "/drain_listeners" } else { "/drain_listeners?graceful" };
    assert_eq!(Plain::http1(stage.envoy.admin).post(how, "").await.status, 200);
}

/// Waits until promise 5 holds for every target of the run.
async fn settled(stage: &Stage, script: &Script) -> Stats {
    let names: BTreeSet<String> = script.targets().into_keys().collect();
    eventually(6 * PATIENCE, "the accounts to settle", async || {
        let stats = stage.envoy.stats().await;
        for name in &names {
            stats.settled(name)?;
        }
        Ok(stats)
    })
    .await
}
