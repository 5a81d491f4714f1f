//! The composition of `envoy/docker-compose.yaml`, by the command lines of its tools: both kinds of compose know these.

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use crate::support::eventually::eventually;
use crate::support::stats::Stats;

/// A container starts in a second or two, and may be asked for its health only some seconds later.
const START: Duration = Duration::from_secs(90);

/// What one of the upstreams recorded.
#[derive(Debug, Deserialize)]
pub(crate) struct Records {
    /// How many requests.
    pub(crate) total: u64,
    /// The requests.
    pub(crate) requests: Vec<Recorded>,
}

/// A request that was recorded.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded {
    /// Path and query.
    pub(crate) path: String,
    /// In the order of arrival.
    pub(crate) headers: Vec<(String, String)>,
    /// As text.
    pub(crate) body: String,
    /// What it was answered with.
    pub(crate) status: Option<u16>,
}

/// Runs a command that must succeed, and gives what it printed.
async fn run(program: &str, arguments: &[&str]) -> String {
    attempt(program, arguments).await.unwrap_or_else(|problem| panic!("{problem}"))
}

async fn attempt(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output().await;
    let Output { status, stdout, stderr } = output.map_err(|error| format!("{program}: {error}"))?;
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    if status.success() {
        Ok(stdout)
    } else {
        Err(format!("{program} {arguments:?}: {status}\n{stdout}\n{stderr}"))
    }
}

/// `docker` with these arguments.
pub(crate) async fn docker(arguments: &[&str]) -> String {
    run("docker", arguments).await
}

/// Whether the engine has an image.
pub(crate) async fn has_image(name: &str) -> bool {
    attempt("docker", &["image", "inspect", name]).await.is_ok()
}

/// `docker compose` or `docker-compose` with these arguments, for the project that scripts/compose-test.sh named.
pub(crate) async fn compose(arguments: &[&str]) -> String {
    let command = std::env::var("SIDECAST_COMPOSE").expect("SIDECAST_COMPOSE: this test is run by make compose-test");
    let mut words = command.split(' ').chain(arguments.iter().copied());
    let program = words.next().unwrap();
    run(program, &words.collect::<Vec<_>>()).await
}

fn project() -> String {
    std::env::var("COMPOSE_PROJECT_NAME").expect("COMPOSE_PROJECT_NAME: this test is run by make compose-test")
}

/// The container of a service, running or not. Compose could tell, too, but takes its time.
pub(crate) async fn container(service: &str) -> String {
    let [project, service] = [("project", project().as_str()), ("service", service)]
        .map(|(label, value)| format!("label=com.docker.compose.{label}={value}"));
    docker(&["ps", "--all", "--quiet", "--filter", &project, "--filter", &service]).await
}

/// A property of a service's container, by a template.
pub(crate) async fn inspect(service: &str, template: &str) -> String {
    docker(&["inspect", "--format", template, &container(service).await]).await
}

/// The full name of one of the project's networks.
pub(crate) fn network(name: &str) -> String {
    format!("{}_{name}", project())
}

/// Waits until the engine finds the service healthy.
pub(crate) async fn healthy(service: &str) {
    eventually(START, &format!("{service} to be healthy"), async || {
        match inspect(service, "{{.State.Health.Status}}").await.as_str() {
            "healthy" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}

/// Where a port of a service is to be had on this machine.
pub(crate) async fn address(service: &str, port: u16) -> SocketAddr {
    let addresses = docker(&["port", &container(service).await, &port.to_string()]).await;
    addresses.lines().next().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{service}:{port}: {addresses:?}"))
}

async fn ask(service: &str, arguments: &[&str]) -> String {
    let container = container(service).await;
    docker(&[&["exec", &container, "upstream", "ask"], arguments].concat()).await
}

/// Tells one of the upstreams how to behave.
pub(crate) async fn tell(service: &str, behaviour: &str) {
    ask(service, &["PUT", "/behaviour", behaviour]).await;
}

/// Tells one of the upstreams to crash at its next request.
pub(crate) async fn crash(service: &str) {
    let container = container(service).await;
    let told = attempt("docker", &["exec", &container, "upstream", "ask", "PUT", "/behaviour", "crash"]).await;
    // Orders go on, so the next request may end the container and this command with it.
    assert!(told.is_ok() || told.as_ref().is_err_and(|problem| problem.contains("exit status: 137")), "{told:?}");
}

/// What one of the upstreams recorded since it was started.
pub(crate) async fn records(service: &str) -> Records {
    serde_json::from_str(&ask(service, &["GET", "/requests"]).await).unwrap()
}

/// The gateway's statistics.
pub(crate) async fn stats() -> Stats {
    Stats::parse(&ask("gateway", &["--address", "127.0.0.1:9900", "GET", "/stats?format=json"]).await).unwrap()
}
