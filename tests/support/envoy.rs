//! A real Envoy: asked, and ended with a look into its log.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::admin;
use crate::support::bootstrap::{self, Filter};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::log::{self, Event};
use crate::support::setup::write_listeners;
use crate::support::stats::Stats;

/// A running Envoy. When it is dropped it is asked to quit, reaped, and its log is searched for traps of the filter.
pub(crate) struct Envoy {
    /// The process.
    pub(crate) child: Child,
    directory: TempDir,
    wasm: PathBuf,
    /// Where its admin interface listens.
    pub(crate) admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    /// Its death is what the test is about.
    may_die: bool,
}

impl Envoy {
    /// Takes a started process over, and waits until it serves this many listeners.
    pub(crate) async fn await_ready(child: Child, directory: TempDir, wasm: PathBuf, listeners: usize) -> Self {
        let mut envoy = Self {
            child,
            directory,
            wasm,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            listeners: BTreeMap::new(),
            may_die: false,
        };
        envoy.learn_addresses(listeners).await;
        envoy
    }

    async fn learn_addresses(&mut self, listeners: usize) {
        let file = self.directory.path().join("admin");
        let (admin, addresses) = eventually(PATIENCE, "Envoy to be ready", async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("Envoy ended with {status}: {}", self.log());
            }
            let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            let admin = text.parse().map_err(|_| format!("admin at {text:?}"))?;
            admin::page(admin, "/ready").await?;
            let addresses = admin::listeners(admin).await?;
            if addresses.len() < listeners {
                return Err(format!("listeners {addresses:?}, log: {}", self.log()));
            }
            Ok((admin, addresses))
        })
        .await;
        self.admin = admin;
        self.listeners = addresses;
    }

    /// How it ended, if it did. From now on it may, and nothing is asserted when it is dropped.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn death(&mut self) -> Option<ExitStatus> {
        self.may_die = true;
        self.child.try_wait().unwrap()
    }

    /// Where a listener listens.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.listeners[listener]
    }

    /// What Envoy has logged so far.
    pub(crate) fn log(&self) -> String {
        read_log(&self.directory)
    }

    /// What the filter has logged so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        log::events(&self.log())
    }

    /// Envoy's statistics.
    pub(crate) async fn stats(&self) -> Stats {
        let text = admin::page(self.admin, "/stats?format=json").await;
        Stats::parse(&text.unwrap()).unwrap()
    }

    /// How many values a histogram of the filter holds, by its name without Envoy's prefix. Envoy brings them together every few seconds.
    pub(crate) async fn samples(&self, name: &str) -> u64 {
        let text = admin::page(self.admin, "/stats/prometheus").await.unwrap();
        let name = format!("{}_count", name.replace('.', "_"));
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.split_whitespace().last()?.parse().ok());
        count.unwrap_or(0)
    }

    /// Waits until nothing of these targets is under way and promise 5 holds for each.
    pub(crate) async fn settled<const N: usize>(&self, targets: [&str; N]) -> Stats {
        eventually(PATIENCE, "the accounts to settle", async || {
            let stats = self.stats().await;
            for target in targets {
                stats.settled(target)?;
            }
            Ok(stats)
        })
        .await
    }

    /// Waits until `matched` requests were counted for a target and the accounts are settled.
    pub(crate) async fn settled_at(&self, target: &str, matched: u64) -> Stats {
        self.settles_at(target, matched).await;
        self.stats().await
    }

    /// The same without reading all statistics, of which there are thousands.
    pub(crate) async fn settles_at(&self, target: &str, matched: u64) {
        let path = format!("/stats?format=json&filter=wasmcustom.sidecast.{target}.");
        eventually(PATIENCE, "the accounts to settle", async || {
            let stats = Stats::parse(&admin::page(self.admin, &path).await.unwrap()).unwrap();
            stats.settled(target)?;
            match stats.of(target, "matched") {
                seen if seen == matched => Ok(()),
                seen => Err(format!("{seen} matched of {matched}")),
            }
        })
        .await;
    }

    /// Waits until this number of filter chains is being drained, as after an update.
    pub(crate) async fn draining(&self, wanted: u64) {
        let what = format!("{wanted} filter chains to drain");
        eventually(PATIENCE, &what, async || {
            let stats = self.stats().await;
            match stats.find("listener_manager.total_filter_chains_draining") {
                Some(seen) if seen == wanted => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await;
    }

    /// Replaces the listeners, as a file-based LDS update.
    pub(crate) fn replace_listeners(&self, listeners: &[(&str, Filter)]) {
        let resources: Vec<Value> =
            listeners.iter().map(|(name, filter)| bootstrap::listener(name, filter, &self.wasm)).collect();
        write_listeners(&self.directory.path().join("listeners.json"), &resources);
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if admin::quit(self.admin).is_err() {
            let _ = self.child.kill();
        }
        let status = end(&mut self.child);
        if self.may_die {
            return;
        }
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("---- the end of Envoy's log ----\n{}", tail(&log, 40));
            return;
        }
        let traps = log::traps(&log);
        assert!(traps.is_empty(), "the filter trapped: {traps:#?}");
        assert!(status.success(), "Envoy ended with {status}: {}", tail(&log, 40));
    }
}

/// What the Envoy with this directory has logged so far.
pub(crate) fn read_log(directory: &TempDir) -> String {
    let bytes = fs::read(directory.path().join("log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines, each cut short.
fn tail(log: &str, count: usize) -> String {
    let lines: Vec<String> = log.lines().map(|line| line.chars().take(400).collect()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Waits a while for the process to end by itself, then kills it; in any case it is reaped.
fn end(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait().unwrap()
}
