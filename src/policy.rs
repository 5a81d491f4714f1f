//! A configuration that can run: plain data, made of the types of the rooms below. `config` makes it, `engine` runs it.
//!
//! Uses the rooms below. Begin with [`Config`].

use std::time::Duration;

use crate::compare;
use crate::delivery::batch;
use crate::delivery::breaker;
use crate::delivery::dead_letter::DeadLetter;
use crate::delivery::outcome::Policy;
use crate::delivery::rate_limit::TokenBucket;
use crate::delivery::retry::RetryPolicy;
use crate::http::loop_mark::LoopGuard;
use crate::http::status::StatusPattern;
use crate::json::Pointer;
use crate::rewrite::capture::Correlation;
use crate::rewrite::reading::Terms;
use crate::rewrite::shape::Rewrite;
use crate::select::sampling::Sampling;
use crate::select::{Matcher, Parameters};

/// A configuration that is whole and valid.
#[derive(Debug)]
pub struct Config {
    /// Where copies go; 1 to 32.
    pub targets: Vec<Target>,
    /// The longest body that is copied, in bytes.
    pub max_body_bytes: usize,
    /// Bytes one worker may hold, over all targets.
    pub max_buffered_bytes: usize,
    /// How long copies under way may go on once the configuration is replaced.
    pub drain_timeout: Duration,
    /// What ties copies to their request.
    pub correlation: Correlation,
    /// Tells copies from requests.
    pub loop_guard: LoopGuard,
    /// The properties of Envoy that templates name, each once.
    pub properties: Vec<Vec<String>>,
    /// Under which terms requests are read.
    pub reading: Terms,
    /// The parameters of queries that rules look at.
    pub matched_parameters: Parameters,
    /// The places in bodies that rules look at, each once.
    pub matched_pointers: Vec<Pointer>,
}

/// One target.
#[derive(Debug)]
pub struct Target {
    /// Its label in metrics and logs.
    pub name: String,
    /// The Envoy cluster that gets the copies.
    pub cluster: String,
    /// Which requests it wants.
    pub matcher: Matcher,
    /// Which part of them it gets; none: all.
    pub sample: Option<Sampling>,
    /// For which responses of the primary it gets them; none: it does not wait for one.
    pub after: Option<Vec<StatusPattern>>,
    /// What it receives of them.
    pub shape: Rewrite,
    /// How requests are put together to one call; none: each is one of its own.
    pub batch: Option<batch::Settings>,
    /// How its responses are held against the primary's; none: not at all.
    pub compare: Option<compare::Settings>,
    /// What has to be kept for it.
    pub reads: Reads,
    /// What a response means.
    pub policy: Policy,
    /// When a delivery is attempted again; none: never.
    pub retry: Option<RetryPolicy>,
    /// Where a delivery goes that is given up; none: nowhere.
    pub dead_letter: Option<DeadLetter>,
    /// How long one attempt may take; 1 ms to 1 h.
    pub timeout: Duration,
    /// Copies under way at once, in one worker.
    pub max_in_flight: usize,
    /// Copies waiting for a place, in one worker.
    pub max_queued: usize,
    /// Copies a second, in one worker; none: no bound.
    pub rate: Option<TokenBucket>,
    /// When the target is spared; none: never.
    pub breaker: Option<breaker::Settings>,
}

/// What has to be kept of a request and its response besides its body and the headers that every copy carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// All headers as they came.
    pub headers: bool,
    /// Its body: without it there is no copy.
    pub body: bool,
    /// Properties of Envoy.
    pub properties: bool,
    /// When it was complete.
    pub time: bool,
    /// The headers of the primary's response.
    pub response_headers: bool,
    /// The body of the primary's response, if the response is compared.
    pub response_body: bool,
}

impl Reads {
    /// What has to be kept for one or the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            headers: self.headers || other.headers,
            body: self.body || other.body,
            properties: self.properties || other.properties,
            time: self.time || other.time,
            response_headers: self.response_headers || other.response_headers,
            response_body: self.response_body || other.response_body,
        }
    }
}
