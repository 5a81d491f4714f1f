//! Log lines: one JSON object each. None holds a body, a path or a header's value but the correlation id; none holds more than
//! is said here, because it is made from this struct alone.

use log::Level;
use serde::Serialize;

use crate::compare::Verdict;
use crate::delivery::drop_reason::DropReason;

/// The target of the records in the crate `log`.
pub const TARGET: &str = "sidecast";

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A configuration is in force.
    Configured,
    /// A configuration was refused; a line for each problem.
    ConfigurationRejected,
    /// A target took its copy.
    Delivered,
    /// An attempt failed.
    AttemptFailed,
    /// A copy is given up.
    GivenUp,
    /// A dead letter was taken.
    DeadLettered,
    /// A dead letter was not taken.
    DeadLetterFailed,
    /// A request was left alone because it is a copy itself.
    LoopStopped,
    /// A target responded otherwise than the primary, or in a way that cannot be compared.
    Compared,
    /// A circuit breaker opened.
    BreakerOpened,
    /// A circuit breaker lets probes pass.
    BreakerHalfOpened,
    /// A circuit breaker closed.
    BreakerClosed,
    /// Something happened that never should.
    Unexpected,
}

impl Event {
    /// How many kinds there are.
    pub const COUNT: usize = 13;
}

impl Event {
    /// The level of its lines: `Debug` traces single copies, `Info` is worth a line in a healthy system, `Warn` tells of a loss or a change, and
    /// `Error` needs a repair.
    pub const fn level(self) -> Level {
        match self {
            Self::Delivered | Self::DeadLettered | Self::AttemptFailed | Self::LoopStopped => Level::Debug,
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

/// What became of the letter of a copy that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterEnd {
    /// It is kept, so nothing is lost.
    Taken,
    /// It is lost.
    Failed,
}

/// What shares a bound on lines: those of one event, and where copies are given up, those of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// What the lines are about.
    pub event: Event,
    /// Why copies are given up.
    pub reason: Option<DropReason>,
    /// What became of their letters.
    pub letter: Option<LetterEnd>,
}

impl From<Event> for Topic {
    fn from(event: Event) -> Self {
        Self { event, reason: None, letter: None }
    }
}

impl Topic {
    /// How loud its lines are. A copy that is given up and kept is no loss.
    pub fn level(self) -> Level {
        match (self.event, self.letter) {
            (Event::GivenUp, Some(LetterEnd::Taken)) => Level::Info,
            (event, _) => event.level(),
        }
    }

    /// Its place among all of them.
    fn index(self) -> usize {
        match (self.event, self.reason) {
            (Event::GivenUp, Some(reason)) => {
                let taken = usize::from(self.letter == Some(LetterEnd::Taken));
                Event::COUNT.saturating_add((reason as usize).saturating_mul(2)).saturating_add(taken)
            }
            (event, _) => event as usize,
        }
    }

    /// Lines in one second. What an open breaker drops is explained by the line `breaker_opened`: one is enough to tell how many there were.
    fn per_second(self) -> u32 {
        match (self.event, self.reason) {
            (Event::GivenUp, Some(DropReason::CircuitOpen)) => 1,
            _ => Throttle::PER_SECOND,
        }
    }
}

/// One line. What is absent is left out.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    /// What it is about.
    pub event: Event,
    /// The target's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// The delivery's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<&'a str>,
    /// What ties it to the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<&'a str>,
    /// The correlation ids of all requests in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_ids: Option<&'a [&'a str]>,
    /// The number of the attempt, from 1; 0 when none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What became of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'a str>,
    /// How long until the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
    /// Why the copy is given up, or the circuit breaker opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// What became of the copy's letter, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<LetterEnd>,
    /// How long the circuit breaker stays open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_for_ms: Option<u64>,
    /// How long the attempt took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// How two responses differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<&'a Verdict>,
    /// What is wrong with a configuration, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<&'a str>,
    /// What happened that never should: an event, or the host call that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<&'a str>,
    /// The status that the host call returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// The version of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    /// How many targets are configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<usize>,
    /// Lines of this event, and of this reason where copies are given up, that were left out since the last one.
    #[serde(skip_serializing_if = "is_zero")]
    pub suppressed: u64,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> Line<'a> {
    /// A line that says no more than its event.
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

/// JSON with all that is not printable ASCII escaped. Clients choose what stands in lines, and some characters steer a terminal, break a line or
/// turn its direction.
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

/// The most bytes of a client's correlation id in a line.
const MAX_LOGGED_ID: usize = 128;

/// As much of a client's correlation id as may stand in a line.
pub fn logged_id(id: &str) -> &str {
    let end = (0..=MAX_LOGGED_ID.min(id.len())).rev().find(|end| id.is_char_boundary(*end));
    end.and_then(|end| id.get(..end)).unwrap_or_default()
}

/// Lets ten lines of a topic pass in a second, and counts the others.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    /// Of each topic that there were lines of, at its index.
    topics: Vec<Window>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    second: u64,
    passed: u32,
    suppressed: u64,
}

impl Throttle {
    /// Lines of one topic in one second, as a rule.
    pub const PER_SECOND: u32 = 10;

    /// Whether a line may pass now, and if so how many were left out before it.
    pub fn admit(&mut self, topic: impl Into<Topic>, now_ms: u64) -> Option<u64> {
        let topic = topic.into();
        let index = topic.index();
        if self.topics.len() <= index {
            self.topics.resize(index.saturating_add(1), Window::default());
        }
        let window = self.topics.get_mut(index)?;
        let second = now_ms / 1_000;
        // A clock that was set back starts a new second too.
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
