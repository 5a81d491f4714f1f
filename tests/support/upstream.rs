//! Upstreams that record what they receive and behave as they are told. HTTP/1.1 and HTTP/2 (by prior knowledge) on one port.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::answer::{Answer, AnswerBody, Behaviour, Cut, Tally};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::tls::Door;

/// The beginning or the end of a request, with its path. A request ends before its response is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its head has arrived.
    Begun(String),
    /// It is answered, or was given up.
    Ended(String),
}

struct Shared {
    door: Option<Arc<Door>>,
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Arc<Mutex<Recorded>>>>,
    forgets: AtomicBool,
    begun: Mutex<Vec<Instant>>,
    events: Mutex<Vec<Event>>,
    tally: Arc<Tally>,
}

/// A running upstream. It ends when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: tokio::task::JoinHandle<()>,
    /// Holds the port while it is closed.
    reserved: Option<TcpSocket>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Upstream {
    /// Starts an upstream that returns 200.
    pub(crate) async fn start() -> Self {
        Self::behaving(Behaviour::Answer(Answer::status(200))).await
    }

    /// Starts an upstream.
    pub(crate) async fn behaving(behaviour: Behaviour) -> Self {
        Self::behind(None, behaviour).await
    }

    /// Starts an upstream that returns 200 to whom the door lets in.
    pub(crate) async fn secured(door: Arc<Door>) -> Self {
        Self::behind(Some(door), Behaviour::Answer(Answer::status(200))).await
    }

    async fn behind(door: Option<Arc<Door>>, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            door,
            behaviour: Mutex::new(behaviour),
            requests: Mutex::default(),
            forgets: AtomicBool::new(false),
            begun: Mutex::default(),
            events: Mutex::default(),
            tally: Arc::default(),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, acceptor, reserved: None }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does with the requests from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// From now on only [`begun`](Self::begun) tells of requests: a hundred thousand of them would take too much memory.
    pub(crate) fn forget(&self) {
        self.shared.forgets.store(true, Ordering::Relaxed);
    }

    /// When each request began to arrive, since the start.
    pub(crate) fn begun(&self) -> Vec<Instant> {
        self.shared.begun.lock().unwrap().clone()
    }

    /// The beginnings and ends of all requests so far, in their order.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.shared.events.lock().unwrap().clone()
    }

    /// Breaks all connections, and refuses new ones.
    pub(crate) async fn close(&mut self) {
        self.acceptor.abort();
        // Only when it has ended is its listener closed.
        let _ = (&mut self.acceptor).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.reserved = Some(socket);
    }

    /// Listens again after a close, on the same port.
    pub(crate) fn open(&mut self) {
        let listener = self.reserved.take().unwrap().listen(1024).unwrap();
        self.acceptor = tokio::spawn(accept(listener, Arc::clone(&self.shared)));
    }

    /// What has arrived so far, in the order of arrival.
    pub(crate) fn received(&self) -> Vec<Recorded> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().map(|request| request.lock().unwrap().clone()).collect()
    }

    /// How many requests have arrived whole.
    pub(crate) fn complete(&self) -> usize {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|request| request.lock().unwrap().complete).count()
    }

    /// Waits until `count` requests have arrived whole, and takes all that have arrived.
    pub(crate) async fn take(&self, count: usize) -> Vec<Recorded> {
        self.arrived(count).await;
        std::mem::take(&mut *self.shared.requests.lock().unwrap()).iter().map(|request| request.lock().unwrap().clone()).collect()
    }

    /// Waits until `count` requests have arrived whole.
    pub(crate) async fn arrived(&self, count: usize) {
        eventually(PATIENCE, "requests at the upstream", async || {
            let seen = self.complete();
            if seen >= count {
                Ok(())
            } else {
                Err(format!("{seen} of {count}"))
            }
        })
        .await;
    }

    /// Waits for the one request that should arrive, and takes it.
    pub(crate) async fn take_one(&self) -> Recorded {
        let mut all = self.take(1).await;
        assert_eq!(all.len(), 1, "one request should have arrived: {all:?}");
        all.remove(0)
    }

    /// How many answers were handed over to the connection whole.
    pub(crate) fn answered(&self) -> usize {
        self.shared.tally.answered.load(Ordering::Relaxed)
    }

    /// How many requests or answers the other side gave up before their end.
    pub(crate) fn abandoned(&self) -> usize {
        self.shared.tally.abandoned.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // The set ends its tasks with this one.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    match shared.door.clone() {
        None => speak(stream, shared).await,
        Some(door) => {
            if let Some(stream) = door.admit(stream).await {
                speak(stream, shared).await;
            }
        }
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, shared: Arc<Shared>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().auto_date_header(false).timer(TokioTimer::new()).max_headers(4000);
    server.http2().auto_date_header(false).max_header_list_size(2 << 20);
    let service = service_fn(move |request| handle(request, Arc::clone(&shared)));
    // An error is an end that the other side chose, or that a behaviour asked for.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// Counts a request as abandoned unless it was defused.
struct Abandoned(Arc<Tally>, bool);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if self.1 {
            self.0.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Notes the end of a request when it is dropped.
struct Noted(Arc<Shared>, String);

impl Noted {
    fn begun(shared: &Arc<Shared>, path: &str) -> Self {
        shared.events.lock().unwrap().push(Event::Begun(path.to_owned()));
        Self(Arc::clone(shared), path.to_owned())
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.events.lock().unwrap().push(Event::Ended(std::mem::take(&mut self.1)));
    }
}

async fn handle(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<AnswerBody>, &'static str> {
    let behaviour = shared.behaviour.lock().unwrap().clone();
    let forgets = shared.forgets.load(Ordering::Relaxed);
    let _noted = (!forgets).then(|| Noted::begun(&shared, request.uri().path()));
    let mut guard = Abandoned(Arc::clone(&shared.tally), true);
    let (parts, body) = request.into_parts();
    let record = Arc::new(Mutex::new(Recorded::begun(&parts)));
    shared.begun.lock().unwrap().push(Instant::now());
    if !forgets {
        shared.requests.lock().unwrap().push(Arc::clone(&record));
    }
    let answer = match behaviour {
        Behaviour::AnswerEarly(answer) => answer,
        other => {
            read(body, &record).await.map_err(|_| "the request broke off")?;
            let chosen = match other {
                Behaviour::Chosen(choice) => choice.of(&record.lock().unwrap()),
                other => other,
            };
            match chosen {
                Behaviour::Answer(answer) | Behaviour::AnswerEarly(answer) => answer,
                Behaviour::Chosen(_) => unreachable!("it was chosen by the request"),
                Behaviour::Gated(gate, answer) => {
                    gate.passed().await;
                    answer
                }
                Behaviour::Echo => Answer { body: record.lock().unwrap().body(), ..Answer::status(200) },
                Behaviour::CloseBeforeHeaders => {
                    guard.1 = false;
                    return Err("closed as asked");
                }
                Behaviour::Hang => std::future::pending().await,
                Behaviour::CloseInAnswer => {
                    guard.1 = false;
                    return Ok(Answer::status(200).response(&shared.tally, Cut::Close));
                }
                Behaviour::HangInAnswer => {
                    guard.1 = false;
                    return Ok(Answer::status(200).response(&shared.tally, Cut::Hang));
                }
            }
        }
    };
    tokio::time::sleep(answer.delay).await;
    guard.1 = false;
    Ok(answer.response(&shared.tally, Cut::Not))
}

async fn read(mut body: Incoming, record: &Mutex<Recorded>) -> Result<(), hyper::Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let mut record = record.lock().unwrap();
        match frame.into_data() {
            Ok(data) => record.chunks.push((Instant::now(), data)),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    record.trailers = crate::support::recorded::list(&trailers);
                }
            }
        }
    }
    record.lock().unwrap().complete = true;
    Ok(())
}

/// A port at which nobody listens, reserved so that nobody else can.
pub(crate) struct Refusing(TcpSocket);

impl Refusing {
    /// Reserves a port.
    pub(crate) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self(socket)
    }

    /// The address of the port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}
