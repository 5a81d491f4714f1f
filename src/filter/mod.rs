//! The compiled module: the ABI ([`abi`]) and the host calls ([`envoy_host`]). One VM runs in each worker thread. VMs share nothing but metrics and
//! shared data.
//!
//! The only room with unsafe code. Uses `engine`. Begin with [`abi`].

mod abi;
mod envoy_host;

use std::cell::RefCell;
use std::rc::Rc;

use self::envoy_host::Envoy;
use crate::engine::contexts::Engine;
use crate::engine::unexpected::Unexpected;
use crate::engine::worker::Worker;

thread_local! {
    static WORKER: Rc<Worker<Envoy>> = Rc::new(Worker::new(Envoy));
    static VM: RefCell<Engine<Envoy>> = RefCell::new(Engine::new(WORKER.with(Rc::clone)));
}

/// Runs `f` on the state of this VM. Envoy calls the module from one thread, and never from inside one of the module's own host calls. The state is
/// therefore never borrowed twice. If it ever were, the second call would be counted as unexpected and do nothing.
fn with<R>(f: impl FnOnce(&mut Engine<Envoy>) -> R) -> Option<R> {
    let result = VM.with(|vm| vm.try_borrow_mut().ok().map(|mut vm| f(&mut vm)));
    if result.is_none() {
        note(Unexpected::Reentry);
    }
    result
}

/// Counts and logs an event that should never happen.
fn note(event: Unexpected) {
    WORKER.with(|worker| worker.note(event));
}
