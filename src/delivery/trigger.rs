//! What a copy waits for: the end of the primary's response, or the end of another target's copy.
//!
//! A follower is a target whose copy waits for the copy of another target, its leader. Followers can have followers: that is a chain.

use std::fmt;

use crate::delivery::cause::Cause;
use crate::http::status::StatusPattern;

/// A pattern of how a request or a copy ended: with a response of some status, or without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndPattern {
    /// A response with this status.
    Status(StatusPattern),
    /// No whole response came, for another reason than a timeout: no connection could be made, or it broke.
    Reset,
    /// No whole response came in time.
    Timeout,
}

impl EndPattern {
    /// True if the pattern covers this end.
    pub fn covers(self, cause: Cause) -> bool {
        match self {
            Self::Status(pattern) => cause.status().is_some_and(|status| pattern.covers(status)),
            Self::Reset => cause.status().is_none() && cause != Cause::Timeout,
            Self::Timeout => cause == Cause::Timeout,
        }
    }
}

impl fmt::Display for EndPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(pattern) => pattern.fmt(f),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
        }
    }
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target accepted the copy.
    Delivered,
    /// The copy was given up: it was dropped, or became a dead letter.
    GivenUp,
}

/// What a follower waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The index of the leader.
    pub leader: usize,
    /// The outcome of the leader's copy. `None` for either.
    pub outcome: Option<Outcome>,
    /// The ends of the last attempt of the leader's copy. `None` for any.
    pub statuses: Option<Vec<EndPattern>>,
}

impl Trigger {
    /// True if the follower's copy follows from this end of the leader's copy. `cause` is how the last attempt ended, if there was one.
    pub fn covers(&self, outcome: Outcome, cause: Option<Cause>) -> bool {
        let is_covered =
            |patterns: &Vec<EndPattern>| cause.is_some_and(|cause| patterns.iter().any(|pattern| pattern.covers(cause)));
        self.outcome.is_none_or(|wanted| wanted == outcome) && self.statuses.as_ref().is_none_or(is_covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(outcome: Option<Outcome>, statuses: Option<&[EndPattern]>) -> Trigger {
        Trigger { leader: 0, outcome, statuses: statuses.map(<[_]>::to_vec) }
    }

    #[test]
    fn every_end_is_a_status_a_reset_or_a_timeout() {
        let any_status = (1..=5).map(|class| EndPattern::Status(StatusPattern::class(class)));
        let patterns: Vec<_> = any_status.chain([EndPattern::Reset, EndPattern::Timeout]).collect();
        let causes = [
            Cause::Status(100),
            Cause::Status(599),
            Cause::Grpc(14),
            Cause::InvalidStatus,
            Cause::Timeout,
            Cause::Reset,
            Cause::ConnectFailure,
            Cause::NoHealthyUpstream,
            Cause::UnknownCluster,
            Cause::HeadersTooLarge,
            Cause::NoRoom,
            Cause::UnsafePath,
            Cause::HostError,
        ];
        for cause in causes {
            let covering = patterns.iter().filter(|pattern| pattern.covers(cause)).count();
            assert_eq!(covering, 1, "{cause:?}");
        }
    }

    #[test]
    fn a_follower_waits_for_an_outcome_a_status_or_both() {
        use Outcome::{Delivered, GivenUp};
        let conflict = [EndPattern::Status(StatusPattern::one(409))];
        let ends = [
            (Delivered, Some(Cause::Status(200))),
            (Delivered, Some(Cause::Status(409))),
            (GivenUp, Some(Cause::Status(409))),
            (GivenUp, Some(Cause::Timeout)),
            (GivenUp, None),
        ];
        let covered = |trigger: Trigger| ends.map(|(outcome, cause)| trigger.covers(outcome, cause));
        assert_eq!(covered(trigger(Some(Delivered), None)), [true, true, false, false, false]);
        assert_eq!(covered(trigger(Some(GivenUp), None)), [false, false, true, true, true]);
        assert_eq!(covered(trigger(None, Some(&conflict))), [false, true, true, false, false]);
        assert_eq!(covered(trigger(Some(GivenUp), Some(&conflict))), [false, false, true, false, false]);
        assert_eq!(covered(trigger(Some(GivenUp), Some(&[EndPattern::Timeout]))), [false, false, false, true, false]);
    }
}
