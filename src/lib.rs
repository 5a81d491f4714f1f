//! Sidecast mirrors HTTP requests that pass through an Envoy to other clusters, and tracks the outcome of each copy.
//!
//! ```text
//!  downstream ──► Envoy ─────────────────────────────► primary
//!                  │ headers, body chunks (copied, never held back)
//!                  ▼
//!            engine::stream ── select: no target wants it ──► forgotten
//!                  │ complete
//!                  ▼
//!            engine::mirror ── rate_limit, admission: room? ──► queued ──┐
//!                  │                                                │ a place is free
//!                  ▼                                                ▼
//!                breaker ──► shape ──► call-out ──► target ──► outcome ──► breaker, stats, log_event
//!                  ▲                                                │
//!                  ├── due: tick ◄── waiting ◄── retry, budget ◄────┤
//!                  │                                                ▼
//!                  └─────────── open, full, too old ───────► given up ──► dead_letter ──► call-out
//! ```
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
