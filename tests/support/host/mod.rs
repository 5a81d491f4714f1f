//! A small model of Envoy, for tests of the filter. It does not know how the filter runs: `native.rs` runs the engine itself, and `compiled/` the module
//! under wasmtime. Each test binary says which it is in a function `crate::start`.
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
//! The primary responds what the test says ([`Response`]), as [`Request::answer`] or step by step: `stream.begin_answer(..)`,
//! `stream.answer_chunk(..)`, and then one of the ends that a [`Stream`] can have.
//!
//! What a stream may read, and when, and what its properties say at each end that a stream can have, is as seen in Envoy 1.40.0.
//!
//! Host calls that would change the downstream request or its response do not exist here, so a filter that asks for one does not even link.

mod abi;
mod calls;
mod filter;
mod lifecycle;
mod process;
mod property;
mod request;
mod response;
mod shared;
mod state;
mod stream;
mod vm;
mod worker;

pub(crate) use abi::{serialize, Level, MapKind, Pairs, Status, CALLBACKS, HOST_CALLS};
pub(crate) use calls::{Answer, CallOut, Recorded};
pub(crate) use filter::Filter;
pub(crate) use process::{Host, LogLine, Shared, Tally};
pub(crate) use request::Request;
pub(crate) use response::Response;
pub(crate) use shared::Stat;
pub(crate) use stream::Stream;
pub(crate) use vm::Vm;
pub(crate) use worker::Worker;
