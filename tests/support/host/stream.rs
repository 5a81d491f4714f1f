//! A downstream request and its response, as Envoy hands them to the filter piece by piece.

use super::{
    abi::Pairs,
    request::Request,
    response::{flags, Response},
    state::{Readable, StreamState},
    vm::Context,
    worker::Worker,
};

/// A request that is being proxied, and its response. Dropping it leaves it open.
pub(crate) struct Stream {
    worker: Worker,
    id: u32,
}

impl Stream {
    /// A stream of which the filter knows nothing yet.
    pub(super) fn open(worker: Worker, request: &Request) -> Self {
        let root = worker.root();
        let state = StreamState {
            root,
            request_headers: request.headers.clone(),
            properties: request.properties.clone(),
            ..StreamState::default()
        };
        let id = worker.0.borrow().vm.borrow_mut().add(Context::Stream(state));
        Self { worker, id }
    }

    pub(super) fn begin(&self, end_of_stream: bool) {
        self.create();
        let headers = self.state(|state| state.request_headers.clone());
        let count = headers.len();
        let readable = Readable { request_headers: Some(headers), ..Readable::default() };
        self.callback("proxy_on_request_headers", count, Some(end_of_stream), readable);
    }

    /// A piece of the body, which only this callback can read.
    pub(crate) fn chunk(&self, bytes: impl AsRef<[u8]>, end_of_stream: bool) {
        let bytes = bytes.as_ref().to_vec();
        let size = bytes.len();
        let readable = Readable { request_chunk: bytes, ..Readable::default() };
        self.callback("proxy_on_request_body", size, Some(end_of_stream), readable);
    }

    pub(crate) fn trailers(&self, trailers: Pairs) {
        let count = trailers.len();
        let readable = Readable { request_trailers: Some(trailers), ..Readable::default() };
        self.callback("proxy_on_request_trailers", count, None, readable);
    }

    /// The primary responds, or Envoy in its place. With trailers no chunk of the body is the end, as in Envoy.
    pub(crate) fn answer(&self, response: &Response) {
        self.begin_answer(response, response.chunks.is_empty() && response.trailers.is_none());
        for (index, chunk) in response.chunks.iter().enumerate() {
            let last = index + 1 == response.chunks.len() && response.trailers.is_none();
            self.answer_chunk(chunk, last);
        }
        if let Some(trailers) = &response.trailers {
            self.answer_trailers(trailers.clone());
        }
    }

    /// The headers of a response; the rest of it is left to the test.
    pub(crate) fn begin_answer(&self, response: &Response, end_of_stream: bool) {
        self.note_answer(response);
        self.state(|state| state.is_answered = end_of_stream);
        let readable = Readable { response_headers: Some(response.headers.clone()), ..Readable::default() };
        self.callback("proxy_on_response_headers", response.headers.len(), Some(end_of_stream), readable);
    }

    /// A piece of the response's body, which only this callback can read.
    pub(crate) fn answer_chunk(&self, bytes: impl AsRef<[u8]>, end_of_stream: bool) {
        let bytes = bytes.as_ref().to_vec();
        let size = bytes.len();
        self.state(|state| state.is_answered = end_of_stream);
        let readable = Readable { response_chunk: bytes, ..Readable::default() };
        self.callback("proxy_on_response_body", size, Some(end_of_stream), readable);
    }

    pub(crate) fn answer_trailers(&self, trailers: Pairs) {
        let count = trailers.len();
        self.state(|state| {
            state.is_answered = true;
            state.response_trailers = Some(trailers.clone());
        });
        let readable = Readable { response_trailers: Some(trailers), ..Readable::default() };
        self.callback("proxy_on_response_trailers", count, None, readable);
    }

    /// The stream ends: as it should if all of the response went by, otherwise because a client of HTTP/1.1 has gone.
    pub(crate) fn close(self) {
        if !self.state(|state| state.is_answered) {
            self.interrupted("downstream_remote_disconnect", flags::DOWNSTREAM_CONNECTION_TERMINATION);
        }
        self.end();
    }

    /// A client of HTTP/2 takes its request back.
    pub(crate) fn client_resets(self) {
        self.interrupted("http2.remote_reset", flags::DOWNSTREAM_REMOTE_RESET);
        self.end();
    }

    /// The primary, which speaks HTTP/1.1, closes its connection before all that it promised was sent.
    pub(crate) fn primary_breaks_off(self) {
        self.assert_begun();
        self.interrupted("upstream_reset_after_response_started{protocol_error}", flags::UPSTREAM_PROTOCOL_ERROR);
        self.end();
    }

    /// The primary, which speaks HTTP/2, resets the stream in the middle of its response.
    pub(crate) fn primary_resets(self) {
        self.assert_begun();
        self.interrupted("upstream_reset_after_response_started{remote_reset}", flags::UPSTREAM_REMOTE_RESET);
        self.end();
    }

    /// The route's timeout runs out in the middle of the response.
    pub(crate) fn primary_stalls(self) {
        self.assert_begun();
        self.interrupted("response_timeout", flags::UPSTREAM_REQUEST_TIMEOUT);
        self.end();
    }

    fn assert_begun(&self) {
        let begun = self.state(|state| state.response_headers.is_some());
        assert!(begun, "before the headers of a response, Envoy responds in the primary's place");
    }

    fn interrupted(&self, details: &str, flags: i64) {
        self.state(|state| {
            assert!(!state.is_answered, "the response is already over");
            (state.details, state.flags) = (Some(details.into()), flags);
        });
    }

    /// Envoy knows of this answer from here on.
    pub(super) fn note_answer(&self, response: &Response) {
        self.state(|state| {
            state.response_headers = Some(response.headers.clone());
            (state.details, state.flags) = (Some(response.details.clone()), response.flags);
        });
    }

    pub(super) fn create(&self) {
        let root = self.state(|state| state.root);
        self.worker.0.borrow_mut().enter(self.id, "proxy_on_context_create", &[self.id, root]);
    }

    pub(super) fn end(self) {
        self.state(|state| state.readable = state.in_log());
        self.worker.0.borrow_mut().enter(self.id, "proxy_on_log", &[self.id]);
        self.state(|state| state.readable = Readable::default());
        let mut running = self.worker.0.borrow_mut();
        let root = running.vm.borrow_mut().stream(self.id).root;
        for export in ["proxy_on_done", "proxy_on_delete"] {
            running.enter(self.id, export, &[self.id]);
        }
        running.vm.borrow_mut().contexts.remove(&self.id);
        running.finish_if_unused(root);
    }

    /// Enters the filter; anything but "continue" would hold up the primary.
    fn callback(&self, export: &str, size: usize, end_of_stream: Option<bool>, readable: Readable) {
        let mut arguments = vec![self.id, u32::try_from(size).unwrap()];
        arguments.extend(end_of_stream.map(u32::from));
        self.state(|state| state.readable = readable);
        let action = self.worker.0.borrow_mut().enter(self.id, export, &arguments);
        assert!(matches!(action, None | Some(0)), "{export} paused the primary: {action:?}");
        self.state(|state| state.readable = Readable::default());
    }

    fn state<T>(&self, look: impl FnOnce(&mut StreamState) -> T) -> T {
        look(self.worker.0.borrow().vm.borrow_mut().stream(self.id))
    }
}
