//! The way of requests, attempts, batches, letters, comparisons and drains, for whoever is a [`Host`](host::Host). Native, and without the ABI.
//!
//! Uses all rooms below. Begin with [`contexts`], which a host calls, and `stream`.

mod comparison;
pub mod contexts;
mod delivery;
pub mod host;
pub mod ids;
mod journal;
mod metrics;
mod mirror;
mod primary_response;
mod probe;
mod rejection;
mod root;
mod shared_breaker;
mod stream;
pub mod unexpected;
pub mod worker;
