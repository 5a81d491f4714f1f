//! Downstream requests, as HTTP describes them.

use super::{
    abi::Pairs,
    property::{path, PropertyValue},
    response::Response,
    state::StreamState,
    stream::Stream,
    worker::Worker,
};
use std::collections::BTreeMap;

/// A request to send: by default complete with its headers.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(super) headers: Pairs,
    chunks: Vec<Vec<u8>>,
    trailers: Option<Pairs>,
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) answer: Option<Response>,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// Only what HTTP itself asks for.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        // A route without a name has an empty one.
        let properties = BTreeMap::from([(path(&["xds", "route_name"]), Vec::new())]);
        let request = Self { headers: Pairs::new(), chunks: Vec::new(), trailers: None, properties, answer: None };
        request.header(":authority", "shop.example").header(":path", target).header(":method", method).header(":scheme", "https")
    }

    /// Adds a header; one that is already there is repeated.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let pair = (name.as_bytes().to_vec(), value.as_ref().to_vec());
        self.headers.push(pair);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| given != name.as_bytes());
        self
    }

    /// Adds a chunk of the body; an empty one last is how Envoy often ends a stream.
    pub(crate) fn body(mut self, chunk: impl AsRef<[u8]>) -> Self {
        self.chunks.push(chunk.as_ref().to_vec());
        self
    }

    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        let trailers = self.trailers.get_or_insert_default();
        trailers.push((name.into(), value.into()));
        self
    }

    /// A property of the stream, such as `xds.route_name`. Those that follow from the request or its response cannot be set.
    pub(crate) fn property(mut self, segments: &[&str], value: impl Into<PropertyValue>) -> Self {
        let path = path(segments);
        assert!(StreamState::default().derived(&path).is_none(), "{segments:?} follows from the exchange");
        self.properties.insert(path, value.into().0);
        self
    }

    /// What [`Worker::exchange`] answers.
    pub(crate) fn answer(mut self, response: Response) -> Self {
        self.answer = Some(response);
        self
    }

    /// Everything up to the end of the request. With trailers no chunk of the body is the end, as in Envoy.
    pub(super) fn run(&self, worker: &Worker) -> Stream {
        let stream = worker.begin(self, self.chunks.is_empty() && self.trailers.is_none());
        for (index, chunk) in self.chunks.iter().enumerate() {
            let last = index + 1 == self.chunks.len() && self.trailers.is_none();
            stream.chunk(chunk, last);
        }
        if let Some(trailers) = &self.trailers {
            stream.trailers(trailers.clone());
        }
        stream
    }
}
