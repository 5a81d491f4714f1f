//! Plain TCP: for bytes that no HTTP library would send, and for upstreams that do not speak HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::eventually::PATIENCE;

/// Sends bytes and reads until the other side closes. The request should therefore ask for `connection: close`.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("a response in time").unwrap();
    answer
}

/// The status of a response on the wire.
pub(crate) fn status(answer: &[u8]) -> u16 {
    let line = String::from_utf8_lossy(answer);
    let status = line.split_whitespace().nth(1);
    status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {line:?}"))
}

/// Reads from a stream until what was read contains `end`.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    while !seen.windows(end.len()).any(|window| window == end) {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await;
        let count = read.expect("more bytes in time").unwrap();
        assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..count]);
    }
    seen
}

/// What an upstream on plain TCP does.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Reads the head of a request and writes these bytes, then keeps the connection open.
    Reply(Vec<u8>),
    /// Reads the head of a request and resets the connection (RST, not FIN).
    Reset,
    /// Writes the first bytes, then writes back whatever arrives.
    Echo(Vec<u8>),
}

/// An upstream on plain TCP. It keeps every byte that it reads, per connection.
pub(crate) struct RawUpstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    acceptor: JoinHandle<()>,
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl RawUpstream {
    /// Starts an upstream.
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(play(stream, script.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, seen, acceptor }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes read so far, per connection.
    pub(crate) fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().clone()
    }
}

async fn play(mut stream: TcpStream, script: Script, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    let index = {
        let mut seen = seen.lock().unwrap();
        seen.push(Vec::new());
        seen.len() - 1
    };
    if let Script::Echo(greeting) = &script {
        let _ = stream.write_all(greeting).await;
    }
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        let fresh = &piece[..count];
        let head_ended = {
            let mut seen = seen.lock().unwrap();
            let all = &mut seen[index];
            let from = all.len().saturating_sub(3);
            all.extend_from_slice(fresh);
            all[from..].windows(4).any(|window| window == b"\r\n\r\n")
        };
        match &script {
            Script::Reply(bytes) if head_ended => {
                let _ = stream.write_all(bytes).await;
            }
            Script::Reset if head_ended => {
                let _ = stream.set_zero_linger();
                return;
            }
            Script::Echo(_) => {
                let _ = stream.write_all(fresh).await;
            }
            Script::Reply(_) | Script::Reset => {}
        }
    }
}

/// A port that is known before what is behind it.
pub(crate) struct Relay {
    address: SocketAddr,
    behind: Arc<OnceLock<SocketAddr>>,
    acceptor: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Relay {
    /// Opens the port; connections are closed until it leads somewhere.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::new(OnceLock::new());
        let shared = Arc::clone(&behind);
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let Some(behind) = shared.get().copied() else {
                    continue;
                };
                connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(behind).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self { address, behind, acceptor }
    }

    /// The port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections lead to this address.
    pub(crate) fn lead_to(&self, behind: SocketAddr) {
        self.behind.set(behind).unwrap();
    }
}
