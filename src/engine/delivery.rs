//! Deliveries: one request or a batch of requests on the way to a target. Also deliveries that were given up.

use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use super::comparison::Comparison;
use super::targets::Targets;
use crate::delivery::admission::{Reservation, Weigh};
use crate::delivery::batch;
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::key_order::Key;
use crate::http::headers::Pairs;
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::reading::{Reading, Terms};
use crate::template::Answer;

/// One call to one target, over all of its attempts.
pub(super) struct Delivery {
    pub(super) id: Uuid,
    pub(super) target: usize,
    /// The number of the next attempt, or of the one in flight. The first is 1.
    pub(super) attempt: u32,
    pub(super) load: Load,
    /// When the request was complete; for a batch, when its first request was complete. Monotonic clock.
    pub(super) received: Duration,
    /// How the latest attempt ended. `None` before the first one ends.
    pub(super) last_outcome: Option<Cause>,
}

/// The content of a delivery.
pub(super) enum Load {
    One(One),
    Batch(Batch),
}

/// One request.
pub(super) struct One {
    pub(super) head: Rc<CapturedHead>,
    /// `None` once no further attempt needs the body: Envoy has its own copy.
    pub(super) body: Option<Rc<Vec<u8>>>,
    /// The latest of the answers that the request had, if the target waits for any.
    pub(super) answer: Option<Rc<Answer>>,
    /// The targets that follow this one, directly or through others, and want the request.
    pub(super) followers: Targets,
    /// The comparison of the responses, if they are compared.
    pub(super) comparison: Option<Comparison>,
    /// The key by which the copy is kept in order, from when the copy has it for itself until the copy ends.
    pub(super) key: Option<Key>,
    /// The bytes reserved in the worker's budget for the request.
    pub(super) reservation: Reservation,
}

/// Several requests, or a single one of them after the batch was given up.
pub(super) struct Batch {
    /// The headers that the call carries once for all items.
    pub(super) line: Rc<Pairs>,
    pub(super) items: Vec<BatchItem>,
}

/// One request in a batch. Nothing else of the request is kept.
pub(super) struct BatchItem {
    pub(super) id: Uuid,
    pub(super) correlation_id: Rc<str>,
    /// The rendered item. Shares the request body if the item is the unchanged body.
    pub(super) json: Rc<Vec<u8>>,
    pub(super) received: Duration,
    pub(super) reservation: Reservation,
}

/// A request that was given up, and whose dead letter is not written yet.
pub(super) struct GivenUp {
    pub(super) delivery: Delivery,
    pub(super) attempts: u32,
    pub(super) reason: DropReason,
    /// When the request was complete, as the time since 1970.
    pub(super) received_at: Duration,
    /// When the request was given up, as the time since 1970.
    pub(super) at: Duration,
}

/// The places and bytes that waiting copies take.
#[derive(Clone, Copy)]
pub(super) struct Burden {
    pub(super) target: usize,
    pub(super) copies: usize,
    /// The bytes reserved in the worker's budget.
    pub(super) bytes: usize,
}

impl Delivery {
    /// The places and bytes that the delivery takes while it waits.
    pub(super) fn burden(&self) -> Burden {
        let bytes = match &self.load {
            Load::One(one) => one.reservation.bytes(),
            Load::Batch(batch) => batch.items.iter().map(|item| item.reservation.bytes()).fold(0, usize::saturating_add),
        };
        Burden { target: self.target, copies: self.weight(), bytes }
    }

    /// The items of a batch. Empty for a single request.
    pub(super) fn items(&self) -> &[BatchItem] {
        match &self.load {
            Load::One(_) => &[],
            Load::Batch(batch) => &batch.items,
        }
    }

    /// The correlation ID of a single request. Empty for a batch, which has one for each item.
    pub(super) fn correlation_id(&self) -> &str {
        match &self.load {
            Load::One(one) => one.head.correlation_id(),
            Load::Batch(_) => "",
        }
    }

    /// Gives a copy its key, which it has for itself from now on.
    pub(super) fn set_key(&mut self, key: Key) {
        if let Load::One(one) = &mut self.load {
            one.key = Some(key);
        }
    }

    /// Removes and returns the key that the copy has for itself. `None` if it has none, or was asked before.
    pub(super) fn take_key(&mut self) -> Option<Key> {
        match &mut self.load {
            Load::One(one) => one.key.take(),
            Load::Batch(_) => None,
        }
    }

    /// Drops the contents that the dead letter was written from. Envoy has a copy of the letter by now.
    pub(super) fn forget_contents(&mut self) {
        match &mut self.load {
            Load::One(one) => {
                one.body = None;
                one.answer = None;
            }
            Load::Batch(batch) => batch.items.iter_mut().for_each(|item| item.json = Rc::default()),
        }
    }

    /// The reservation of the only request in the delivery.
    pub(super) fn reservation(&mut self) -> Option<&mut Reservation> {
        match &mut self.load {
            Load::One(one) => Some(&mut one.reservation),
            Load::Batch(batch) => batch.items.first_mut().map(|item| &mut item.reservation),
        }
    }

    /// A new reading of a single request. `None` for a batch.
    pub(super) fn reading(&self, terms: &Terms) -> Option<Reading<'_>> {
        match &self.load {
            Load::One(one) => Some(Reading::new(&one.head, one.body.as_deref().map_or(&[][..], Vec::as_slice), terms)),
            Load::Batch(_) => None,
        }
    }

    /// Splits the delivery into one delivery for each request.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        let Self { id, target, attempt, load, received, last_outcome } = self;
        let (one, batch) = match load {
            Load::One(one) => (Some(Self { id, target, attempt, load: Load::One(one), received, last_outcome }), None),
            Load::Batch(batch) => (None, Some(batch)),
        };
        let items = batch.into_iter().flat_map(move |Batch { line, items }| {
            items.into_iter().map(move |item| Self {
                id: item.id,
                target,
                attempt,
                received: item.received,
                last_outcome,
                load: Load::Batch(Batch { line: Rc::clone(&line), items: vec![item] }),
            })
        });
        one.into_iter().chain(items)
    }
}

impl Weigh for GivenUp {
    fn weight(&self) -> usize {
        1
    }
}

impl Weigh for Delivery {
    fn weight(&self) -> usize {
        self.items().len().max(1)
    }
}

impl batch::Item for BatchItem {
    fn size(&self) -> usize {
        self.json.len()
    }
}
