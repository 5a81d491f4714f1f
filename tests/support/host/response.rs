//! The primary's responses, and what Envoy responds in its place.

use super::abi::Pairs;

/// The bits of `response.flags` that a stream here can get, in Envoy's numbering.
pub(super) mod flags {
    pub(crate) const UPSTREAM_REQUEST_TIMEOUT: i64 = 1 << 2;
    pub(crate) const UPSTREAM_REMOTE_RESET: i64 = 1 << 4;
    pub(crate) const UPSTREAM_CONNECTION_FAILURE: i64 = 1 << 5;
    pub(crate) const UPSTREAM_CONNECTION_TERMINATION: i64 = 1 << 6;
    pub(crate) const DOWNSTREAM_CONNECTION_TERMINATION: i64 = 1 << 14;
    pub(crate) const UPSTREAM_PROTOCOL_ERROR: i64 = 1 << 23;
    pub(crate) const DOWNSTREAM_REMOTE_RESET: i64 = 1 << 28;
}

/// A response to a downstream request: by default complete with its headers.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(super) headers: Pairs,
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) trailers: Option<Pairs>,
    pub(super) details: String,
    pub(super) flags: i64,
}

impl Response {
    /// A response of the primary itself.
    pub(crate) fn status(status: u16) -> Self {
        let bare = Self { headers: Pairs::new(), chunks: Vec::new(), trailers: None, details: "via_upstream".into(), flags: 0 };
        bare.header(":status", status.to_string())
    }

    /// What Envoy makes of a primary that refuses the connection.
    pub(crate) fn connect_failure() -> Self {
        let details =
            "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
        let body = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
        Self::made_by_envoy(503, body, details, flags::UPSTREAM_CONNECTION_FAILURE)
    }

    /// What Envoy makes of a primary that closes the connection instead of answering.
    pub(crate) fn reset_before_headers() -> Self {
        let details = "upstream_reset_before_response_started{connection_termination}";
        let body = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        Self::made_by_envoy(503, body, details, flags::UPSTREAM_CONNECTION_TERMINATION)
    }

    /// What Envoy makes of a primary that does not answer within the route's timeout.
    pub(crate) fn timeout() -> Self {
        Self::made_by_envoy(504, "upstream request timeout", "response_timeout", flags::UPSTREAM_REQUEST_TIMEOUT)
    }

    /// A response of Envoy or one of its filters, with `response.code_details` and `response.flags` that say why.
    pub(crate) fn made_by_envoy(status: u16, body: &str, details: &str, flags: i64) -> Self {
        let response = Self { details: details.into(), flags, ..Self::status(status) };
        let response = response.header("content-length", body.len().to_string()).header("content-type", "text/plain");
        response.body(body)
    }

    /// Adds a header; one that is already there is repeated.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let pair = (name.as_bytes().to_vec(), value.as_ref().to_vec());
        self.headers.push(pair);
        self
    }

    /// Adds a chunk of the body; an empty one last is how Envoy ends most answers of a primary.
    pub(crate) fn body(mut self, chunk: impl AsRef<[u8]>) -> Self {
        self.chunks.push(chunk.as_ref().to_vec());
        self
    }

    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        let trailers = self.trailers.get_or_insert_default();
        trailers.push((name.into(), value.into()));
        self
    }
}
