//! Admission: which copies go, which wait, and which are dropped because a bound is reached.
//!
//! # Places
//! Each target has a [`Limiter`] with a number of calls in flight and a number of places for copies that wait. A copy goes if there is room in flight,
//! waits if there is a place, and is handed back otherwise: the newest copy is the one that is dropped. A batch in flight is one call, but takes a
//! place for each of its copies while it waits. Copies that wait elsewhere, for a back-off or for a batch to fill, *park*: they take places, too.
//!
//! # Bytes
//! All copies of a worker share a [`ByteBudget`]. A [`Reservation`] takes bytes from it and gives them back when it is dropped. What may be left out,
//! such as the body of a response that is only compared, gets at most half of the budget.
//!
//! # Requests that are not complete
//! A client that sends a request and does not end it must not take the room of others. [`Incomplete`] remembers such requests in their order; the
//! engine gives up the oldest when they take too much.
//!
//! # What workers share
//! Nothing, so nothing is locked. An Envoy with `N` workers has `N` times each bound.
//!
//! ```
//! use sidecast::delivery::admission::{Limiter, Offer, Weigh};
//!
//! struct Copy;
//! impl Weigh for Copy {
//!     fn weight(&self) -> usize {
//!         1
//!     }
//! }
//!
//! let mut limiter = Limiter::new(1, 1);
//! assert!(matches!(limiter.offer(Copy), Offer::Go(_)));
//! assert!(matches!(limiter.offer(Copy), Offer::Queued));
//! assert!(matches!(limiter.offer(Copy), Offer::Full(_)));
//! // The first call ends: the copy that waits goes in its place.
//! assert!(limiter.ended().is_some());
//! ```

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Something that waits or goes as a whole, and stands for a number of copies.
pub trait Weigh {
    /// The number of copies, which is the number of places that it takes while it waits; at least 1.
    fn weight(&self) -> usize;
}

/// Bounds the calls in flight to one target, and the copies that wait for them.
#[derive(Debug)]
pub struct Limiter<T> {
    in_flight: usize,
    max_in_flight: usize,
    queue: VecDeque<T>,
    /// Places taken by the queue.
    queued: usize,
    /// Places of copies that wait elsewhere, for a time or for others to make up a batch.
    parked: usize,
    max_queued: usize,
}

/// What becomes of an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<T> {
    /// It goes now. [`Limiter::ended`] must be told when it ends.
    Go(T),
    /// It waits until an earlier one ended.
    Queued,
    /// There is no place.
    Full(T),
}

impl<T: Weigh> Limiter<T> {
    /// A limiter with nothing in it.
    pub fn new(max_in_flight: usize, max_queued: usize) -> Self {
        Self { in_flight: 0, max_in_flight, queue: VecDeque::new(), queued: 0, parked: 0, max_queued }
    }

    /// Takes an item in, or hands it back.
    pub fn offer(&mut self, item: T) -> Offer<T> {
        if self.has_room() {
            self.in_flight = self.in_flight.saturating_add(1);
            Offer::Go(item)
        } else if self.has_places(item.weight()) {
            self.push(item);
            Offer::Queued
        } else {
            Offer::Full(item)
        }
    }

    fn push(&mut self, item: T) {
        self.queued = self.queued.saturating_add(item.weight());
        self.queue.push_back(item);
    }

    /// True when one more call may be in flight.
    pub fn has_room(&self) -> bool {
        self.in_flight < self.max_in_flight
    }

    /// True when this many more copies may wait.
    pub fn has_places(&self, copies: usize) -> bool {
        self.queued.saturating_add(self.parked).saturating_add(copies) <= self.max_queued
    }

    /// Takes places for copies that wait elsewhere. False, and nothing is taken, if there are too few.
    pub fn park(&mut self, copies: usize) -> bool {
        let fits = self.has_places(copies);
        if fits {
            self.parked = self.parked.saturating_add(copies);
        }
        fits
    }

    /// Gives back the places of parked copies that are dropped.
    pub fn leave(&mut self, copies: usize) {
        self.parked = self.parked.saturating_sub(copies);
    }

    /// A parked item goes, or waits in the places that it has.
    pub fn unpark(&mut self, item: T) -> Offer<T> {
        self.parked = self.parked.saturating_sub(item.weight());
        if self.has_room() {
            self.in_flight = self.in_flight.saturating_add(1);
            Offer::Go(item)
        } else {
            self.push(item);
            Offer::Queued
        }
    }

    /// A call has ended. Hands back the oldest item that waits: it goes now.
    pub fn ended(&mut self) -> Option<T> {
        let next = self.queue.pop_front();
        match &next {
            Some(next) => self.queued = self.queued.saturating_sub(next.weight()),
            None => {
                self.in_flight = self.in_flight.saturating_sub(1);
                // A queue that was long once need not stay allocated for ever.
                self.queue = VecDeque::new();
            }
        }
        next
    }

