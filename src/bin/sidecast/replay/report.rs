//! What is told of letters.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::envelope::Key;
use super::shown::shown;

/// The output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people: the letters that were not sent, and a summary
    #[default]
    #[value(alias = "plain")]
    Text,
    /// For programs: one JSON object per line for each letter, and one with the summary
    Json,
}

/// What became of a letter.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Sent { outcome: String, attempts: u32 },
    WouldSend(String),
    InJournal,
    Twice,
    NotSelected,
    Failed { outcome: String, attempts: u32, detail: Option<String> },
    NotSent(String),
    Refused(String),
    NoLetter(String),
    Left,
}

/// The word for a fate, what it is called in the summary, and whether it is what was wanted.
const WORDS: [(&str, &str, bool); 10] = [
    ("sent", "sent", true),
    ("would_send", "would be sent", true),
    ("in_journal", "already in the journal", true),
    ("twice", "duplicates", true),
    ("not_selected", "not selected", true),
    ("failed", "failed", false),
    ("not_sent", "not sent", false),
    ("refused", "refused", false),
    ("no_letter", "unreadable", false),
    ("left", "left", false),
];

impl Fate {
    fn index(&self) -> usize {
        match self {
            Self::Sent { .. } => 0,
            Self::WouldSend(_) => 1,
            Self::InJournal => 2,
            Self::Twice => 3,
            Self::NotSelected => 4,
            Self::Failed { .. } => 5,
            Self::NotSent(_) => 6,
            Self::Refused(_) => 7,
            Self::NoLetter(_) => 8,
            Self::Left => 9,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Failed { outcome, attempts, detail } => {
                let why = detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
                let times = if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
                Some(format!("{outcome} after {times}{why}"))
            }
            Self::WouldSend(text) | Self::NotSent(text) | Self::Refused(text) | Self::NoLetter(text) => Some(text.clone()),
            Self::Left => Some("the replay was stopped".to_owned()),
            Self::Sent { .. } | Self::InJournal | Self::Twice | Self::NotSelected => None,
        }
    }
}

/// Tells what became of letters, and counts it.
pub(super) struct Report {
    format: Format,
    counts: [u64; WORDS.len()],
    bar: ProgressBar,
    has_error: bool,
}

impl Report {
    pub(super) fn new(format: Format, length: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        if std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos} of {len} letters, {per_sec}, {eta} left") {
                bar.set_style(style);
            }
        }
        Self { format, counts: [0; WORDS.len()], bar, has_error: false }
    }

    /// Tells what became of a letter.
    pub(super) fn tell(&mut self, place: &str, key: Option<&Key>, fate: &Fate) {
        let index = fate.index();
        let (word, called, _) = WORDS.get(index).copied().unwrap_or_default();
        if let Some(count) = self.counts.get_mut(index) {
            *count = count.saturating_add(1);
        }
        self.bar.inc(1);
        if self.format == Format::Json {
            self.print(&as_json(place, key, word, fate));
            return;
        }
        let Some(detail) = fate.detail() else { return };
        let whose = key.map_or_else(String::new, |key| format!("{} {}: ", shown(&key.target), shown(&key.id)));
        if matches!(fate, Fate::WouldSend(_)) {
            self.print(&format!("{whose}{detail}"));
        } else {
            self.warn(&format!("{place}: {whose}{called}: {detail}"));
        }
    }

    /// Counts letters of which nothing more is told.
    pub(super) fn left(&mut self, count: u64) {
        if let Some(left) = self.counts.get_mut(Fate::Left.index()) {
            *left = left.saturating_add(count);
        }
    }

    /// Tells of an error that is not about one letter.
    pub(super) fn error(&mut self, error: &str) {
        self.has_error = true;
        self.warn(&format!("error: {error}"));
    }

    /// Says something to people.
    pub(super) fn warn(&self, text: &str) {
        // Nobody may be there to read it.
        self.bar.suspend(|| drop(writeln!(std::io::stderr(), "{text}")));
    }

    fn print(&self, text: &str) {
        self.bar.suspend(|| drop(writeln!(std::io::stdout(), "{text}")));
    }

    /// Sums up. Returns the exit status.
    pub(super) fn sum_up(self) -> u8 {
        self.bar.finish_and_clear();
        let counted = || WORDS.iter().zip(self.counts);
        match self.format {
            Format::Json => {
                let counts: serde_json::Map<String, _> =
                    counted().map(|((word, _, _), count)| ((*word).to_owned(), json!(count))).collect();
                self.print(&json!({ "summary": counts }).to_string());
            }
            Format::Text => {
                let told = counted().filter(|((word, _, _), count)| *count > 0 || *word == "sent");
                let parts: Vec<String> = told.map(|((_, called, _), count)| format!("{count} {called}")).collect();
                self.print(&parts.join(", "));
            }
        }
        let is_well = counted().all(|((_, _, is_wanted), count)| *is_wanted || count == 0);
        u8::from(!is_well || self.has_error)
    }
}

/// What programs are told of a letter.
#[derive(Serialize)]
struct Told<'a> {
    place: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

fn as_json(place: &str, key: Option<&Key>, word: &str, fate: &Fate) -> String {
    let (outcome, attempts) = match fate {
        Fate::Sent { outcome, attempts } | Fate::Failed { outcome, attempts, .. } => (Some(outcome.as_str()), Some(*attempts)),
        _ => (None, None),
    };
    let told = Told {
        place,
        target: key.map(|key| key.target.as_str()),
        id: key.map(|key| key.id.as_str()),
        result: word,
        outcome,
        attempts,
        detail: fate.detail(),
    };
    // Text and numbers always serialize.
    serde_json::to_string(&told).unwrap_or_default()
}
