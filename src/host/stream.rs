//! One request on its way to the primary: looked at once, copied chunk by chunk, handed to its root when it is complete. It is
//! never held back.

use super::calls::{self, Buffer};
use super::journal;
use super::mirror::{Mirror, Wanted};
use crate::shape::{CapturedHead, RequestHead};
use crate::stats::DropReason;

/// Where a request stands.
pub(super) enum Stream {
    /// Nothing of it has been seen.
    New,
    /// Its body is being copied.
    Collecting(Collected),
}

/// Whether there is more to see of a stream. One that nobody wants, or that was handed over, is forgotten.
pub(super) enum Next {
    GoOn,
    Forget,
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
    pub(super) fn headers(&mut self, mirror: &mut Mirror, end_of_stream: bool) -> Next {
        match begin(mirror) {
            None => Next::Forget,
            Some(collected) if end_of_stream => {
                finish(mirror, collected);
                Next::Forget
            }
            Some(collected) => {
                *self = Self::Collecting(collected);
                Next::GoOn
            }
        }
    }

    pub(super) fn body(&mut self, mirror: &mut Mirror, size: usize, end_of_stream: bool) -> Next {
        let Self::Collecting(collected) = self else {
            return Next::GoOn;
        };
        match append(mirror, collected, size) {
            Ok(()) if end_of_stream => self.complete(mirror),
            Ok(()) => Next::GoOn,
            Err(reason) => self.give_up(mirror, reason),
        }
    }

    /// The request is complete. If it ended with trailers, they are left behind: a call-out cannot carry them.
    pub(super) fn complete(&mut self, mirror: &mut Mirror) -> Next {
        if let Self::Collecting(collected) = std::mem::replace(self, Self::New) {
            finish(mirror, collected);
        }
        Next::Forget
    }

    /// The stream is over, and the request was not complete.
    pub(super) fn cut_off(&mut self, mirror: &mut Mirror) -> Next {
        self.give_up(mirror, DropReason::Truncated)
    }

    fn give_up(&mut self, mirror: &mut Mirror, reason: DropReason) -> Next {
        if let Self::Collecting(collected) = std::mem::replace(self, Self::New) {
            mirror.budget.give(collected.charged);
            mirror.give_up_incomplete(collected.wanted, &collected.head, reason);
        }
        Next::Forget
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
    let head = mirror.capture(&headers, &head);
    let charged = head.size();
    if !mirror.budget.take(charged) {
        mirror.give_up_incomplete(wanted, &head, DropReason::BufferFull);
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
