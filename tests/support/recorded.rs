//! What an upstream received.

use std::fmt::{self, Debug, Formatter};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Version};

/// A list of headers in the order of arrival; repeated names keep their order among themselves, at the place of the first.
pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// The headers of a map as a list.
pub(crate) fn list(map: &HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// All values of a header in a list, as text.
pub(crate) fn values(headers: &Headers, name: &str) -> Vec<String> {
    headers.iter().filter(|(present, _)| present == name).map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

/// One request as it arrived, perhaps still arriving.
#[derive(Clone)]
pub(crate) struct Recorded {
    /// The method.
    pub(crate) method: String,
    /// Path and query as they were on the wire.
    pub(crate) path: String,
    /// `:authority` of HTTP/2, `host` of HTTP/1.1.
    pub(crate) authority: String,
    /// The protocol's version.
    pub(crate) version: Version,
    /// The headers but for `host`.
    pub(crate) headers: Headers,
    /// The pieces of the body, and when each arrived.
    pub(crate) chunks: Vec<(Instant, Bytes)>,
    /// The trailers.
    pub(crate) trailers: Headers,
    /// Whether the end of the request has arrived.
    pub(crate) complete: bool,
}

impl Debug for Recorded {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let size: usize = self.chunks.iter().map(|(_, chunk)| chunk.len()).sum();
        let end = if self.complete { "" } else { " so far" };
        write!(formatter, "{} {} at {}", self.method, self.path, self.authority)?;
        write!(formatter, ", {size} bytes{end}, headers:")?;
        for (name, value) in self.headers.iter().chain(&self.trailers) {
            write!(formatter, " {name}: {};", value.escape_ascii())?;
        }
        Ok(())
    }
}

impl Recorded {
    /// A request of which only the head has arrived.
    pub(crate) fn begun(parts: &Parts) -> Self {
        let mut headers = list(&parts.headers);
        let host = values(&headers, "host").first().cloned();
        headers.retain(|(name, _)| name != "host");
        let authority = parts.uri.authority().map(ToString::to_string);
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            authority: authority.or(host).unwrap_or_default(),
            version: parts.version,
            headers,
            chunks: Vec::new(),
            trailers: Vec::new(),
            complete: false,
        }
    }

    /// The body received so far.
    pub(crate) fn body(&self) -> Bytes {
        let mut body = BytesMut::new();
        for (_, chunk) in &self.chunks {
            body.extend_from_slice(chunk);
        }
        body.freeze()
    }

    /// All values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        values(&self.headers, name)
    }

    /// The one value of a header that must be there exactly once.
    pub(crate) fn only(&self, name: &str) -> String {
        let mut values = self.values(name);
        assert_eq!(values.len(), 1, "{name} should be there once: {self:?}");
        values.remove(0)
    }

    /// The number of the attempt. The first says nothing about it.
    pub(crate) fn attempt(&self) -> u64 {
        if self.has("x-sidecast-attempt") {
            self.only("x-sidecast-attempt").parse().unwrap()
        } else {
            1
        }
    }

    /// Whether a header is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }
}
