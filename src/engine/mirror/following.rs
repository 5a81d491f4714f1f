//! Chains: what follows from the end of a copy.
//!
//! A delivery carries the set of the targets that follow it for this request. When it ends, it hands the request on to those whose cause came true.
//! They share its head and body. For the others, and for all that would have followed them, nothing follows.

use std::mem::size_of;
use std::time::Duration;

use uuid::Uuid;

use super::copy_end::CopyEnd;
use super::drain::Drain;
use super::step::Step;
use super::wanted::Complete;
use super::Mirror;
use crate::config::After;
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::trigger::Outcome;
use crate::engine::delivery::Delivery;
use crate::engine::host::Host;
use crate::engine::ids::derived_id;
use crate::engine::targets::Targets;

impl<H: Host> Mirror<H> {
    /// Hands a request on to the targets that follow its copy.
    pub(super) fn follow(&mut self, end: &CopyEnd, now: Duration) {
        let CopyEnd { leader, complete, outcome, cause, .. } = end;
        let count = self.common.target(*leader).map_or(0, |target| target.followers.len());
        for place in 0..count {
            let follower = self.common.target(*leader).and_then(|target| target.followers.get(place)).copied();
            let Some(follower) = follower.filter(|follower| complete.followers.has(*follower)) else {
                continue;
            };
            if self.is_triggered(follower, *outcome, *cause) {
                self.begin_follower(follower, complete, end.key(), now);
            } else {
                self.nothing_follows(follower, complete);
            }
        }
    }

    fn is_triggered(&self, follower: usize, outcome: Outcome, cause: Option<Cause>) -> bool {
        let after = self.common.target(follower).map(|target| &target.after);
        matches!(after, Some(After::Target(trigger)) if trigger.covers(outcome, cause))
    }

    fn begin_follower(&mut self, target: usize, complete: &Complete, key: &[u8], now: Duration) {
        self.common.spend(key.len());
        let id = derived_id(key, self.common.name(target));
        let size = complete.size().saturating_add(size_of::<Delivery>());
        // Steps that free bytes are added to the list. They are carried out after this one.
        let reservation = self.batching.reserve(&mut self.common, size);
        let Some(delivery) = self.delivery(target, id, complete, None, reservation, now) else {
            return;
        };
        if self.is_past_deliveries(now) {
            self.common.follow(Step::give_up_before_attempt(delivery, DropReason::Shutdown));
        } else {
            self.common.follow(Step::Admit(delivery));
        }
    }

    /// True if a drain leaves no time for further attempts.
    fn is_past_deliveries(&self, now: Duration) -> bool {
        match self.drain {
            Drain::No => false,
            Drain::Deliveries(end) => end <= now,
            Drain::Letters(_) => true,
        }
    }

    /// Counts that a target's copy is not due, nor those of the targets that would have followed it.
    pub(super) fn nothing_follows(&self, target: usize, complete: &Complete) {
        let mut gone = Targets::default();
        gone.insert(target);
        for target in gone.with_followers(&self.common.config, complete.followers).iter() {
            self.common.not_triggered(target, complete.head.correlation_id());
        }
    }

    /// Ends a copy that never became a delivery, for the targets that wait for it.
    pub(super) fn ended_unsent(&mut self, target: usize, id: Uuid, complete: &Complete) {
        if !complete.followers.is_empty() {
            let end = CopyEnd { leader: target, id, complete: complete.clone(), outcome: Outcome::GivenUp, cause: None };
            self.common.follow(Step::Follow(Box::new(end)));
        }
    }
}
