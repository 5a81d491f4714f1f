//! Which requests a target wants: any of its rules, of a rule all conditions, and none of its exceptions. Compiled once; a request is read, not
//!
//! Uses `json` and `http`. Begin with [`Matcher`].
//! copied.
//!
//! A thousand rules cost a request that none of them wants about what one rule costs it. They are filed by what they ask for
//! (`index`), by exact value in a hash table, by prefix or suffix in a tree of such tables (`tree`), and only the few rules that
//! a request leads to are looked at as a whole (`rule`). Not so cheap are rules that share all they can be filed by: patterns
//! that begin with no text of their own are tried one after the other.
//!
//! A request is looked at when its headers come ([`Matcher::at_headers`]). Rules that look into the body are held against its headers alone then. If they
//! could hold, and nothing else decides, the request is looked at again when it is complete ([`Matcher::wants`]).

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
    /// None: every request.
    wanted: Option<Rules>,
    /// None: no request.
    except: Option<Rules>,
}

/// Whether a target wants a request, as far as its headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does, whatever the body is.
    Yes,
    /// It does not, whatever the body is.
    No,
    /// The body decides.
    ByBody,
    /// Its patterns take more work than a request may cause, so it is not known.
    TooMuchWork,
}

#[derive(Debug)]
struct Rules {
    /// Rules that look at no body.
    plain: Filed,
    /// Rules that do, filed by what they ask of the headers.
    heads: Filed,
    /// The same rules, filed by what they ask of the body, too.
    wholes: Filed,
}

/// Rules, and where to find them.
#[derive(Debug)]
struct Filed {
    rules: Vec<Rule>,
    index: Index,
}

impl Matcher {
    /// Compiles the rules of a target. Without rules it wants every request but the exceptions.
    pub fn new(rules: Option<Vec<Conditions>>, except: Option<Vec<Conditions>>) -> Self {
        Self { wanted: rules.map(Rules::new), except: except.map(Rules::new) }
    }

    /// Whether the target wants a request whose headers have come.
    pub fn at_headers(&self, request: &Request<'_>) -> Verdict {
        self.judge(request, |rules| rules.at_headers(request))
    }

    /// Whether the target wants a request that is complete; never [by its body](Verdict::ByBody).
    pub fn at_end(&self, request: &Request<'_>) -> Verdict {
        self.judge(request, |rules| if rules.hold(request) { Verdict::Yes } else { Verdict::No })
    }

    /// True when the target wants a request that is complete.
    pub fn wants(&self, request: &Request<'_>) -> bool {
        self.at_end(request) == Verdict::Yes
    }

    fn judge(&self, request: &Request<'_>, look: impl Fn(&Rules) -> Verdict) -> Verdict {
        // A rule that holds is enough. What was not tried matters only where none does.
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

    /// The parameters of the query that its rules look at.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.all().flat_map(Rule::parameters)
    }

    /// The places in bodies that its rules look at.
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

    /// True when any rule holds.
    fn holds(&self, request: &Request<'_>) -> bool {
        self.hold(request, |_| ())
    }

    /// The same. `seen` is told what is done to find out.
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
