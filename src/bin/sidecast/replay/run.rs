//! The replay: takes letters from the source, delivers some at a time, and settles each one.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::destinations::Destinations;
use super::envelope::{Key, Letter};
use super::failed::{self, Failed};
use super::filter::{self, Only};
use super::forms::Found;
use super::journal::Journal;
use super::report::{Fate, Report};
use super::request::{Prepared, Refusal, Rules};
use super::send::{Attempts, Clients, End};
use super::source::{Item, Source};

/// What is to be done.
pub(super) struct Plan {
    pub(super) destinations: Destinations,
    /// One for each destination.
    pub(super) clients: Vec<Clients>,
    pub(super) rules: Rules,
    pub(super) attempts: Attempts,
    pub(super) only: Vec<Only>,
    pub(super) journal: Journal,
    /// `None` leaves what fails where it is.
    pub(super) failed: Option<Failed>,
    pub(super) concurrency: usize,
    pub(super) limit: Option<u64>,
    pub(super) is_dry: bool,
}

/// A letter that is due, and what is sent.
struct Due {
    letter: Box<Letter>,
    prepared: Prepared,
    destination: usize,
}

/// What is to be done with a letter.
enum Decision {
    Send(Due),
    /// Nothing is sent. The line is for the file of failed letters.
    Told {
        key: Option<Key>,
        fate: Fate,
        line: Option<String>,
    },
}

/// How a letter ended, and whether it may leave its queue.
struct Settled {
    place: String,
    tag: Option<u64>,
    key: Option<Key>,
    fate: Fate,
    /// `Err` if what must be on the disk first is not.
    leaves: Result<bool, String>,
}

/// A replay under way.
pub(super) struct Run {
    plan: Arc<Plan>,
    source: Source,
    report: Report,
    stop: watch::Receiver<bool>,
    under_way: JoinSet<Settled>,
    /// The letters of files so far.
    seen: HashSet<Key>,
    begun: u64,
}

impl Run {
    pub(super) fn new(plan: Plan, source: Source, report: Report, stop: watch::Receiver<bool>) -> Self {
        Self { plan: Arc::new(plan), source, report, stop, under_way: JoinSet::new(), seen: HashSet::new(), begun: 0 }
    }

    /// Replays. Returns the exit status.
    pub(super) async fn finish(mut self) -> u8 {
        let mut takes = true;
        loop {
            while takes && self.under_way.len() < self.plan.concurrency {
                takes = self.take().await;
            }
            match self.under_way.join_next().await {
                Some(Ok(settled)) => takes &= self.settle(settled).await,
                Some(Err(error)) => {
                    self.report.error(&format!("a delivery was interrupted: {error}"));
                    takes = false;
                }
                None => break,
            }
        }
        self.count_left().await;
        if let Err(error) = self.source.close().await {
            self.report.error(&error);
        }
        if let Some(path) = self.plan.failed.as_ref().and_then(Failed::close) {
            self.report.warn(&format!("failed letters are in {}", path.display()));
        }
        self.report.sum_up()
    }

    /// Counts what was not even looked at, because the replay was stopped or an error ended it.
    async fn count_left(&mut self) {
        if self.has_enough() {
            return;
        }
        match &self.source {
            Source::Files(items) => self.report.left(u64::try_from(items.len()).unwrap_or(u64::MAX)),
            Source::Queue(queue) if *self.stop.borrow() => match queue.waiting().await {
                Ok(waiting) => self.report.left(waiting),
                Err(error) => self.report.error(&error),
            },
            // It is empty, or what ended this is told already.
            Source::Queue(_) => {}
        }
    }

    fn has_enough(&self) -> bool {
        self.plan.limit.is_some_and(|limit| self.begun >= limit)
    }

    /// Takes the next letter. Returns false if there is none, or no more are wanted.
    async fn take(&mut self) -> bool {
        if self.has_enough() || *self.stop.borrow() {
            return false;
        }
        let Item { place, found, tag } = match self.source.next().await {
            Ok(Some(item)) => item,
            Ok(None) => return false,
            Err(error) => {
                self.report.error(&error);
                return false;
            }
        };
        match self.decide(found) {
            Decision::Send(due) => {
                self.begun = self.begun.saturating_add(1);
                let (plan, stop, turn) = (Arc::clone(&self.plan), self.stop.clone(), self.plan.attempts.pace.turn());
                self.under_way.spawn(deliver(plan, due, place, tag, turn, stop));
                true
            }
            Decision::Told { key, fate, line } => {
                let leaves = match line {
                    Some(line) => self.plan.set_aside(line).await,
                    None => Ok(matches!(fate, Fate::InJournal) && !self.plan.is_dry),
                };
                self.settle(Settled { place, tag, key, fate, leaves }).await
            }
        }
    }

