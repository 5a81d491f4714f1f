//! Comparison: whether a target responds like the primary, with the same status and a body of the same meaning.
//!
//! Uses `json` and `http`. Begin with [`compare_within`].
//!
//! Bodies that both sides declare as JSON are compared by value: members of objects in any order, entries of lists in order unless the settings say
//! otherwise, the last of repeated keys, numbers by value whatever their spelling. All other bodies are compared byte by byte, after content
//! codings are removed.

mod difference;
mod json;
mod unordered;

use std::borrow::Cow;

use serde::Serialize;

pub use difference::{Difference, DifferenceKind, Differences};

use crate::http::content_coding::{self, Undecodable};
use crate::http::unavailable::Unavailable;
use crate::http::work_limit::Work;
use crate::json::PointerSet;

/// How a target's responses are compared.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The percentage of response pairs to compare.
    pub percent: f64,
    /// True if statuses must be equal.
    pub status: bool,
    /// How bodies are compared.
    pub body: BodyMode,
    /// The parts of JSON that are ignored on both sides.
    pub ignore: PointerSet,
    /// The lists whose order does not matter. `None` if every list is ordered.
    pub unordered: Option<PointerSet>,
    /// True if log lines may contain values that differ.
    pub log_values: bool,
}

/// How bodies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// As JSON if both are declared as JSON, otherwise byte by byte.
    Json,
    /// Byte by byte.
    Exact,
    /// Not at all.
    None,
}

impl Settings {
    /// True if a pair of responses is compared. `random` is 64 random bits.
    pub fn samples(&self, random: u64) -> bool {
        // The highest 53 bits, which a double holds exactly: at least 0 and below 1.
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        share < self.percent / 100.0
    }
}

/// A response to compare.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// The value of `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// The value of `content-encoding`.
    pub content_encoding: Option<&'a [u8]>,
    /// The body as it was sent.
    pub body: Result<&'a [u8], Unavailable>,
}

/// The result of a comparison. As JSON, a part of a log line: `{"result":"status_mismatch","primary":200,"target":500}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verdict {
    /// The responses are equal.
    Match,
    /// The statuses differ. The bodies were not compared.
    StatusMismatch {
        /// The primary's status.
        primary: u16,
        /// The target's status.
        target: u16,
    },
    /// The bodies differ.
    BodyMismatch(Differences),
    /// The responses cannot be compared.
    NotComparable {
        /// The side whose body cannot be compared.
        side: Side,
        /// The reason.
        reason: Reason,
    },
}

/// One of the two responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The response to the client.
    Primary,
    /// The response to the copy.
    Target,
}

/// Why a body cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The body is longer than the limit, encoded or decoded.
    BodyTooLarge,
    /// The budget had no room for the body.
    BufferFull,
    /// The body did not arrive completely.
    Truncated,
    /// The content coding is not supported.
    UnknownEncoding,
    /// The body does not have the stated content coding, or costs too much to decode.
    BadEncoding,
    /// Decoding or comparing the body takes more work than `limits.max_work_bytes`.
    WorkLimit,
}

/// Compares a target's response with the primary's. A decoded body may be at most `max_body` bytes long.
pub fn compare(settings: &Settings, primary: &Response<'_>, target: &Response<'_>, max_body: usize) -> Verdict {
    compare_within(settings, primary, target, max_body, &Work::unbounded())
}

/// Compares like [`compare`], within a limit of work.
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

/// The differences between the bodies, or the side and reason why they cannot be compared.
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
    // Equal bytes with the same coding mean the same, whatever that is.
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

    /// True if the media type is JSON, or has a JSON suffix (RFC 6839, 3.1). Parameters do not matter.
    fn is_json(&self) -> bool {
        let value = self.content_type.unwrap_or_default();
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        media_type == b"application/json" || media_type.ends_with(b"+json")
    }
}

#[cfg(test)]
mod tests;