    /// Forgets what is in flight or parked, and hands back what waits.
    pub fn clear(&mut self) -> VecDeque<T> {
        self.in_flight = 0;
        self.queued = 0;
        self.parked = 0;
        std::mem::take(&mut self.queue)
    }

    /// True when nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.queue.is_empty() && self.parked == 0
    }
}

/// The bytes that one worker may hold, over all targets.
#[derive(Debug)]
pub struct ByteBudget {
    used: Rc<Cell<usize>>,
    limit: usize,
}

/// Bytes taken from a budget. Dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    used: Rc<Cell<usize>>,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of which nothing is used.
    pub fn new(limit: usize) -> Self {
        Self { used: Rc::default(), limit }
    }

    /// Reserves bytes. `None` if there is no room.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut reservation = self.reservation();
        self.grow(&mut reservation, bytes).then_some(reservation)
    }

    /// Grows a reservation. False, and nothing is taken, if there is no room.
    pub fn grow(&self, reservation: &mut Reservation, bytes: usize) -> bool {
        self.grow_within(self.limit, reservation, bytes)
    }

    /// Grows a reservation for something that may be left out: only up to half of the budget, so that it never takes the room of what must be held.
    pub fn grow_spare(&self, reservation: &mut Reservation, bytes: usize) -> bool {
        self.grow_within(self.limit / 2, reservation, bytes)
    }

    fn grow_within(&self, limit: usize, reservation: &mut Reservation, bytes: usize) -> bool {
        let used = self.used.get().checked_add(bytes).filter(|used| *used <= limit);
        if let Some(used) = used {
            self.used.set(used);
            reservation.bytes = reservation.bytes.saturating_add(bytes);
        }
        used.is_some()
    }

    /// Reserves bytes for what cannot be refused, even beyond the limit. The next reservations fail then.
    pub fn reserve_anyway(&self, bytes: usize) -> Reservation {
        let mut reservation = self.reservation();
        reservation.bytes = bytes;
        self.used.set(self.used.get().saturating_add(bytes));
        reservation
    }

    /// An empty reservation.
    pub fn reservation(&self) -> Reservation {
        Reservation { used: Rc::clone(&self.used), bytes: 0 }
    }

    /// The bytes in use.
    pub fn used(&self) -> usize {
        self.used.get()
    }
}

/// Requests that are not complete, by number, in the order in which they came.
#[derive(Debug, Default)]
pub struct Incomplete {
    numbers: VecDeque<u32>,
    /// At this length it looks for those that have ended.
    look_at: usize,
}

impl Incomplete {
    /// Adds the newest. Now and then it forgets those that have ended, so that it is never much longer than twice what it was.
    pub fn push(&mut self, number: u32, is_incomplete: impl Fn(u32) -> bool) {
        if self.numbers.len() >= self.look_at {
            self.numbers.retain(|number| is_incomplete(*number));
            self.look_at = self.numbers.len().saturating_mul(2).max(64);
        }
        self.numbers.push_back(number);
    }

    /// Takes the oldest but for this one. It may have ended.
    pub fn pop(&mut self, except: u32) -> Option<u32> {
        let oldest = self.numbers.pop_front()?;
        if oldest != except {
            return Some(oldest);
        }
        let next = self.numbers.pop_front();
        self.numbers.push_front(oldest);
        next
    }
}

