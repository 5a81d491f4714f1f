//! Answers over HTTP/1.1 that break every rule, and a target that gives them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::dice::Dice;
use crate::support::frames::{Ending, Reaction};
use crate::support::quick::request_length;

const STATUS_LINES: [&str; 24] = [
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 205 Reset",
    "HTTP/1.1 206 Partial",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 301 Moved",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 429 Later",
    "HTTP/1.1 500 Oops",
    "HTTP/1.1 503 Busy",
    "HTTP/1.1 999 Strange",
    "HTTP/1.1 1000 Stranger",
    "HTTP/1.1 000 None",
    "HTTP/1.1 -1 Less",
    "HTTP/1.1 101 Switching",
    "HTTP/9.9 200 OK",
    "HTTP/2 200 OK",
    "ICY 200 OK",
    "200 OK",
    "",
];

const INFORMATIONAL: [&str; 5] = ["100 Continue", "101 Switching", "102 Processing", "103 Early Hints", "199 Odd"];

const FIELDS: [&str; 26] = [
    "content-type: application/json",
    "content-type: application/grpc",
    "content-encoding: gzip",
    "content-length: -1",
    "content-length: +5",
    "content-length: 99999999999999999999",
    "content-length: 1000000",
    "content-length: 2, 2",
    "content-length: 0",
    "transfer-encoding: chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: identity",
    "connection: close",
    "connection: keep-alive, upgrade",
    "upgrade: websocket",
    "retry-after: 0",
    "retry-after: Thu, 01 Jan 1970 00:00:00 GMT",
    "retry-after: -18446744073709551616",
    "grpc-status: 0",
    "grpc-status: 99999999999",
    "x-envoy-upstream-service-time: -1",
    "x-envoy-overloaded: true",
    "no colon at all",
    ": no name",
    " folded",
];

/// The response of this number.
pub(crate) fn answer(dice: &mut Dice) -> Reaction {
    let mut bytes = Vec::new();
    while dice.once_in(6) {
        bytes.extend(format!("HTTP/1.1 {}\r\n\r\n", dice.one_of(&INFORMATIONAL)).into_bytes());
    }
    bytes.extend(message(dice));
    if dice.once_in(20) {
        // Another one, which nobody asked for.
        bytes.extend(message(dice));
    }
    if dice.once_in(30) {
        let length = dice.below(300);
        bytes = dice.bytes(length);
    }
    dice.spoil(&mut bytes);
    let ending = dice.one_of(&[Ending::Stays, Ending::Stays, Ending::Stays, Ending::Closes, Ending::Resets]);
    Reaction { bytes, ending }
}

fn message(dice: &mut Dice) -> Vec<u8> {
    let end = if dice.once_in(15) { "\n" } else { "\r\n" };
    let length = dice.below(40);
    let body = if dice.once_in(2) { br#"{"id": 1, "list": [1, 2]}"#.to_vec() } else { dice.bytes(length) };
    let mut head = format!("{}{end}", dice.one_of(&STATUS_LINES)).into_bytes();
    for _ in 0..dice.below(4) {
        head.extend(format!("{}{end}", dice.one_of(&FIELDS)).into_bytes());
    }
    if dice.once_in(25) {
        head.extend([b"x-raw: ", &dice.bytes(20)[..], end.as_bytes()].concat());
    }
    if dice.once_in(40) {
        head.extend(format!("x-long: {}{end}", "a".repeat(dice.one_of(&[8_000, 70_000]))).into_bytes());
    }
    if dice.once_in(40) {
        head.extend(format!("x-many: a{end}").repeat(dice.one_of(&[90, 200])).into_bytes());
    }
    let framed = match dice.below(6) {
        0 => chunked(&body, dice),
        1 => body,
        2 => {
            head.extend(format!("content-length: {}{end}", body.len() + dice.below(5)).into_bytes());
            body
        }
        _ => {
            head.extend(format!("content-length: {}{end}", body.len()).into_bytes());
            body
        }
    };
    if framed.len() > 60 || dice.once_in(8) {
        head.extend(format!("transfer-encoding: chunked{end}").into_bytes());
    }
    [head, end.as_bytes().to_vec(), framed].concat()
}

fn chunked(body: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in body.chunks(1 + dice.below(20)) {
        let size = match dice.below(12) {
            0 => "xyz".to_owned(),
            1 => "ffffffffffffffffff".to_owned(),
            2 => "-1".to_owned(),
            3 => format!("{:x};name=\"value", piece.len()),
            4 => format!("{:x}", piece.len() + 1),
            _ => format!("{:x}", piece.len()),
        };
        bytes.extend([size.as_bytes(), b"\r\n", piece, if dice.once_in(12) { b"" } else { b"\r\n" }].concat());
    }
    let ends: [&[u8]; 5] =
        [b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nx-end: 1\r\n\r\n", b"0\r\ncontent-length: 3\r\n: bad\r\n\r\n", b""];
    bytes.extend(dice.one_of(&ends));
    bytes
}

/// A target over HTTP/1.1 that responds so.
pub(crate) struct Http1Target {
    address: SocketAddr,
    answered: Arc<AtomicU64>,
    acceptor: JoinHandle<()>,
}

impl Drop for Http1Target {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Http1Target {
    /// Starts one.
    pub(crate) async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&answered);
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream, seed, Arc::clone(&counter)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, answered, acceptor }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, seed: u64, answered: Arc<AtomicU64>) {
    let mut unread = Vec::new();
    loop {
        let Ok(1..) = stream.read_buf(&mut unread).await else { return };
        loop {
            let number = answered.load(Ordering::Relaxed);
            let mut dice = Dice::new(seed, number);
            let is_early = dice.once_in(30) && !unread.is_empty();
            let whole = request_length(&unread);
            if whole.is_none() && !is_early {
                break;
            }
            unread.drain(..whole.unwrap_or(unread.len()));
            answered.fetch_add(1, Ordering::Relaxed);
            let reaction = answer(&mut dice);
            if !reaction.play(&mut stream).await {
                return;
            }
        }
    }
}
