//! Two responses to one request, brought together once both are there, whichever comes first.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use crate::compare::{Response, Unavailable};
use crate::delivery::admission::Reservation;

/// One target's comparison for one request; a clone is the same one.
#[derive(Clone)]
pub(super) struct Comparison {
    target: usize,
    slot: Rc<RefCell<Slot>>,
}

/// What is there so far.
enum Slot {
    Nothing,
    Primary(Rc<Reply>),
    Target(Reply, Subject),
    /// It is done.
    Done,
}

/// One response, or the end without one.
pub(super) struct Reply {
    /// None when there was no response.
    pub(super) status: Option<u16>,
    pub(super) content_type: Vec<u8>,
    pub(super) content_encoding: Vec<u8>,
    pub(super) body: Result<Vec<u8>, Unavailable>,
    pub(super) elapsed: Duration,
    /// Bytes taken from the worker's budget for its body.
    pub(super) reservation: Option<Reservation>,
}

/// What a line about it names.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) delivery_id: Uuid,
    pub(super) correlation_id: Rc<str>,
}

/// Two responses to one request, which are both there.
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

    /// That of a target among several, if it has one.
    pub(super) fn of(comparisons: &[Self], target: usize) -> Option<Self> {
        comparisons.iter().find(|comparison| comparison.target == target).cloned()
    }

    /// The primary has responded, or never will. Gives the pair if the target's response is there.
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

    /// The target has responded, or never will. Gives the pair if the primary's response is there.
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

    /// Puts something in, and takes out what was there.
    fn replace(&self, next: Slot) -> Slot {
        self.slot.try_borrow_mut().map_or(Slot::Done, |mut slot| std::mem::replace(&mut *slot, next))
    }
}

impl Reply {
    /// No response.
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

/// The value of a header, if it was sent.
fn sent(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}
