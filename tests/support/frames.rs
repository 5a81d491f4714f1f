//! HTTP/2 by hand: a target that writes the frames it is told to, allowed or not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Flags of frames (RFC 9113, 6).
pub(crate) const END_STREAM: u8 = 1;
/// The block of headers is complete.
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Types of frames (RFC 9113, 6).
pub(crate) mod kind {
    /// A part of a body.
    pub(crate) const DATA: u8 = 0;
    /// Headers or trailers.
    pub(crate) const HEADERS: u8 = 1;
    /// The end of a stream by force.
    pub(crate) const RST_STREAM: u8 = 3;
    /// Terms of the connection.
    pub(crate) const SETTINGS: u8 = 4;
    /// A sign of life.
    pub(crate) const PING: u8 = 6;
    /// The announced end of the connection.
    pub(crate) const GOAWAY: u8 = 7;
    /// Leave to send more.
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    /// More of a block of headers.
    pub(crate) const CONTINUATION: u8 = 9;
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field without the tables of HPACK (RFC 7541, 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.extend(length(text.len()));
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// The length of a text (RFC 7541, 5.1), with the bit of Huffman's code unset.
fn length(mut number: usize) -> Vec<u8> {
    if number < 127 {
        return vec![number as u8];
    }
    number -= 127;
    let mut bytes = vec![127];
    while number >= 128 {
        bytes.push((number % 128) as u8 | 128);
        number /= 128;
    }
    bytes.push(number as u8);
    bytes
}

/// Headers with a status and some fields.
pub(crate) fn headers(stream: u32, status: u16, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let mut block = field(":status", &status.to_string());
    fields.iter().for_each(|(name, value)| block.extend(field(name, value)));
    block_of(stream, &block, flags)
}

/// Trailers.
pub(crate) fn trailers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    block_of(stream, &block, END_STREAM)
}

/// A block of headers in as many frames as it takes.
pub(crate) fn block_of(stream: u32, block: &[u8], flags: u8) -> Vec<u8> {
    let mut pieces = block.chunks(16_384).peekable();
    let mut bytes = Vec::new();
    let mut next = (kind::HEADERS, flags);
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frame(next.0, next.1 | last, stream, piece));
        next = (kind::CONTINUATION, 0);
    }
    bytes
}

/// A part of a body.
pub(crate) fn data(stream: u32, bytes: &[u8], flags: u8) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

/// What becomes of the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    /// It stays.
    Stays,
    /// It is closed in order.
    Closes,
    /// It is cut off (RST).
    Resets,
}

/// What a target does about a request.
#[derive(Debug)]
pub(crate) struct Reaction {
    /// What it writes.
    pub(crate) bytes: Vec<u8>,
    /// What it does then.
    pub(crate) ending: Ending,
}

impl Reaction {
    /// Does it; false if the connection is over.
    pub(crate) async fn play(&self, stream: &mut TcpStream) -> bool {
        let is_written = stream.write_all(&self.bytes).await.is_ok();
        if self.ending == Ending::Resets {
            let _ = stream.set_zero_linger();
        }
        is_written && self.ending == Ending::Stays
    }
}

/// How a target answers the request on a stream.
pub(crate) type Answers = Arc<dyn Fn(u32) -> Reaction + Send + Sync>;

/// A target that speaks HTTP/2 by prior knowledge.
pub(crate) struct Http2Target {
    address: SocketAddr,
    answered: Arc<AtomicU64>,
    acceptor: JoinHandle<()>,
}

impl Drop for Http2Target {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Http2Target {
    /// Starts one that takes this many requests at once on a connection. Every millisecond it answers some of those that are there.
    pub(crate) async fn start(streams: u32, answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&answered);
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream, streams, Arc::clone(&answers), Arc::clone(&counter)));
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

/// The length of what a client sends before its first frame (RFC 9113, 3.4).
const PREFACE: usize = 24;

async fn serve(mut stream: TcpStream, streams: u32, answers: Answers, answered: Arc<AtomicU64>) {
    let mut settings = vec![0, 3];
    settings.extend_from_slice(&streams.to_be_bytes());
    let mut out = frame(kind::SETTINGS, 0, 0, &settings);
    // Room for all bodies of all requests of a test.
    out.extend(frame(kind::WINDOW_UPDATE, 0, 0, &0x4000_0000_u32.to_be_bytes()));
    let mut unread = Vec::new();
    let mut begun = false;
    let mut waiting = Vec::new();
    let mut state = 0x9e37_79b9_u32;
    loop {
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
        let read = tokio::time::timeout(Duration::from_millis(1), stream.read_buf(&mut unread));
        match read.await {
            Ok(Ok(1..)) | Err(_) => {}
            Ok(_) => return,
        }
        if !begun && unread.len() >= PREFACE {
            unread.drain(..PREFACE);
            begun = true;
        }
        if begun {
            read_frames(&mut unread, &mut out, &mut waiting);
        }
        for id in std::mem::take(&mut waiting) {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            if state.is_multiple_of(4) {
                waiting.push(id);
                continue;
            }
            let Reaction { bytes, ending } = answers(id);
            out.extend(bytes);
            answered.fetch_add(1, Ordering::Relaxed);
            if ending != Ending::Stays {
                Reaction { bytes: out, ending }.play(&mut stream).await;
                return;
            }
        }
    }
}

/// Takes whole frames from what was read, and answers those that are about the connection; requests that are complete wait.
fn read_frames(unread: &mut Vec<u8>, out: &mut Vec<u8>, waiting: &mut Vec<u32>) {
    let mut at = 0;
    while let Some(head) = unread.get(at..at + 9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let Some(payload) = unread.get(at + 9..at + 9 + length) else { break };
        match kind {
            kind::SETTINGS if flags & ACK == 0 => out.extend(frame(kind::SETTINGS, ACK, 0, &[])),
            kind::PING if flags & ACK == 0 => out.extend(frame(kind::PING, ACK, 0, payload)),
            kind::HEADERS | kind::DATA if flags & END_STREAM != 0 => waiting.push(id),
            kind::RST_STREAM => waiting.retain(|waiting| *waiting != id),
            _ => {}
        }
        at += 9 + length;
    }
    unread.drain(..at);
}
