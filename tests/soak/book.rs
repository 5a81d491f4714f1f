//! What arrived at upstreams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::configuration::OF_TARGET;
use crate::marks;
use crate::server::{Request, NUMBER};

/// What the primary got of a request.
#[derive(Debug)]
pub(crate) struct AtPrimary {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    /// Headers that begin with `x-so` or `x-sidecast`.
    pub(crate) ours: BTreeMap<String, Vec<u8>>,
}

/// What a target got, or the keeper of its letters.
#[derive(Debug, Default)]
pub(crate) struct AtTarget {
    pub(crate) requests: usize,
    /// Deliveries and their attempts.
    pub(crate) attempts: BTreeMap<String, BTreeSet<u64>>,
    /// Attempts that came twice.
    pub(crate) doubled: Vec<String>,
    pub(crate) marks: BTreeMap<String, String>,
    /// Paths with a segment that leads elsewhere.
    pub(crate) elsewhere: BTreeSet<String>,
}

/// Whether a path has a segment `.` or `..`, however it is written.
fn leads_elsewhere(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let plain = path.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace("%3b", ";").replace('\\', "/");
    plain.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).any(|segment| segment == "." || segment == "..")
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    primary: Mutex<BTreeMap<u64, AtPrimary>>,
    targets: Mutex<BTreeMap<String, AtTarget>>,
    faults: Mutex<Vec<String>>,
    /// Marks in letters, by the letters' targets.
    letters: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Book {
    pub(crate) fn arrived(&self, manner: &str, head: &[u8], request: &Request) {
        if manner == "primary" {
            return self.at_primary(request);
        }
        let mut marks = marks::within(head);
        marks.extend(marks::within(&request.body));
        let shown =
            || format!("{}{}", head.escape_ascii(), request.body.iter().take(600).copied().collect::<Vec<u8>>().escape_ascii());
        if let Some(name) = request.header(OF_TARGET) {
            if leads_elsewhere(&request.path) {
                self.faults.lock().unwrap().push(format!("a letter to {}", request.path));
            }
            let mut letters = self.letters.lock().unwrap();
            letters.entry(name).or_default().extend(marks.into_iter().map(|mark| (mark, shown())));
            return;
        }
        let [name, attempt, delivery] =
            ["x-sidecast-target", "x-sidecast-attempt", "x-sidecast-loop"].map(|name| request.header(name));
        let attempt = attempt.map_or(Some(1), |attempt| attempt.parse().ok());
        let (Some(name), Some(attempt), Some(delivery)) = (name, attempt, delivery) else {
            return self.faults.lock().unwrap().push(format!("a copy that does not say which: {}", shown()));
        };
        let mut targets = self.targets.lock().unwrap();
        let target = targets.entry(name).or_default();
        target.requests += 1;
        if leads_elsewhere(&request.path) {
            target.elsewhere.insert(request.path.clone());
        }
        if !target.attempts.entry(delivery.clone()).or_default().insert(attempt) {
            target.doubled.push(format!("attempt {attempt} of {delivery}"));
        }
        for mark in marks {
            target.marks.entry(mark).or_insert_with(shown);
        }
    }

    fn at_primary(&self, request: &Request) {
        let Some(number) = request.header(NUMBER).and_then(|number| number.parse().ok()) else { return };
        let ours = request.headers.iter().filter(|(name, _)| name.starts_with("x-so") || name.starts_with("x-sidecast"));
        let arrived = AtPrimary {
            method: request.method.clone(),
            path: request.path.clone(),
            body: request.body.clone(),
            ours: ours.cloned().collect(),
        };
        self.primary.lock().unwrap().insert(number, arrived);
    }

    /// What the primary got of the request of this number.
    pub(crate) fn take_primary(&self, number: u64) -> Option<AtPrimary> {
        self.primary.lock().unwrap().remove(&number)
    }

    /// What no target and no keeper should ever get.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    /// What each target got.
    pub(crate) fn take_targets(&self) -> BTreeMap<String, AtTarget> {
        std::mem::take(&mut *self.targets.lock().unwrap())
    }

    /// The marks in letters by their targets, each with a letter that has it.
    pub(crate) fn take_letters(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        std::mem::take(&mut *self.letters.lock().unwrap())
    }
}
