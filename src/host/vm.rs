//! The contexts of one VM. Envoy calls from one thread, and never from inside a host call that we make, so the state is never
//! borrowed twice; if it ever were, the second call would do nothing.

use std::cell::RefCell;

use rustc_hash::FxHashMap;

use super::root::Root;
use super::stream::Stream;

thread_local! {
    static VM: RefCell<Vm> = RefCell::new(Vm::default());
}

/// Runs `f` on the state of this VM.
pub(super) fn with<R>(f: impl FnOnce(&mut Vm) -> R) -> Option<R> {
    VM.with(|vm| vm.try_borrow_mut().ok().map(|mut vm| f(&mut vm)))
}

/// Roots hold a configuration and what is under way for it; streams hold a request that is not complete.
#[derive(Default)]
pub(super) struct Vm {
    roots: FxHashMap<u32, Root>,
    streams: FxHashMap<u32, (u32, Stream)>,
}

impl Vm {
    pub(super) fn create(&mut self, context: u32, parent: u32) {
        if parent == 0 {
            self.roots.insert(context, Root::default());
        } else {
            self.streams.insert(context, (parent, Stream::New));
        }
    }

    pub(super) fn configure(&mut self, root: u32, size: usize) -> bool {
        self.roots.get_mut(&root).is_some_and(|root| root.configure(size))
    }

    pub(super) fn request_headers(&mut self, context: u32, end_of_stream: bool) {
        self.advance(context, |stream, root| stream.headers(root, end_of_stream));
    }

    pub(super) fn request_body(&mut self, context: u32, size: usize, end_of_stream: bool) {
        self.advance(context, |stream, root| stream.body(root, size, end_of_stream));
    }

    pub(super) fn request_trailers(&mut self, context: u32) {
        self.advance(context, |stream, root| stream.complete(root));
    }

    /// Lets a stream take a step; what it does not return is forgotten.
    fn advance(&mut self, context: u32, step: impl FnOnce(Stream, &mut Root) -> Option<Stream>) {
        let Some((parent, stream)) = self.streams.remove(&context) else {
            return;
        };
        let Some(root) = self.roots.get_mut(&parent) else {
            return;
        };
        if let Some(stream) = step(stream, root) {
            self.streams.insert(context, (parent, stream));
        }
    }

    pub(super) fn call_ended(&mut self, root: u32, token: u32, headers: u32, body_size: usize) {
        if let Some(root) = self.roots.get_mut(&root) {
            root.call_ended(token, headers, body_size);
        }
    }

    /// A stream is over, or a root is asked whether it is done.
    pub(super) fn done(&mut self, context: u32) -> bool {
        match self.roots.get_mut(&context) {
            Some(root) => root.drain(),
            None => {
                self.advance(context, Stream::cut_off);
                true
            }
        }
    }

    pub(super) fn delete(&mut self, context: u32) {
        self.advance(context, Stream::cut_off);
        if let Some(root) = self.roots.remove(&context) {
            root.close();
        }
    }
}
