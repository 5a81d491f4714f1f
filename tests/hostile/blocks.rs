//! Answers over HTTP/2 that break every rule.

use crate::dice::Dice;
use crate::support::frames::{block_of, data, field, frame, kind, Ending, Reaction, END_HEADERS, END_STREAM};

const STATUSES: [&str; 20] = [
    "200", "200", "200", "200", "204", "205", "206", "304", "301", "404", "429", "500", "503", "999", "1000", "0", "-1", "",
    "100", "101",
];

const FIELDS: [(&str, &str); 22] = [
    ("content-type", "application/json"),
    ("content-type", "application/grpc"),
    ("content-length", "0"),
    ("content-length", "1"),
    ("content-length", "-1"),
    ("content-length", "99999999999999999999"),
    ("content-encoding", "gzip"),
    ("grpc-status", "0"),
    ("grpc-status", "14"),
    ("grpc-status", "x"),
    ("retry-after", "0"),
    ("retry-after", "-1"),
    ("connection", "close"),
    ("transfer-encoding", "chunked"),
    ("te", "gzip"),
    ("Upper-Case", "1"),
    ("", "no name"),
    ("x bad", "1"),
    (":status", "200"),
    (":path", "/"),
    (":strange", "1"),
    ("x-value", "a\r\nb\0c"),
];

/// The response of this number to the request on this stream.
pub(crate) fn answer(dice: &mut Dice, stream: u32) -> Reaction {
    let mut bytes = Vec::new();
    let mut frames = plan(dice, stream);
    if dice.once_in(12) && frames.len() > 1 {
        let (one, other) = (dice.below(frames.len()), dice.below(frames.len()));
        frames.swap(one, other);
    }
    for frame in frames {
        bytes.extend(frame);
        if dice.once_in(12) {
            bytes.extend(oddity(dice, stream));
        }
    }
    if dice.once_in(4) {
        dice.spoil(&mut bytes);
    }
    let mut endings = vec![Ending::Stays; 30];
    endings.extend([Ending::Closes, Ending::Resets]);
    Reaction { bytes, ending: dice.one_of(&endings) }
}

fn plan(dice: &mut Dice, stream: u32) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while dice.once_in(6) {
        let flags = if dice.once_in(10) { END_STREAM } else { 0 };
        frames.push(head(dice, stream, &["100", "102", "103", "199"], flags));
    }
    let ends_at_once = dice.once_in(5);
    frames.push(head(dice, stream, &STATUSES, if ends_at_once { END_STREAM } else { 0 }));
    if ends_at_once && !dice.once_in(10) {
        return frames;
    }
    for _ in 0..dice.below(3) {
        let length = dice.below(50);
        frames.push(data(stream, &dice.bytes(length), 0));
    }
    match dice.below(4) {
        0 => frames.push(data(stream, br#"{"id": 1}"#, END_STREAM)),
        1 => frames.push(data(stream, b"", END_STREAM)),
        2 => frames.push(trailers(dice, stream, END_STREAM)),
        // Nothing ends it, or something twice.
        _ => frames.extend((0..dice.below(3)).map(|_| data(stream, b"x", END_STREAM))),
    }
    frames
}

fn head(dice: &mut Dice, stream: u32, statuses: &[&str], flags: u8) -> Vec<u8> {
    let mut block = if dice.once_in(40) { Vec::new() } else { field(":status", dice.one_of(statuses)) };
    fields(dice, &mut block);
    if dice.once_in(60) {
        let length = dice.below(60);
        block.extend(dice.bytes(length));
    }
    block_of(stream, &block, flags)
}

fn trailers(dice: &mut Dice, stream: u32, flags: u8) -> Vec<u8> {
    let mut block = field("grpc-status", dice.one_of(&["0", "2", "14", "99", ""]));
    fields(dice, &mut block);
    block_of(stream, &block, if dice.once_in(15) { 0 } else { flags })
}

fn fields(dice: &mut Dice, block: &mut Vec<u8>) {
    while dice.once_in(3) {
        let (name, value) = dice.one_of(&FIELDS);
        block.extend(field(name, value));
    }
    if dice.once_in(60) {
        (0..dice.one_of(&[1, 9])).for_each(|_| block.extend(field("x-long", &"a".repeat(9_000))));
    }
    if dice.once_in(60) {
        (0..dice.one_of(&[90, 300])).for_each(|_| block.extend(field("x-many", "1")));
    }
    if dice.once_in(60) {
        // The size of the table changes, and entries that are not there.
        block.extend(dice.one_of(&[vec![0x20], vec![0x3f, 0xff, 0xff, 0xff, 0x0f], vec![0xff, 0x7f], vec![0xbe]]));
    }
}

/// A frame that does not belong there.
fn oddity(dice: &mut Dice, stream: u32) -> Vec<u8> {
    let other = dice.one_of(&[stream, stream, stream, stream + 2, stream.saturating_sub(2), stream + 1, 0, 0x7fff_ffff]);
    let code = u32::try_from(dice.below(16)).unwrap().to_be_bytes();
    match dice.below(24) {
        0..=5 => frame(kind::RST_STREAM, 0, stream, &code),
        6 => frame(kind::RST_STREAM, 0, other, &code),
        7 => frame(kind::RST_STREAM, 0, stream, &code[..3]),
        8 => data(other, b"nobody asked", dice.one_of(&[0, END_STREAM])),
        9 => data(stream, &[9, 1, 2], 8),
        10 => frame(kind::WINDOW_UPDATE, 0, stream, &[0; 4]),
        11 => frame(kind::WINDOW_UPDATE, 0, other, &0x7fff_ffff_u32.to_be_bytes()),
        12 => frame(kind::SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        13 => frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, dice.one_of(&[0, 1, 5, 100])]),
        14 => frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, dice.one_of(&[0, 16]), 0]),
        15 => frame(kind::SETTINGS, 1, 0, &[]),
        16 => frame(kind::PING, 0, 0, dice.one_of(&[&[0; 8][..], &[0; 3]])),
        17 => frame(kind::GOAWAY, 0, 0, &[&stream.saturating_sub(dice.one_of(&[0, 4])).to_be_bytes()[..], &code].concat()),
        18 => frame(kind::CONTINUATION, END_HEADERS, stream, &field("x", "y")),
        // PUSH_PROMISE, PRIORITY, and a type that does not exist.
        19 => frame(5, END_HEADERS, stream, &[&2_u32.to_be_bytes()[..], &field(":method", "GET")].concat()),
        20 => frame(2, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat()),
        21 => frame(0xcc, 0xff, other, b"unknown"),
        22 => trailers(dice, other, END_STREAM),
        _ => frame(kind::DATA, 0, stream, &vec![0; dice.one_of(&[0, 16_384, 20_000])]),
    }
}
