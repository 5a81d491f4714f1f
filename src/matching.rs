//! Which requests a target wants: any of its rules, and of a rule all conditions. Compiled once; a request is read, not copied.
//!
//! A thousand rules cost a request that none of them wants about what one rule costs it. They are filed by what they ask for
//! (`index`), by exact value in a hash table, by prefix or suffix in a tree of such tables (`tree`), and only the few rules that
//! a request leads to are looked at as a whole (`rule`). Not so cheap are rules that share all they can be filed by: patterns
//! that begin with no text of their own are tried one after the other.

#[cfg(test)]
mod grammar;
mod index;
mod literal;
mod methods;
mod rule;
mod table;
#[cfg(test)]
mod tests;
mod tree;

use self::index::{Index, Step};
use self::methods::MethodBits;
use self::rule::Rule;
use crate::config::raw;
use crate::headers::HeaderMap;

/// The rules of one target.
#[derive(Debug)]
pub struct Matcher {
    /// None: every request.
    rules: Option<Rules>,
}

#[derive(Debug)]
struct Rules {
    rules: Vec<Rule>,
    index: Index,
}

/// What rules are about.
#[derive(Debug)]
struct Request<'a> {
    method: &'a [u8],
    method_bits: MethodBits,
    path: &'a [u8],
    headers: &'a HeaderMap,
}

impl<'a> Request<'a> {
    fn new(method: &'a [u8], path: &'a [u8], headers: &'a HeaderMap) -> Self {
        Self { method, method_bits: MethodBits::of(method), path, headers }
    }
}

impl Matcher {
    /// Compiles the rules of a target; none: it wants every request.
    pub fn new(rules: Option<Vec<raw::Rule>>) -> Self {
        Self {
            rules: rules.map(|rules| {
                let rules: Vec<Rule> = rules.into_iter().map(Rule::from).collect();
                Rules { index: Index::new(&rules), rules }
            }),
        }
    }

    /// True when the target wants the request. `path` is without its query.
    pub fn wants(&self, method: &[u8], path: &[u8], headers: &HeaderMap) -> bool {
        match &self.rules {
            None => true,
            Some(rules) => rules.hold(&Request::new(method, path, headers), |_| ()),
        }
    }
}

impl Rules {
    /// True when any rule holds. `seen` is told what is done to find out.
    fn hold(&self, request: &Request<'_>, seen: impl Fn(Step)) -> bool {
        self.index.any(request, &mut |step| {
            seen(step);
            match step {
                Step::Probe => false,
                Step::Rule(place) => self.rules.get(place).is_some_and(|rule| rule.holds(request)),
            }
        })
    }
}
