//! The targets that want a request, and what they need of it.

use std::cell::OnceCell;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use crate::config::{After, Reads, Target};
use crate::engine::host::Host;
use crate::engine::targets::Targets;
use crate::engine::worker::Worker;
use crate::rewrite::capture::{CapturedHead, Needs};
use crate::template::Answer;

/// The targets that want a request, and what they need of it.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Wanted {
    /// Targets that get the request once it is complete.
    pub(in crate::engine) now: Targets,
    /// Targets that wait for the primary's response.
    pub(in crate::engine) later: Targets,
    /// Targets that wait for the copy of another target.
    pub(in crate::engine) followers: Targets,
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

    /// The targets that get a copy, at once or later, unless what they wait for does not happen.
    pub(super) fn all(self) -> Targets {
        self.now.or(self.later).or(self.followers)
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
            followers: choose(self.followers),
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
    /// The targets that wait for the copy of another target.
    pub(in crate::engine) followers: Targets,
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
