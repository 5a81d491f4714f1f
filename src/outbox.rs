//! What waits and what is under way, within bounds. Both bounds are of one worker: workers share nothing here, so nothing is
//! locked. What does not fit is handed back, newest first, for its drop to be counted.

use std::collections::VecDeque;

/// The copies of one target: so many under way, so many waiting behind them.
#[derive(Debug)]
pub struct Lane<T> {
    in_flight: usize,
    max_in_flight: usize,
    queue: VecDeque<T>,
    /// Items that wait elsewhere for a time; each has its place in the queue.
    parked: usize,
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
        Self { in_flight: 0, max_in_flight, queue: VecDeque::new(), parked: 0, max_queued }
    }

    /// Takes an item in, or hands it back.
    pub fn offer(&mut self, item: T) -> Offer<T> {
        if self.in_flight < self.max_in_flight {
            self.in_flight = self.in_flight.saturating_add(1);
            Offer::Go(item)
        } else if self.has_place() {
            self.queue.push_back(item);
            Offer::Queued
        } else {
            Offer::Full(item)
        }
    }

    /// True when one more may wait.
    pub fn has_place(&self) -> bool {
        self.queue.len().saturating_add(self.parked) < self.max_queued
    }

    /// Takes a place for an item that waits elsewhere for a time; false when there is none.
    pub fn park(&mut self) -> bool {
        let place = self.has_place();
        self.parked = self.parked.saturating_add(usize::from(place));
        place
    }

    /// The time of an item that was parked has come: it goes, or waits in the place that it has.
    pub fn unpark(&mut self, item: T) -> Offer<T> {
        self.parked = self.parked.saturating_sub(1);
        if self.in_flight < self.max_in_flight {
            self.in_flight = self.in_flight.saturating_add(1);
            Offer::Go(item)
        } else {
            self.queue.push_back(item);
            Offer::Queued
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

    /// Forgets what is under way or parked, and hands back what waits.
    pub fn clear(&mut self) -> VecDeque<T> {
        self.in_flight = 0;
        self.parked = 0;
        std::mem::take(&mut self.queue)
    }

    /// True when nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.queue.is_empty() && self.parked == 0
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
        /// Every item is handed back, waits, is parked or went, exactly once, under any order of offers, ends and parkings.
        #[test]
        fn a_lane_conserves_its_items(
            max_in_flight in 1_usize..4,
            max_queued in 0_usize..4,
            steps in prop::collection::vec(0_u8..4, 0..200),
        ) {
            let mut lane = Lane::new(max_in_flight, max_queued);
            let (mut offered, mut full, mut done) = (0_usize, 0, 0);
            let (mut under_way, mut parked) = (VecDeque::new(), VecDeque::new());
            for step in steps {
                match step {
                    0 => {
                        match lane.offer(offered) {
                            Offer::Go(item) => under_way.push_back(item),
                            Offer::Queued => {}
                            Offer::Full(_) => full += 1,
                        }
                        offered += 1;
                    }
                    // An end for good, or a failure that is parked if there is a place.
                    1 | 2 => if let Some(item) = under_way.pop_front() {
                        if step == 2 && lane.park() {
                            parked.push_back(item);
                        } else {
                            done += 1;
                        }
                        under_way.extend(lane.ended());
                    },
                    _ => if let Some(item) = parked.pop_front() {
                        if let Offer::Go(item) = lane.unpark(item) {
                            under_way.push_back(item);
                        }
                    },
                }
                prop_assert!(under_way.len() <= max_in_flight);
                prop_assert!(lane.queue.len() + parked.len() <= max_queued);
                prop_assert_eq!(offered, full + done + under_way.len() + parked.len() + lane.queue.len());
                prop_assert_eq!(lane.is_idle(), under_way.is_empty() && parked.is_empty() && lane.queue.is_empty());
            }
        }
    }
}
