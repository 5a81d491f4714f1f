//! What an Envoy is started with.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use tempfile::TempDir;

use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::envoy::{read_log, Envoy};
use crate::support::eventually::PATIENCE;

/// The Envoy that the tests run in: `$ENVOY`, or the one that the setup puts into the clone.
pub(crate) fn default_binary() -> PathBuf {
    std::env::var_os("ENVOY").map_or_else(|| in_clone("target/envoy/1.40.0/envoy"), |path| in_clone(Path::new(&path)))
}

/// The Envoys that the smallest set of tests runs in: the default one, and those of `$ENVOY_SMOKE` (paths with colons between).
#[allow(dead_code)] // Not in every test binary.
pub(crate) fn binaries() -> Vec<PathBuf> {
    let mut all = vec![default_binary()];
    match std::env::var_os("ENVOY_SMOKE") {
        Some(paths) => all.extend(std::env::split_paths(&paths).filter(|path| path != Path::new(""))),
        None => println!("ENVOY_SMOKE is not set: only {} is tried", all[0].display()),
    }
    all
}

/// The compiled filter: `$SIDECAST_WASM`, or the one that the build puts into the clone.
pub(crate) fn default_wasm() -> PathBuf {
    std::env::var_os("SIDECAST_WASM").map_or_else(|| in_clone("dist/sidecast.wasm"), |path| in_clone(Path::new(&path)))
}

