//! An open-loop load: requests begin by the clock, whether or not earlier ones have ended.
//!
//! Latency counts from the moment at which a request was due, so a stall shows in every request that it held up, and not only in
//! the one that met it ("coordinated omission").

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::eventually::PATIENCE;

/// POST requests at a constant rate. The path of each is its number, from `/0`.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: u32,
    /// For how long.
    pub(crate) duration: Duration,
    /// The most HTTP/1.1 connections. A request that finds all of them busy waits, and its latency with it.
    pub(crate) connections: usize,
    /// The body of each request.
    pub(crate) body: Bytes,
}

impl Load {
    /// How many requests it has.
    pub(crate) fn total(&self) -> u64 {
        (self.duration.as_secs_f64() * f64::from(self.rate)).round() as u64
    }

    /// Sends it to an address; the task tells the end.
    pub(crate) fn start(self, address: SocketAddr) -> JoinHandle<Report> {
        tokio::spawn(self.send_all(address))
    }

    /// The number of each request when it is due. On a thread of its own: timers of tokio are late by a millisecond or so.
    fn schedule(&self, started: Instant) -> mpsc::UnboundedReceiver<(u64, Instant)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (total, rate) = (self.total(), f64::from(self.rate));
        std::thread::spawn(move || {
            for index in 0..total {
                let due = started + Duration::from_secs_f64(index as f64 / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if sender.send((index, due)).is_err() {
                    // Nobody waits for it any more.
                    return;
                }
            }
        });
        receiver
    }

    async fn send_all(self, address: SocketAddr) -> Report {
        let pool = Arc::new(Pool { address, idle: Mutex::default() });
        let free = Arc::new(Semaphore::new(self.connections));
        let mut sending = JoinSet::new();
        let started = Instant::now();
        let sent = self.total();
        let mut due = self.schedule(started);
        while let Some((index, due)) = due.recv().await {
            let place = Arc::clone(&free).acquire_owned().await.unwrap();
            let (pool, body) = (Arc::clone(&pool), self.body.clone());
            sending.spawn(async move {
                let answer = tokio::time::timeout(PATIENCE, pool.send(index, body)).await;
                drop(place);
                (answer.unwrap_or_else(|_| Err(format!("no response within {PATIENCE:?}"))), due.elapsed())
            });
        }
        let mut report = Report {
            sent,
            statuses: BTreeMap::new(),
            errors: Vec::new(),
            resent: 0,
            latency: Histogram::new(3).unwrap(),
            took: Duration::ZERO,
        };
        while let Some(end) = sending.join_next().await {
            let (answer, latency) = end.unwrap();
            report.latency.record(u64::try_from(latency.as_micros()).unwrap()).unwrap();
            match answer {
                Ok((status, resent)) => {
                    *report.statuses.entry(status).or_default() += 1;
                    report.resent += resent;
                }
                Err(error) => report.errors.push(error),
            }
        }
        report.took = started.elapsed();
        report
    }
}

/// What became of the requests.
#[derive(Debug)]
pub(crate) struct Report {
    /// How many there were.
    pub(crate) sent: u64,
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// What went wrong where there was no whole response.
    pub(crate) errors: Vec<String>,
    /// How often a request met a connection that had been closed before anything of it was written, and took another.
    pub(crate) resent: u64,
    /// Microseconds from the moment a request was due to the end of its response, whatever that was.
    pub(crate) latency: Histogram<u64>,
    /// From the first request to the end of the last.
    pub(crate) took: Duration,
}

impl Report {
    /// Holds if each request was answered with 200.
    #[track_caller]
    pub(crate) fn assert_no_failure(&self) {
        assert_eq!(self.errors, [""; 0], "{self}");
        assert_eq!(self.statuses, [(200, self.sent)].into(), "{self}");
    }

    /// A percentile of the latency.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_percentile(percent))
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let rate = self.sent as f64 / self.took.as_secs_f64();
        write!(formatter, "{} requests, {rate:.0} a second, by status {:?}, ", self.sent, self.statuses)?;
        write!(formatter, "{} errors, {} resent; latency", self.errors.len(), self.resent)?;
        for percent in [50.0, 99.0, 99.9, 100.0] {
            write!(formatter, " p{percent} {:?}", self.percentile(percent))?;
        }
        Ok(())
    }
}

/// The connections. Those that were idle the longest are used first, so that none is idle for long while Envoy would rather close it.
struct Pool {
    address: SocketAddr,
    idle: Mutex<VecDeque<SendRequest<Full<Bytes>>>>,
}

impl Pool {
    /// Sends the request of this number; gives the status, and how many connections proved to be closed already.
    async fn send(&self, index: u64, body: Bytes) -> Result<(u16, u64), String> {
        let request = Request::post(format!("/{index}")).header("host", "load");
        let mut request = request.body(Full::new(body)).unwrap();
        let mut resent = 0;
        loop {
            let mut connection = self.connection().await?;
            match connection.try_send_request(request).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
                    self.idle.lock().unwrap().push_back(connection);
                    return Ok((status, resent));
                }
                // Only what hyper gives back was not written; anything else may have reached Envoy.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(format!("{:?}", error.into_error())),
                },
            }
            resent += 1;
        }
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        loop {
            let Some(mut idle) = self.idle.lock().unwrap().pop_front() else {
                break;
            };
            if idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("{error:?}"))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
