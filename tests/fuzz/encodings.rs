//! Content codings: what was encoded is decoded again, and what was damaged costs no more than it may.

use std::io::{Read, Write};

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, ZlibEncoder};
use flate2::{Compression, Crc, GzBuilder};
use sidecast::http::content_coding::{decode, Undecodable};

use crate::choices::Choices;
use crate::hold;

/// A body in some coding that is read here, and what that is called.
pub(crate) fn encoded(choices: &mut Choices<'_>, plain: &[u8]) -> (&'static str, Vec<u8>) {
    let level = Compression::new(*choices.one_of(&[1, 6, 0, 9]));
    match choices.below(4) {
        0 | 1 => ("identity", plain.to_vec()),
        2 => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            write(choices, &mut encoder, plain);
            ("deflate", encoder.finish().unwrap())
        }
        _ => {
            let split = choices.below(plain.len() + 1);
            let split = if choices.once_in(3) { split } else { 0 };
            let members: Vec<&[u8]> = if split == 0 { vec![plain] } else { vec![&plain[..split], &plain[split..]] };
            let mut coded = Vec::new();
            for member in members {
                let mut header = GzBuilder::new();
                if choices.once_in(4) {
                    header = header.filename("orders.json").comment("as they came");
                }
                if choices.once_in(4) {
                    header = header.extra(choices.bytes(9));
                }
                let mut encoder = header.write(coded, level);
                write(choices, &mut encoder, member);
                coded = encoder.finish().unwrap();
            }
            (*choices.one_of(&["gzip", "x-gzip", " GZip "]), coded)
        }
    }
}

/// At once or in two parts, each in blocks of its own.
fn write(choices: &mut Choices<'_>, encoder: &mut impl Write, plain: &[u8]) {
    let split = choices.below(plain.len() + 1);
    encoder.write_all(&plain[..split]).unwrap();
    if choices.once_in(2) {
        encoder.flush().unwrap();
    }
    encoder.write_all(&plain[split..]).unwrap();
}

/// Text that repeats itself, or not.
fn plain(choices: &mut Choices<'_>) -> Vec<u8> {
    let part = choices.bytes(40);
    let times = *choices.one_of(&[1, 3, 200]);
    let mut plain = part.repeat(times);
    plain.extend(choices.bytes(20));
    plain
}

fn intact(choices: &mut Choices<'_>) {
    let plain = plain(choices);
    let (coding, coded) = encoded(choices, &plain);
    let decoded = decode(coding.as_bytes(), &coded, plain.len()).unwrap_or_else(|error| panic!("{coding}: {error:?}"));
    assert!(decoded == plain, "{coding}");
    if coding != "identity" && !plain.is_empty() {
        let most = choices.below(plain.len());
        assert_eq!(decode(coding.as_bytes(), &coded, most), Err(Undecodable::TooLong), "{coding} within {most}");
    }
}

/// Two members of gzip, the second of which repeats what the first one said: wrong, unless it says nothing of that.
fn borrowing(choices: &mut Choices<'_>, plain: &[u8]) -> Vec<u8> {
    let (first, second) = plain.split_at(choices.below(plain.len() + 1));
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(first).unwrap();
    encoder.flush().unwrap();
    let split = encoder.get_ref().len();
    encoder.write_all(second).unwrap();
    let blocks = encoder.finish().unwrap();
    // The first part ends with an empty block.
    let parts = [(first, [&blocks[..split], &[3, 0]].concat()), (second, blocks[split..].to_vec())];
    parts
        .into_iter()
        .flat_map(|(plain, blocks)| {
            let mut crc = Crc::new();
            crc.update(plain);
            let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
            [&header[..], &blocks, &crc.sum().to_le_bytes(), &crc.amount().to_le_bytes()].concat()
        })
        .collect()
}

/// Whatever is read of a damaged stream, another decoder reads it too; and it is never more than allowed.
fn damaged(choices: &mut Choices<'_>) {
    let plain = plain(choices);
    let (coding, mut coded) = encoded(choices, &plain);
    let is_borrowed = choices.once_in(6);
    if is_borrowed {
        coded = borrowing(choices, &plain);
    } else {
        choices.damage(&mut coded, 3);
    }
    let coding = if is_borrowed { "gzip" } else { coding };
    let coding = if choices.once_in(8) { *choices.one_of(&["gzip", "deflate", "br", "gzip, gzip", ""]) } else { coding };
    let most = if choices.once_in(2) { plain.len() } else { choices.below(400) };
    let Ok(decoded) = decode(coding.as_bytes(), &coded, most) else { return };
    if coded.is_empty() || coding.is_empty() || coding == "identity" {
        assert!(decoded == coded, "{coding}");
        return;
    }
    assert!(decoded.len() <= most, "{} bytes within {most}", decoded.len());
    let mut other = Vec::new();
    let read = match coding {
        "deflate" => ZlibDecoder::new(coded.as_slice()).read_to_end(&mut other),
        _ => MultiGzDecoder::new(coded.as_slice()).read_to_end(&mut other),
    };
    assert!(read.is_ok() && decoded == other, "{coding}: {read:?}, {coded:?}");
}

/// Blocks with next to nothing in them: as many as are free, and no more.
fn blocks(choices: &mut Choices<'_>) {
    let count = choices.below(600);
    let filled = choices.below(64);
    let mut coded = vec![0x78, 0x01];
    let mut plain = Vec::new();
    let mut is_bounded = true;
    for block in 0..=count {
        // A stored block: whether it is the last, the length, its complement, the bytes (RFC 1951, 3.2.4).
        let length = if choices.once_in(8) { filled } else { 0 };
        coded.push(u8::from(block == count));
        coded.extend((length as u16).to_le_bytes());
        coded.extend((!(length as u16)).to_le_bytes());
        coded.extend(std::iter::repeat_n(b'x', length));
        plain.extend(std::iter::repeat_n(b'x', length));
        is_bounded &= block < 256 + plain.len() / 64;
    }
    coded.extend(adler(&plain).to_be_bytes());
    match decode(b"deflate", &coded, 1 << 20) {
        Ok(decoded) => assert!(is_bounded && decoded == plain, "{count} blocks"),
        Err(error) => assert!(!is_bounded && error == Undecodable::TooManyBlocks, "{count} blocks: {error:?}"),
    }
}

/// The checksum of zlib (RFC 1950, 8).
fn adler(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

#[test]
fn what_was_encoded_is_decoded_to_the_byte_and_never_beyond_what_is_allowed() {
    hold(96, intact);
}

#[test]
fn damaged_streams_are_refused_or_read_as_others_read_them() {
    hold(128, damaged);
}

#[test]
fn blocks_are_counted() {
    hold(700, blocks);
}
