//! The targets that want a request, and what they need of it.

use std::cell::OnceCell;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use crate::config::{After, Reads, Target};
use crate::engine::host::Host;
use crate::engine::worker::Worker;
use crate::rewrite::capture::{CapturedHead, Needs};
use crate::template::Answer;

/// A set of targets, one bit each. A configuration has at most 32.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Targets(u32);

impl Targets {
    pub(in crate::engine) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn insert(&mut self, target: usize) {
        self.0 |= u32::try_from(target).ok().and_then(|target| 1_u32.checked_shl(target)).unwrap_or(0);
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..32).filter(move |target| self.0 & (1 << target) != 0)
    }

    /// The targets that are in both sets.
    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The targets that are not in `others`.
    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn has(self, target: usize) -> bool {
        self.iter().any(|other| other == target)
    }
}

/// The targets that want a request, and what they need of it.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Wanted {
    /// Targets that get the request once it is complete.
    pub(in crate::engine) now: Targets,
    /// Targets that wait for the primary's response.
    pub(in crate::engine) later: Targets,
    /// Targets whose responses are compared with the primary's.
    pub(in crate::engine) compared: Targets,
    /// Targets whose rules depend on the body. Nothing is counted for them yet.
    pub(super) undecided: Targets,
    /// Targets whose rules depend on the body, and whose sample leaves the request out. They get nothing; the body only decides whether they are
    /// counted.
    pub(super) left_out: Targets,
    pub(in crate::engine) needs: Needs,
    /// What else must be kept of the request for these targets.
    pub(in crate::engine) reads: Reads,
}

impl Wanted {
    pub(in crate::engine) fn is_empty(self) -> bool {
        self.now.is_empty() && self.later.is_empty() && self.left_out.is_empty()
    }

    /// The same targets, with none undecided.
    pub(super) fn decided(self) -> Self {
        Self { undecided: Targets::default(), left_out: Targets::default(), ..self }
    }

    /// Keeps only those targets that `choose` returns.
    pub(super) fn limited(self, choose: impl Fn(Targets) -> Targets) -> Self {
        Self {
            now: choose(self.now),
            later: choose(self.later),
            compared: choose(self.compared),
            undecided: choose(self.undecided),
            left_out: choose(self.left_out),
            ..self
        }
    }
}

/// A complete request.
#[derive(Clone)]
pub(in crate::engine) struct Complete {
    pub(in crate::engine) head: Rc<CapturedHead>,
    pub(in crate::engine) body: Rc<Vec<u8>>,
    /// The latest of the answers that the request had, if the targets wait for any.
    pub(in crate::engine) answer: Option<Rc<Answer>>,
}

impl Complete {
    /// The size in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        let answers = self.answer.as_ref().map_or(0, |answer| answer.size());
        self.head.size().saturating_add(self.body.capacity()).saturating_add(answers)
    }
}

/// The current time, read at most once, on first use.
pub(super) struct Now<H> {
    worker: Rc<Worker<H>>,
    time: OnceCell<Duration>,
}

impl<H: Host> Now<H> {
    pub(super) fn new(worker: &Rc<Worker<H>>) -> Self {
        Self { worker: Rc::clone(worker), time: OnceCell::new() }
    }

    pub(super) fn known(worker: &Rc<Worker<H>>, time: Duration) -> Self {
        Self { worker: Rc::clone(worker), time: OnceCell::from(time) }
    }
}

impl<H: Host> Deref for Now<H> {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        self.time.get_or_init(|| self.worker.monotonic())
    }
}

/// True if the target's requests are counted as matched only when they are rendered as batch items, or given up before. All arrivals are then
/// counted at once. A request that waits for the primary's response is counted earlier, because it may wait for long.
pub(super) fn is_counted_later(target: &Target) -> bool {
    target.batch.is_some() && target.after == After::Request
}
