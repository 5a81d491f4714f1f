//! What all workers know of a target's circuit breaker: a few bytes of fixed length in shared data.
//!
//! Layout, little-endian: magic and version (4 bytes), phase (1), doublings (1), two bytes unused, generation (4), two numbers of
//! the phase (4 each), a time of the phase (8), then the [`Window`]. Bytes of another length, with another magic, or with a phase
//! that does not exist, are not a record: whoever reads them takes the breaker for closed.

use super::window::Window;

/// Changes with the layout: an older filter's bytes are not understood by halves.
const MAGIC: [u8; 4] = *b"SCB\x01";
const HEAD: usize = 28;

/// A breaker, as it stands in shared data. Times are milliseconds of a clock that all workers share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Goes up with each change of phase: what began under another generation says nothing about this one.
    pub(super) generation: u32,
    pub(super) phase: Phase,
    /// How often the open time has doubled since the breaker was closed.
    pub(super) doublings: u8,
    /// Outcomes of the closed phase.
    pub(super) window: Window,
}

/// Where a breaker stands, with what belongs to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed {
        /// Failures since the last success.
        streak: u32,
    },
    HalfOpen {
        /// Probes under way.
        probes: u32,
        /// Probes that succeeded.
        successes: u32,
        /// When the last of the probes must have ended.
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

/// A record as bytes.
pub type Bytes = [u8; HEAD + Window::LENGTH];

impl Record {
    /// The bytes that stand for it.
    pub fn encode(&self) -> Bytes {
        let (phase, first, second, time) = match self.phase {
            Phase::Closed { streak } => (0, streak, 0, 0),
            Phase::HalfOpen { probes, successes, lease } => (1, probes, successes, lease),
            Phase::Open { since } => (2, 0, 0, since),
        };
        let mut head = [0; HEAD];
        let fields: [&[u8]; 6] = [
            &MAGIC,
            &[phase, self.doublings, 0, 0],
            &self.generation.to_le_bytes(),
            &first.to_le_bytes(),
            &second.to_le_bytes(),
            &time.to_le_bytes(),
        ];
        let fields = fields.into_iter().flatten().copied();
        head.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        let mut bytes = [0; HEAD + Window::LENGTH];
        let whole = head.into_iter().chain(self.window.encode());
        bytes.iter_mut().zip(whole).for_each(|(byte, value)| *byte = value);
        bytes
    }

    /// The record that the bytes stand for, if they do.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let ([phase, doublings, _, _], rest) = rest.split_first_chunk::<4>()?;
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
        let window = Window::decode(rest)?;
        (*magic == MAGIC).then_some(Self { generation: u32::from_le_bytes(*generation), phase, doublings: *doublings, window })
    }
}
