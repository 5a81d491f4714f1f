//! What the path alone says: most requests that no target wants have another path than those that some target wants.

use super::condition::{Conditions, TextCondition};
use super::{Matcher, Parameters, Request, Verdict};
use crate::http::headers::HeaderMap;
use crate::http::request_head::RequestHead;
use crate::http::text::split_query;

/// The conditions on the path of all rules of all targets.
#[derive(Debug)]
pub struct Paths(Matcher);

impl Paths {
    /// Compiles the conditions on the path of every rule. Returns `None` if a rule has none, because it may want a request with any path.
    pub fn new(conditions: impl Iterator<Item = Option<TextCondition>>) -> Option<Self> {
        let rules = conditions.map(|path| Some(Conditions { path: Some(path?), ..Conditions::default() }));
        Some(Self(Matcher::new(Some(rules.collect::<Option<_>>()?), None)))
    }

    /// False if no target wants a request with this value of `:path`, whatever else it contains. `max_work` bounds the work of patterns.
    pub fn may_be_wanted(&self, path: &[u8], max_work: usize) -> bool {
        let mut head = RequestHead::default();
        (head.path, _) = split_query(path);
        let (headers, parameters) = (HeaderMap::default(), Parameters::default());
        let request = Request::new(&head, &headers, &parameters).with_max_work(max_work);
        self.0.at_headers(&request) != Verdict::No
    }
}
