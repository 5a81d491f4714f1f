//! The rules of one target, and the verdict on a request.

use super::condition::Conditions;
use super::index::{Index, Step};
use super::rule::{Keys, Rule};
use super::Request;
use crate::json::Pointer;

/// The rules of one target.
#[derive(Debug)]
pub struct Matcher {
    /// The rules. `None` accepts every request.
    pub(super) wanted: Option<Rules>,
    /// The exceptions. `None` excludes no request.
    pub(super) except: Option<Rules>,
}

/// Whether a target wants a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target wants it, whatever the body contains.
    Yes,
    /// The target does not want it, whatever the body contains.
    No,
    /// The body decides.
    ByBody,
    /// The rules take more work than one request may cause, so it is unknown whether the target wants it.
    TooMuchWork,
}

/// The rules of one list, by whether they look at the body.
#[derive(Debug)]
pub(super) struct Rules {
    /// Rules without conditions on the body.
    pub(super) plain: Filed,
    /// Rules with conditions on the body, indexed by their conditions on the headers.
    pub(super) heads: Filed,
    /// The same rules, indexed by all of their conditions.
    pub(super) wholes: Filed,
}

/// Rules and their index.
#[derive(Debug)]
pub(super) struct Filed {
    pub(super) rules: Vec<Rule>,
    pub(super) index: Index,
}

impl Matcher {
    /// Compiles the rules of a target. Without rules, the target wants every request except for the exceptions.
    pub fn new(rules: Option<Vec<Conditions>>, except: Option<Vec<Conditions>>) -> Self {
        Self { wanted: rules.map(Rules::new), except: except.map(Rules::new) }
    }

    /// Matches a request whose headers have arrived.
    pub fn at_headers(&self, request: &Request<'_>) -> Verdict {
        self.judge(request, |rules| rules.at_headers(request))
    }

    /// Matches a complete request. Never returns [`Verdict::ByBody`].
    pub fn at_end(&self, request: &Request<'_>) -> Verdict {
        self.judge(request, |rules| if rules.hold(request) { Verdict::Yes } else { Verdict::No })
    }

    /// True if the target wants a complete request.
    pub fn wants(&self, request: &Request<'_>) -> bool {
        self.at_end(request) == Verdict::Yes
    }

    fn judge(&self, request: &Request<'_>, look: impl Fn(&Rules) -> Verdict) -> Verdict {
        // One rule that holds is enough. Untried rules matter only if none holds.
        let wanted = self.wanted.as_ref().map_or(Verdict::Yes, &look);
        if request.was_left_untried() && wanted != Verdict::Yes {
            return Verdict::TooMuchWork;
        }
        if wanted == Verdict::No {
            return Verdict::No;
        }
        let excepted = self.except.as_ref().map_or(Verdict::No, &look);
        let is_unknown = request.was_left_untried();
        match excepted {
            Verdict::Yes => Verdict::No,
            _ if is_unknown => Verdict::TooMuchWork,
            Verdict::No => wanted,
            other => other,
        }
    }

    /// The query parameters that the rules look at.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.all().flat_map(Rule::parameters)
    }

    /// The pointers into bodies that the rules look at.
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.all().flat_map(Rule::pointers)
    }

    fn all(&self) -> impl Iterator<Item = &Rule> {
        let rules = self.wanted.iter().chain(&self.except);
        rules.flat_map(|rules| rules.plain.rules.iter().chain(&rules.heads.rules))
    }
}

impl Rules {
    fn new(rules: Vec<Conditions>) -> Self {
        let (by_body, plain): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| !rule.body.is_empty());
        Self {
            plain: Filed::new(plain, Keys::OfHead),
            heads: Filed::new(by_body.clone(), Keys::OfHead),
            wholes: Filed::new(by_body, Keys::All),
        }
    }

    fn at_headers(&self, request: &Request<'_>) -> Verdict {
        if self.plain.holds(request) {
            Verdict::Yes
        } else if self.heads.holds(request) {
            Verdict::ByBody
        } else {
            Verdict::No
        }
    }

    fn hold(&self, request: &Request<'_>) -> bool {
        self.plain.holds(request) || self.wholes.holds(request)
    }
}

impl Filed {
    fn new(rules: Vec<Conditions>, keys: Keys) -> Self {
        let rules: Vec<Rule> = rules.into_iter().map(Rule::from).collect();
        Self { index: Index::new(&rules, keys), rules }
    }

    /// True if any rule holds.
    fn holds(&self, request: &Request<'_>) -> bool {
        self.hold(request, |_| ())
    }

    /// True if any rule holds. Reports each step of the search to `seen`.
    pub(super) fn hold(&self, request: &Request<'_>, seen: impl Fn(Step)) -> bool {
        !self.rules.is_empty()
            && self.index.any(request, &mut |step| {
                seen(step);
                match step {
                    Step::Probe => false,
                    Step::Rule(place) => self.rules.get(place).is_some_and(|rule| rule.holds(request)),
                }
            })
    }
}
