//! Upstreams on plain TCP: each listens on a port of its own, has a manner of its own, and writes down what arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::answers::{self, Act, End};
use crate::book::Book;
use crate::dice::Dice;

/// The header by which a request tells its number.
pub(crate) const NUMBER: &str = "x-soak-number";

/// A request as it arrived.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn parse(head: &[u8]) -> Self {
        let text: String = head.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| {
            let value: Vec<u8> = value.trim().chars().map(|letter| letter as u8).collect();
            (name.to_ascii_lowercase(), value)
        });
        Self { method, path, headers: headers.collect(), body: Vec::new() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// All upstreams of a run. They end when it is dropped.
pub(crate) struct Servers {
    seed: u64,
    pub(crate) book: Arc<Book>,
    mercy: watch::Sender<bool>,
    acceptors: Vec<JoinHandle<()>>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.acceptors.iter().for_each(JoinHandle::abort);
    }
}

struct Side {
    seed: u64,
    manner: String,
    book: Arc<Book>,
    mercy: watch::Receiver<bool>,
}

impl Servers {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, book: Arc::default(), mercy: watch::channel(false).0, acceptors: Vec::new() }
    }

    /// Opens an upstream.
    pub(crate) async fn open(&mut self, manner: &str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seed, manner, book, mercy) = (self.seed, manner.to_owned(), Arc::clone(&self.book), self.mercy.subscribe());
        self.acceptors.push(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut count = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let dice = Dice::of(seed, &manner, count);
                count += 1;
                let side = Side { seed, manner: manner.clone(), book: Arc::clone(&book), mercy: mercy.clone() };
                connections.spawn(side.serve(stream, dice));
                while connections.try_join_next().is_some() {}
            }
        }));
        address
    }

    /// From now on everything is answered at once and well, what was left hanging too.
    pub(crate) fn have_mercy(&self) {
        self.mercy.send_replace(true);
    }
}

/// A connection, and what was read of it but not used.
struct Wire {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Wire {
    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.rest).await {
            Ok(1..) => Some(()),
            _ => None,
        }
    }

    /// The next bytes up to and with `end`.
    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let mut seen = 0;
        loop {
            let found = self.rest[seen..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                let after = self.rest.split_off(seen + at + end.len());
                return Some(std::mem::replace(&mut self.rest, after));
            }
            seen = self.rest.len().saturating_sub(end.len());
            self.more().await?;
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.rest.len() < count {
            self.more().await?;
        }
        let after = self.rest.split_off(count);
        Some(std::mem::replace(&mut self.rest, after))
    }

    /// The body that this head announces.
    async fn body(&mut self, request: &Request) -> Option<Vec<u8>> {
        if let Some(length) = request.header("content-length") {
            return self.exactly(length.parse().ok()?).await;
        }
        if request.header("transfer-encoding").is_none() {
            return Some(Vec::new());
        }
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8_lossy(&self.until(b"\r\n").await?).into_owned();
            let length = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
            if length == 0 {
                while self.until(b"\r\n").await?.len() > 2 {}
                return Some(body);
            }
            body.extend(self.exactly(length).await?);
            self.exactly(2).await?;
        }
    }
}

impl Side {
    async fn serve(mut self, stream: TcpStream, mut dice: Dice) {
        let mut wire = Wire { stream, rest: Vec::new() };
        while let Some(head) = wire.until(b"\r\n\r\n").await {
            let mut request = Request::parse(&head);
            let act = self.act(&request, &mut dice);
            if act.is_early && self.play(&act, &mut wire).await.is_none() {
                return;
            }
            let Some(body) = wire.body(&request).await else { return };
            request.body = body;
            self.book.arrived(&self.manner, &head, &request);
            if !act.is_early && self.play(&act, &mut wire).await.is_none() {
                return;
            }
            match act.end {
                End::Keep => {}
                End::Close => return,
                End::Reset => {
                    let _ = wire.stream.set_zero_linger();
                    return;
                }
                End::Hang => {
                    self.hang(&mut wire).await;
                    return;
                }
            }
        }
    }

    fn act(&self, request: &Request, dice: &mut Dice) -> Act {
        let is_head = request.method == "HEAD";
        if *self.mercy.borrow() {
            return answers::act("calm", is_head, dice);
        }
        match request.header(NUMBER).and_then(|number| number.parse().ok()) {
            Some(number) if self.manner == "primary" => answers::of_primary(self.seed, number, is_head).0,
            None if self.manner == "primary" => answers::act("calm", is_head, dice),
            _ => answers::act(&self.manner, is_head, dice),
        }
    }

    async fn play(&mut self, act: &Act, wire: &mut Wire) -> Option<()> {
        for (pause, bytes) in &act.parts {
            if !pause.is_zero() && !*self.mercy.borrow() {
                let _ = tokio::time::timeout(*pause, self.mercy.changed()).await;
            }
            wire.stream.write_all(bytes).await.ok()?;
        }
        Some(())
    }

    /// Until the other side goes, or mercy comes: then the connection ends.
    async fn hang(&mut self, wire: &mut Wire) {
        while !*self.mercy.borrow() {
            tokio::select! {
                more = wire.more() => if more.is_none() { return },
                _ = self.mercy.changed() => return,
                () = tokio::time::sleep(Duration::from_secs(60)) => return,
            }
        }
    }
}