    fn decide(&mut self, found: Found) -> Decision {
        let letter = match found {
            Ok(letter) => letter,
            Err(no_letter) => {
                let line = failed::line(&no_letter);
                return Decision::Told { key: None, fate: Fate::NoLetter(no_letter.reason), line: Some(line) };
            }
        };
        let key = letter.key();
        let fate = match self.sort(&letter, &key) {
            Ok((prepared, destination)) => return Decision::Send(Due { letter, prepared, destination }),
            Err(fate) => fate,
        };
        if matches!(fate, Fate::WouldSend(_)) {
            self.begun = self.begun.saturating_add(1);
        }
        let line = matches!(fate, Fate::Refused(_)).then(|| letter.line());
        Decision::Told { key: Some(key), fate, line }
    }

    /// What is sent of a letter and where, or what becomes of it without that.
    fn sort(&mut self, letter: &Letter, key: &Key) -> Result<(Prepared, usize), Fate> {
        if !filter::wants(&self.plan.only, letter) {
            return Err(Fate::NotSelected);
        }
        if self.plan.journal.has(key) {
            return Err(Fate::InJournal);
        }
        if matches!(self.source, Source::Files(_)) && !self.seen.insert(key.clone()) {
            return Err(Fate::Twice);
        }
        let index = self.plan.destinations.of(letter);
        let found = index.and_then(|index| Some((index, self.plan.destinations.all.get(index)?)));
        let (index, destination) = found.ok_or_else(|| Fate::NotSent("no URL for its target in --to or --targets".to_owned()))?;
        let prepared = Prepared::new(letter, destination, &self.plan.rules).map_err(|refusal| match refusal {
            Refusal::Missing(text) => Fate::NotSent(text),
            Refusal::Illegal(text) => Fate::Refused(text),
        })?;
        if self.plan.is_dry {
            let over = if prepared.is_grpc { ", gRPC over HTTP/2" } else { "" };
            let line = format!("{} ({} bytes{over})", prepared.line(destination), prepared.length());
            return Err(Fate::WouldSend(line));
        }
        Ok((prepared, index))
    }

    /// Tells what became of a letter, and takes it out of its queue. Returns false if nothing more may be taken.
    async fn settle(&mut self, settled: Settled) -> bool {
        let Settled { place, tag, key, fate, leaves } = settled;
        self.report.tell(&place, key.as_ref(), &fate);
        let acknowledged = match leaves {
            Ok(true) => self.source.acknowledge(tag).await,
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = acknowledged {
            self.report.error(&error);
            return false;
        }
        true
    }
}

impl Plan {
    /// Puts a letter into the file of failed ones. Returns whether it may leave its queue.
    async fn set_aside(&self, line: String) -> Result<bool, String> {
        match &self.failed {
            Some(failed) if !self.is_dry => failed.add(line).await.map(|()| true),
            _ => Ok(false),
        }
    }
}

/// Delivers a letter, and writes what must be on the disk before it leaves its queue.
async fn deliver(
    plan: Arc<Plan>,
    due: Due,
    place: String,
    tag: Option<u64>,
    turn: Instant,
    mut stop: watch::Receiver<bool>,
) -> Settled {
    let Due { letter, prepared, destination } = due;
    let key = letter.key();
    let end = match plan.clients.get(destination) {
        Some(clients) => plan.attempts.deliver(clients, &prepared, turn, &mut stop).await,
        None => End::Stopped,
    };
    let (fate, leaves) = match end {
        End::Delivered { outcome, attempts } => (Fate::Sent { outcome, attempts }, plan.journal.add(&key).await.map(|()| true)),
        End::Failed { outcome, attempts, detail } => {
            (Fate::Failed { outcome, attempts, detail }, plan.set_aside(letter.line()).await)
        }
        End::Stopped => (Fate::Left, Ok(false)),
    };
    Settled { place, tag, key: Some(key), fate, leaves }
}
