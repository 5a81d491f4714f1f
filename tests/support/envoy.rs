//! A real Envoy: configured, started, asked, and ended with a look into its log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use tempfile::TempDir;

use crate::support::admin;
use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::log::{self, Event};
use crate::support::stats::Stats;

/// The Envoy that the tests run in: `$ENVOY`, or the one that the setup puts into the clone.
pub(crate) fn default_binary() -> PathBuf {
    std::env::var_os("ENVOY").map_or_else(
        || in_clone("target/envoy/1.40.0/envoy"),
        |path| in_clone(Path::new(&path)),
    )
}

/// The compiled filter: `$SIDECAST_WASM`, or the one that the build puts into the clone.
pub(crate) fn default_wasm() -> PathBuf {
    std::env::var_os("SIDECAST_WASM").map_or_else(
        || in_clone("dist/sidecast.wasm"),
        |path| in_clone(Path::new(&path)),
    )
}

fn in_clone(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// An Envoy about to be started.
pub(crate) struct Setup {
    binary: PathBuf,
    wasm: PathBuf,
    concurrency: u32,
    wasm_level: &'static str,
    clusters: Vec<Value>,
    listeners: Vec<(String, Filter)>,
    dynamic: bool,
}

impl Setup {
    /// An Envoy without clusters and listeners, with two workers, logging everything that the filter says.
    pub(crate) fn new() -> Self {
        Self {
            binary: default_binary(),
            wasm: default_wasm(),
            concurrency: 2,
            wasm_level: "debug",
            clusters: Vec::new(),
            listeners: Vec::new(),
            dynamic: false,
        }
    }

    /// Another binary.
    pub(crate) fn binary(self, binary: PathBuf) -> Self {
        Self { binary, ..self }
    }

    /// Another number of workers.
    pub(crate) fn concurrency(self, concurrency: u32) -> Self {
        Self {
            concurrency,
            ..self
        }
    }

    /// Another level of the log of the filter.
    pub(crate) fn wasm_level(self, wasm_level: &'static str) -> Self {
        Self { wasm_level, ..self }
    }

    /// A cluster of one endpoint that speaks HTTP/1.1.
    pub(crate) fn cluster(self, name: &str, address: SocketAddr) -> Self {
        self.cluster_json(bootstrap::cluster(name, Some(address), Protocol::Http1))
    }

    /// A cluster of one endpoint that speaks HTTP/2.
    pub(crate) fn http2_cluster(self, name: &str, address: SocketAddr) -> Self {
        self.cluster_json(bootstrap::cluster(name, Some(address), Protocol::Http2))
    }

    /// A cluster as it stands.
    pub(crate) fn cluster_json(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// A listener.
    pub(crate) fn listener(mut self, name: &str, filter: Filter) -> Self {
        self.listeners.push((name.to_owned(), filter));
        self
    }

    /// Listeners come from a file that can be replaced while Envoy runs.
    pub(crate) fn dynamic(self) -> Self {
        Self {
            dynamic: true,
            ..self
        }
    }

    fn resources(&self) -> Vec<Value> {
        self.listeners
            .iter()
            .map(|(name, filter)| bootstrap::listener(name, filter, &self.wasm))
            .collect()
    }

    fn spawn(&self) -> (Child, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let mut bootstrap = json!({
            "admin": {"address": bootstrap::loopback(0)},
            "node": {"id": "test", "cluster": "test"},
            "static_resources": {"clusters": self.clusters},
        });
        if self.dynamic {
            let file = directory.path().join("listeners.json");
            write_listeners(&file, &self.resources());
            bootstrap["dynamic_resources"] = json!({"lds_config": {
                "path_config_source": {"path": file, "watched_directory": {"path": directory.path()}},
            }});
        } else {
            bootstrap["static_resources"]["listeners"] = self.resources().into();
        }
        let file = directory.path().join("bootstrap.json");
        fs::write(&file, bootstrap.to_string()).unwrap();
        let child = Command::new(&self.binary)
            .args(["--disable-hot-restart", "--drain-time-s", "1"])
            .args(["--drain-strategy", "immediate"])
            .args(["--log-format", "%l %n %v", "--log-level", "warning"])
            .args([
                "--component-log-level",
                &format!("wasm:{}", self.wasm_level),
            ])
            .args(["--concurrency", &self.concurrency.to_string()])
            .arg("--admin-address-path")
            .arg(directory.path().join("admin"))
            .arg("--config-path")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        (child, directory)
    }

    /// Starts Envoy and waits until all its listeners serve.
    pub(crate) async fn start(self) -> Envoy {
        let (child, directory) = self.spawn();
        let mut envoy = Envoy {
            child,
            directory,
            wasm: self.wasm.clone(),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            listeners: BTreeMap::new(),
        };
        envoy.await_ready(self.listeners.len()).await;
        envoy
    }

    /// Starts Envoy with a configuration that it must refuse, and returns its log.
    pub(crate) async fn refused(self) -> String {
        let (mut child, directory) = self.spawn();
        let status = eventually(PATIENCE, "Envoy to give up", async || {
            child.try_wait().unwrap().ok_or("it runs".to_owned())
        });
        let status = tokio::time::timeout(PATIENCE * 2, status).await;
        let text = read_log(&directory);
        match status {
            Ok(status) => assert!(!status.success(), "Envoy ended well: {text}"),
            Err(_) => end(&mut child),
        }
        text
    }
}

/// A running Envoy. When it is dropped it is asked to quit, reaped, and its log is searched for traps of the filter.
pub(crate) struct Envoy {
    child: Child,
    directory: TempDir,
    wasm: PathBuf,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
}

impl Envoy {
    async fn await_ready(&mut self, listeners: usize) {
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
        eventually(PATIENCE, "the accounts to settle", async || {
            let stats = self.stats().await;
            stats.settled(target)?;
            match stats.of(target, "matched") {
                seen if seen == matched => Ok(stats),
                seen => Err(format!("{seen} matched of {matched}")),
            }
        })
        .await
    }

    /// Replaces the listeners, as a file-based LDS update.
    pub(crate) fn replace_listeners(&self, listeners: &[(&str, Filter)]) {
        let resources: Vec<Value> = listeners
            .iter()
            .map(|(name, filter)| bootstrap::listener(name, filter, &self.wasm))
            .collect();
        write_listeners(&self.directory.path().join("listeners.json"), &resources);
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = admin::quit(self.admin);
        end(&mut self.child);
        let log = self.log();
        let traps = log::traps(&log);
        if std::thread::panicking() {
            eprintln!("---- the end of Envoy's log ----\n{}", tail(&log, 40));
        } else {
            assert!(traps.is_empty(), "the filter trapped: {traps:#?}");
        }
    }
}

fn read_log(directory: &TempDir) -> String {
    let bytes = fs::read(directory.path().join("log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines, each cut short.
fn tail(log: &str, count: usize) -> String {
    let lines: Vec<String> = log
        .lines()
        .map(|line| line.chars().take(400).collect())
        .collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Waits a while for the process to end by itself, then kills it; in any case it is reaped.
fn end(child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Written beside and renamed: Envoy watches for the rename and never reads half a file.
fn write_listeners(file: &Path, resources: &[Value]) {
    let fresh = file.with_extension("new");
    let resources: Vec<Value> = resources
        .iter()
        .cloned()
        .map(|mut resource| {
            resource["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
            resource
        })
        .collect();
    fs::write(&fresh, json!({ "resources": resources }).to_string()).unwrap();
    fs::rename(&fresh, file).unwrap();
}
