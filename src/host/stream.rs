//! One request on its way to the primary: looked at once, copied chunk by chunk, handed to its root when it is complete. It is
//! never held back.

use super::calls::{self, Buffer};
use super::journal;
use super::mirror::{Mirror, Wanted};
use super::root::Root;
use crate::shape::{CapturedHead, RequestHead};
use crate::stats::DropReason;

/// Where a request stands. One that nobody wants, or that was handed over, is forgotten.
pub(super) enum Stream {
    /// Nothing of it has been seen.
    New,
    /// Its body is being copied.
    Collecting(Collected),
}

/// What is copied of a request.
pub(super) struct Collected {
    wanted: Wanted,
    head: CapturedHead,
    body: Vec<u8>,
    /// Bytes taken from the worker's budget for it.
    charged: usize,
}

impl Stream {
    pub(super) fn headers(self, root: &mut Root, end_of_stream: bool) -> Option<Self> {
        let mirror = root.mirror()?;
        let collected = begin(mirror)?;
        if end_of_stream {
            finish(mirror, collected);
            None
        } else {
            Some(Self::Collecting(collected))
        }
    }

    pub(super) fn body(self, root: &mut Root, size: usize, end_of_stream: bool) -> Option<Self> {
        let Self::Collecting(mut collected) = self else {
            return Some(self);
        };
        let mirror = root.mirror()?;
        if let Err(reason) = append(mirror, &mut collected, size) {
            give_up(mirror, collected, reason);
            return None;
        }
        if end_of_stream {
            finish(mirror, collected);
            None
        } else {
            Some(Self::Collecting(collected))
        }
    }

    /// The request ended with trailers. A call-out cannot carry them.
    pub(super) fn complete(self, root: &mut Root) -> Option<Self> {
        if let Self::Collecting(collected) = self {
            finish(root.mirror()?, collected);
        }
        None
    }

    /// The stream is over, and the request was not complete.
    pub(super) fn cut_off(self, root: &mut Root) -> Option<Self> {
        if let Self::Collecting(collected) = self {
            give_up(root.mirror()?, collected, DropReason::Truncated);
        }
        None
    }
}

/// Looks at a request; none when no target wants it.
fn begin(mirror: &mut Mirror) -> Option<Collected> {
    let headers = calls::request_headers().ok()?;
    let head = RequestHead::read(&headers, &mirror.config.loop_guard);
    if head.tunnels {
        return None;
    }
    if head.is_copy {
        journal::loop_stopped();
        return None;
    }
    let wanted = mirror.wanted(&head, &headers);
    if wanted.is_empty() {
        return None;
    }
    let head = mirror.capture(&headers);
    let charged = head.size();
    if !mirror.budget.take(charged) {
        mirror.give_up(wanted, &head, DropReason::BufferFull);
        return None;
    }
    Some(Collected { wanted, head, body: Vec::new(), charged })
}

/// Copies a chunk.
fn append(mirror: &mut Mirror, collected: &mut Collected, size: usize) -> Result<(), DropReason> {
    if size == 0 {
        return Ok(());
    }
    if collected.body.len().saturating_add(size) > mirror.config.max_body_bytes {
        return Err(DropReason::BodyTooLarge);
    }
    if !mirror.budget.take(size) {
        return Err(DropReason::BufferFull);
    }
    collected.charged = collected.charged.saturating_add(size);
    match calls::buffer(Buffer::RequestBody, size) {
        Ok(chunk) if chunk.len() == size => {
            if collected.body.is_empty() {
                collected.body = chunk;
            } else {
                collected.body.extend_from_slice(&chunk);
            }
            Ok(())
        }
        // A copy with a hole in it is no copy.
        _ => Err(DropReason::Truncated),
    }
}

fn finish(mirror: &mut Mirror, collected: Collected) {
    mirror.budget.give(collected.charged);
    mirror.accept(collected.wanted, collected.head, collected.body);
}

fn give_up(mirror: &mut Mirror, collected: Collected, reason: DropReason) {
    mirror.budget.give(collected.charged);
    mirror.give_up(collected.wanted, &collected.head, reason);
}