impl Reservation {
    /// The reserved bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives all bytes back.
    pub fn clear(&mut self) {
        self.used.set(self.used.get().saturating_sub(std::mem::take(&mut self.bytes)));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_ended_is_forgotten_and_the_oldest_is_taken_first() {
        let mut incomplete = Incomplete::default();
        for number in 0..10_000 {
            incomplete.push(number, |other| other % 1_000 == 0);
            assert!(incomplete.numbers.len() <= 64 + 2 * 10, "{}", incomplete.numbers.len());
        }
        assert_eq!([incomplete.pop(9_999), incomplete.pop(9_999)], [Some(0), Some(1_000)]);
        // The one at hand is not taken, whatever its age.
        assert_eq!([incomplete.pop(2_000), incomplete.pop(2_000), incomplete.pop(0)], [Some(3_000), Some(4_000), Some(2_000)]);
        let mut single = Incomplete::default();
        single.push(7, |_| true);
        assert_eq!([single.pop(7), single.pop(8), single.pop(8)], [None, Some(7), None]);
    }

    impl Weigh for usize {
        fn weight(&self) -> usize {
            1
        }
    }

    /// So many copies that go as one.
    #[derive(Debug, PartialEq, Eq)]
    struct Heavy(usize);

    impl Weigh for Heavy {
        fn weight(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn what_goes_as_one_takes_a_place_for_each_copy_while_it_waits() {
        let mut limiter = Limiter::new(1, 5);
        assert_eq!(limiter.offer(Heavy(9)), Offer::Go(Heavy(9)));
        assert_eq!(limiter.offer(Heavy(3)), Offer::Queued);
        assert_eq!(limiter.offer(Heavy(3)), Offer::Full(Heavy(3)));
        assert!(limiter.park(2));
        assert!(!limiter.park(1));
        assert_eq!(limiter.unpark(Heavy(2)), Offer::Queued);
        assert_eq!(limiter.ended(), Some(Heavy(3)));
        assert!(limiter.has_places(3) && !limiter.has_places(4));
        assert_eq!(limiter.ended(), Some(Heavy(2)));
        assert!(limiter.has_places(5) && !limiter.is_idle());
        assert_eq!(limiter.ended(), None);
        assert!(limiter.is_idle());
    }

    #[test]
    fn the_bounds_are_kept_in_order() {
        let mut limiter = Limiter::<usize>::new(1, 2);
        assert_eq!(limiter.offer(1), Offer::Go(1));
        assert_eq!(limiter.offer(2), Offer::Queued);
        assert_eq!(limiter.offer(3), Offer::Queued);
        assert_eq!(limiter.offer(4), Offer::Full(4));
        assert_eq!(limiter.ended(), Some(2));
        assert_eq!(limiter.offer(5), Offer::Queued);
        assert_eq!(limiter.ended(), Some(3));
        assert_eq!(limiter.ended(), Some(5));
        assert_eq!(limiter.ended(), None);
        assert!(limiter.is_idle());
    }

    #[test]
    fn without_a_queue_what_cannot_go_is_handed_back() {
        let mut limiter = Limiter::<usize>::new(1, 0);
        assert_eq!(limiter.offer(1), Offer::Go(1));
        assert_eq!(limiter.offer(2), Offer::Full(2));
    }

    #[test]
    fn a_budget_takes_up_to_its_limit() {
        let budget = ByteBudget::new(10);
        let mut all = budget.reserve(10).unwrap();
        assert!(budget.reserve(1).is_none());
        assert!(budget.reserve(0).is_some());
        all.clear();
        assert_eq!((all.bytes(), budget.used()), (0, 0));
        assert!(budget.grow(&mut all, 6) && !budget.grow(&mut all, 5));
        assert!(budget.reserve(usize::MAX).is_none());
        assert_eq!((all.bytes(), budget.used()), (6, 6));
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_may_be_left_out_takes_half_of_a_budget_at_most() {
        let budget = ByteBudget::new(10);
        let mut spare = budget.reservation();
        assert!(budget.grow_spare(&mut spare, 5) && !budget.grow_spare(&mut spare, 1));
        let _needed = budget.reserve(5).unwrap();
        spare.clear();
        assert!(!budget.grow_spare(&mut spare, 1));
    }

    proptest! {
        /// Every item is handed back, waits, is parked or went, exactly once, under any order of offers, ends and parkings.
        #[test]
        fn a_limiter_conserves_its_items(
            max_in_flight in 1_usize..4,
            max_queued in 0_usize..4,
            steps in prop::collection::vec(0_u8..4, 0..200),
        ) {
            let mut limiter = Limiter::new(max_in_flight, max_queued);
            let (mut offered, mut full, mut done) = (0_usize, 0, 0);
            let (mut under_way, mut parked) = (VecDeque::new(), VecDeque::new());
            for step in steps {
                match step {
                    0 => {
                        match limiter.offer(offered) {
                            Offer::Go(item) => under_way.push_back(item),
                            Offer::Queued => {}
                            Offer::Full(_) => full += 1,
                        }
                        offered += 1;
                    }
                    // An end for good, or a failure that is parked if there is a place.
                    1 | 2 => if let Some(item) = under_way.pop_front() {
                        if step == 2 && limiter.park(1) {
                            parked.push_back(item);
                        } else {
                            done += 1;
                        }
                        under_way.extend(limiter.ended());
                    },
                    _ => if let Some(item) = parked.pop_front() {
                        if let Offer::Go(item) = limiter.unpark(item) {
                            under_way.push_back(item);
                        }
                    },
                }
                prop_assert!(under_way.len() <= max_in_flight);
                prop_assert!(limiter.queue.len() + parked.len() <= max_queued);
                prop_assert_eq!(offered, full + done + under_way.len() + parked.len() + limiter.queue.len());
                prop_assert_eq!(limiter.is_idle(), under_way.is_empty() && parked.is_empty() && limiter.queue.is_empty());
            }
        }
    }
}
