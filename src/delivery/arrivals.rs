//! Requests that wait to be rendered as items of a batch. To render an item - reading its body, counting it, finding it a place - costs least right
//! after another request was rendered. So requests wait for one another until there are enough of them, or a short time has passed.

use std::time::Duration;

use crate::delivery::batch::Room;

/// This many requests are enough. The fixed cost is shared by then, and the request that completes the group has to wait for the work on all of it.
const ENOUGH: usize = 64;
/// This many bytes, headers included, are enough. Larger requests are worth their own work. An item holds no headers, so rendering frees bytes.
const ENOUGH_BYTES: usize = 128 << 10;
/// The longest that arrivals wait. Metrics count items, so they lag behind by no more than this.
const MOMENT: Duration = Duration::from_secs(1);

/// A request that waits to be rendered as an item.
pub trait Arrival {
    /// The length of its body in bytes.
    fn body_bytes(&self) -> usize;
    /// All bytes that it holds.
    fn held(&self) -> usize;
}

/// The requests that wait to be rendered as items for one target's batches.
#[derive(Debug)]
pub struct Arrivals<T> {
    waiting: Vec<T>,
    held: usize,
    body_bytes: usize,
    due: Option<Duration>,
    patience: Duration,
}

impl<T: Arrival> Arrivals<T> {
    /// Creates an empty list. `max_delay` is how long a batch waits for more items.
    pub fn new(max_delay: Duration) -> Self {
        Self { waiting: Vec::new(), held: 0, body_bytes: 0, due: None, patience: max_delay.min(MOMENT) }
    }

    /// Adds a request. `now` is any monotonic clock. `room` is what the open batch has left. Returns true if the caller must take the requests now.
    #[must_use]
    pub fn add(&mut self, arrival: T, now: Duration, room: Room) -> bool {
        self.due.get_or_insert(now.saturating_add(self.patience));
        self.held = self.held.saturating_add(arrival.held());
        self.body_bytes = self.body_bytes.saturating_add(arrival.body_bytes());
        self.waiting.push(arrival);
        self.waiting.len() >= room.items.min(ENOUGH) || self.body_bytes >= room.bytes || self.held >= ENOUGH_BYTES
    }

    /// Puts back the requests that were taken but not rendered. They are due again at `now`.
    pub fn put_back(&mut self, rest: Vec<T>, now: Duration) {
        self.due = (!rest.is_empty()).then_some(now);
        self.held = rest.iter().map(T::held).fold(0, usize::saturating_add);
        self.body_bytes = rest.iter().map(T::body_bytes).fold(0, usize::saturating_add);
        self.waiting = rest;
    }

    /// True if no request waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The request that arrived first.
    pub fn first(&self) -> Option<&T> {
        self.waiting.first()
    }

    /// The latest time to take the requests. `None` if there are none.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Takes all requests, in the order of their arrival.
    pub fn take(&mut self) -> Vec<T> {
        self.due = None;
        self.held = 0;
        self.body_bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMPLE: Room = Room { items: usize::MAX, bytes: usize::MAX };

    /// A request with this many bytes of headers and of body.
    #[derive(Debug, PartialEq, Eq)]
    struct Request(usize, usize);

    impl Arrival for Request {
        fn body_bytes(&self) -> usize {
            self.1
        }

        fn held(&self) -> usize {
            self.0 + self.1
        }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn arrivals() -> Arrivals<Request> {
        Arrivals::new(at(20))
    }

    #[test]
    fn they_are_taken_in_order_when_there_are_enough() {
        let mut arrivals = arrivals();
        let enough: Vec<bool> = (0..ENOUGH).map(|number| arrivals.add(Request(number, 1), at(0), AMPLE)).collect();
        assert_eq!(enough.iter().position(|enough| *enough), Some(ENOUGH - 1));
        assert_eq!(arrivals.take(), (0..ENOUGH).map(|number| Request(number, 1)).collect::<Vec<_>>());
        assert!(arrivals.is_empty());
        assert!(!arrivals.add(Request(ENOUGH_BYTES - 2, 1), at(0), AMPLE));
        assert!(arrivals.add(Request(1, 0), at(0), AMPLE));
        arrivals.take();
        assert!(!arrivals.add(Request(1, 1), at(0), AMPLE));
    }

    #[test]
    fn they_are_enough_for_the_open_batch() {
        let mut arrivals = arrivals();
        let room = Room { items: 3, bytes: 100 };
        assert_eq!([0, 1, 2].map(|number| arrivals.add(Request(number, 1), at(0), room)), [false, false, true]);
        arrivals.take();
        assert_eq!(
            [50, 49, 1].map(|bytes| arrivals.add(Request(100, bytes), at(0), Room { items: 9, bytes: 100 })),
            [false, false, true]
        );
    }

    #[test]
    fn they_wait_from_the_first_on() {
        let mut arrivals = arrivals();
        assert_eq!(arrivals.due(), None);
        let _ = arrivals.add(Request(0, 1), at(7), AMPLE);
        let _ = arrivals.add(Request(0, 1), at(9), AMPLE);
        assert_eq!(arrivals.due(), Some(at(27)));
        arrivals.take();
        assert_eq!(arrivals.due(), None);
        let mut patient = Arrivals::new(at(60_000));
        let _ = patient.add(Request(0, 1), at(7), AMPLE);
        assert_eq!(patient.due(), Some(at(1_007)));
    }
}
