//! Log lines: one JSON object each. They contain no body, no path, and no header value but the correlation ID. They are made from [`Line`] alone,
//! so they contain nothing that is not listed there.

use log::Level;
use serde::Serialize;

use crate::compare::Verdict;
use crate::delivery::drop_reason::DropReason;

/// The target of the records in the `log` crate.
pub const TARGET: &str = "sidecast";

/// The event that a line reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A configuration is in force.
    Configured,
    /// A configuration was refused. There is a line for each problem.
    ConfigurationRejected,
    /// A target accepted its copy.
    Delivered,
    /// An attempt failed.
    AttemptFailed,
    /// A copy was given up.
    GivenUp,
    /// A copy was not due: what it waits for did not happen.
    NotTriggered,
    /// A dead letter was delivered.
    DeadLettered,
    /// A dead letter was not delivered.
    DeadLetterFailed,
    /// A request was not mirrored because it is itself a copy.
    LoopStopped,
    /// A target's response differs from the primary's, or cannot be compared.
    Compared,
    /// A circuit breaker opened.
    BreakerOpened,
    /// A circuit breaker became half-open.
    BreakerHalfOpened,
    /// A circuit breaker closed.
    BreakerClosed,
    /// Something happened that should never happen.
    Unexpected,
}

impl Event {
    /// The number of events.
    pub const COUNT: usize = 14;
}

impl Event {
    /// The level of the event's lines. `Debug` traces single copies. `Info` is worth a line in a healthy system. `Warn` reports a loss or a change.
    /// `Error` needs a repair.
    pub const fn level(self) -> Level {
        match self {
            Self::Delivered | Self::NotTriggered | Self::DeadLettered | Self::AttemptFailed | Self::LoopStopped => Level::Debug,
            Self::Configured => Level::Info,
            Self::GivenUp
            | Self::Compared
            | Self::DeadLetterFailed
            | Self::BreakerOpened
            | Self::BreakerHalfOpened
            | Self::BreakerClosed => Level::Warn,
            Self::ConfigurationRejected | Self::Unexpected => Level::Error,
        }
    }
}

/// What became of the dead letter of a copy that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterEnd {
    /// The letter was delivered, so nothing is lost.
    Taken,
    /// The letter was not delivered, so the copy is lost.
    Failed,
}

/// The lines that share a rate limit: those of one event, and of one drop reason if copies are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The event.
    pub event: Event,
    /// The drop reason of the copies.
    pub reason: Option<DropReason>,
    /// What became of their dead letters.
    pub letter: Option<LetterEnd>,
}

impl From<Event> for Topic {
    fn from(event: Event) -> Self {
        Self { event, reason: None, letter: None }
    }
}

impl Topic {
    /// The level of the topic's lines. A copy that is kept as a dead letter is not a loss.
    pub fn level(self) -> Level {
        match (self.event, self.letter) {
            (Event::GivenUp, Some(LetterEnd::Taken)) => Level::Info,
            (event, _) => event.level(),
        }
    }

    /// The index of the topic.
    fn index(self) -> usize {
        match (self.event, self.reason) {
            (Event::GivenUp, Some(reason)) => {
                let taken = usize::from(self.letter == Some(LetterEnd::Taken));
                Event::COUNT.saturating_add((reason as usize).saturating_mul(2)).saturating_add(taken)
            }
            (event, _) => event as usize,
        }
    }

    /// The most lines in one second. The line `breaker_opened` explains what an open breaker drops, so one line a second is enough for the count.
    fn per_second(self) -> u32 {
        match (self.event, self.reason) {
            (Event::GivenUp, Some(DropReason::CircuitOpen)) => 1,
            _ => Throttle::PER_SECOND,
        }
    }
}

/// A log line. Absent fields are left out.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    /// The event.
    pub event: Event,
    /// The name of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// The ID of the delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<&'a str>,
    /// The correlation ID, which ties the copy to the primary's request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<&'a str>,
    /// The correlation IDs of all requests in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_ids: Option<&'a [&'a str]>,
    /// The number of the attempt, from 1; 0 if there was no attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The outcome of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'a str>,
    /// The time until the next attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
    /// Why the copy was given up, or the circuit breaker opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// What became of the copy's dead letter, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<LetterEnd>,
    /// How long the circuit breaker stays open, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_for_ms: Option<u64>,
    /// How long the attempt took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// The differences between two responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<&'a Verdict>,
    /// A problem of a configuration, with its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<&'a str>,
    /// The unexpected event, or the host call that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<&'a str>,
    /// The status that the host call returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// The version of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    /// The number of targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<usize>,
    /// The number of lines with this event and drop reason that were suppressed since the last one.
    #[serde(skip_serializing_if = "is_zero")]
    pub suppressed: u64,
}

// Serde requires this signature.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> Line<'a> {
    /// A line with nothing but its event.
    pub fn new(event: Event) -> Self {
        Self {
            event,
            target: None,
            delivery_id: None,
            correlation_id: None,
            correlation_ids: None,
            attempt: None,
            outcome: None,
            retry_in_ms: None,
            reason: None,
            letter: None,
            open_for_ms: None,
            elapsed_ms: None,
            comparison: None,
            problem: None,
            what: None,
            status: None,
            version: None,
            targets: None,
            suppressed: 0,
        }
    }

    /// The text of the line.
    pub fn to_json(&self) -> String {
        // Strings and numbers always serialize.
        ascii(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// Escapes everything but printable ASCII in a JSON text. Clients choose parts of the lines, and some characters control a terminal, break a line
/// or change the direction of text.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str("\\u");
                let digits = [12_u32, 8, 4, 0].map(|shift| char::from_digit(u32::from(*unit) >> shift & 0xf, 16));
                text.extend(digits.into_iter().flatten());
            }
        }
    }
    text
}

