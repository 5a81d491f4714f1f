//! The load: a fixed number of connections, each of which sends its next request as soon as the last is answered, for as long as a slice is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::case::Case;
use crate::options::Options;
use crate::Result;

/// Headers such as a service inside a mesh sees.
const HEADERS: [(&str, &str); 7] = [
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
    ("authorization", "Bearer 0123456789abcdef0123456789abcdef"),
    ("content-type", "application/json"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("user-agent", "orders/1.4.2"),
    ("x-user-id", "c0ffee"),
];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Clients of one Envoy. They keep their connections from slice to slice.
pub(crate) struct Clients {
    idle: Vec<SendRequest<Full<Bytes>>>,
    request: Request<Full<Bytes>>,
    think: Duration,
    // On the thread that waits for it: between slices nothing of it runs.
    runtime: Runtime,
}

/// What the clients saw in one slice.
pub(crate) struct Load {
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// How long each request took.
    pub(crate) latencies: Vec<Duration>,
}

impl Clients {
    /// Connects to `listener`.
    pub(crate) fn connect(listener: SocketAddr, case: &Case, options: &Options) -> Result<Self> {
        let method = if case.body.is_empty() { Method::GET } else { Method::POST };
        let mut request = Request::builder().method(method).uri("/orders?source=web").header("host", listener.to_string());
        for (name, value) in HEADERS {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(case.body.clone()))?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connect = async {
            let mut idle = Vec::new();
            for _ in 0..options.connections {
                let stream = TcpStream::connect(listener).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                idle.push(sender);
            }
            Result::Ok(idle)
        };
        let idle = runtime.block_on(connect)?;
        Ok(Self { idle, request, think: Duration::from_millis(options.think_ms), runtime })
    }

    /// Begins requests for so long, and waits for the answers to all of them. Anything but an answer of 200 is an error.
    pub(crate) fn send(&mut self, slice: Duration) -> Result<Load> {
        let begin = Instant::now();
        let sending = async {
            let mut tasks = JoinSet::new();
            for sender in self.idle.drain(..) {
                tasks.spawn(send_until(begin + slice, sender, self.request.clone(), self.think));
            }
            let mut latencies = Vec::new();
            while let Some(ended) = tasks.join_next().await {
                let (sender, of_connection) = ended??;
                self.idle.push(sender);
                latencies.extend(of_connection);
            }
            Result::Ok(latencies)
        };
        let latencies = self.runtime.block_on(async { tokio::time::timeout(slice + PATIENCE, sending).await })??;
        Ok(Load { took: begin.elapsed(), latencies })
    }
}

type Sent = (SendRequest<Full<Bytes>>, Vec<Duration>);

async fn send_until(
    end: Instant,
    mut sender: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    think: Duration,
) -> std::result::Result<Sent, String> {
    let mut latencies = Vec::new();
    loop {
        if !think.is_zero() {
            // Spread around the mean: connections in step would make bursts.
            tokio::time::sleep(think.mul_f64(2.0 * fastrand::f64())).await;
        }
        sender.ready().await.map_err(|problem| format!("a connection broke: {problem}"))?;
        let begin = Instant::now();
        if begin >= end {
            return Ok((sender, latencies));
        }
        let answer = sender.send_request(request.clone()).await.map_err(|problem| format!("no answer: {problem}"))?;
        let status = answer.status();
        answer.into_body().collect().await.map_err(|problem| format!("half an answer: {problem}"))?;
        if status != 200 {
            return Err(format!("an answer with status {status}"));
        }
        latencies.push(begin.elapsed());
    }
}