/// The mirror written with the SDK: `$PLAIN_FILTER_WASM`, or the one that the build puts into the clone.
#[allow(dead_code)] // Not in every test binary.
pub(crate) fn plain_filter_wasm() -> PathBuf {
    std::env::var_os("PLAIN_FILTER_WASM").map_or_else(|| in_clone("target/plain_filter.wasm"), |path| in_clone(Path::new(&path)))
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
    log_format: Option<&'static str>,
    clusters: Vec<Value>,
    listeners: Vec<(String, Filter)>,
    hops: Vec<Value>,
    dynamic: bool,
    whole: Option<Value>,
    variables: Vec<(&'static str, &'static str)>,
    more: Vec<(String, &'static str, Value)>,
    before: Vec<Beside>,
    behind: Vec<Beside>,
}

/// Another HTTP filter, in the listener of this name or in all.
struct Beside {
    listener: Option<&'static str>,
    filter: Value,
}

impl Beside {
    fn new(listener: Option<&'static str>, name: &str, config: Value) -> Self {
        Self { listener, filter: json!({"name": name, "typed_config": config}) }
    }

    fn of<'a>(all: &'a [Self], listener: &'a str) -> impl Iterator<Item = Value> + 'a {
        all.iter().filter(move |one| one.listener.is_none_or(|name| name == listener)).map(|one| one.filter.clone())
    }
}

impl Setup {
    /// An Envoy without clusters and listeners, with two workers, logging everything that the filter says.
    pub(crate) fn new() -> Self {
        Self {
            binary: default_binary(),
            wasm: default_wasm(),
            concurrency: 2,
            wasm_level: "debug",
            log_format: Some("%l %n %v"),
            clusters: Vec::new(),
            listeners: Vec::new(),
            hops: Vec::new(),
            dynamic: false,
            whole: None,
            variables: Vec::new(),
            more: Vec::new(),
            before: Vec::new(),
            behind: Vec::new(),
        }
    }

    /// An Envoy with this bootstrap as it stands.
    pub(crate) fn whole(bootstrap: Value) -> Self {
        Self { whole: Some(bootstrap), ..Self::new() }
    }

    /// A variable of Envoy's environment.
    pub(crate) fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Another binary.
    pub(crate) fn binary(self, binary: PathBuf) -> Self {
        Self { binary, ..self }
    }

    /// Another number of workers.
    pub(crate) fn concurrency(self, concurrency: u32) -> Self {
        Self { concurrency, ..self }
    }

    /// Another level of the log of the filter.
    pub(crate) fn wasm_level(self, wasm_level: &'static str) -> Self {
        Self { wasm_level, ..self }
    }

    /// Another form of the lines of the log, or the one that the bootstrap asks for.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn log_format(self, log_format: Option<&'static str>) -> Self {
        Self { log_format, ..self }
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

    /// A cluster of one endpoint that speaks HTTP/2, behind a listener of this Envoy that is called over HTTP/1.1 by a path.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn http2_behind_a_hop(mut self, name: &str, address: SocketAddr, path: &Path) -> Self {
        let behind = format!("{name}-behind");
        self.hops.push(bootstrap::hop(name, &behind, path));
        let mut cluster = bootstrap::cluster(&behind, Some(address), Protocol::Http2);
        let options = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        cluster.pointer_mut(options).unwrap()["common_http_protocol_options"] = json!({"max_requests_per_connection": 1});
        self.cluster_json(cluster).cluster_json(bootstrap::hop_cluster(name, path))
    }

    /// Listeners come from a file that can be replaced while Envoy runs.
    pub(crate) fn dynamic(self) -> Self {
        Self { dynamic: true, ..self }
    }

    /// A field of the bootstrap besides, in the object at this JSON pointer.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn with(mut self, pointer: impl Into<String>, field: &'static str, value: Value) -> Self {
        self.more.push((pointer.into(), field, value));
        self
    }

    /// An HTTP filter that sees requests before Sidecast does, behind others of this kind.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn filter_before(mut self, name: &str, config: Value) -> Self {
        self.before.push(Beside::new(None, name, config));
        self
    }

    /// The same, in one listener.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn filter_before_in(mut self, listener: &'static str, name: &str, config: Value) -> Self {
        self.before.push(Beside::new(Some(listener), name, config));
        self
    }

    /// An HTTP filter between Sidecast and the router, behind others of this kind.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn filter_behind(mut self, name: &str, config: Value) -> Self {
        self.behind.push(Beside::new(None, name, config));
        self
    }

    /// The same, in one listener.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn filter_behind_in(mut self, listener: &'static str, name: &str, config: Value) -> Self {
        self.behind.push(Beside::new(Some(listener), name, config));
        self
    }

    fn resources(&self) -> Vec<Value> {
        let resource = |(name, filter): &(String, Filter)| {
            let mut listener = bootstrap::listener(name, filter, &self.wasm);
            let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
            let filters = filters.as_array_mut().unwrap();
            let router = filters.len() - 1;
            filters.splice(router..router, Beside::of(&self.behind, name));
            filters.splice(0..0, Beside::of(&self.before, name));
            listener
        };
        self.listeners.iter().map(resource).chain(self.hops.iter().cloned()).collect()
    }

    fn bootstrap(&self, directory: &TempDir) -> Value {
        if let Some(bootstrap) = &self.whole {
            return bootstrap.clone();
        }
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
        for (pointer, field, value) in &self.more {
            bootstrap.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"))[*field] = value.clone();
        }
        bootstrap
    }

    fn spawn(&self) -> (Child, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bootstrap.json");
        fs::write(&file, self.bootstrap(&directory).to_string()).unwrap();
        let child = Command::new(&self.binary)
            .args(["--disable-hot-restart", "--drain-time-s", "1"])
            .args(["--drain-strategy", "immediate"])
            .args(["--log-level", "warning"])
            .args(self.log_format.iter().flat_map(|format| ["--log-format", format]))
            .args(["--component-log-level", &format!("wasm:{}", self.wasm_level)])
            .args(["--concurrency", &self.concurrency.to_string()])
            .arg("--admin-address-path")
            .arg(directory.path().join("admin"))
            .arg("--config-path")
            .arg(file)
            .envs(self.variables.iter().copied())
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
        let whole = self.whole.as_ref().and_then(|bootstrap| bootstrap.pointer("/static_resources/listeners")?.as_array());
        let listeners = self.listeners.len() + whole.map_or(0, Vec::len);
        Envoy::await_ready(child, directory, self.wasm, listeners).await
    }

    /// Starts Envoy with a configuration that it must refuse, and returns its log.
    pub(crate) async fn refused(self) -> String {
        let (mut child, directory) = self.spawn();
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let running = child.try_wait().unwrap().is_none();
        let _ = child.kill();
        let status = child.wait().unwrap();
        let log = read_log(&directory);
        assert!(!running && !status.success(), "the configuration was taken: {log}");
        log
    }
}

/// Written beside and renamed: Envoy watches for the rename and never reads half a file.
pub(crate) fn write_listeners(file: &Path, resources: &[Value]) {
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
