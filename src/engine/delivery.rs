//! What is delivered: one request, or a batch of them; and what was given up.

use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use super::comparison::Comparison;
use crate::delivery::admission::{Reservation, Weigh};
use crate::delivery::batch;
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::http::headers::Pairs;
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::reading::{Reading, Terms};
use crate::template::PrimaryResponse;

/// One call on its way to one target.
pub(super) struct Delivery {
    pub(super) id: Uuid,
    pub(super) target: usize,
    /// The attempt that is next, or under way; from 1.
    pub(super) attempt: u32,
    pub(super) load: Load,
    /// When its request, or the first of them, was complete.
    pub(super) received: Duration,
    /// How its latest attempt ended.
    pub(super) last_outcome: Option<Cause>,
}

/// What a delivery carries.
pub(super) enum Load {
    One(One),
    Batch(Batch),
}

/// One request.
pub(super) struct One {
    pub(super) head: Rc<CapturedHead>,
    /// None once no further attempt needs it: Envoy has its own copy.
    pub(super) body: Option<Rc<Vec<u8>>>,
    /// The primary's response, if it was waited for.
    pub(super) response: Option<Rc<PrimaryResponse>>,
    /// What holds the responses to it against each other, if they are compared.
    pub(super) comparison: Option<Comparison>,
    /// Bytes taken from the worker's budget for it.
    pub(super) reservation: Reservation,
}

/// Several requests, or one of them after the batch was given up.
pub(super) struct Batch {
    /// What the call says once for all of them.
    pub(super) line: Rc<Pairs>,
    pub(super) items: Vec<BatchItem>,
}

/// One request in a batch: all that is left of it.
pub(super) struct BatchItem {
    pub(super) id: Uuid,
    pub(super) correlation_id: Rc<str>,
    /// Its request's body itself, if that is what is sent.
    pub(super) json: Rc<Vec<u8>>,
    pub(super) received: Duration,
    pub(super) reservation: Reservation,
}

/// A request that was given up, before its letter is written.
pub(super) struct GivenUp {
    pub(super) delivery: Delivery,
    pub(super) attempts: u32,
    pub(super) reason: DropReason,
    /// When the request was complete, since 1970.
    pub(super) received_at: Duration,
    /// When it was given up, since 1970.
    pub(super) at: Duration,
}

/// What waiting copies take.
#[derive(Clone, Copy)]
pub(super) struct Burden {
    pub(super) target: usize,
    pub(super) copies: usize,
    /// Bytes taken from the worker's budget.
    pub(super) bytes: usize,
}

impl Delivery {
    /// What it takes while it waits.
    pub(super) fn burden(&self) -> Burden {
        let bytes = match &self.load {
            Load::One(one) => one.reservation.bytes(),
            Load::Batch(batch) => batch.items.iter().map(|item| item.reservation.bytes()).fold(0, usize::saturating_add),
        };
        Burden { target: self.target, copies: self.weight(), bytes }
    }

    /// The items of a batch; none of a single request.
    pub(super) fn items(&self) -> &[BatchItem] {
        match &self.load {
            Load::One(_) => &[],
            Load::Batch(batch) => &batch.items,
        }
    }

    /// The correlation id of a single request; empty for a batch, which has many.
    pub(super) fn correlation_id(&self) -> &str {
        match &self.load {
            Load::One(one) => one.head.correlation_id(),
            Load::Batch(_) => "",
        }
    }

    /// Lets go of what its letter was written from, now that Envoy has a copy of that.
    pub(super) fn forget_contents(&mut self) {
        match &mut self.load {
            Load::One(one) => {
                one.body = None;
                one.response = None;
            }
            Load::Batch(batch) => batch.items.iter_mut().for_each(|item| item.json = Rc::default()),
        }
    }

    /// What was taken from the budget for its only request.
    pub(super) fn reservation(&mut self) -> Option<&mut Reservation> {
        match &mut self.load {
            Load::One(one) => Some(&mut one.reservation),
            Load::Batch(batch) => batch.items.first_mut().map(|item| &mut item.reservation),
        }
    }

    /// A single request of which nothing was read yet; none for a batch.
    pub(super) fn reading(&self, terms: &Terms) -> Option<Reading<'_>> {
        match &self.load {
            Load::One(one) => Some(Reading::new(&one.head, one.body.as_deref().map_or(&[][..], Vec::as_slice), terms)),
            Load::Batch(_) => None,
        }
    }

    /// Its requests, each by itself.
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
