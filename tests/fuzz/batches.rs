//! Batches: every item goes once, in order, within the bounds, and what goes can be read as items again.

use std::time::Duration;

use serde_json::Value;
use sidecast::delivery::batch::{Batch, Collector, Item, Settings};
use sidecast::http::headers::Pairs;
use sidecast::json;
use sidecast::rewrite::items::Format;

use crate::choices::Choices;
use crate::document::{Doc, DOUBLES};
use crate::hold;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line(Vec<u8>);

impl Item for Line {
    fn size(&self) -> usize {
        self.0.len()
    }
}

/// What comes: what its call says, the item, when; and whether the host closes the batch before.
struct Arrival {
    line: Pairs,
    item: Line,
    at: Duration,
    closes: bool,
}

fn arrivals(choices: &mut Choices<'_>) -> Vec<Arrival> {
    let mut at = Duration::ZERO;
    choices.some(24, |choices| {
        at += Duration::from_millis(choices.below(9) as u64);
        let written = Doc::any(choices, &DOUBLES).write(choices);
        let mut item = Vec::new();
        json::parse(written.text.as_bytes()).unwrap().root().write_compact(&mut item);
        let line = Pairs::from_iter([(":path", *choices.one_of(&["/a", "/a", "/a", "/b"]))]);
        Arrival { line, item: Line(item), at, closes: choices.once_in(12) }
    })
}

/// The length of a body, counted anew.
fn length(format: Format, items: &[Line]) -> usize {
    let bytes: usize = items.iter().map(Item::size).sum();
    match format {
        Format::JsonArray => bytes + items.len().saturating_sub(1) + 2,
        Format::Ndjson => bytes + items.len(),
    }
}

/// The batches as they should be: each takes what comes as long as it may.
fn expected(settings: Settings, arrivals: &[Arrival]) -> Vec<Vec<Line>> {
    let mut batches: Vec<Vec<Line>> = Vec::new();
    let mut open: Option<(&Pairs, Duration)> = None;
    for Arrival { line, item, at, closes } in arrivals {
        let is_due = open.is_some_and(|(_, since)| since + settings.max_delay <= *at);
        let fits = open.is_some_and(|(other, _)| other == line)
            && length(settings.format, &[batches.last().map_or(&[][..], Vec::as_slice), std::slice::from_ref(item)].concat())
                <= settings.max_bytes;
        if is_due || *closes || !fits {
            batches.push(Vec::new());
            open = Some((line, *at));
        }
        let batch = batches.last_mut().unwrap();
        batch.push(item.clone());
        if batch.len() >= settings.max_items || length(settings.format, batch) >= settings.max_bytes {
            open = None;
        }
    }
    batches
}

fn law(choices: &mut Choices<'_>) {
    let settings = Settings {
        max_items: 1 + choices.below(6),
        max_bytes: 1 + choices.below(120),
        max_delay: Duration::from_millis(1 + choices.below(20) as u64),
        format: *choices.one_of(&[Format::JsonArray, Format::Ndjson]),
    };
    let arrivals = arrivals(choices);
    let expected = expected(settings, &arrivals);
    let mut collector = Collector::new(settings);
    let mut sent: Vec<Batch<Line>> = Vec::new();
    let mut first = None;
    for Arrival { line, item, at, closes } in arrivals {
        assert_eq!(collector.due(), first.map(|first: Duration| first + settings.max_delay));
        if closes || collector.due().is_some_and(|due| due <= at) {
            sent.extend(collector.close());
            first = None;
        }
        let completed = collector.add(line, item, at);
        first = match (&completed.before, &completed.full) {
            (_, Some(_)) => None,
            (Some(_), None) => Some(at),
            (None, None) => first.or(Some(at)),
        };
        sent.extend(completed.before);
        sent.extend(completed.full);
    }
    sent.extend(collector.close());
    assert_eq!(collector.close(), None);
    for batch in &sent {
        assert!((1..=settings.max_items).contains(&batch.items.len()));
        let body = settings.format.join(batch.items.iter().map(|item| item.0.as_slice()));
        assert_eq!(body.len(), length(settings.format, &batch.items));
        assert!(batch.items.len() == 1 || body.len() <= settings.max_bytes, "{} bytes", body.len());
        assert_eq!(read(settings.format, &body), batch.items.iter().map(|item| value(&item.0)).collect::<Vec<_>>());
    }
    let sent: Vec<Vec<Line>> = sent.into_iter().map(|batch| batch.items).collect();
    assert_eq!(sent, expected, "{settings:?}");
}

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn read(format: Format, body: &[u8]) -> Vec<Value> {
    match format {
        Format::JsonArray => serde_json::from_slice(body).unwrap(),
        Format::Ndjson => {
            let lines = body.strip_suffix(b"\n").expect("each line ends");
            lines.split(|byte| *byte == b'\n').map(value).collect()
        }
    }
}

#[test]
fn every_item_goes_once_in_order_within_the_bounds() {
    hold(512, law);
}
