//! A client that does as planned, and holds what it gets against what the primary gave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answers::{self, Expected, Whole};
use crate::book::Book;
use crate::request::{Framing, Leave, Plan};
use crate::run::Script;
use crate::stage::ANSWERED;
use crate::support::client::{chunked, empty, full, Client as Http2};
use crate::support::eventually::PATIENCE;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The response was the primary's, and the primary had the request as it was sent. So the filter has seen it.
    Right,
    /// Nothing can be said of the response.
    Open,
    /// The connection ended before the response did.
    Incomplete(String),
}

/// How long a client waits for a primary that never answers.
const SHORT: Duration = Duration::from_millis(400);

pub(crate) struct Client {
    seed: u64,
    /// Envoy answers some paths by itself.
    has_routes: bool,
    address: SocketAddr,
    book: Arc<Book>,
    http2: Http2,
    connection: Option<TcpStream>,
}

/// A response, as far as it came.
#[derive(Debug, Default)]
struct Seen {
    status: u16,
    body: Vec<u8>,
    is_whole: bool,
    keeps: bool,
}

impl Client {
    pub(crate) fn new(script: &Script, address: SocketAddr, book: Arc<Book>) -> Self {
        let has_routes = !script.terms.is_dynamic;
        Self { seed: script.seed, has_routes, address, book, http2: Http2::http2(address), connection: None }
    }

    /// Sends what is planned. What is not right fails the run.
    pub(crate) async fn send(&mut self, plan: &Plan) -> Verdict {
        let expected = self.expected(plan);
        // Where nothing can be expected, there may be no response.
        let may_hang = plan.is_odd || matches!(expected, Expected::Nothing | Expected::Anything);
        let patience = if may_hang { SHORT } else { PATIENCE };
        let seen = match tokio::time::timeout(patience, self.exchange(plan)).await {
            Ok(seen) => seen,
            Err(_) if may_hang => None,
            Err(_) => panic!("no response within {patience:?} to {plan:?}, expected {expected:?}"),
        };
        // What breaks the rules may end the connection, also later.
        if matches!(expected, Expected::Anything) {
            self.http2 = Http2::http2(self.address);
        }
        if plan.leave.is_some() || plan.is_odd {
            return Verdict::Open;
        }
        let Some(seen) = seen.filter(|seen| seen.is_whole) else {
            return match expected {
                Expected::Exactly(whole) => Verdict::Incomplete(format!("{plan:?}, expected {whole:?}")),
                _ => Verdict::Open,
            };
        };
        match expected {
            Expected::Exactly(whole) => {
                self.compare(plan, &seen, &whole);
                self.compare_request(plan);
                Verdict::Right
            }
            Expected::AtMost(whole) => {
                self.compare(plan, &seen, &whole);
                Verdict::Open
            }
            Expected::Anything | Expected::Nothing => Verdict::Open,
        }
    }

    fn expected(&self, plan: &Plan) -> Expected {
        let path = plan.path.split('?').next().unwrap();
        match ANSWERED.iter().find(|(answered, ..)| self.has_routes && *answered == path) {
            // What a client of gRPC gets is not this status.
            Some(_) if plan.is_grpc() => Expected::Anything,
            Some((_, status, body)) => Expected::AtMost(Whole::of_envoy(*status, body)),
            None => answers::of_primary(self.seed, plan.number, plan.method == "HEAD").1,
        }
    }

    fn compare(&self, plan: &Plan, seen: &Seen, whole: &Whole) {
        let body: &[u8] = if plan.method == "HEAD" { &[] } else { &whole.body };
        assert!(
            seen.status == whole.status && seen.body == body,
            "the client saw {seen:?}, the primary gave {whole:?} to {plan:?}"
        );
    }

    fn compare_request(&self, plan: &Plan) {
        let arrived = self.book.take_primary(plan.number).unwrap_or_else(|| panic!("the primary never had {plan:?}"));
        let same = (&arrived.method, &arrived.path, &arrived.body) == (&plan.method, &plan.path, &plan.body);
        assert!(same, "{plan:?} came to the primary as {arrived:?}");
        for (name, value) in &arrived.ours {
            assert!(plan.headers.contains(&(name.clone(), value.clone())), "the primary got {name} with {plan:?}");
        }
    }

