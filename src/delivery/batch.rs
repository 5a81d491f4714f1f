//! Batches: several items in one call. A batch is complete when it has enough items or bytes, or when its first item has waited long enough.
//!
//! Each target has one open batch. The parts that the call carries once for all items - method, path, authority, headers - must be the same for
//! each item. An item that needs others closes the open batch and begins the next one.

use std::time::Duration;

use crate::http::headers::Pairs;
use crate::rewrite::items::Format;

/// When a batch is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most items in a batch.
    pub max_items: usize,
    /// The most bytes of a batch's body. A single item may be longer; it is sent alone.
    pub max_bytes: usize,
    /// The longest that the first item of a batch waits.
    pub max_delay: Duration,
    /// The format that joins the items.
    pub format: Format,
}

/// An item of a batch.
pub trait Item {
    /// The length of its JSON in bytes.
    fn size(&self) -> usize;
}

/// Items that are sent in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// The request line and headers, which the call carries once for all items.
    pub line: Pairs,
    /// The items, in the order of their arrival. There is at least one.
    pub items: Vec<T>,
    bytes: usize,
    due: Duration,
}

/// What the open batch has room for. It is full once either number is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The number of items.
    pub items: usize,
    /// The number of bytes, including those between and around the items.
    pub bytes: usize,
}

/// Collects the items of one target.
#[derive(Debug)]
pub struct Collector<T> {
    settings: Settings,
    open: Option<Batch<T>>,
}

/// The batches that an item completes.
#[derive(Debug, PartialEq, Eq)]
pub struct Completed<T> {
    /// The batch that was open before, if the item does not fit into it.
    pub before: Option<Batch<T>>,
    /// The batch that the item fills.
    pub full: Option<Batch<T>>,
}

impl<T: Item> Collector<T> {
    /// Creates a collector without items.
    pub fn new(settings: Settings) -> Self {
        Self { settings, open: None }
    }

    /// The format that joins the items.
    pub fn format(&self) -> Format {
        self.settings.format
    }

    /// What the open batch has room for.
    pub fn room(&self) -> Room {
        let (items, bytes) = self.open.as_ref().map_or((0, 0), |open| (open.items.len(), open.bytes));
        let taken = self.settings.format.joined_len(items, bytes);
        Room { items: self.settings.max_items.saturating_sub(items), bytes: self.settings.max_bytes.saturating_sub(taken) }
    }

    /// Adds an item. `now` is any monotonic clock. `line` is the request line and headers of the call that the item needs.
    pub fn add(&mut self, line: Pairs, item: T, now: Duration) -> Completed<T> {
        let settings = self.settings;
        let fits = |open: &Batch<T>| {
            let bytes = open.bytes.saturating_add(item.size());
            open.line == line && settings.format.joined_len(open.items.len().saturating_add(1), bytes) <= settings.max_bytes
        };
        let before = if self.open.as_ref().is_some_and(|open| !fits(open)) { self.open.take() } else { None };
        let due = now.saturating_add(settings.max_delay);
        let open = self.open.get_or_insert_with(|| Batch { line, items: Vec::new(), bytes: 0, due });
        open.bytes = open.bytes.saturating_add(item.size());
        open.items.push(item);
        let is_full = open.items.len() >= settings.max_items
            || settings.format.joined_len(open.items.len(), open.bytes) >= settings.max_bytes;
        Completed { before, full: if is_full { self.open.take() } else { None } }
    }

    /// When the open batch has waited long enough. `None` if there is no open batch.
    pub fn due(&self) -> Option<Duration> {
        self.open.as_ref().map(|open| open.due)
    }

    /// Closes and returns the open batch, complete or not.
    pub fn close(&mut self) -> Option<Batch<T>> {
        self.open.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Item for &'static str {
        fn size(&self) -> usize {
            str::len(self)
        }
    }

    impl Item for String {
        fn size(&self) -> usize {
            self.len()
        }
    }

    fn settings(max_items: usize, max_bytes: usize, format: Format) -> Settings {
        Settings { max_items, max_bytes, max_delay: Duration::from_millis(20), format }
    }

