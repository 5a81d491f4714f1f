//! The end of a copy that other targets wait for.

use std::rc::Rc;

use uuid::Uuid;

use super::wanted::Complete;
use crate::delivery::cause::Cause;
use crate::delivery::trigger::Outcome;
use crate::engine::delivery::{Delivery, Load};

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
        self.complete.head.idempotency_key().unwrap_or(self.id.as_bytes())
    }
}
