//! Call-outs: what the filter asked Envoy to send, and how it ends.

use super::{abi::Pairs, worker::Worker};
use std::time::Duration;

/// A call-out as the filter asked for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) token: u32,
    pub(crate) cluster: Vec<u8>,
    pub(crate) headers: Pairs,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Pairs,
    pub(crate) timeout_ms: i32,
}

/// What comes back for a call-out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(super) headers: Pairs,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<Pairs>,
}

impl Answer {
    /// A response of the target itself, marked by Envoy as such.
    pub(crate) fn upstream(status: u16) -> Self {
        Self::bare(status).header("x-envoy-upstream-service-time", "3")
    }

    /// What Envoy makes of a refused connection or a reset before the response's headers.
    pub(crate) fn connect_error() -> Self {
        Self::bare(503)
            .header("content-type", "text/plain")
            .body("upstream connect error or disconnect/reset before headers. reset reason: remote connection failure")
    }

    /// What Envoy makes of a target that did not answer in time.
    pub(crate) fn timeout() -> Self {
        Self::bare(504).header("content-type", "text/plain").body("upstream request timeout")
    }

    /// The end of a call-out that was reset, or timed out, after the response's headers: a response without anything.
    pub(crate) fn reset() -> Self {
        Self::default()
    }

    /// Only `:status`.
    pub(crate) fn bare(status: u16) -> Self {
        Self::default().header(":status", status.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let pair = (name.as_bytes().to_vec(), value.as_ref().to_vec());
        self.headers.push(pair);
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        let trailers = self.trailers.get_or_insert_default();
        trailers.push((name.into(), value.into()));
        self
    }
}

/// A call-out in progress.
pub(crate) struct CallOut {
    worker: Worker,
    call: Recorded,
}

impl CallOut {
    pub(super) fn new(worker: Worker, call: Recorded) -> Self {
        Self { worker, call }
    }

    pub(crate) fn cluster(&self) -> &str {
        std::str::from_utf8(&self.call.cluster).unwrap()
    }

    pub(crate) fn headers(&self) -> &Pairs {
        &self.call.headers
    }

    /// The first value of a header, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.call.headers.iter();
        let value = all.find_map(|(given, value)| (given == name.as_bytes()).then_some(value))?;
        Some(std::str::from_utf8(value).unwrap())
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.call.body
    }

    pub(crate) fn trailers(&self) -> &Pairs {
        &self.call.trailers
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.call.timeout_ms.try_into().unwrap())
    }

    /// Envoy cancelled it, because the root that made it is gone.
    pub(crate) fn is_cancelled(&self) -> bool {
        !self.worker.waits_for(self.call.token)
    }

    /// Ends the call-out and lets the filter see it.
    pub(crate) fn answer(&self, answer: Answer) {
        assert!(!self.is_cancelled(), "nobody waits for this answer: {:?}", self.call);
        self.worker.deliver(self.call.token, answer);
    }
}
