//! A real Prometheus, with the shipped configuration but for its intervals and what it scrapes.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{json, Value};
use tempfile::TempDir;

use crate::support::admin;
use crate::support::eventually::{eventually, PATIENCE};

const BINARY: &str = "prometheus";
const TOOL: &str = "promtool";

/// A path in the clone.
pub(crate) fn in_clone(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A shipped YAML file.
pub(crate) fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(in_clone(path)).unwrap()).unwrap()
}

/// Whether Prometheus and its tool are there. Where they are not this says so; with `CI` set it fails.
pub(crate) fn is_installed() -> bool {
    let runs = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if runs(BINARY) && runs(TOOL) {
        return true;
    }
    let missing = "prometheus and promtool are not installed (Debian: apt-get install prometheus)";
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    // Past the test harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped a test: {missing}");
    false
}

/// Runs promtool in the directory of the shipped rules.
pub(crate) fn promtool(arguments: &[&str]) -> Output {
    Command::new(TOOL).args(arguments).current_dir(in_clone("envoy/prometheus")).output().unwrap()
}

/// A running Prometheus. It is killed when it is dropped.
pub(crate) struct Prometheus {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that scrapes the admin interface of an Envoy every second, with the shipped rules, all evaluated as often.
    pub(crate) async fn scraping(envoy: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut configuration = yaml("envoy/prometheus/prometheus.yml");
        configuration["global"] = json!({"scrape_interval": "1s", "evaluation_interval": "1s"});
        configuration["scrape_configs"][0]["static_configs"][0]["targets"] = json!([envoy.to_string()]);
        for file in configuration["rule_files"].as_array_mut().unwrap() {
            let name = file.as_str().unwrap();
            let mut rules = yaml(&format!("envoy/prometheus/{name}"));
            for group in rules["groups"].as_array_mut().unwrap() {
                group.as_object_mut().unwrap().remove("interval");
            }
            let copy = directory.path().join(name);
            fs::write(&copy, rules.to_string()).unwrap();
            *file = json!(copy);
        }
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, configuration.to_string()).unwrap();
        let child = Command::new(BINARY)
            .args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=1h"])
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut prometheus = Self { child, directory, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        prometheus.address = eventually(PATIENCE, "Prometheus to be ready", async || {
            let log = fs::read_to_string(prometheus.directory.path().join("log")).unwrap_or_default();
            if let Some(status) = prometheus.child.try_wait().unwrap() {
                panic!("Prometheus ended with {status}: {log}");
            }
            let line = log.lines().find(|line| line.contains("Listening on")).ok_or("it does not listen")?;
            let address = line.split_once("address=").and_then(|(_, address)| address.split_whitespace().next()?.parse().ok());
            let address = address.ok_or_else(|| line.to_owned())?;
            admin::page(address, "/-/ready").await.map(|_| address)
        })
        .await;
        prometheus
    }

    /// How it is asked.
    pub(crate) fn api(&self) -> Api {
        Api(self.address)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The HTTP interface of a Prometheus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api(SocketAddr);

/// One series of a response.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Its labels, the name among them.
    pub(crate) labels: serde_json::Map<String, Value>,
    /// Its value.
    pub(crate) value: f64,
}

impl Sample {
    /// A label; empty if it is missing.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Api {
    /// The data of a response; otherwise what is wrong with the question.
    pub(crate) async fn get(self, path: &str) -> Result<Value, String> {
        let page = admin::page(self.0, &format!("/api/v1/{path}")).await?;
        let answer: Value = serde_json::from_str(&page).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(page),
        }
    }

    /// What an expression that gives a vector says now.
    pub(crate) async fn query(self, expression: &str) -> Result<Vec<Sample>, String> {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let data = self.get(&format!("query?{query}")).await?;
        let series = data["result"].as_array().filter(|_| data["resultType"] == "vector").ok_or_else(|| data.to_string())?;
        let sample = |one: &Value| {
            let value = one.pointer("/value/1")?.as_str()?.parse().ok()?;
            Some(Sample { labels: one["metric"].as_object()?.clone(), value })
        };
        series.iter().map(|one| sample(one).ok_or_else(|| one.to_string())).collect()
    }

    /// The names of all metrics, recorded ones among them.
    pub(crate) async fn metrics(self) -> Result<Vec<String>, String> {
        let names = self.get("label/__name__/values").await?;
        serde_json::from_value(names).map_err(|error| error.to_string())
    }
}
