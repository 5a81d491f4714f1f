//! The record of a target's circuit breaker: a few hundred bytes in shared data that all workers read and write.
//!
//! Layout, little-endian: magic and version (4 bytes), phase (1), doublings (1), the number of windows (1), 1 if it was left (1), generation (4),
//! two numbers of the phase (4 each), a time of the phase (8), then the [`Windows`]. Bytes of another length, with another magic, or with a phase
//! that does not exist, are not a record. A reader then takes the breaker for closed.

use super::window::Windows;

/// The version of the layout. It is a part of the key, too, so that two versions of the filter with the same shared data do not overwrite each
/// other's records.
pub const LAYOUT: u8 = 2;
const MAGIC: [u8; 4] = [b'S', b'C', b'B', LAYOUT];
const HEAD: usize = 28;

/// A breaker as it is stored in shared data. Times are milliseconds of a clock that all workers share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Grows with each change of phase. An attempt of another generation says nothing about this one.
    pub(super) generation: u32,
    pub(super) phase: Phase,
    /// How often the open time has doubled since the breaker was last closed.
    pub(super) doublings: u8,
    /// The outcomes of the closed phase.
    pub(super) windows: Windows,
    /// True if a worker left the target and no attempt has asked since.
    pub(super) is_left: bool,
}

/// The state of a breaker, with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed {
        /// Failures since the last success.
        streak: u32,
    },
    HalfOpen {
        /// Probes in flight.
        probes: u32,
        /// Probes that succeeded.
        successes: u32,
        /// When the latest probe must have ended.
        lease: u64,
    },
    Open {
        /// When it opened.
        since: u64,
    },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Closed { streak: 0 }
    }
}

/// A buffer for an encoded record.
pub type Room = [u8; HEAD + Windows::LENGTH];

impl Record {
    /// An empty buffer.
    pub const fn room() -> Room {
        [0; HEAD + Windows::LENGTH]
    }

    /// Encodes the record into `room` and returns the written bytes.
    pub fn encode<'r>(&self, room: &'r mut Room) -> &'r [u8] {
        let (phase, first, second, time) = match self.phase {
            Phase::Closed { streak } => (0, streak, 0, 0),
            Phase::HalfOpen { probes, successes, lease } => (1, probes, successes, lease),
            Phase::Open { since } => (2, 0, 0, since),
        };
        let fields: [&[u8]; 6] = [
            &MAGIC,
            &[phase, self.doublings, self.windows.count(), u8::from(self.is_left)],
            &self.generation.to_le_bytes(),
            &first.to_le_bytes(),
            &second.to_le_bytes(),
            &time.to_le_bytes(),
        ];
        let head = fields.into_iter().flatten().copied();
        let mut length = 0_usize;
        for (byte, value) in room.iter_mut().zip(head.chain(self.windows.encode())) {
            *byte = value;
            length = length.saturating_add(1);
        }
        room.get(..length).unwrap_or_default()
    }

    /// Decodes a record. Returns `None` if the bytes are not a record.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let ([phase, doublings, windows, is_left], rest) = rest.split_first_chunk::<4>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (first, rest) = rest.split_first_chunk::<4>()?;
        let (second, rest) = rest.split_first_chunk::<4>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (first, second, time) = (u32::from_le_bytes(*first), u32::from_le_bytes(*second), u64::from_le_bytes(*time));
        let phase = match phase {
            0 => Phase::Closed { streak: first },
            1 => Phase::HalfOpen { probes: first, successes: second, lease: time },
            2 => Phase::Open { since: time },
            _ => return None,
        };
        if *magic != MAGIC {
            return None;
        }
        let windows = Windows::decode(*windows, rest)?;
        let generation = u32::from_le_bytes(*generation);
        Some(Self { generation, phase, doublings: *doublings, windows, is_left: *is_left == 1 })
    }
}
