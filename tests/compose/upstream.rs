//! An upstream for the containers of `envoy/docker-compose.yaml`. It records what it receives, and misbehaves on demand.
//!
//! `upstream serve` accepts any request, and commands on a port of the container's loopback interface. `upstream ask` sends a command: `ask PUT
//! /behaviour 503`, `ask GET /requests`. It is also the client for health checks in images that have no other program.

// Nothing that ships may panic. Tests and benchmarks may.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable,
    clippy::todo,
    clippy::unimplemented
)]

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::{Parser, Subcommand};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{client, server, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio::time::{sleep, timeout};

type Failure = Box<dyn Error + Send + Sync>;
type Answer = Response<Full<Bytes>>;

/// The most requests to keep, and the most bytes of each body.
const KEPT: usize = 20_000;
const KEPT_BYTES: usize = 16 * 1024;
/// The time that requests in flight have at SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// The timeout of a command.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take requests until SIGTERM
    Serve {
        /// What is to become of requests: a status, "slow 300ms" (then 200), "hang", "reset" or "crash"
        #[arg(long, default_value = "200")]
        behaviour: Behaviour,
        /// Where requests come in
        #[arg(long, default_value = "0.0.0.0:8080")]
        listen: SocketAddr,
        /// Where orders come in
        #[arg(long, default_value = "127.0.0.1:8081")]
        admin: SocketAddr,
    },
    /// Send one request, print the response's body; fails unless it is a 2xx
    Ask {
        #[arg(long, default_value = "127.0.0.1:8081")]
        address: SocketAddr,
        method: Method,
        path: String,
        #[arg(default_value = "")]
        body: String,
    },
}

/// The reaction to a request after it was read.
#[derive(Clone, Debug, PartialEq)]
enum Behaviour {
    Status(StatusCode),
    Slow(Duration),
    Hang,
    Reset,
    Crash,
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "hang" => Ok(Self::Hang),
            "reset" => Ok(Self::Reset),
            "crash" => Ok(Self::Crash),
            other => match other.strip_prefix("slow ") {
                Some(delay) => humantime::parse_duration(delay).map(Self::Slow).map_err(|error| error.to_string()),
                None => other.parse().map(Self::Status).map_err(|_| format!("no behaviour: {other:?}")),
            },
        }
    }
}

/// A received request.
#[derive(Serialize)]
struct Recorded {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    /// Absent if the request gets no response.
    status: Option<u16>,
}

/// The requests received since the start.
#[derive(Default, Serialize)]
struct Records {
    /// Includes requests that are no longer kept.
    total: u64,
    requests: VecDeque<Recorded>,
}

struct Upstream {
    behaviour: Mutex<Behaviour>,
    records: Mutex<Records>,
}

/// Locks a mutex, even if a thread panicked while it held it: the data is always consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    async fn receive(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Failure> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let behaviour = lock(&self.behaviour).clone();
        let status = match behaviour {
            Behaviour::Status(status) => Some(status),
            Behaviour::Slow(_) => Some(StatusCode::OK),
            Behaviour::Hang | Behaviour::Reset | Behaviour::Crash => None,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.keep(Recorded {
            method: head.method.to_string(),
            path: head.uri.to_string(),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body: text(body.get(..KEPT_BYTES).unwrap_or(&body)),
            status: status.map(|status| status.as_u16()),
        });
        match behaviour {
            Behaviour::Slow(delay) => sleep(delay).await,
            Behaviour::Hang => std::future::pending().await,
            // hyper closes the connection.
            Behaviour::Reset => return Err("reset as told".into()),
            Behaviour::Crash => std::process::exit(1),
            Behaviour::Status(_) => {}
        }
        Ok(answer(status.unwrap_or_default(), "taken\n"))
    }

    fn keep(&self, request: Recorded) {
        let mut records = lock(&self.records);
        records.total += 1;
        records.requests.push_back(request);
        if records.requests.len() > KEPT {
            records.requests.pop_front();
        }
    }

    async fn obey(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Failure> {
        let (head, body) = request.into_parts();
        Ok(match (head.method.as_str(), head.uri.path()) {
            ("GET", "/ready") => answer(StatusCode::OK, "ready\n"),
            ("GET", "/requests") => answer(StatusCode::OK, serde_json::to_vec(&*lock(&self.records))?),
            ("PUT", "/behaviour") => match String::from_utf8_lossy(&body.collect().await?.to_bytes()).parse::<Behaviour>() {
                Ok(behaviour) => {
                    let told = format!("{behaviour:?}\n");
                    *lock(&self.behaviour) = behaviour;
                    answer(StatusCode::OK, told)
                }
                Err(problem) => answer(StatusCode::BAD_REQUEST, problem),
            },
            _ => answer(StatusCode::NOT_FOUND, "GET /ready, GET /requests, PUT /behaviour\n"),
        })
    }
}

fn answer(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}

async fn serve(behaviour: Behaviour, listen: SocketAddr, admin: SocketAddr) -> Result<(), Failure> {
    let upstream = Arc::new(Upstream { behaviour: Mutex::new(behaviour), records: Mutex::default() });
    let (requests, orders) = (TcpListener::bind(listen).await?, TcpListener::bind(admin).await?);
    let mut terminate = signal(SignalKind::terminate())?;
    let open = GracefulShutdown::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = requests.accept() => {
                let upstream = Arc::clone(&upstream);
                let service = service_fn(move |request| Arc::clone(&upstream).receive(request));
                let connection = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // An error means that the peer closed the connection, or that a behaviour did.
                tokio::spawn(open.watch(connection));
            }
            Ok((stream, _)) = orders.accept() => {
                let upstream = Arc::clone(&upstream);
                let service = service_fn(move |request| Arc::clone(&upstream).obey(request));
                tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            _ = terminate.recv() => break,
        }
    }
    drop(requests);
    // Requests that hang never end.
    let _ = timeout(GRACE, open.shutdown()).await;
    Ok(())
}

async fn ask(address: SocketAddr, method: Method, path: String, body: String) -> Result<bool, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header("host", address.to_string()).body(Full::new(Bytes::from(body)))?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    println!("{}", String::from_utf8_lossy(&body.collect().await?.to_bytes()));
    Ok(head.status.is_success())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    match Arguments::parse().command {
        Command::Serve { behaviour, listen, admin } => serve(behaviour, listen, admin).await.map(|()| ExitCode::SUCCESS),
        Command::Ask { address, method, path, body } => {
            let good = timeout(PATIENCE, ask(address, method, path, body)).await??;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
