//! A running Envoy with one worker, and what the kernel says about it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::StatusCode;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::case::{Case, Variant};
use crate::envoy_config;
use crate::machine::Machine;
use crate::options::Options;
use crate::upstreams::Upstreams;
use crate::Result;

/// How long an Envoy may take to be ready.
const START: Duration = Duration::from_secs(60);

/// An Envoy process; dropping it ends it.
pub(crate) struct Envoy {
    process: Process,
    listener: SocketAddr,
    // Holds the bootstrap and the log for as long as the process lives.
    _directory: TempDir,
}

impl Envoy {
    /// Starts an Envoy as `variant` and waits until it listens.
    pub(crate) fn start(
        variant: Variant,
        case: &Case,
        options: &Options,
        machine: &Machine,
        upstreams: &Upstreams,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let bootstrap = envoy_config::bootstrap(variant, case, options, upstreams)?;
        fs::write(path("envoy.json"), serde_json::to_vec_pretty(&bootstrap)?)?;
        let process = machine
            .on_envoys_cpu(&options.envoy)
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "-c"])
            .arg(path("envoy.json"))
            .arg("--admin-address-path")
            .arg(path("admin"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log"))?)
            .spawn()?;
        let mut process = Process(process);

        let deadline = Instant::now() + START;
        let listener = loop {
            if let Some(listener) = listener(&path("admin")) {
                break listener;
            }
            if process.0.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(path("log")).unwrap_or_default();
                return Err(format!("Envoy with {variant} did not come up:\n{log}").into());
            }
            thread::sleep(Duration::from_millis(50));
        };
        Ok(Self { process, listener, _directory: directory })
    }

    pub(crate) fn listener(&self) -> SocketAddr {
        self.listener
    }

    /// The time that all threads have been on a CPU, in nanoseconds. Envoy's threads live as long as it does.
    pub(crate) fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(self.proc("task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let time = text.split_whitespace().next().ok_or("schedstat is empty")?;
            sum += time.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// Whether no thread runs or waits for a CPU.
    pub(crate) fn asleep(&self) -> Result<bool> {
        for task in fs::read_dir(self.proc("task"))? {
            let text = fs::read_to_string(task?.path().join("stat"))?;
            // NUMBER (NAME) STATE ...
            let state = text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if state != Some('S') {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Resident memory now and at its peak, in KiB.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(self.proc("status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|rest| rest.split_whitespace().next());
            Ok(value.ok_or_else(|| format!("no {name} in the process's status"))?.parse()?)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Samples the process for `seconds` into `data`.
    pub(crate) fn perf_record(&self, data: &Path, seconds: u64) -> Result<impl Drop> {
        let perf = Command::new("perf")
            .args(["record", "--quiet", "-F", "4999", "-g", "-o"])
            .arg(data)
            .args(["-p", &self.process.0.id().to_string(), "--", "sleep", &seconds.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|problem| format!("perf does not run: {problem}"))?;
        Ok(Recording(perf))
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process.0.id())
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `perf record` that ends by itself and is waited for.
struct Recording(Child);

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

/// The main listener's address once Envoy serves; it is the kernel that picks the ports.
fn listener(admin: &Path) -> Option<SocketAddr> {
    let admin = fs::read_to_string(admin).ok()?.trim().parse().ok()?;
    if get(admin, "/ready")?.trim() != "LIVE" {
        return None;
    }
    let listeners: Value = serde_json::from_str(&get(admin, "/listeners?format=json")?).ok()?;
    let address = listeners.pointer("/listener_statuses/0/local_address/socket_address")?;
    let (host, port) = (address.get("address")?.as_str()?, address.get("port_value")?.as_u64()?);
    format!("{host}:{port}").parse().ok()
}

/// The body of an admin page, if Envoy responds with one.
fn get(admin: SocketAddr, path: &str) -> Option<String> {
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let answer = client.get(format!("http://{admin}{path}").parse().ok()?).await.ok()?;
        let found = answer.status() == StatusCode::OK;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        found.then(|| String::from_utf8_lossy(&body).into_owned())
    })
}
