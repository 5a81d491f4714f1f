//! What waits and what is under way, within bounds. Both bounds are of one worker: workers share nothing here, so nothing is
//! locked. What does not fit is handed back, newest first, for its drop to be counted.

use std::collections::VecDeque;

/// The copies of one target: so many under way, so many waiting behind them.
#[derive(Debug)]
pub struct Lane<T> {
    in_flight: usize,
    max_in_flight: usize,
    queue: VecDeque<T>,
    max_queued: usize,
}

/// What a lane does with an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<T> {
    /// It goes now; its end must be told by [`Lane::ended`].
    Go(T),
    /// It waits until an earlier one ended.
    Queued,
    /// There is no place.
    Full(T),
}

impl<T> Lane<T> {
    /// An empty lane.
    pub fn new(max_in_flight: usize, max_queued: usize) -> Self {
        Self { in_flight: 0, max_in_flight, queue: VecDeque::new(), max_queued }
    }

    /// Takes an item in, or hands it back.
    pub fn offer(&mut self, item: T) -> Offer<T> {
        if self.in_flight < self.max_in_flight {
            self.in_flight = self.in_flight.saturating_add(1);
            Offer::Go(item)
        } else if self.queue.len() < self.max_queued {
            self.queue.push_back(item);
            Offer::Queued
        } else {
            Offer::Full(item)
        }
    }

    /// One that went has ended. The oldest that waits goes in its place.
    pub fn ended(&mut self) -> Option<T> {
        let next = self.queue.pop_front();
        if next.is_none() {
            self.in_flight = self.in_flight.saturating_sub(1);
            // A queue that was long once need not stay allocated for ever.
            self.queue = VecDeque::new();
        }
        next
    }

    /// Takes out all that waits.
    pub fn take_queued(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.queue)
    }

    /// True when nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.queue.is_empty()
    }
}

/// Bytes that a worker holds, over all targets.
#[derive(Debug)]
pub struct ByteBudget {
    used: usize,
    limit: usize,
}

impl ByteBudget {
    /// A budget of which nothing is used.
    pub fn new(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    /// Takes the bytes if there is room for them.
    pub fn take(&mut self, bytes: usize) -> bool {
        match self.used.checked_add(bytes) {
            Some(used) if used <= self.limit => {
                self.used = used;
                true
            }
            _ => false,
        }
    }

    /// Gives back what was taken.
    pub fn give(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// The bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bounds_are_kept_in_order() {
        let mut lane = Lane::new(1, 2);
        assert_eq!(lane.offer(1), Offer::Go(1));
        assert_eq!(lane.offer(2), Offer::Queued);
        assert_eq!(lane.offer(3), Offer::Queued);
        assert_eq!(lane.offer(4), Offer::Full(4));
        assert_eq!(lane.ended(), Some(2));
        assert_eq!(lane.offer(5), Offer::Queued);
        assert_eq!(lane.ended(), Some(3));
        assert_eq!(lane.ended(), Some(5));
        assert_eq!(lane.ended(), None);
        assert!(lane.is_idle());
    }

    #[test]
    fn without_a_queue_what_cannot_go_is_handed_back() {
        let mut lane = Lane::new(1, 0);
        assert_eq!(lane.offer(1), Offer::Go(1));
        assert_eq!(lane.offer(2), Offer::Full(2));
    }

    #[test]
    fn a_budget_takes_up_to_its_limit() {
        let mut budget = ByteBudget::new(10);
        assert!(budget.take(10));
        assert!(!budget.take(1));
        assert!(budget.take(0));
        budget.give(4);
        assert!(!budget.take(5));
        assert!(budget.take(4));
        assert!(!budget.take(usize::MAX));
        assert_eq!(budget.used(), 10);
    }

    proptest! {
        /// Every item is handed back, waits, or went, exactly once and in order, under any order of offers and ends.
        #[test]
        fn a_lane_conserves_its_items(
            max_in_flight in 1_usize..4,
            max_queued in 0_usize..4,
            offers in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut lane = Lane::new(max_in_flight, max_queued);
            let (mut offered, mut full, mut ended) = (0_usize, 0, 0);
            let mut went = Vec::new();
            for offer in offers {
                if offer {
                    match lane.offer(offered) {
                        Offer::Go(item) => went.push(item),
                        Offer::Queued => {}
                        Offer::Full(_) => full += 1,
                    }
                    offered += 1;
                } else if ended < went.len() {
                    ended += 1;
                    went.extend(lane.ended());
                }
                prop_assert!(went.len() - ended <= max_in_flight);
                prop_assert!(lane.queue.len() <= max_queued);
                prop_assert_eq!(offered, full + went.len() + lane.queue.len());
            }
            while ended < went.len() {
                ended += 1;
                went.extend(lane.ended());
            }
            prop_assert!(lane.is_idle());
            prop_assert_eq!(offered, full + went.len());
            prop_assert!(went.is_sorted());
        }
    }
}
