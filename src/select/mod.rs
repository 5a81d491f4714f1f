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
mod matcher;
mod methods;
mod paths;
pub mod pattern;
mod request;
mod rule;
pub mod sampling;
mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use self::body::{each_once, BodyValues};
pub use self::matcher::{Matcher, Verdict};
pub use self::paths::Paths;
pub use self::request::{Parameters, Request};
