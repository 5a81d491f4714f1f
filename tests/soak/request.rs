//! Requests of clients: of every method and framing, with bodies of every kind, and clients that leave.

use std::time::Duration;

use crate::dice::Dice;
use crate::marks;
use crate::server::NUMBER;
use crate::stock;
use crate::support::gzip::gzip;

/// When a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    WithinHead,
    WithinBody,
    /// Before the response has come.
    AfterRequest,
    /// With the first byte of the response.
    WithinAnswer,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length,
    Chunked,
    /// Chunks, then trailers.
    Trailers,
}

/// What a client does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Framing,
    /// Between two parts of the body.
    pub(crate) pause: Duration,
    pub(crate) leave: Option<Leave>,
    pub(crate) by_reset: bool,
    /// Envoy may refuse it.
    pub(crate) is_odd: bool,
    /// The filter leaves it alone.
    pub(crate) is_left_alone: bool,
    pub(crate) is_http2: bool,
}

/// Keys as they are, or escaped: a pointer finds both.
fn key(dice: &mut Dice, key: &str) -> String {
    match dice.below(6) {
        0 => format!("\\u{:04x}{}", key.as_bytes()[0], &key[1..]),
        _ => key.to_owned(),
    }
}

fn card(dice: &mut Dice, place: &str) -> String {
    let (number, holder) = (marks::at(&format!("{place}number")), marks::at(&format!("{place}holder")));
    let (first, second) = (key(dice, "number"), key(dice, "holder"));
    match dice.below(3) {
        0 => format!(r#"{{"{first}": "{number}", "number": ["{number}"], "{second}": "{holder}"}}"#),
        _ => format!("{{ \"{second}\" : \"{holder}\",\n\"{first}\": \"{number}\" }}"),
    }
}

/// JSON with marks in it.
fn json(dice: &mut Dice) -> String {
    let card_key = key(dice, "card");
    match dice.below(6) {
        0 => format!(r#"[{{"ssn": "{}", "{card_key}": {}}}, 1.50]"#, marks::at("0.ssn"), card(dice, "0.card.")),
        1 => format!(r#""{}""#, marks::at("")),
        _ => {
            let (secret, items, ssn) = (key(dice, "secret"), key(dice, "items"), key(dice, "ssn"));
            let padding = if dice.once_in(60) { " ".repeat(60_000) } else { String::new() };
            let padding = if dice.once_in(60) { format!("{padding}\"long\": \"{}\",", "x".repeat(20_000)) } else { padding };
            let twice = match dice.below(4) {
                0 => format!(r#""{card_key}": {},"#, card(dice, "card.")),
                _ => String::new(),
            };
            format!(
                r#"{{"id": {}, {padding} "total": 51.00, {twice} "card": {}, "{secret}": "{}", "{items}": [{{"sku": "{}", "{ssn}": "{}"}}, {{"{ssn}": "{}"}}], "a/b": {{"x": null}}, "empty": {{}}}}"#,
                dice.below(20),
                card(dice, "card."),
                marks::at("secret"),
                marks::at("items.0.sku"),
                marks::at("items.0.ssn"),
                marks::at("items.1.ssn"),
            )
        }
    }
}

/// A body and the headers that describe it.
fn body(dice: &mut Dice) -> (Vec<(&'static str, &'static str)>, Vec<u8>) {
    let json = json(dice);
    let kind = ("content-type", "application/json");
    match dice.below(24) {
        0 => (vec![], Vec::new()),
        1 => (vec![("content-type", "text/plain")], json.into_bytes()),
        2 => (vec![kind], json.as_bytes()[..dice.below(json.len())].to_vec()),
        3 => (vec![kind], [json.as_bytes(), b" x"].concat()),
        4 | 5 => (vec![kind, ("content-encoding", "gzip")], gzip(json.as_bytes())),
        6 => {
            let mut broken = gzip(json.as_bytes());
            let at = dice.below(broken.len());
            match dice.below(3) {
                0 => broken.truncate(at),
                1 => broken[at] ^= 1 << dice.below(8),
                _ => broken.extend(b"more"),
            }
            (vec![kind, ("content-encoding", "gzip")], broken)
        }
        7 => (vec![kind, ("content-encoding", "br")], json.into_bytes()),
        8 => (vec![kind, ("content-encoding", "gzip, gzip")], gzip(gzip(json.as_bytes()))),
        9 => (vec![("content-type", "application/x-www-form-urlencoded")], b"a=1&b=%20&a=".repeat(dice.between(1, 9))),
        10 => (vec![], dice.bytes(100)),
        11 => (vec![kind], format!("{}{json}{}", "[".repeat(130), "]".repeat(130)).into_bytes()),
        12 => (vec![kind], [b"\xef\xbb\xbf", json.as_bytes()].concat()),
        13 => (vec![kind], format!(r#"{{"x": "\ud800", "card": {json}}}"#).into_bytes()),
        14 if dice.once_in(5) => (vec![kind, ("content-encoding", "gzip")], gzip(b"[[{\"a\":1}]]".repeat(40_000))),
        15 if dice.once_in(5) => {
            let long = "1,".repeat(50_000);
            (vec![kind], format!(r#"{{"long": [{long}2], "secret": "{}"}}"#, marks::at("secret")).into_bytes())
        }
        16 => {
            let mut framed = vec![0];
            framed.extend((json.len() as u32).to_be_bytes());
            framed.extend(json.bytes());
            let framed = match dice.below(4) {
                0 => framed.repeat(2),
                1 => framed[..dice.below(framed.len())].to_vec(),
                _ => framed,
            };
            (vec![("content-type", "application/grpc"), ("te", "trailers")], framed)
        }
        _ => (vec![kind], json.into_bytes()),
    }
}

fn headers(dice: &mut Dice) -> Vec<(String, Vec<u8>)> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &[u8]| headers.push((name.to_owned(), value.to_vec()));
    for name in stock::HEADERS.iter().filter(|name| !matches!(**name, "content-type" | "host")) {
        if dice.once_in(3) {
            add(name, dice.one_of(&stock::VALUES).as_bytes());
        }
    }
    for name in stock::CREDENTIALS {
        if dice.once_in(2) {
            let value = if name == "cookie" { format!("a={}", marks::header(name)) } else { marks::header(name) };
            add(name, value.as_bytes());
        }
    }
    match dice.below(16) {
        0 => add("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        1 => add("traceparent", b"00-nothing"),
        2 => add("idempotency-key", dice.letters(8).as_bytes()),
        3 => add("x-sidecast-other", marks::header("x-sidecast-other").as_bytes()),
        4 => add("x-envoy-retry-on", b"5xx"),
        5 => add("x-envoy-upstream-alt-stat-name", marks::header("x-envoy-upstream-alt-stat-name").as_bytes()),
        6 => add("x-a", &[0xe9, b'a', 0xff]),
        7 => add("x-tenant", "\u{a0}acme\u{2028}".as_bytes()),
        8 => (0..dice.below(200)).for_each(|index| add(&format!("x-many-{index}"), b"1")),
        9 => add("x-big", "b".repeat(30_000).as_bytes()),
        10 => (0..3).for_each(|_| add("x-tenant", b"acme")),
        11 => add("accept-encoding", b"gzip"),
        _ => {}
    }
    headers
}

impl Plan {
    pub(crate) fn is_grpc(&self) -> bool {
        self.headers.iter().any(|(_, value)| value.starts_with(b"application/grpc"))
    }

    /// The request of this number.
    pub(crate) fn draw(seed: u64, number: u64) -> Self {
        let dice = &mut Dice::of(seed, "client", number);
        let method = (*dice.one_of(&stock::METHODS)).to_owned();
        let has_body = dice.below(10) < if matches!(&*method, "POST" | "PUT" | "PATCH") { 9 } else { 2 };
        let mut headers = headers(dice);
        let (mut kinds, body) = if has_body { body(dice) } else { (Vec::new(), Vec::new()) };
        let is_http2 = dice.once_in(6);
        if is_http2 {
            headers.retain(|(name, _)| !name.starts_with("x-many"));
        }
        let is_grpc = kinds.iter().any(|(_, value)| *value == "application/grpc");
        kinds.extend(if dice.once_in(30) { Some(("expect", "100-continue")) } else { None }.filter(|_| has_body && !is_http2));
        headers.extend(kinds.into_iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        headers.push((NUMBER.to_owned(), number.to_string().into_bytes()));
        let framing = match (has_body, dice.below(5)) {
            (false, _) => Framing::None,
            (true, 0) => Framing::Chunked,
            (true, 1) => Framing::Trailers,
            (true, _) => Framing::Length,
        };
        let mut plan = Self {
            number,
            method: if is_grpc { "POST".to_owned() } else { method },
            path: if is_grpc && dice.once_in(2) {
                "/test.Notes/Send".to_owned()
            } else {
                format!("{}{}", dice.one_of(&stock::PATHS), dice.one_of(&stock::QUERIES))
            },
            headers,
            body,
            framing,
            pause: Duration::from_millis(if dice.once_in(12) { dice.between(5, 200) as u64 } else { 0 }),
            leave: None,
            by_reset: dice.once_in(2),
            is_odd: false,
            is_left_alone: false,
            is_http2,
        };
        plan.spoil(dice);
        plan
    }

    /// Now and then something that is not as it should be.
    fn spoil(&mut self, dice: &mut Dice) {
        if dice.once_in(6) {
            let all = [Leave::WithinHead, Leave::WithinBody, Leave::AfterRequest, Leave::WithinAnswer];
            self.leave = Some(*dice.one_of(&all));
        }
        if dice.once_in(40) {
            self.headers.push(("x-sidecast-loop".to_owned(), b"by-the-client".to_vec()));
            self.is_left_alone = true;
        }
        if self.is_http2 {
            return;
        }
        match dice.below(60) {
            0 | 1 => {
                self.headers.push(("connection".to_owned(), b"upgrade, x-a".to_vec()));
                self.headers.push(("upgrade".to_owned(), b"websocket".to_vec()));
                (self.is_odd, self.is_left_alone) = (true, true);
            }
            2 => self.headers.push(("connection".to_owned(), b"x-debug, close".to_vec())),
            3 => {
                self.headers.push((dice.letters(3), b"a\0b".to_vec()));
                self.is_odd = true;
            }
            4 => {
                self.headers.push(("x_under".to_owned(), b"1".to_vec()));
                self.headers.push((String::new(), b"no name".to_vec()));
                self.is_odd = true;
            }
            5 => {
                self.path = format!("/{}", "%41".repeat(dice.below(3_000)));
            }
            6 => {
                self.headers.push(("content-length".to_owned(), b"3".to_vec()));
                self.headers.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
                self.is_odd = true;
            }
            7 => {
                self.path = "no-slash".to_owned();
                self.is_odd = true;
            }
            _ => {}
        }
    }

    /// The head as it is written.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: soak.example\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            head.extend(name.bytes());
            head.extend(b": ");
            head.extend(value);
            head.extend(b"\r\n");
        }
        match self.framing {
            Framing::None => {}
            Framing::Length => head.extend(format!("content-length: {}\r\n", self.body.len()).bytes()),
            Framing::Chunked | Framing::Trailers => head.extend(b"transfer-encoding: chunked\r\n"),
        }
        head.extend(b"\r\n");
        head
    }

    /// The body as it is written, in parts.
    pub(crate) fn parts(&self) -> Vec<Vec<u8>> {
        let size = (self.body.len() / 3).max(1);
        let mut parts: Vec<Vec<u8>> = self.body.chunks(size).map(<[u8]>::to_vec).collect();
        if matches!(self.framing, Framing::Chunked | Framing::Trailers) {
            for part in &mut parts {
                *part = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            }
            let trailers = if self.framing == Framing::Trailers { "x-checksum: 1\r\n" } else { "" };
            parts.push(format!("0\r\n{trailers}\r\n").into_bytes());
        }
        parts
    }
}