    fn line(path: &str) -> Pairs {
        Pairs::from_iter([(":path", path)])
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn items<T: Clone>(batch: Option<&Batch<T>>) -> Vec<T> {
        batch.map_or_else(Vec::new, |batch| batch.items.clone())
    }

    #[test]
    fn a_batch_is_full_with_the_last_of_its_items() {
        let mut collector = Collector::new(settings(2, 1_000, Format::JsonArray));
        assert_eq!(collector.add(line("/"), "1", at(0)), Completed { before: None, full: None });
        let completed = collector.add(line("/"), "2", at(5));
        assert_eq!((completed.before, items(completed.full.as_ref())), (None, vec!["1", "2"]));
        assert_eq!(collector.due(), None);
    }

    #[test]
    fn a_batch_waits_from_its_first_item_on() {
        let mut collector = Collector::new(settings(9, 1_000, Format::JsonArray));
        assert_eq!(collector.due(), None);
        collector.add(line("/"), "1", at(7));
        collector.add(line("/"), "2", at(9));
        assert_eq!(collector.due(), Some(at(27)));
        assert_eq!(items(collector.close().as_ref()), ["1", "2"]);
        assert_eq!(collector.close(), None);
    }

    #[test]
    fn an_item_that_would_make_a_batch_too_long_begins_the_next() {
        // [12,34] has 7 bytes, [12,34,5] has 9.
        let mut collector = Collector::new(settings(9, 8, Format::JsonArray));
        collector.add(line("/"), "12", at(0));
        collector.add(line("/"), "34", at(0));
        let completed = collector.add(line("/"), "5", at(3));
        assert_eq!((items(completed.before.as_ref()), completed.full), (vec!["12", "34"], None));
        assert_eq!(collector.due(), Some(at(23)));
    }

    #[test]
    fn a_batch_of_just_the_length_is_full() {
        let mut collector = Collector::new(settings(9, 7, Format::JsonArray));
        collector.add(line("/"), "12", at(0));
        assert_eq!(items(collector.add(line("/"), "34", at(0)).full.as_ref()), ["12", "34"]);
        let mut collector = Collector::new(settings(9, 6, Format::Ndjson));
        collector.add(line("/"), "12", at(0));
        assert_eq!(items(collector.add(line("/"), "34", at(0)).full.as_ref()), ["12", "34"]);
    }

    #[test]
    fn there_is_room_for_what_an_open_batch_has_not() {
        let mut collector = Collector::new(settings(9, 20, Format::JsonArray));
        assert_eq!(collector.room(), Room { items: 9, bytes: 19 });
        collector.add(line("/"), "12", at(0));
        collector.add(line("/"), "34", at(0));
        assert_eq!(collector.room(), Room { items: 7, bytes: 13 });
    }

    #[test]
    fn an_item_that_is_too_long_goes_alone() {
        let mut collector = Collector::new(settings(9, 4, Format::JsonArray));
        collector.add(line("/"), "1", at(0));
        let completed = collector.add(line("/"), "12345", at(0));
        assert_eq!((items(completed.before.as_ref()), items(completed.full.as_ref())), (vec!["1"], vec!["12345"]));
    }

    #[test]
    fn items_whose_calls_would_differ_do_not_share_one() {
        let mut collector = Collector::new(settings(9, 1_000, Format::JsonArray));
        collector.add(line("/a"), "1", at(0));
        let completed = collector.add(line("/b"), "2", at(0));
        assert_eq!(completed.before.map(|batch| (batch.line, batch.items)), Some((line("/a"), vec!["1"])));
        assert_eq!(collector.close().map(|batch| (batch.line, batch.items)), Some((line("/b"), vec!["2"])));
    }

    #[test]
    fn items_are_put_together_as_the_format_says() {
        let join =
            |format: Format, items: &[&str]| String::from_utf8(format.join(items.iter().map(|item| item.as_bytes()))).unwrap();
        assert_eq!(join(Format::JsonArray, &["1", "{}"]), "[1,{}]");
        assert_eq!(join(Format::JsonArray, &[]), "[]");
        assert_eq!(join(Format::Ndjson, &["1", "{}"]), "1\n{}\n");
    }

    proptest! {
        /// Every item is in exactly one batch, in order. No batch has too many items, or too many bytes unless it has one item.
        #[test]
        fn batches_keep_their_bounds_and_lose_nothing(
            max_items in 1_usize..6,
            max_bytes in 1_usize..40,
            ndjson in any::<bool>(),
            arrivals in prop::collection::vec(("[1-9]{1,12}", 0_u8..2), 0..60),
        ) {
            let format = if ndjson { Format::Ndjson } else { Format::JsonArray };
            let mut collector = Collector::new(settings(max_items, max_bytes, format));
            let mut batches = Vec::new();
            for (item, path) in arrivals.clone() {
                let completed = collector.add(line(&path.to_string()), item, at(0));
                batches.extend(completed.before);
                batches.extend(completed.full);
            }
            batches.extend(collector.close());
            for batch in &batches {
                let body = format.join(batch.items.iter().map(String::as_bytes));
                prop_assert!(!batch.items.is_empty() && batch.items.len() <= max_items);
                prop_assert!(batch.items.len() == 1 || body.len() <= max_bytes);
                prop_assert_eq!(body.len(), format.joined_len(batch.items.len(), batch.bytes));
            }
            let sent: Vec<_> = batches.into_iter().flat_map(|batch| batch.items).collect();
            let came: Vec<_> = arrivals.into_iter().map(|(item, _)| item).collect();
            prop_assert_eq!(sent, came);
        }
    }
}
