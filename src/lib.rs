//! Sidecast mirrors HTTP requests that pass an Envoy to further clusters, and knows what became of each copy.
//!
//! ```text
//!  downstream ──► Envoy ─────────────────────────────► primary
//!                  │ headers, body chunks (copied, never held back)
//!                  ▼
//!            host::stream ── matching: nobody wants it ──► forgotten
//!                  │ complete
//!                  ▼
//!            host::mirror ── rate_limit, outbox: room? ──► queued ──┐
//!                  │                                                │ a place is free
//!                  ▼                                                ▼
//!                breaker ──► shape ──► call-out ──► target ──► outcome ──► breaker, stats, log_event
//!                  ▲                                                │
//!                  ├── due: tick ◄── waiting ◄── retry, budget ◄────┤
//!                  │                                                ▼
//!                  └─────────── open, full, too old ───────► given up ──► dead_letter ──► call-out
//! ```
//!
//! Everything but `host` is pure: it takes the time, random bytes and plain data as arguments and returns values. `host`
//! alone talks to Envoy, and exists only in the compiled filter.

pub mod arrivals;
pub mod backoff;
pub mod batch;
pub mod breaker;
pub mod budget;
pub mod capture;
pub mod compare;
pub mod config;
pub mod dead_letter;
pub mod encoding;
pub mod growing;
pub mod grpc;
pub mod header_names;
pub mod headers;
pub mod ids;
pub mod json;
pub mod log_event;
pub mod loop_guard;
pub mod matching;
pub mod outbox;
pub mod outcome;
pub mod property;
pub mod rate_limit;
pub mod reading;
pub mod redact;
pub mod retry;
pub mod sampling;
pub mod shape;
pub mod stats;
pub mod template;
pub mod trace_context;
pub mod work;

#[cfg(target_arch = "wasm32")]
mod host;
