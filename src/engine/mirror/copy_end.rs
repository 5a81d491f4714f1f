//! The end of a copy that other targets wait for.

use std::rc::Rc;

use uuid::Uuid;

use super::wanted::Complete;
use crate::config::Target;
use crate::delivery::cause::Cause;
use crate::delivery::trigger::Outcome;
use crate::engine::delivery::{Delivery, Load};
use crate::rewrite::capture::CapturedHead;

/// The end of a copy that other targets wait for.
pub(super) struct CopyEnd {
    pub(super) leader: usize,
    /// The ID of the delivery.
    pub(super) id: Uuid,
    pub(super) complete: Complete,
    pub(super) outcome: Outcome,
    /// How the last attempt ended. `None` if there was none.
    pub(super) cause: Option<Cause>,
}

impl CopyEnd {
    /// The end of a delivery. `None` if no target waits for it.
    pub(super) fn of(delivery: &Delivery, outcome: Outcome) -> Option<Self> {
        let Load::One(one) = &delivery.load else {
            return None;
        };
        if one.followers.is_empty() {
            return None;
        }
        let complete = Complete {
            head: Rc::clone(&one.head),
            body: one.body.clone().unwrap_or_default(),
            answer: one.answer.clone(),
            followers: one.followers,
        };
        Some(Self { leader: delivery.target, id: delivery.id, complete, outcome, cause: delivery.last_outcome })
    }

    /// What the IDs of the followers are derived from: the client's idempotency key, if there is one.
    pub(super) fn key(&self) -> &[u8] {
        key(&self.complete.head, &self.id)
    }
}

/// The most work that the end of a delivery takes: the IDs of its followers are derived. The key is as long as the client likes.
pub(super) fn work_of(target: &Target, delivery: &Delivery) -> usize {
    match &delivery.load {
        Load::One(one) if !one.followers.is_empty() => key(&one.head, &delivery.id).len().saturating_mul(target.followers.len()),
        _ => 0,
    }
}

fn key<'k>(head: &'k CapturedHead, id: &'k Uuid) -> &'k [u8] {
    head.idempotency_key().unwrap_or(id.as_bytes())
}