/// The most bytes of a client's correlation ID in a line.
const MAX_LOGGED_ID: usize = 128;

/// The part of a client's correlation ID that a line may contain.
pub fn logged_id(id: &str) -> &str {
    let end = (0..=MAX_LOGGED_ID.min(id.len())).rev().find(|end| id.is_char_boundary(*end));
    end.and_then(|end| id.get(..end)).unwrap_or_default()
}

/// Limits the lines of each topic to ten a second, and counts the others.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    /// The windows of the topics that had lines, by index.
    topics: Vec<Window>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    second: u64,
    passed: u32,
    suppressed: u64,
}

impl Throttle {
    /// The most lines of a topic in one second, unless the topic has a limit of its own.
    pub const PER_SECOND: u32 = 10;

    /// Returns the number of lines suppressed before this one if the line may pass, or `None` if it may not.
    pub fn admit(&mut self, topic: impl Into<Topic>, now_ms: u64) -> Option<u64> {
        let topic = topic.into();
        let index = topic.index();
        if self.topics.len() <= index {
            self.topics.resize(index.saturating_add(1), Window::default());
        }
        let window = self.topics.get_mut(index)?;
        let second = now_ms / 1_000;
        // A clock that was set back starts a new second, too.
        if second != window.second {
            window.second = second;
            window.passed = 0;
        }
        if window.passed < topic.per_second() {
            window.passed = window.passed.saturating_add(1);
            Some(std::mem::take(&mut window.suppressed))
        } else {
            window.suppressed = window.suppressed.saturating_add(1);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_without_what_is_absent() {
        let mut line = Line::new(Event::GivenUp);
        line.target = Some("audit");
        line.correlation_id = Some("a\"b\n\u{1f}");
        line.suppressed = 3;
        assert_eq!(line.to_json(), r#"{"event":"given_up","target":"audit","correlation_id":"a\"b\n\u001f","suppressed":3}"#);
    }

    #[test]
    fn a_line_is_printable_ascii_whatever_stands_in_it() {
        let all: String = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
        let mut line = Line::new(Event::GivenUp);
        line.correlation_id = Some(&all);
        let text = line.to_json();
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(read["correlation_id"].as_str() == Some(&all));
        line.correlation_id = Some("\u{85}\u{9b}\u{2028}\u{202e}\u{e9}\u{1f600}\u{7f}");
        assert_eq!(line.to_json(), r#"{"event":"given_up","correlation_id":"\u0085\u009b\u2028\u202e\u00e9\ud83d\ude00\u007f"}"#);
    }

    #[test]
    fn a_correlation_id_is_cut_between_characters() {
        for (id, logged) in [
            ("c1".to_owned(), "c1".to_owned()),
            ("a".repeat(128), "a".repeat(128)),
            ("a".repeat(129), "a".repeat(128)),
            ("é".repeat(100), "é".repeat(64)),
            (format!("a{}", "é".repeat(100)), format!("a{}", "é".repeat(63))),
        ] {
            assert_eq!(logged_id(&id), logged);
        }
    }

    #[test]
    fn ten_lines_of_an_event_pass_in_a_second() {
        let mut throttle = Throttle::default();
        let passed = (0..25).filter(|_| throttle.admit(Event::GivenUp, 5_999).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(throttle.admit(Event::Delivered, 5_999), Some(0));
        assert_eq!(throttle.admit(Event::GivenUp, 6_000), Some(15));
        assert_eq!(throttle.admit(Event::GivenUp, 6_001), Some(0));
    }

    #[test]
    fn a_flood_of_one_reason_does_not_silence_another_and_what_a_breaker_drops_is_told_once_a_second() {
        let given_up = |reason, letter| Topic { event: Event::GivenUp, reason: Some(reason), letter };
        let mut throttle = Throttle::default();
        let mut lines = |topic| (0..25).filter(|_| throttle.admit(topic, 5_999).is_some()).count();
        assert_eq!(lines(given_up(DropReason::CircuitOpen, None)), 1);
        assert_eq!(lines(given_up(DropReason::NotRetryable, Some(LetterEnd::Taken))), 10);
        assert_eq!(lines(given_up(DropReason::NotRetryable, Some(LetterEnd::Failed))), 10);
        assert_eq!(lines(given_up(DropReason::NotRetryable, None)), 0, "a loss, like a letter that failed");
        assert_eq!(lines(given_up(DropReason::RetriesExhausted, None)), 10);
        assert_eq!(throttle.admit(given_up(DropReason::CircuitOpen, None), 6_000), Some(24));
    }

    #[test]
    fn a_copy_that_is_kept_is_no_warning() {
        let level = |letter| Topic { event: Event::GivenUp, reason: Some(DropReason::Expired), letter }.level();
        assert_eq!([None, Some(LetterEnd::Failed), Some(LetterEnd::Taken)].map(level), [Level::Warn, Level::Warn, Level::Info]);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nothing() {
        let mut throttle = Throttle::default();
        for _ in 0..20 {
            throttle.admit(Event::GivenUp, 9_000);
        }
        assert_eq!(throttle.admit(Event::GivenUp, 1_000), Some(10));
    }
}