    async fn exchange(&mut self, plan: &Plan) -> Option<Seen> {
        if plan.is_http2 {
            return self.http2_exchange(plan).await;
        }
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await.ok()?,
        };
        let _ = stream.set_nodelay(true);
        if plan.by_reset && plan.leave.is_some() {
            let _ = stream.set_zero_linger();
        }
        let is_sent = AtomicBool::new(false);
        let seen = exchange(&mut stream, plan, &is_sent).await;
        if is_sent.load(Ordering::Relaxed)
            && plan.leave.is_none()
            && !plan.is_odd
            && seen.as_ref().is_some_and(|seen| seen.is_whole && seen.keeps)
        {
            self.connection = Some(stream);
        }
        seen
    }

    async fn http2_exchange(&self, plan: &Plan) -> Option<Seen> {
        let mut request = self.http2.request(&plan.method, &plan.path);
        for (name, value) in &plan.headers {
            request = request.header(name, &value[..]);
        }
        let body = match plan.framing {
            Framing::None => empty(),
            Framing::Length => full(plan.body.clone()),
            Framing::Chunked => chunked(&[Bytes::from(plan.body.clone())], None),
            Framing::Trailers => {
                let trailers = [("x-checksum".parse().unwrap(), "1".parse().unwrap())].into_iter().collect();
                chunked(&[Bytes::from(plan.body.clone())], Some(trailers))
            }
        };
        let request = request.body(body).ok()?;
        if plan.leave == Some(Leave::WithinAnswer) {
            drop(self.http2.begin(request).await);
            return None;
        }
        let exchange = self.http2.try_send(request);
        if plan.leave.is_some() {
            let _ = tokio::time::timeout(Duration::from_millis(plan.number % 20), exchange).await;
            return None;
        }
        let answered = exchange.await.ok()?;
        Some(Seen { status: answered.status.as_u16(), body: answered.body.to_vec(), is_whole: true, keeps: true })
    }
}

async fn exchange(stream: &mut TcpStream, plan: &Plan, is_sent: &AtomicBool) -> Option<Seen> {
    let head = plan.head();
    if plan.leave == Some(Leave::WithinHead) {
        let _ = stream.write_all(&head[..head.len() / 2]).await;
        return None;
    }
    let (mut read, mut write) = stream.split();
    let sending = async {
        let parts = plan.parts();
        write.write_all(&head).await.ok()?;
        for (index, part) in parts.iter().enumerate() {
            if plan.leave == Some(Leave::WithinBody) && 2 * index >= parts.len() {
                return None;
            }
            if !plan.pause.is_zero() {
                tokio::time::sleep(plan.pause).await;
            }
            write.write_all(part).await.ok()?;
        }
        is_sent.store(true, Ordering::Relaxed);
        match plan.leave {
            Some(Leave::WithinBody | Leave::AfterRequest) => None,
            // What is not sent any more may still be answered.
            _ => std::future::pending().await,
        }
    };
    let mut answer = Vec::new();
    let mut seen = None;
    let reading = async {
        loop {
            let more = read.read_buf(&mut answer).await;
            let is_over = !matches!(more, Ok(1..));
            seen = parse(&answer, plan.method == "HEAD", is_over);
            if is_over || seen.as_ref().is_some_and(|seen| seen.is_whole) || plan.leave == Some(Leave::WithinAnswer) {
                return;
            }
        }
    };
    tokio::select! {
        None::<()> = sending => {}
        () = reading => {}
    }
    seen
}

/// What has come of a response.
fn parse(mut bytes: &[u8], is_head: bool, is_over: bool) -> Option<Seen> {
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
        bytes = &bytes[end + 4..];
        if status >= 200 {
            return Some(parse_body(status, &head, bytes, is_head, is_over));
        }
        if status == 101 {
            return Some(Seen { status, is_whole: true, ..Seen::default() });
        }
    }
}

fn parse_body(status: u16, head: &str, bytes: &[u8], is_head: bool, is_over: bool) -> Seen {
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let keeps = field("connection") != Some("close");
    if is_head || matches!(status, 204 | 304) {
        return Seen { status, body: Vec::new(), is_whole: true, keeps };
    }
    if let Some(length) = field("content-length") {
        let length = length.parse().unwrap_or(usize::MAX);
        let body = bytes[..length.min(bytes.len())].to_vec();
        return Seen { status, is_whole: body.len() == length, body, keeps };
    }
    if field("transfer-encoding").is_none() {
        return Seen { status, body: bytes.to_vec(), is_whole: is_over, keeps: false };
    }
    let (mut body, mut rest) = (Vec::new(), bytes);
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let Ok(length) = usize::from_str_radix(&String::from_utf8_lossy(&rest[..line]), 16) else { break };
        if length == 0 {
            // Then trailers, up to an empty line.
            let is_whole = rest[line..].windows(4).any(|window| window == b"\r\n\r\n");
            return Seen { status, body, is_whole, keeps };
        }
        if rest.len() < line + 2 + length + 2 {
            break;
        }
        body.extend(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
    }
    Seen { status, body, is_whole: false, keeps }
}
