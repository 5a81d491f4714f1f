//! The contexts of one VM.
//!
//! Envoy calls the module from one thread, and never from inside one of the module's own host calls. The state is therefore never borrowed twice.
//! If it ever were, the second call would be counted as unexpected and do nothing.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::host::Host;
use super::mirror::Mirror;
use super::root::Root;
use super::stream::{Next, Stream};
use super::unexpected::Unexpected;
use super::worker::Worker;
use crate::delivery::drop_reason::DropReason;

/// The most requests given up at once to free bytes for a new one. The bound keeps one callback from blocking the worker for long.
const RELIEVED_AT_ONCE: usize = 32;

/// All root and stream contexts of one VM. A root holds a configuration and everything in flight under it. A stream holds a request that is not
/// complete.
pub struct Engine<H> {
    worker: Rc<Worker<H>>,
    roots: FxHashMap<u32, Root<H>>,
    streams: FxHashMap<u32, (u32, Stream)>,
}

impl<H: Host> Engine<H> {
    /// Creates a VM without contexts.
    pub fn new(worker: Rc<Worker<H>>) -> Self {
        Self { worker, roots: FxHashMap::default(), streams: FxHashMap::default() }
    }

    /// Creates a context: a root if `parent` is 0, otherwise a stream of that root.
    pub fn create(&mut self, context: u32, parent: u32) {
        let is_known = self.roots.contains_key(&context) || self.streams.contains_key(&context);
        if is_known {
            self.worker.note(Unexpected::ContextTwice);
        } else if parent == 0 {
            self.roots.insert(context, Root::new(&self.worker));
        } else {
            self.streams.insert(context, (parent, Stream::New));
        }
    }

    /// Configures a root with a configuration of `size` bytes. Returns false if the root refuses the configuration.
    pub fn configure(&mut self, root: u32, size: usize) -> bool {
        self.roots.get_mut(&root).is_some_and(|root| root.configure(size))
    }

    /// Handles the request headers of a stream.
    pub fn request_headers(&mut self, context: u32, end_of_stream: bool) {
        let next = self.advance(context, |stream, mirror| stream.headers(mirror, end_of_stream));
        if let Next::Incomplete = next {
            self.relieve(context, true);
        }
    }

    /// Handles a chunk of `size` bytes of the request body.
    pub fn request_body(&mut self, context: u32, size: usize, end_of_stream: bool) {
        let next = self.advance(context, |stream, mirror| stream.body(mirror, size, end_of_stream));
        if let (Next::GoOn, false) = (next, end_of_stream) {
            self.relieve(context, false);
        }
    }

    /// Gives up the oldest incomplete requests while all of them together take too many bytes. Never gives up the request of `context`.
    fn relieve(&mut self, context: u32, is_new: bool) {
        let Self { roots, streams, .. } = self;
        let parent = streams.get(&context).map(|(parent, _)| *parent);
        let Some(root) = parent.and_then(|parent| roots.get_mut(&parent)) else {
            return;
        };
        let is_incomplete = |id: u32| streams.get(&id).is_some_and(|(_, stream)| stream.is_incomplete());
        if is_new {
            root.incomplete.push(context, is_incomplete);
        }
        let Root { mirror: Some(mirror), incomplete, .. } = root else {
            return;
        };
        for _ in 0..RELIEVED_AT_ONCE {
            if !mirror.common.admission.has_too_many_uploads() {
                return;
            }
            let Some(oldest) = incomplete.pop(context) else {
                return;
            };
            if let Some((_, stream)) = streams.get_mut(&oldest).filter(|(_, stream)| stream.is_incomplete()) {
                stream.give_up(mirror, DropReason::BufferFull);
                streams.remove(&oldest);
            }
        }
    }

    /// Handles the request trailers, which complete the request.
    pub fn request_trailers(&mut self, context: u32) {
        self.advance(context, Stream::complete);
    }

    /// Handles the headers of the primary's response.
    pub fn response_headers(&mut self, context: u32, end_of_stream: bool) {
        self.advance(context, |stream, mirror| stream.response_headers(mirror, end_of_stream));
    }

    /// Handles a chunk of `size` bytes of the body of the primary's response.
    pub fn response_body(&mut self, context: u32, size: usize, end_of_stream: bool) {
        self.advance(context, |stream, mirror| stream.response_body(mirror, size, end_of_stream));
    }

    /// Handles the trailers of the primary's response.
    pub fn response_trailers(&mut self, context: u32) {
        self.advance(context, |stream, mirror| stream.response_trailers(&mirror.common.worker));
    }

    /// Runs a step of a stream. Removes the stream unless the step says that it goes on.
    fn advance(&mut self, context: u32, step: impl FnOnce(&mut Stream, &mut Mirror<H>) -> Next) -> Next {
        let Some((parent, stream)) = self.streams.get_mut(&context) else {
            return Next::Forget;
        };
        let root = self.roots.get_mut(parent);
        let mirror = root.and_then(|root| {
            root.serve();
            root.mirror()
        });
        let next = mirror.map_or(Next::Forget, |mirror| {
            mirror.begin();
            step(stream, mirror)
        });
        if let Next::Forget = next {
            self.streams.remove(&context);
        }
        next
    }

    /// Handles the end of a root's call-out. `headers` is the number of response headers, 0 if there was no response. `body_size` is in bytes.
    pub fn call_ended(&mut self, root: u32, token: u32, headers: u32, body_size: usize) {
        let Some(mirroring) = self.roots.get_mut(&root) else {
            return;
        };
        mirroring.call_ended(token, headers, body_size);
        self.end_if_drained(root);
    }

    /// Handles a tick of a root.
    pub fn tick(&mut self, root: u32) {
        if let Some(mirror) = self.roots.get_mut(&root).and_then(Root::mirror) {
            mirror.begin();
            mirror.tick();
        }
        self.end_if_drained(root);
    }

    /// Removes a root that told Envoy earlier that it was not done, and is done now.
    fn end_if_drained(&mut self, root: u32) {
        if self.roots.get(&root).is_some_and(Root::has_drained) {
            self.remove(root);
            self.worker.done();
        }
    }

    fn remove(&mut self, root: u32) {
        if let Some(mut root) = self.roots.remove(&root) {
            if let Some(mirror) = root.mirror() {
                mirror.leave(self.roots.values().filter_map(Root::configured));
            }
        }
    }

    /// Ends a stream, or asks a root whether it is done. Envoy does not call the context again after that, with one exception: a root that returns
    /// false stays until its last call-out ends.
    pub fn done(&mut self, context: u32) -> bool {
        let Some(root) = self.roots.get_mut(&context) else {
            self.advance(context, Stream::done);
            return true;
        };
        root.drain();
        let drained = root.has_drained();
        if drained {
            self.remove(context);
        }
        drained
    }
}
