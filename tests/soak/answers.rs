//! What upstreams answer: everything that HTTP allows, slowly or at once, and much that it does not.

use crate::support::gzip::gzip;
use std::time::Duration;

use crate::dice::Dice;

/// What happens to the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Keep,
    Close,
    Reset,
    /// Nothing more comes, and the connection stays open.
    Hang,
}

/// A response on its way: bytes, each part after a while.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// Before the request has been read to its end.
    pub(crate) is_early: bool,
    pub(crate) parts: Vec<(Duration, Vec<u8>)>,
    pub(crate) end: End,
}

/// A response that is in order.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    head: String,
    is_chunked: bool,
}

const STATUSES: [u16; 38] = [
    200, 200, 200, 200, 200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410,
    412, 413, 418, 422, 425, 429, 431, 500, 501, 502, 503, 504, 599,
];

/// A body, and the headers that describe it.
fn body(dice: &mut Dice) -> (String, Vec<u8>) {
    let json = "content-type: application/json\r\n";
    match dice.below(9) {
        0 => (String::new(), Vec::new()),
        1 | 2 => (json.to_owned(), format!(r#"{{"id": {}, "items": [1, 2.50, {{"a": "b"}}]}}"#, dice.below(3)).into()),
        3 => (json.to_owned(), b"{\"id\": 1, \"items\": [".to_vec()),
        4 => ("content-type: text/plain\r\n".to_owned(), dice.letters(40).into()),
        5 if dice.once_in(6) => (json.to_owned(), format!("[{}1]", "1234567, ".repeat(20_000)).into()),
        5 => {
            ("content-type: application/problem+json; charset=utf-8\r\n".to_owned(), b"{\"title\": \"\\ud83d\\ude00\"}".to_vec())
        }
        6 => (format!("{json}content-encoding: gzip\r\n"), gzip(br#"{"id": 1, "items": []}"#)),
        7 => {
            let mut broken = gzip(br#"{"id": 1, "items": [1, 2, 3, 4, 5, 6, 7, 8]}"#);
            let at = dice.between(3, broken.len() - 1);
            broken.truncate(at);
            (format!("{json}content-encoding: gzip\r\n"), broken)
        }
        _ => ("content-encoding: br\r\n".to_owned(), dice.bytes(30)),
    }
}

impl Whole {
    /// A response that Envoy gives by itself.
    pub(crate) fn of_envoy(status: u16, body: &str) -> Self {
        Self { status, body: body.as_bytes().to_vec(), head: String::new(), is_chunked: false }
    }

    fn draw(dice: &mut Dice) -> Self {
        let status = *dice.one_of(&STATUSES);
        let (mut head, mut body) = body(dice);
        // A 205 has no body either; Envoy cuts none off.
        if matches!(status, 204 | 205 | 304) {
            (head, body) = (String::new(), Vec::new());
        }
        match dice.below(8) {
            0 => head.push_str(&format!(
                "retry-after: {}\r\n",
                dice.one_of(&["0", "1", "x", "Wed, 21 Oct 2015 07:28:00 GMT", "-1", "1e9"])
            )),
            1 => head.push_str(&format!("grpc-status: {}\r\n", dice.below(18))),
            2 => head.push_str("location: /elsewhere\r\nx-odd: \u{e9}\r\n"),
            3 => head.push_str("x-sidecast-loop: 1\r\nx-envoy-overloaded: true\r\n"),
            _ => {}
        }
        Self { status, body, head, is_chunked: dice.once_in(3) && !matches!(status, 204 | 304) }
    }

    /// As it is written: the head, then the body, if the request takes one.
    fn written(&self, is_head: bool, dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
        let Self { status, head, body, .. } = self;
        let mut wire = Vec::new();
        let framing = match (status, self.is_chunked) {
            (204 | 304, _) => String::new(),
            (_, true) => {
                for chunk in body.chunks(dice.between(1, body.len().max(1))) {
                    wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    wire.extend(chunk);
                    wire.extend(b"\r\n");
                }
                let trailers = if dice.once_in(3) { "x-sum: 1\r\ngrpc-status: 0\r\n" } else { "" };
                wire.extend(format!("0\r\n{trailers}\r\n").bytes());
                "transfer-encoding: chunked\r\n".to_owned()
            }
            (_, false) => {
                wire.clone_from(body);
                format!("content-length: {}\r\n", body.len())
            }
        };
        let interim = if dice.once_in(30) { "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" } else { "" };
        let head = format!("{interim}HTTP/1.1 {status} Whatever\r\n{head}{framing}\r\n");
        (head.into_bytes(), if is_head { Vec::new() } else { wire })
    }

    fn act(&self, is_head: bool, pause: Duration, dice: &mut Dice) -> Act {
        let (head, body) = self.written(is_head, dice);
        let parts = match dice.below(3) {
            0 if !body.is_empty() => {
                let (first, second) = body.split_at(dice.below(body.len()));
                vec![(pause, head), (pause / 2, first.to_vec()), (pause / 2, second.to_vec())]
            }
            _ => vec![(pause, [head, body].concat())],
        };
        Act { is_early: false, parts, end: End::Keep }
    }
}

fn silence(end: End) -> Act {
    Act { is_early: false, parts: Vec::new(), end }
}

/// A response that is broken off.
fn cut(is_head: bool, dice: &mut Dice) -> Act {
    let end = *dice.one_of(&[End::Close, End::Reset]);
    if dice.once_in(3) {
        return silence(end);
    }
    let (head, body) = Whole::draw(dice).written(is_head, dice);
    let mut bytes = [head, body].concat();
    bytes.truncate(dice.below(bytes.len()));
    Act { is_early: dice.once_in(8), parts: vec![(Duration::ZERO, bytes)], end }
}

/// A response that is none.
fn babble(dice: &mut Dice) -> Act {
    let (letters, noise, count) = (dice.letters(5), dice.bytes(60), dice.below(300));
    let text = match dice.below(18) {
        0 => letters,
        1 => "HTTP/1.1 abc OK\r\n\r\n".to_owned(),
        2 => "HTTP/0.9 200 OK\r\n\r\n".to_owned(),
        3 => "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n".to_owned(),
        4 => format!("HTTP/1.1 200 OK\r\nx-big: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(90_000)),
        5 => format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(count)),
        6 => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345678".to_owned(),
        7 => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n123".to_owned(),
        8 => "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n123".to_owned(),
        9 => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345".to_owned(),
        10 => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n12345".to_owned(),
        11 => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n12345".to_owned(),
        12 => "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".to_owned(),
        13 => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 Twice\r\ncontent-length: 0\r\n\r\n".to_owned(),
        14 => {
            format!("HTTP/1.1 {} Odd\r\ncontent-length: 2\r\n\r\n12", dice.one_of(&[0, 99, 100, 199, 204, 304, 600, 999, 1000]))
        }
        15 => "HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n123".to_owned(),
        16 => "HTTP/1.1 200 OK\r\nx-nul: a\0b\r\ncontent-length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.0 200 OK\r\n\r\nuntil the end".to_owned(),
    };
    let bytes = if dice.once_in(8) { noise } else { text.into_bytes() };
    let end = *dice.one_of(&[End::Keep, End::Close, End::Reset, End::Hang]);
    Act { is_early: dice.once_in(8), parts: vec![(Duration::from_millis(dice.below(3) as u64), bytes)], end }
}

fn a_while(dice: &mut Dice) -> Duration {
    Duration::from_millis(dice.between(50, 1_200) as u64)
}

/// What an upstream of this manner does with a request.
pub(crate) fn act(manner: &str, is_head: bool, dice: &mut Dice) -> Act {
    match manner {
        "calm" | "keeper" => {
            let body = if is_head { "" } else { r#"{"id": 1}"# };
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
            Act { is_early: false, parts: vec![(Duration::ZERO, format!("{head}{body}").into())], end: End::Keep }
        }
        "moody" | "keeper-moody" | "narrow" => Whole::draw(dice).act(is_head, Duration::ZERO, dice),
        "slow" => {
            let pause = a_while(dice);
            Whole::draw(dice).act(is_head, pause, dice)
        }
        "hanging" | "keeper-hanging" if dice.once_in(3) => Whole::draw(dice).act(is_head, Duration::ZERO, dice),
        "hanging" | "keeper-hanging" => silence(End::Hang),
        "cutting" | "keeper-cutting" if dice.once_in(2) => cut(is_head, dice),
        "cutting" | "keeper-cutting" => Whole::draw(dice).act(is_head, Duration::ZERO, dice),
        "babbling" => babble(dice),
        "mixed" => {
            let manner = *dice.one_of(&["calm", "moody", "slow", "hanging", "cutting", "babbling"]);
            act(manner, is_head, dice)
        }
        manner => panic!("no manner {manner}"),
    }
}

/// What a client may see of the primary's response.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// This answer, to its end.
    Exactly(Whole),
    /// This answer, to its end or not: the primary responds before it has read the request.
    AtMost(Whole),
    /// Anything that Envoy makes of a response that breaks the rules.
    Anything,
    /// Nothing: the client has to leave.
    Nothing,
}

/// What the primary does with a request, and what its client may see of that. Both sides know it by the request's number.
pub(crate) fn of_primary(seed: u64, number: u64, is_head: bool) -> (Act, Expected) {
    let mut dice = Dice::of(seed, "primary", number);
    let pause = match dice.below(12) {
        0 => a_while(&mut dice) / 2,
        _ => Duration::ZERO,
    };
    match dice.below(30) {
        0 => (silence(End::Hang), Expected::Nothing),
        1 | 2 => (cut(is_head, &mut dice), Expected::Anything),
        3 => (babble(&mut dice), Expected::Anything),
        4 => {
            let whole = Whole::draw(&mut dice);
            (Act { is_early: true, ..whole.act(is_head, pause, &mut dice) }, Expected::AtMost(whole))
        }
        _ => {
            let whole = Whole::draw(&mut dice);
            (whole.act(is_head, pause, &mut dice), Expected::Exactly(whole))
        }
    }
}
