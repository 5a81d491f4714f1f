//! A small proxy-wasm host on wasmtime which behaves as Envoy does, for tests of the compiled filter.
//!
//! A [`Host`] is the process: the clock, the log, statistics, shared data, clusters. A [`Worker`] is one worker thread: one VM with its root
//! contexts. A [`Stream`] is one downstream request on a worker, and a [`CallOut`] a request that the filter asked Envoy to make.
//!
//! ```text
//! let host = Host::new();
//! let worker = host.worker(&configuration);
//! worker.exchange(&Request::post("/orders").body("{}"));
//! worker.call_out().answer(Answer::upstream(200));
//! assert_eq!(host.stat("audit", "delivered"), 1);
//! ```
//!
//! The primary answers what the test says ([`Response`]), as [`Request::answer`] or step by step: `stream.begin_answer(..)`,
//! `stream.answer_chunk(..)`, and then one of the ends that a [`Stream`] can have.
//!
//! What a stream may read, and when, and what its properties say at each end that a stream can have, is as seen in Envoy 1.40.0.
//!
//! Every trap of the module fails the test with the module's backtrace and what it logged. Imports that would change the downstream
//! request or its answer do not exist here, so a filter that asks for one does not even link.

mod abi;
mod calls;
mod guest;
mod host;
mod imports;
mod lifecycle;
mod module;
mod property;
mod request;
mod response;
mod shared;
mod state;
mod stream;
mod vm;
mod wasi;
mod worker;

pub(crate) use abi::{serialize, Level, Pairs, Status};
pub(crate) use calls::{Answer, CallOut};
pub(crate) use host::{Host, Tally};
pub(crate) use module::{callbacks_of_the_module, imports_of_the_module};
pub(crate) use request::Request;
pub(crate) use response::Response;
pub(crate) use shared::Stat;
pub(crate) use stream::Stream;
pub(crate) use worker::Worker;
