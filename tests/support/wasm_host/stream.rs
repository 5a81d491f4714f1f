//! Downstream requests, as HTTP describes them and as Envoy hands them to the filter piece by piece.

use super::{
    abi::Pairs,
    vm::{Context, StreamState},
    worker::Worker,
};

/// A request to send: by default complete with its headers.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    headers: Pairs,
    chunks: Vec<Vec<u8>>,
    trailers: Option<Pairs>,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// Only what HTTP itself asks for.
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let request = Self { headers: Pairs::new(), chunks: Vec::new(), trailers: None };
        request.header(":authority", "shop.example").header(":path", path).header(":method", method).header(":scheme", "https")
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

/// A request that is being proxied. Dropping it leaves it open; [`close`](Self::close) is its end, however it came.
pub(crate) struct Stream {
    worker: Worker,
    id: u32,
}

impl Stream {
    pub(super) fn open(worker: Worker, request: &Request, end_of_stream: bool) -> Self {
        let root = worker.root();
        let id = {
            let mut running = worker.0.borrow_mut();
            let id = running.store.data_mut().add(Context::Stream(StreamState {
                root,
                headers: Some(request.headers.clone()),
                ..StreamState::default()
            }));
            running.enter(id, "proxy_on_context_create", &[id, root]);
            id
        };
        let stream = Self { worker, id };
        let count = request.headers.len() as u32;
        stream.callback("proxy_on_request_headers", count, Some(end_of_stream));
        stream
    }

    /// A piece of the body, which only this callback can read.
    pub(crate) fn chunk(&self, bytes: impl AsRef<[u8]>, end_of_stream: bool) {
        let bytes = bytes.as_ref();
        self.state(|state| state.chunk = Some(bytes.to_vec()));
        self.callback("proxy_on_request_body", bytes.len() as u32, Some(end_of_stream));
    }

    pub(crate) fn trailers(&self, trailers: Pairs) {
        let count = trailers.len() as u32;
        self.state(|state| state.trailers = Some(trailers));
        self.callback("proxy_on_request_trailers", count, None);
    }

    /// The stream ends: answered, aborted by the client, or cut. The filter is not told which.
    pub(crate) fn close(self) {
        let mut running = self.worker.0.borrow_mut();
        let root = running.store.data_mut().stream(self.id).root;
        for export in ["proxy_on_log", "proxy_on_done", "proxy_on_delete"] {
            running.enter(self.id, export, &[self.id]);
        }
        running.store.data_mut().contexts.remove(&self.id);
        running.finish_if_unused(root);
    }

    /// Enters the module; anything but "continue" would hold up the primary.
    fn callback(&self, export: &str, size: u32, end_of_stream: Option<bool>) {
        let mut arguments = vec![self.id, size];
        arguments.extend(end_of_stream.map(u32::from));
        let action = self.worker.0.borrow_mut().enter(self.id, export, &arguments);
        assert!(matches!(action, None | Some(0)), "{export} paused the primary: {action:?}");
        self.state(|state| {
            state.headers = None;
            state.chunk = None;
            state.trailers = None;
        });
    }

    fn state(&self, change: impl FnOnce(&mut StreamState)) {
        change(self.worker.0.borrow_mut().store.data_mut().stream(self.id));
    }
}
