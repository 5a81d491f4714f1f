//! What Envoy knows of one stream, and what of it the filter may read just now.

use super::{
    abi::{MapKind, Pairs},
    property::PropertyValue,
};
use std::collections::BTreeMap;

/// What one callback can read. Envoy takes everything away again as soon as the filter lets the stream go on.
#[derive(Default)]
pub(crate) struct Readable {
    pub(super) request_headers: Option<Pairs>,
    pub(super) request_chunk: Vec<u8>,
    pub(super) request_trailers: Option<Pairs>,
    pub(super) response_headers: Option<Pairs>,
    pub(super) response_chunk: Vec<u8>,
    pub(super) response_trailers: Option<Pairs>,
    /// The callback is that of the access log.
    pub(super) is_log: bool,
}

impl Readable {
    pub(super) fn map(&self, kind: MapKind) -> Option<&Pairs> {
        match kind {
            MapKind::RequestHeaders => self.request_headers.as_ref(),
            MapKind::RequestTrailers => self.request_trailers.as_ref(),
            MapKind::ResponseHeaders => self.response_headers.as_ref(),
            MapKind::ResponseTrailers => self.response_trailers.as_ref(),
            MapKind::CallResponseHeaders | MapKind::CallResponseTrailers | MapKind::Absent => None,
        }
    }
}

/// A stream context.
#[derive(Default)]
pub(crate) struct StreamState {
    pub(super) root: u32,
    pub(super) readable: Readable,
    pub(super) request_headers: Pairs,
    pub(super) response_headers: Option<Pairs>,
    pub(super) response_trailers: Option<Pairs>,
    /// The end of the response went by.
    pub(super) is_answered: bool,
    pub(super) details: Option<String>,
    pub(super) flags: i64,
    /// Whatever else the test wants the stream to have, by path.
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl StreamState {
    /// The access log gets all maps once more but for the request's trailers.
    pub(super) fn in_log(&self) -> Readable {
        Readable {
            request_headers: Some(self.request_headers.clone()),
            response_headers: self.response_headers.clone(),
            response_trailers: self.response_trailers.clone(),
            is_log: true,
            ..Readable::default()
        }
    }

    pub(super) fn property(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.derived(path).unwrap_or_else(|| self.properties.get(path).cloned())
    }

    /// A property that follows from the exchange, if it is one of these. What lies in a map can be had only while the map can be read,
    /// the rest at any time.
    pub(super) fn derived(&self, property: &[u8]) -> Option<Option<Vec<u8>>> {
        let segments: Vec<&[u8]> = property.split(|byte| *byte == 0).collect();
        let readable = |map: &Option<Pairs>, name: &[u8]| joined(map.as_ref()?, name);
        let of_request = |name: &[u8]| Some(readable(&self.readable.request_headers, name));
        let path = || Some(split_path(self.readable.request_headers.as_ref()?));
        match segments[..] {
            [b"request", b"headers", name] => of_request(name),
            [b"request", b"path"] => of_request(b":path"),
            [b"request", b"url_path"] => Some(path().map(|(before, _)| before)),
            [b"request", b"query"] => Some(path().map(|(_, behind)| behind)),
            [b"request", b"host"] => of_request(b":authority"),
            [b"request", b"scheme"] => of_request(b":scheme"),
            [b"request", b"method"] => of_request(b":method"),
            [b"request", b"referer"] => of_request(b"referer"),
            [b"request", b"id"] => of_request(b"x-request-id"),
            [b"request", b"useragent"] => of_request(b"user-agent"),
            [b"response", b"code"] => Some(self.code().map(number)),
            [b"response", b"code_details"] => Some(self.details.clone().map(String::into_bytes)),
            [b"response", b"flags"] => Some(Some(number(self.flags))),
            [b"response", b"grpc_status"] => Some(self.grpc_status().map(number)),
            [b"response", b"headers", name] => Some(readable(&self.readable.response_headers, name)),
            [b"response", b"trailers", name] => Some(readable(&self.readable.response_trailers, name)),
            _ => None,
        }
    }

    /// The status that downstream was sent; it is known from the headers of the response on, and never if there were none.
    fn code(&self) -> Option<i64> {
        text(&joined(self.response_headers.as_ref()?, b":status")?).parse().ok()
    }

    /// `grpc-status` of the trailers or headers while these can be read, and otherwise what gRPC makes of the HTTP status: after the access
    /// log a call that went well looks like one that failed.
    fn grpc_status(&self) -> Option<i64> {
        let maps = [&self.readable.response_trailers, &self.readable.response_headers];
        let given = maps.into_iter().flatten().find_map(|map| joined(map, b"grpc-status"));
        if let Some(given) = given.and_then(|given| text(&given).parse().ok()) {
            return Some(given);
        }
        Some(match self.code()? {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        })
    }
}

/// All values of a header, with commas between them.
fn joined(headers: &Pairs, name: &[u8]) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = headers.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_slice()).collect();
    (!values.is_empty()).then(|| values.join(&b","[..]))
}

/// `:path` before and behind the question mark.
fn split_path(headers: &Pairs) -> (Vec<u8>, Vec<u8>) {
    let path = joined(headers, b":path").unwrap_or_default();
    let mut parts = path.splitn(2, |byte| *byte == b'?').map(<[u8]>::to_vec);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn number(number: i64) -> Vec<u8> {
    PropertyValue::from(number).0
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
