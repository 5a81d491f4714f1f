//! The engine: takes requests through matching, attempts, batches, dead letters, comparisons and drains. It runs on any [`Host`](host::Host): it is
//! native code without the ABI.
//!
//! The engine uses all other rooms. Begin with [`contexts`], which a host calls, then read `stream`.

mod comparison;
pub mod contexts;
mod delivery;
pub mod host;
pub mod ids;
mod journal;
mod metric_ids;
mod mirror;
mod primary_response;
mod rejection;
mod required_calls;
mod root;
mod shared_breaker;
mod stream;
mod targets;
pub mod unexpected;
pub mod worker;
