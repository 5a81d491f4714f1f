//! The primary and the mirror targets: as cheap as a real HTTP server can be, in this process, counting what they get.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde::de::IgnoredAny;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::Result;

/// How long requests may still arrive once the load has ended.
const DRAIN: Duration = Duration::from_secs(30);

/// What one upstream received, in whole requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// While requests are inspected: the entries of bodies that are JSON arrays.
    pub(crate) items: u64,
    /// While requests are inspected: bodies that begin like a JSON array and are none.
    pub(crate) broken: u64,
}

/// One request of many.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Its path and query.
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Counters {
    active: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    items: AtomicU64,
    broken: AtomicU64,
    inspected: AtomicBool,
    /// While requests are inspected: the last one, its body in the pieces in which it came.
    last: Mutex<Option<(Uri, Vec<Bytes>)>>,
}

impl Counters {
    fn inspect(&self, path: Uri, body: Vec<Bytes>) {
        if body.first().is_some_and(|first| first.starts_with(b"[")) {
            match serde_json::from_slice::<Vec<IgnoredAny>>(&body.concat()) {
                Ok(items) => self.items.fetch_add(items.len() as u64, SeqCst),
                Err(_) => self.broken.fetch_add(1, SeqCst),
            };
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((path, body));
    }
}

struct Upstream {
    address: SocketAddr,
    counters: Arc<Counters>,
}

/// The primary first, then the targets.
pub(crate) struct Upstreams {
    all: Vec<Upstream>,
    // Ends the servers when it is dropped.
    _runtime: Runtime,
}

impl Upstreams {
    /// Starts a primary and `targets` targets on `cpus` CPUs.
    pub(crate) fn start(targets: usize, cpus: usize) -> Result<Self> {
        let threads = cpus.clamp(1, 4);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        let mut all = Vec::new();
        for _ in 0..=targets {
            let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
            let upstream = Upstream { address: listener.local_addr()?, counters: Arc::default() };
            runtime.spawn(accept(listener, Arc::clone(&upstream.counters)));
            all.push(upstream);
        }
        Ok(Self { all, _runtime: runtime })
    }

    pub(crate) fn primary(&self) -> SocketAddr {
        self.all[0].address
    }

    pub(crate) fn target(&self, index: usize) -> SocketAddr {
        self.all[index + 1].address
    }

    /// What each upstream got since the start, the primary first.
    pub(crate) fn received(&self) -> Vec<Received> {
        let read = |upstream: &Upstream| Received {
            requests: upstream.counters.requests.load(SeqCst),
            bytes: upstream.counters.bytes.load(SeqCst),
            items: upstream.counters.items.load(SeqCst),
            broken: upstream.counters.broken.load(SeqCst),
        };
        self.all.iter().map(read).collect()
    }

    /// Whether requests are looked into from now on; it takes time of theirs, not of Envoy's.
    pub(crate) fn inspect(&self, inspected: bool) {
        for upstream in &self.all {
            upstream.counters.inspected.store(inspected, SeqCst);
        }
    }

    /// The last request that a target got while requests were inspected.
    pub(crate) fn last(&self, target: usize) -> Option<Sample> {
        let last = self.all[target + 1].counters.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(path, body)| Sample { path: path.to_string(), body: body.concat() })
    }

    /// Whether no request is under way at any upstream.
    pub(crate) fn idle(&self) -> bool {
        self.all.iter().all(|upstream| upstream.counters.active.load(SeqCst) == 0)
    }

    /// Waits until no request is under way at any upstream and none has come for so long.
    pub(crate) fn drain(&self, quiet: Duration) -> Result<()> {
        let start = Instant::now();
        let mut seen = self.received();
        let mut since = Instant::now();
        while start.elapsed() < DRAIN {
            thread::sleep(Duration::from_millis(5));
            let now = self.received();
            if !self.idle() || now != seen {
                seen = now;
                since = Instant::now();
            } else if since.elapsed() >= quiet {
                return Ok(());
            }
        }
        Err(format!("requests were still arriving {} s after the load had ended", DRAIN.as_secs()).into())
    }
}

async fn accept(listener: TcpListener, counters: Arc<Counters>) {
    loop {
        // A failed accept concerns one connection; what then is missing shows in the counts.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&counters)));
        }
    }
}

async fn serve(stream: TcpStream, counters: Arc<Counters>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, &counters));
    // An error here is a connection that Envoy closed.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, counters: &Counters) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    counters.active.fetch_add(1, SeqCst);
    let _active = Active(counters);
    let inspected = counters.inspected.load(SeqCst);
    let (head, mut body) = request.into_parts();
    let (mut bytes, mut pieces) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data().unwrap_or_default()) {
            Ok(data) => {
                bytes += data.len() as u64;
                if inspected {
                    pieces.push(data);
                }
            }
            // Cut off: not a request that arrived.
            Err(_) => return Ok(Response::new(Full::default())),
        }
    }
    if inspected {
        counters.inspect(head.uri, pieces);
    }
    counters.requests.fetch_add(1, SeqCst);
    counters.bytes.fetch_add(bytes, SeqCst);
    Ok(Response::new(Full::from("ok")))
}

/// Counts a request as under way for as long as it lives, however it ends.
struct Active<'a>(&'a Counters);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, SeqCst);
    }
}
