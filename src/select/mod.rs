//! Matching: which requests a target wants. A target wants a request if any of its rules holds and none of its exceptions does. A rule holds if all
//! of its conditions do. Rules are compiled once. Matching reads a request in place, without a copy.
//!
//! Uses `json` and `http`. Begin with [`Matcher`].
//!
//! A request that no rule wants costs about the same with a thousand rules as with one. The rules are indexed by their conditions (`index`): exact
//! values in a hash table, prefixes and suffixes in a tree of such tables (`tree`). Only the few rules that the index finds are tried in full
//! (`rule`). Rules that share all of their keys are more expensive: patterns without a literal beginning are tried one by one.
//!
//! A request is matched when its headers arrive ([`Matcher::at_headers`]). Rules on the body are then tried with the headers only. If one of them
//! could hold, and nothing else decides, the request is matched again when it is complete ([`Matcher::wants`]).

mod body;
pub mod condition;
#[cfg(test)]
mod grammar;
mod index;
mod literal;
mod methods;
pub mod pattern;
mod request;
mod rule;
pub mod sampling;
mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use self::body::{each_once, BodyValues};
pub use self::request::{Parameters, Request};

use self::condition::Conditions;
use self::index::{Index, Step};
use self::rule::{Keys, Rule};
use crate::json::Pointer;

/// The rules of one target.
#[derive(Debug)]
pub struct Matcher {
    /// The rules. `None` accepts every request.
    wanted: Option<Rules>,
    /// The exceptions. `None` excludes no request.
    except: Option<Rules>,
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
    /// The patterns take more work than one request may cause, so it is unknown whether the target wants it.
    TooMuchWork,
}

#[derive(Debug)]
struct Rules {
    /// Rules without conditions on the body.
    plain: Filed,
    /// Rules with conditions on the body, indexed by their conditions on the headers.
    heads: Filed,
    /// The same rules, indexed by all of their conditions.
    wholes: Filed,
}

/// Rules and their index.
#[derive(Debug)]
struct Filed {
    rules: Vec<Rule>,
    index: Index,
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
    fn hold(&self, request: &Request<'_>, seen: impl Fn(Step)) -> bool {
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
