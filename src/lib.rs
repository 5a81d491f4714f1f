//! Sidecast mirrors HTTP requests that pass through an Envoy to other clusters, and tracks the outcome of each copy.
//!
//! ```text
//!  downstream ──► Envoy ──────────────────────────────────────────► primary
//!                  │ headers, body chunks (copied, never held back)
//!                  ▼
//!            filter ──► engine::contexts ──► engine::stream ── select: no target wants it ──► forgotten
//!                                                │ complete
//!                                                ▼
//!                                engine::mirror::intake ── admission: no room ──► GiveUp
//!                                                │ a place
//!            ┌──────────────────────────────────►▼
//!            │                  attempt ── breaker: open ──► Hold, or GiveUp
//!            │                           └─ rewrite ──► Host::http_call ──► target
//!            │                                                                │
//!            │   Mirror::call_ended ◄── engine::contexts ◄── filter ◄─────────┘
//!            │            │ attempts::conclude: delivery::outcome, retry
//!            │            ▼
//!            └── Step: BackOff · FreePlace · GiveUp ──► Letter ──► Post ──► dead-letter cluster
//! ```
//! What follows from an event is a `Step`, and `Mirror::carry_out` alone carries steps out. A tick lets go what is due: back-offs, batches, retries
//! that wait for a breaker, and work that was deferred.
//!
//! Each room is a module, and uses only the rooms below it: `filter` (and the command-line tool), `engine`, `config`, `policy`, `observe`,
//! `compare`, `delivery`, `rewrite`, `select`, `template`, `json`, `http`. `filter` is the compiled module, and the only room that calls Envoy.
//! `engine` runs on the trait [`engine::host::Host`]. All other rooms are pure: they take the time, random bytes and plain data as arguments, and
//! return values.

// Nothing that ships may panic. Tests and benchmarks may.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable,
    clippy::todo,
    clippy::unimplemented
)]

pub mod compare;
pub mod config;
pub mod delivery;
pub mod engine;
pub mod http;
pub mod json;
pub mod observe;
pub mod policy;
pub mod rewrite;
pub mod select;
pub mod template;

#[cfg(target_arch = "wasm32")]
mod filter;
