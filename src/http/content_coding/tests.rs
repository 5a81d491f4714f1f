use std::io::Write;

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use super::*;

fn gzip(body: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn decoded(coding: &str, body: &[u8]) -> Result<Vec<u8>, Undecodable> {
    decode(coding.as_bytes(), body, 1 << 20).map(Cow::into_owned)
}

/// The output of zlib's `gzip -9n`, which shares no code with this decoder.
const HELLO: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcbH\xcd\xc9\xc9W(\xcf/\xcaI\x01\x00\x85\x11J\r\x0b\x00\x00\x00";

macro_rules! codings {
    ($($name:ident: $coding:literal, $body:expr => $wanted:expr;)*) => {
        $(#[test] fn $name() {
            let wanted: Result<&[u8], Undecodable> = $wanted;
            assert_eq!(decoded($coding, $body), wanted.map(<[u8]>::to_vec));
        })*
    };
}

codings! {
    none: "", b"abc" => Ok(b"abc");
    identity: "Identity", b"abc" => Ok(b"abc");
    gzip_of_another_encoder: "gzip", HELLO => Ok(b"hello world");
    gzip_by_its_old_name: " X-GZIP ", HELLO => Ok(b"hello world");
    deflate: "deflate", &zlib(b"hello world") => Ok(b"hello world");
    deflate_is_not_gzip: "deflate", HELLO => Err(Undecodable::Corrupt);
    gzip_is_not_zlib: "gzip", &zlib(b"hello world") => Err(Undecodable::Corrupt);
    deflate_without_its_header: "deflate", &raw(b"hello world") => Err(Undecodable::Corrupt);
    brotli: "br", b"\x0b\x02\x80abc\x03" => Err(Undecodable::UnknownCoding);
    zstd: "zstd", b"\x28\xb5\x2f\xfd" => Err(Undecodable::UnknownCoding);
    two_codings: "gzip, gzip", &gzip(HELLO, 6) => Err(Undecodable::UnknownCoding);
    nothing_called_gzip: "gzip", b"" => Ok(b"");
    nothing_called_deflate: "deflate", b"" => Ok(b"");
    nothing_called_brotli: "br", b"" => Ok(b"");
    no_gzip: "gzip", b"hello world, hello world" => Err(Undecodable::Corrupt);
    gzip_of_nothing: "gzip", &gzip(b"", 6) => Ok(b"");
    two_members: "gzip", &[HELLO, HELLO].concat() => Ok(b"hello worldhello world");
    something_after_gzip: "gzip", &[HELLO, b"x"].concat() => Err(Undecodable::Corrupt);
    zeros_after_gzip: "gzip", &[HELLO, &[0; 8]].concat() => Err(Undecodable::Corrupt);
    something_after_zlib: "deflate", &[&zlib(b"hello world")[..], b"x"].concat() => Err(Undecodable::Corrupt);
    a_reserved_flag: "gzip", &header(0x20, b"") => Err(Undecodable::Corrupt);
    another_method: "gzip", &[&HELLO[..2], b"\x07", &HELLO[3..]].concat() => Err(Undecodable::Corrupt);
    a_checksum_of_the_header: "gzip", &header(2, b"\x25\x15") => Ok(b"hello world");
    a_wrong_checksum_of_the_header: "gzip", &header(2, b"\x25\x16") => Err(Undecodable::Corrupt);
    an_extra_field_that_does_not_end: "gzip", &header(4, b"\xff\xff") => Err(Undecodable::Corrupt);
    a_name_that_does_not_end: "gzip", &[&HELLO[..3], b"\x08", &HELLO[4..10], b"name"].concat() => Err(Undecodable::Corrupt);
    a_wrong_length: "gzip", &changed(HELLO, HELLO.len() - 4) => Err(Undecodable::Corrupt);
    a_wrong_checksum: "gzip", &changed(HELLO, HELLO.len() - 5) => Err(Undecodable::Corrupt);
    a_wrong_checksum_of_zlib: "deflate", &{ let body = zlib(b"hello"); changed(&body, body.len() - 1) } => Err(Undecodable::Corrupt);
}

fn raw(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn header(flags: u8, fields: &[u8]) -> Vec<u8> {
    [&HELLO[..3], &[flags], &HELLO[4..10], fields, &HELLO[10..]].concat()
}

fn changed(body: &[u8], at: usize) -> Vec<u8> {
    let mut body = body.to_vec();
    body[at] ^= 1;
    body
}

#[test]
fn a_header_with_everything_is_skipped() {
    let mut encoder =
        GzBuilder::new().extra("extra\0").filename("a.json").comment("é").mtime(7).write(Vec::new(), Compression::best());
    encoder.write_all(b"hello world").unwrap();
    assert_eq!(decoded("gzip", &encoder.finish().unwrap()), Ok(b"hello world".to_vec()));
}

#[test]
fn a_body_without_a_coding_is_not_copied() {
    assert!(matches!(decode(b"identity", b"abc", 0), Ok(Cow::Borrowed(b"abc"))));
}

#[test]
fn what_is_as_long_as_allowed_is_decoded() {
    for body in [vec![0; 5_000], (0..=255).cycle().take(5_000).collect()] {
        for (coding, coded) in [("gzip", gzip(&body, 9)), ("deflate", zlib(&body)), ("gzip", gzip(&body, 0))] {
            assert_eq!(decode(coding.as_bytes(), &coded, 5_000).as_deref(), Ok(&body[..]));
            assert_eq!(decode(coding.as_bytes(), &coded, 4_999), Err(Undecodable::TooLong));
        }
    }
    assert_eq!(decode(b"gzip", HELLO, 0), Err(Undecodable::TooLong));
    assert_eq!(decode(b"gzip", HELLO, usize::MAX).as_deref(), Ok(&b"hello world"[..]));
}

#[test]
fn the_limit_is_for_all_members_together() {
    assert_eq!(decode(b"gzip", &[HELLO; 3].concat(), 33).map(|body| body.len()), Ok(33));
    assert_eq!(decode(b"gzip", &[HELLO; 3].concat(), 32), Err(Undecodable::TooLong));
}

#[test]
fn a_member_cannot_repeat_what_another_one_said() {
    // A block with the fixed tables: three bytes from a distance of three, which are in the previous member.
    let block = [0x03, 0x22, 0x00];
    let of_abc = gzip(b"abc", 6);
    let end = &of_abc[of_abc.len() - 8..];
    assert_eq!(decoded("gzip", &[&of_abc, &HELLO[..10], &block, end].concat()), Err(Undecodable::Corrupt));
    // The distance stays within its own member.
    let stored = [0, 3, 0, 0xfc, 0xff, b'a', b'b', b'c'];
    let of_both = gzip(b"abcabc", 6);
    let end = &of_both[of_both.len() - 8..];
    let body = [&of_abc, &HELLO[..10], &stored[..], &block, end].concat();
    assert_eq!(decoded("gzip", &body), Ok(b"abcabcabc".to_vec()));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = gzip(&vec![0; 64 << 20], 9);
    assert!(bomb.len() < 128 << 10);
    assert_eq!(decoded("gzip", &bomb), Err(Undecodable::TooLong));
}

/// Empty blocks with the fixed tables, four in five bytes, followed by a last block.
fn empty_blocks(count: usize) -> Vec<u8> {
    let blocks = [&[2, 8, 32, 128, 0].repeat(count / 4)[..], &[3, 0]].concat();
    [&HELLO[..10], &blocks, &[0; 8]].concat()
}

#[test]
fn blocks_without_content_are_counted() {
    assert_eq!(decoded("gzip", &empty_blocks(FREE_BLOCKS - 4)), Ok(Vec::new()));
    assert_eq!(decoded("gzip", &empty_blocks(FREE_BLOCKS)), Err(Undecodable::TooManyBlocks));
    assert_eq!(decoded("gzip", &empty_blocks(800_000)), Err(Undecodable::TooManyBlocks));
    assert_eq!(decoded("gzip", &gzip(b"", 6).repeat(FREE_BLOCKS)), Ok(Vec::new()));
    assert_eq!(decoded("gzip", &gzip(b"", 6).repeat(FREE_BLOCKS + 1)), Err(Undecodable::TooManyBlocks));
}

#[test]
fn a_stream_that_was_flushed_often_is_decoded() {
    let event =
        "data: {\"order\":123456789,\"state\":\"packed\",\"place\":\"Rotterdam\",\"weight\":12.75,\"parts\":[1,2,3,4]}\n\n";
    let event = event.repeat(2);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for _ in 0..2_000 {
        encoder.write_all(event.as_bytes()).unwrap();
        encoder.flush().unwrap();
    }
    assert_eq!(decoded("gzip", &encoder.finish().unwrap()), Ok(event.repeat(2_000).into_bytes()));
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(parts in prop::collection::vec(("[a-d]{0,400}", 0..10_u32), 1..5), noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut coded = gzip(&noise, 6);
        let mut body = noise;
        for (part, level) in parts {
            coded.extend(gzip(part.as_bytes(), level));
            body.extend(part.into_bytes());
        }
        prop_assert_eq!(decoded("gzip", &coded), Ok(body.clone()));
        prop_assert_eq!(decoded("deflate", &zlib(&body)), Ok(body));
    }

    #[test]
    fn a_part_of_a_body_is_no_body(body in "[a-f]{1,200}", level in 0..10_u32) {
        let coded = gzip(body.as_bytes(), level);
        for length in 1..coded.len() {
            prop_assert_eq!(decoded("gzip", &coded[..length]), Err(Undecodable::Corrupt), "{}", length);
        }
        let coded = zlib(body.as_bytes());
        for length in 1..coded.len() {
            prop_assert_eq!(decoded("deflate", &coded[..length]), Err(Undecodable::Corrupt), "{}", length);
        }
    }

    #[test]
    fn damage_is_seen_or_does_not_matter(body in "[a-f]{1,60}", level in 0..10_u32) {
        let coded = gzip(body.as_bytes(), level);
        for bit in 0..coded.len() * 8 {
            let mut damaged = coded.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Some bits do not affect the body: the time, the system, padding.
            let decoded = decoded("gzip", &damaged);
            prop_assert!(decoded.is_err() || decoded.as_deref() == Ok(body.as_bytes()), "{}", bit);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200), coding in "gzip|deflate") {
        let with_header = [&HELLO[..10], &body].concat();
        prop_assert!(decoded(&coding, &body).map_or(true, |out| out.len() <= 1 << 20));
        prop_assert!(decoded(&coding, &with_header).map_or(true, |out| out.len() <= 1 << 20));
    }
}
