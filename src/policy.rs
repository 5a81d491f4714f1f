//! A configuration that can run: plain data, built from the types of the rooms below. `config` creates it, `engine` runs it.
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
use crate::delivery::trigger::{EndPattern, Trigger};
use crate::http::loop_mark::LoopGuard;
use crate::json::Pointer;
use crate::rewrite::capture::Correlation;
use crate::rewrite::order_key::OrderKey;
use crate::rewrite::reading::Terms;
use crate::rewrite::shape::Rewrite;
use crate::select::sampling::Sampling;
use crate::select::{Matcher, Parameters, Paths};

/// A complete and valid configuration.
#[derive(Debug)]
pub struct Config {
    /// The targets; 1 to 32.
    pub targets: Vec<Target>,
    /// The longest body that is copied, in bytes.
    pub max_body_bytes: usize,
    /// The byte budget of one worker, over all targets.
    pub max_buffered_bytes: usize,
    /// How long deliveries may go on after the configuration is replaced.
    pub drain_timeout: Duration,
    /// How copies are tied to their request.
    pub correlation: Correlation,
    /// Marks copies and recognises them.
    pub loop_guard: LoopGuard,
    /// The indices of the targets that follow another, each after its leader.
    pub followers: Vec<usize>,
    /// The properties of Envoy that templates name, each once.
    pub properties: Vec<Vec<String>>,
    /// The settings and limits for reading requests.
    pub reading: Terms,
    /// The conditions on paths, if every rule of every target has one.
    pub paths: Option<Paths>,
    /// The query parameters that rules look at.
    pub matched_parameters: Parameters,
    /// The pointers into bodies that rules look at, each once.
    pub matched_pointers: Vec<Pointer>,
}

/// One target.
#[derive(Debug)]
pub struct Target {
    /// The name in metrics and logs.
    pub name: String,
    /// The Envoy cluster that receives the copies.
    pub cluster: String,
    /// The rules that decide which requests the target wants.
    pub matcher: Matcher,
    /// Per-target sampling. `None` admits all wanted requests.
    pub sample: Option<Sampling>,
    /// What the target's copy waits for.
    pub after: After,
    /// Where the key of a request is. Copies of one key go one after the other. `None` does not order them.
    pub order: Option<OrderKey>,
    /// The indices of the targets whose copies wait for this target's copy.
    pub followers: Vec<usize>,
    /// What is kept of the target's answer for its followers.
    pub kept: Kept,
    /// The request that the target receives.
    pub shape: Rewrite,
    /// How requests are batched. `None` sends each request as a call of its own.
    pub batch: Option<batch::Settings>,
    /// How the target's responses are compared with the primary's. `None` does not compare them.
    pub compare: Option<compare::Settings>,
    /// What must be kept of a request for this target.
    pub reads: Reads,
    /// How the target's responses are judged.
    pub policy: Policy,
    /// The retry settings. `None` disables retries.
    pub retry: Option<RetryPolicy>,
    /// The dead-letter settings. `None` drops deliveries that are given up.
    pub dead_letter: Option<DeadLetter>,
    /// The timeout of one attempt; 1 ms to 1 h.
    pub timeout: Duration,
    /// The most calls in flight in one worker.
    pub max_in_flight: usize,
    /// The most copies that wait in one worker.
    pub max_queued: usize,
    /// The rate limit in one worker. `None` does not limit the rate.
    pub rate: Option<TokenBucket>,
    /// The settings of the circuit breaker. `None` disables it.
    pub breaker: Option<breaker::Settings>,
}

/// What a target's copy waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// The request is complete.
    Request,
    /// The primary's response has ended in one of these ways.
    Response(Vec<EndPattern>),
    /// Another target's copy has ended.
    Target(Trigger),
}

impl After {
    /// The index of the target whose copy the copy waits for. `None` if it waits for none.
    pub const fn leader(&self) -> Option<usize> {
        match self {
            Self::Target(trigger) => Some(trigger.leader),
            Self::Request | Self::Response(_) => None,
        }
    }
}

/// What is kept of a target's answer for the expressions of its followers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The answer, with its status.
    pub answer: bool,
    /// Its headers. They are kept if its body is, because one of them says how it is encoded.
    pub headers: bool,
    /// Its body.
    pub body: bool,
}

/// What must be kept of a request and its response in addition to what every copy carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// All headers, unchanged.
    pub headers: bool,
    /// The request body. If true, a copy cannot be made without it.
    pub body: bool,
    /// Properties of Envoy.
    pub properties: bool,
    /// The time at which the request was complete.
    pub time: bool,
    /// The headers of the primary's response. They are kept if its body is, because one of them says how it is encoded.
    pub response_headers: bool,
    /// The body of the primary's response, for expressions. If true, a copy cannot be made without it.
    pub response_body: bool,
    /// The body of the primary's response, if the response is compared.
    pub compared_body: bool,
}

impl Reads {
    /// Everything that either of them keeps.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            headers: self.headers || other.headers,
            body: self.body || other.body,
            properties: self.properties || other.properties,
            time: self.time || other.time,
            response_headers: self.response_headers || other.response_headers,
            response_body: self.response_body || other.response_body,
            compared_body: self.compared_body || other.compared_body,
        }
    }
}
