//! Very many requests: a client and a primary that do nothing but write what was prepared, and keep nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A primary that answers every request with 200 and no body. Bodies of requests need a `content-length`.
pub(crate) struct Primary {
    address: SocketAddr,
    acceptor: JoinHandle<()>,
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Primary {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream));
            }
        });
        Self { address, acceptor }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(mut stream: TcpStream) {
    let mut unread = Vec::new();
    loop {
        let Ok(1..) = stream.read_buf(&mut unread).await else { return };
        let mut out = Vec::new();
        while let Some(length) = request_length(&unread) {
            unread.drain(..length);
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
        if stream.write_all(&out).await.is_err() {
            return;
        }
    }
}

/// The length of the first message with its body, if all of it is there.
pub(crate) fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length = head + length.map_or(0, |length| length.trim().parse().unwrap());
    (bytes.len() >= length).then_some(length)
}

/// What clients send: a request by its number.
pub(crate) type Requests = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// Clients that send one request after the other. They are gone when this is dropped, or when nobody answers.
pub(crate) struct Clients {
    sent: Arc<AtomicU64>,
    /// Requests that were answered.
    done: Arc<AtomicU64>,
    sending: JoinSet<()>,
}

impl Clients {
    /// Starts them. Each has a connection of its own.
    pub(crate) fn start(address: SocketAddr, connections: usize, requests: &Requests) -> Self {
        let (sent, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut sending = JoinSet::new();
        for _ in 0..connections {
            sending.spawn(send(address, Arc::clone(requests), Arc::clone(&sent), Arc::clone(&done)));
        }
        Self { sent, done, sending }
    }

    /// Requests that were answered.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until no client is left: the other side is gone.
    pub(crate) async fn are_gone(&mut self) -> u64 {
        while self.sending.join_next().await.is_some() {}
        self.sent.load(Ordering::Relaxed)
    }
}

async fn send(address: SocketAddr, requests: Requests, sent: Arc<AtomicU64>, done: Arc<AtomicU64>) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let _ = stream.set_nodelay(true);
    let mut unread = Vec::new();
    loop {
        let request = requests(sent.fetch_add(1, Ordering::Relaxed));
        if stream.write_all(&request).await.is_err() {
            return;
        }
        while !unread.windows(4).any(|window| window == b"\r\n\r\n") {
            let Ok(1..) = stream.read_buf(&mut unread).await else { return };
        }
        unread.clear();
        done.fetch_add(1, Ordering::Relaxed);
    }
}
