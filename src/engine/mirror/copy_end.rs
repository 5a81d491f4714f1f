//! The end of a copy that other targets wait for.

use std::rc::Rc;

use uuid::Uuid;

use super::wanted::Complete;
use crate::config::Config;
use crate::delivery::cause::Cause;
use crate::delivery::trigger::Outcome;
use crate::engine::delivery::{Delivery, Load};

/// The end of a copy that other targets wait for.
pub(super) struct CopyEnd {
    pub(super) leader: usize,
    pub(super) complete: Complete,
    /// What the IDs of the followers are derived from.
    pub(super) key: Vec<u8>,
    pub(super) outcome: Outcome,
    /// How the last attempt ended. `None` if there was none.
    pub(super) cause: Option<Cause>,
}

impl CopyEnd {
    /// The end of a delivery. `None` if no target waits for it.
    pub(super) fn of(config: &Config, delivery: &Delivery, outcome: Outcome) -> Option<Self> {
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
        Some(Self::of_request(config, delivery.target, delivery.id, complete, outcome, delivery.last_outcome))
    }

    /// The end of a request that is given to a target under this ID.
    pub(super) fn of_request(
        config: &Config,
        leader: usize,
        id: Uuid,
        complete: Complete,
        outcome: Outcome,
        cause: Option<Cause>,
    ) -> Self {
        let is_follower = config.targets.get(leader).is_some_and(|target| target.after.leader().is_some());
        // The ID of a follower's copy is derived itself.
        let clients = if is_follower { None } else { complete.head.idempotency_key() };
        let key = clients.map_or_else(|| id.as_bytes().to_vec(), <[u8]>::to_vec);
        Self { leader, complete, key, outcome, cause }
    }
}
