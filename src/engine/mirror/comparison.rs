//! Two answers to one request, held against each other once both are there, whichever comes first.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use super::deferred::Deferred;
use super::delivery::Load;
use super::{signed, Delivery, Mirror};
use crate::compare::{compare_within, Answer, Unavailable, Verdict};
use crate::delivery::admission::Charge;
use crate::delivery::outcome::Cause;
use crate::engine::host::{Buffer, Host};
use crate::engine::journal;
use crate::http::work::Work;
use crate::observe::metrics::Metric;

/// One target's comparison for one request; a clone is the same one.
#[derive(Clone)]
pub(in crate::engine) struct Comparison {
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

/// One answer, or the end without one.
pub(in crate::engine) struct Reply {
    /// None when there was no answer.
    pub(in crate::engine) status: Option<u16>,
    pub(in crate::engine) content_type: Vec<u8>,
    pub(in crate::engine) content_encoding: Vec<u8>,
    pub(in crate::engine) body: Result<Vec<u8>, Unavailable>,
    pub(in crate::engine) elapsed: Duration,
    /// Bytes taken from the worker's budget for its body.
    pub(in crate::engine) charge: Option<Charge>,
}

/// What a line about it names.
#[derive(Clone)]
struct Subject {
    delivery_id: Uuid,
    correlation_id: Rc<str>,
}

/// Two answers to one request, which are both there.
pub(super) struct Pair {
    target: usize,
    primary: Rc<Reply>,
    mirrored: Reply,
    subject: Subject,
}

impl Pair {
    pub(super) fn target(&self) -> usize {
        self.target
    }
}

impl Comparison {
    pub(super) fn new(target: usize) -> Self {
        Self { target, slot: Rc::new(RefCell::new(Slot::Nothing)) }
    }

    pub(super) fn target(&self) -> usize {
        self.target
    }

    /// Puts something in, and takes out what was there.
    fn replace(&self, next: Slot) -> Slot {
        self.slot.try_borrow_mut().map_or(Slot::Done, |mut slot| std::mem::replace(&mut *slot, next))
    }
}

impl Reply {
    /// No answer.
    fn none() -> Self {
        Self {
            status: None,
            content_type: Vec::new(),
            content_encoding: Vec::new(),
            body: Ok(Vec::new()),
            elapsed: Duration::ZERO,
            charge: None,
        }
    }

    fn answer(&self) -> Option<Answer<'_>> {
        Some(Answer {
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

impl<H: Host> Mirror<H> {
    /// The primary has answered, or never will.
    pub(in crate::engine) fn primary_answered(&mut self, comparisons: &[Comparison], primary: Reply) {
        let primary = Rc::new(primary);
        for comparison in comparisons {
            match comparison.replace(Slot::Primary(Rc::clone(&primary))) {
                Slot::Target(target, subject) => {
                    comparison.replace(Slot::Done);
                    self.compare_soon(Pair {
                        target: comparison.target,
                        primary: Rc::clone(&primary),
                        mirrored: target,
                        subject,
                    });
                }
                Slot::Done => {
                    comparison.replace(Slot::Done);
                }
                Slot::Nothing | Slot::Primary(_) => {}
            }
        }
    }

    /// A delivery has ended with an answer of its target, whose body can be read now.
    pub(super) fn answered(&mut self, delivery: &mut Delivery, cause: Cause, elapsed: Duration, body_size: usize) {
        let Load::One(one) = &mut delivery.load else {
            return;
        };
        let Some(comparison) = one.comparison.take() else {
            return;
        };
        let subject = Subject { delivery_id: delivery.id, correlation_id: one.head.shared_correlation_id() };
        let reply = self.reply(delivery.target, cause, elapsed, body_size);
        self.target_ended(&comparison, reply, subject);
    }

    /// A delivery has ended without an answer.
    pub(super) fn unanswered(&mut self, comparison: Option<Comparison>) {
        if let Some(comparison) = comparison {
            let subject = Subject { delivery_id: Uuid::nil(), correlation_id: "".into() };
            self.target_ended(&comparison, Reply::none(), subject);
        }
    }

    fn target_ended(&mut self, comparison: &Comparison, reply: Reply, subject: Subject) {
        match comparison.replace(Slot::Done) {
            Slot::Primary(primary) => {
                self.compare_soon(Pair { target: comparison.target, primary, mirrored: reply, subject });
            }
            Slot::Nothing => {
                comparison.replace(Slot::Target(reply, subject));
            }
            Slot::Target(..) | Slot::Done => {}
        }
    }

    /// The answer to the call that has just ended.
    fn reply(&self, target: usize, cause: Cause, elapsed: Duration, body_size: usize) -> Reply {
        let Some(status) = cause.status() else {
            return Reply::none();
        };
        let header = |name| self.worker.call_header(name).unwrap_or_default();
        let mut reply = Reply {
            status: Some(status),
            content_type: header("content-type"),
            content_encoding: header("content-encoding"),
            elapsed,
            ..Reply::none()
        };
        if !self.config.targets.get(target).is_some_and(|target| target.reads.answer_body) {
            return reply;
        }
        let mut charge = self.budget.nothing();
        reply.body = if body_size > self.config.max_body_bytes {
            Err(Unavailable::TooLong)
        } else if !self.budget.grow_spare(&mut charge, body_size) {
            Err(Unavailable::NoRoom)
        } else if body_size == 0 {
            Ok(Vec::new())
        } else {
            self.worker.buffer(Buffer::CallResponseBody, body_size).map_err(|_| Unavailable::CutOff)
        };
        reply.charge = Some(charge);
        reply
    }

    /// Compares two answers; later, if this callback has done its share.
    fn compare_soon(&mut self, pair: Pair) {
        if self.is_spent() {
            self.defer(Deferred::Comparison(pair), self.worker.monotonic());
        } else {
            self.compare(pair);
        }
    }

    /// Compares two answers.
    pub(super) fn compare(&mut self, pair: Pair) {
        let work = Work::new(self.config.reading.max_work);
        self.compare_within(&pair, &work);
        self.spend(work.spent());
    }

    fn compare_within(&self, pair: &Pair, work: &Work) {
        let Pair { target, primary, mirrored, subject } = pair;
        let target = *target;
        let Some(settings) = self.config.targets.get(target).and_then(|target| target.compare.as_ref()) else {
            return;
        };
        let (Some(one), Some(other)) = (primary.answer(), mirrored.answer()) else {
            self.count(target, Metric::CompareNotComparable);
            return;
        };
        self.add(target, Metric::ComparePrimaryLatencyMs, signed(primary.elapsed.as_millis()));
        self.add(target, Metric::CompareTargetLatencyMs, signed(mirrored.elapsed.as_millis()));
        let verdict = compare_within(settings, &one, &other, self.config.max_body_bytes, work);
        self.count(
            target,
            match &verdict {
                Verdict::Match => Metric::CompareMatch,
                Verdict::StatusMismatch { .. } => Metric::CompareStatusMismatch,
                Verdict::BodyMismatch(_) => Metric::CompareBodyMismatch,
                Verdict::NotComparable { .. } => Metric::CompareNotComparable,
            },
        );
        if verdict != Verdict::Match {
            journal::compared(&self.worker, self.name(target), subject.delivery_id, &subject.correlation_id, &verdict);
        }
    }
}
