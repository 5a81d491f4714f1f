//! Pairs the responses of the primary and a target to one request. Either of them may arrive first.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use crate::compare::Response;
use crate::delivery::admission::Reservation;
use crate::http::unavailable::Unavailable;

/// One target's comparison for one request. Clones share the same state.
#[derive(Clone)]
pub(super) struct Comparison {
    target: usize,
    slot: Rc<RefCell<Slot>>,
}

/// The responses received so far.
enum Slot {
    Nothing,
    Primary(Rc<Reply>),
    Target(Reply, Subject),
    /// The pair was handed out.
    Done,
}

/// One response, or the information that there was none.
pub(super) struct Reply {
    /// `None` if there was no response.
    pub(super) status: Option<u16>,
    pub(super) content_type: Vec<u8>,
    pub(super) content_encoding: Vec<u8>,
    pub(super) body: Result<Vec<u8>, Unavailable>,
    pub(super) elapsed: Duration,
    /// The bytes reserved in the worker's budget for the body.
    pub(super) reservation: Option<Reservation>,
}

/// The IDs that a log line about the comparison names.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) delivery_id: Uuid,
    pub(super) correlation_id: Rc<str>,
}

/// The two responses to one request, both received.
pub(super) struct Pair {
    pub(super) target: usize,
    pub(super) primary: Rc<Reply>,
    pub(super) mirrored: Reply,
    pub(super) subject: Subject,
}

impl Comparison {
    pub(super) fn new(target: usize) -> Self {
        Self { target, slot: Rc::new(RefCell::new(Slot::Nothing)) }
    }

    /// Returns the comparison of the given target, or `None` if its response is not compared.
    pub(super) fn of(comparisons: &[Self], target: usize) -> Option<Self> {
        comparisons.iter().find(|comparison| comparison.target == target).cloned()
    }

    /// Records the primary's response, or that there is none. Returns the pair if the target's response was recorded before.
    pub(super) fn primary_ended(&self, primary: &Rc<Reply>) -> Option<Pair> {
        match self.replace(Slot::Primary(Rc::clone(primary))) {
            Slot::Target(mirrored, subject) => {
                self.replace(Slot::Done);
                Some(Pair { target: self.target, primary: Rc::clone(primary), mirrored, subject })
            }
            Slot::Done => {
                self.replace(Slot::Done);
                None
            }
            Slot::Nothing | Slot::Primary(_) => None,
        }
    }

    /// Records the target's response, or that there is none. Returns the pair if the primary's response was recorded before.
    pub(super) fn target_ended(&self, mirrored: Reply, subject: Subject) -> Option<Pair> {
        match self.replace(Slot::Done) {
            Slot::Primary(primary) => Some(Pair { target: self.target, primary, mirrored, subject }),
            Slot::Nothing => {
                self.replace(Slot::Target(mirrored, subject));
                None
            }
            Slot::Target(..) | Slot::Done => None,
        }
    }

    /// Stores the next state and returns the previous one.
    fn replace(&self, next: Slot) -> Slot {
        self.slot.try_borrow_mut().map_or(Slot::Done, |mut slot| std::mem::replace(&mut *slot, next))
    }
}

impl Reply {
    /// The absence of a response.
    pub(super) fn none() -> Self {
        Self {
            status: None,
            content_type: Vec::new(),
            content_encoding: Vec::new(),
            body: Ok(Vec::new()),
            elapsed: Duration::ZERO,
            reservation: None,
        }
    }

    pub(super) fn response(&self) -> Option<Response<'_>> {
        Some(Response {
            status: self.status?,
            content_type: sent(&self.content_type),
            content_encoding: sent(&self.content_encoding),
            body: self.body.as_deref().map_err(|unavailable| *unavailable),
        })
    }
}

/// The value of a header, or `None` if the response has no such header.
fn sent(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}
