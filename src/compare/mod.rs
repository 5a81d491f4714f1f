//! Whether a target responds as the primary did: the same status, and a body that means the same.
//!
//! Uses `json` and `http`. Begin with [`compare_within`].
//!
//! Bodies that both sides call JSON are compared as values: members of objects in any order, entries of lists in theirs unless the settings say
//! that it does not matter, the last of repeated keys, numbers by what they are worth however they are spelled. Everything else is compared byte by byte, content codings undone.

mod difference;
mod json;
mod unordered;

use std::borrow::Cow;

use serde::Serialize;

pub use difference::{Difference, DifferenceKind, Differences};

use crate::http::content_coding::{self, Undecodable};
use crate::http::work::Work;
use crate::json::PointerSet;

/// How a target's responses are compared.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many of a hundred pairs of responses.
    pub percent: f64,
    /// Statuses must be the same.
    pub status: bool,
    /// How bodies are compared.
    pub body: BodyMode,
    /// What is left out of the comparison of JSON, on both sides.
    pub ignore: PointerSet,
    /// The lists whose order does not matter; none: every list has an order.
    pub unordered: Option<PointerSet>,
    /// Values that differ may be told, not only where they are.
    pub log_values: bool,
}

/// How bodies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// As JSON if both are called that, otherwise byte by byte.
    Json,
    /// Byte by byte.
    Exact,
    /// Not at all.
    None,
}

impl Settings {
    /// Whether a pair of responses is compared, by 64 random bits.
    pub fn samples(&self, random: u64) -> bool {
        // The highest bits that a double holds all of: at least 0 and below 1.
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        share < self.percent / 100.0
    }
}

/// A response.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Its status.
    pub status: u16,
    /// The value of its `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// The value of its `content-encoding`.
    pub content_encoding: Option<&'a [u8]>,
    /// Its body as it was sent.
    pub body: Result<&'a [u8], Unavailable>,
}

/// Why there is no body to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// It was longer than what is kept.
    TooLong,
    /// There was no room for it.
    NoRoom,
    /// It did not come to its end.
    CutOff,
}

/// What a comparison came to. As JSON, a part of a log line: `{"result":"status_mismatch","primary":200,"target":500}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verdict {
    /// The responses are the same.
    Match,
    /// They have different statuses; their bodies were not looked at.
    StatusMismatch {
        /// The primary's.
        primary: u16,
        /// The target's.
        target: u16,
    },
    /// Their bodies differ.
    BodyMismatch(Differences),
    /// It cannot be told.
    NotComparable {
        /// Whose body is to blame.
        side: Side,
        /// Why.
        reason: Reason,
    },
}

/// One of the two responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What the client got.
    Primary,
    /// What came of the copy.
    Target,
}

/// Why a body cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is longer than what is kept, or would be once it is decoded.
    BodyTooLarge,
    /// There was no room for it.
    BufferFull,
    /// It did not come to its end.
    Truncated,
    /// Its content coding is not known here.
    UnknownEncoding,
    /// It is not what its content coding says, or costs too much to decode.
    BadEncoding,
    /// It takes more work than `limits.max_work_bytes` to decode, or to compare with the other one.
    WorkLimit,
}

/// Compares a target's response to the primary's. Bodies that must be decoded may become `max_body` bytes long.
pub fn compare(settings: &Settings, primary: &Response<'_>, target: &Response<'_>, max_body: usize) -> Verdict {
    compare_within(settings, primary, target, max_body, &Work::unbounded())
}

/// The same within so much work.
pub fn compare_within(
    settings: &Settings,
    primary: &Response<'_>,
    target: &Response<'_>,
    max_body: usize,
    work: &Work,
) -> Verdict {
    if settings.status && primary.status != target.status {
        return Verdict::StatusMismatch { primary: primary.status, target: target.status };
    }
    if settings.body == BodyMode::None {
        return Verdict::Match;
    }
    match differences(settings, primary, target, max_body, work) {
        Ok(differences) if differences.is_empty() => Verdict::Match,
        Ok(differences) => Verdict::BodyMismatch(differences),
        Err((side, reason)) => Verdict::NotComparable { side, reason },
    }
}

/// Where the bodies differ, or whose cannot be compared and why.
fn differences(
    settings: &Settings,
    primary: &Response<'_>,
    target: &Response<'_>,
    max_body: usize,
    work: &Work,
) -> Result<Differences, (Side, Reason)> {
    let of_primary = |reason| (Side::Primary, reason);
    let of_target = |reason| (Side::Target, reason);
    let sent = (primary.sent().map_err(of_primary)?, target.sent().map_err(of_target)?);
    // Whatever they mean, they mean the same.
    if sent.0 == sent.1 && primary.coding().eq_ignore_ascii_case(target.coding()) {
        return Ok(Differences::default());
    }
    let ours = primary.decoded(sent.0, max_body, work).map_err(of_primary)?;
    let theirs = target.decoded(sent.1, max_body, work).map_err(of_target)?;
    if settings.body == BodyMode::Json && primary.is_json() && target.is_json() {
        json::differences(settings, &ours, &theirs, work)
    } else {
        Ok(Differences::of_bytes(settings.log_values, &ours, &theirs))
    }
}

impl<'a> Response<'a> {
    fn sent(&self) -> Result<&'a [u8], Reason> {
        self.body.map_err(|unavailable| match unavailable {
            Unavailable::TooLong => Reason::BodyTooLarge,
            Unavailable::NoRoom => Reason::BufferFull,
            Unavailable::CutOff => Reason::Truncated,
        })
    }

    fn coding(&self) -> &'a [u8] {
        self.content_encoding.unwrap_or_default().trim_ascii()
    }

    fn decoded(&self, body: &'a [u8], max: usize, work: &Work) -> Result<Cow<'a, [u8]>, Reason> {
        content_coding::decode_within(self.coding(), body, max, work).map_err(|undecodable| match undecodable {
            Undecodable::UnknownCoding => Reason::UnknownEncoding,
            Undecodable::TooLong => Reason::BodyTooLarge,
            Undecodable::TooManyBlocks | Undecodable::Corrupt => Reason::BadEncoding,
            Undecodable::TooMuchWork => Reason::WorkLimit,
        })
    }

    /// Its media type is JSON, or is written in JSON by its suffix (RFC 6839, 3.1); parameters do not matter.
    fn is_json(&self) -> bool {
        let value = self.content_type.unwrap_or_default();
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        media_type == b"application/json" || media_type.ends_with(b"+json")
    }
}

#[cfg(test)]
mod tests;
