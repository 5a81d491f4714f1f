//! Content codings: decodes gzip and deflate bodies, so that they can be read (RFC 9110, 8.4.1). They have the cheapest decoder. Other codings, and
//! several codings on one body, are not supported.
//!
//! The sender of a body may be hostile, so the cost of decoding is bounded in two ways. One bound is the decoded length: a megabyte can become a
//! gigabyte. The other is the number of blocks. Each block starts with tables that take two microseconds to build, and an empty block is ten bits
//! long, so a megabyte of them would take seconds.

use std::borrow::Cow;

use crc::{Crc, CRC_32_ISO_HDLC};
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{decompress, DecompressorOxide};
use miniz_oxide::inflate::TINFLStatus;

use crate::http::work_limit::{TooMuch, Work, BLOCK};

/// The number of blocks that any body may have.
const FREE_BLOCKS: usize = 256;
/// Beyond [`FREE_BLOCKS`], a body may have one block for this many decoded bytes. Encoders make one block for thousands of bytes unless they are
/// flushed.
const BYTES_PER_BLOCK: usize = 64;

/// The checksum of gzip (RFC 1952, 8).
const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// Its coding is not supported.
    UnknownCoding,
    /// Its decoded length is above the limit.
    TooLong,
    /// It has too many blocks for its decoded length.
    TooManyBlocks,
    /// It takes more work than allowed.
    TooMuchWork,
    /// It is damaged, cut off, or followed by other bytes.
    Corrupt,
}

impl From<TooMuch> for Undecodable {
    fn from(_: TooMuch) -> Self {
        Self::TooMuchWork
    }
}

/// Removes `coding`, the value of `content-encoding`, from a body. If the body must be decoded, the result is at most `max` bytes long.
///
/// # Errors
/// Returns an error if the body cannot be decoded.
pub fn decode<'a>(coding: &[u8], body: &'a [u8], max: usize) -> Result<Cow<'a, [u8]>, Undecodable> {
    decode_within(coding, body, max, &Work::unbounded())
}

/// Decodes a body like [`decode`], within a limit of work.
///
/// # Errors
/// Returns an error if the body cannot be decoded, or takes too much work.
pub fn decode_within<'a>(coding: &[u8], body: &'a [u8], max: usize, work: &Work) -> Result<Cow<'a, [u8]>, Undecodable> {
    let coding = coding.trim_ascii();
    // A response without a body may still name a coding.
    if body.is_empty() || coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") {
        return Ok(Cow::Borrowed(body));
    }
    let mut inflater = Inflater::new(body.len(), max, work);
    if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
        inflater.gzip(body)?;
    } else if coding.eq_ignore_ascii_case(b"deflate") {
        // `deflate` means the zlib format (RFC 9110, 8.4.1.2).
        if !inflater.inflate(body, TINFL_FLAG_PARSE_ZLIB_HEADER)?.is_empty() {
            return Err(Undecodable::Corrupt);
        }
    } else {
        return Err(Undecodable::UnknownCoding);
    }
    inflater.finish().map(Cow::Owned)
}

struct Inflater<'w> {
    work: &'w Work,
    state: Box<DecompressorOxide>,
    out: Vec<u8>,
    /// The number of decoded bytes in `out`.
    decoded: usize,
    /// The maximum length of `out`: one more than allowed, so that a body of exactly the allowed length reaches its end.
    most: usize,
    blocks: usize,
}

impl<'w> Inflater<'w> {
    fn new(length: usize, max: usize, work: &'w Work) -> Self {
        let most = max.saturating_add(1);
        let out = vec![0; length.saturating_mul(4).min(most)];
        Self { work, state: Box::default(), out, decoded: 0, most, blocks: 0 }
    }

    /// Decodes members until nothing is left (RFC 1952, 2.2).
    fn gzip(&mut self, body: &[u8]) -> Result<(), Undecodable> {
        let mut rest = body;
        while !rest.is_empty() {
            let start = self.decoded;
            rest = self.inflate(after_header(rest).ok_or(Undecodable::Corrupt)?, 0)?;
            let member = self.out.get(start..self.decoded).unwrap_or_default();
            let (crc, length) = (CRC32.checksum(member), member.len() as u32);
            let after = rest.strip_prefix(&crc.to_le_bytes()).and_then(|rest| rest.strip_prefix(&length.to_le_bytes()));
            rest = after.ok_or(Undecodable::Corrupt)?;
        }
        Ok(())
    }

    /// Decodes one stream, which cannot refer to earlier ones. Returns the bytes after it.
    fn inflate<'a>(&mut self, stream: &'a [u8], flags: u32) -> Result<&'a [u8], Undecodable> {
        let flags = flags | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
        let mut rest = stream;
        let start = self.decoded;
        self.state.init();
        loop {
            let out = self.out.get_mut(start..).unwrap_or_default();
            let (status, read, written) = decompress(&mut self.state, rest, out, self.decoded.saturating_sub(start), flags);
            rest = rest.get(read..).unwrap_or_default();
            self.decoded = self.decoded.saturating_add(written);
            self.work.spend(written)?;
            match status {
                TINFLStatus::Done | TINFLStatus::BlockBoundary => {
                    self.work.spend(BLOCK)?;
                    self.blocks = self.blocks.saturating_add(1);
                    if self.blocks > FREE_BLOCKS.saturating_add(self.decoded / BYTES_PER_BLOCK) {
                        return Err(Undecodable::TooManyBlocks);
                    }
                    if status == TINFLStatus::Done {
                        return Ok(rest);
                    }
                }
                TINFLStatus::HasMoreOutput if self.out.len() < self.most => {
                    if !self.work.has_room(self.out.len()) {
                        return Err(Undecodable::TooMuchWork);
                    }
                    self.out.resize(self.out.len().saturating_mul(2).min(self.most), 0);
                }
                TINFLStatus::HasMoreOutput => return Err(Undecodable::TooLong),
                _ => return Err(Undecodable::Corrupt),
            }
        }
    }

    fn finish(mut self) -> Result<Vec<u8>, Undecodable> {
        if self.decoded >= self.most {
            return Err(Undecodable::TooLong);
        }
        self.out.truncate(self.decoded);
        Ok(self.out)
    }
}

/// Skips the header of a gzip member (RFC 1952, 2.3). Returns the rest, or `None` if the header is invalid.
fn after_header(member: &[u8]) -> Option<&[u8]> {
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;

    let (fixed, mut rest) = member.split_at_checked(10)?;
    let [0x1f, 0x8b, 8, flags, ..] = *fixed else { return None };
    if flags & RESERVED != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let (length, extra) = rest.split_first_chunk()?;
        rest = extra.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end..)?.split_first()?.1;
        }
    }
    if flags & HEADER_CRC != 0 {
        let header = member.get(..member.len().saturating_sub(rest.len()))?;
        rest = rest.strip_prefix(&(CRC32.checksum(header) as u16).to_le_bytes())?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests;
